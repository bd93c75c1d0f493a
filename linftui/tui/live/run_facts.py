"""Facts about the run under the cursor, read when the cursor reaches it."""

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from linftui.errors import LinftuiError
from linftui.files import open_regular
from linftui.recipe.schema import Recipe
from linftui.rundir.checkpoints import complete_checkpoints
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import read_record
from linftui.rundir.records import EventRecord, ExitRecord, MetaRecord, decoder
from linftui.rundir.store import read_meta, read_recipe
from linftui.tui.live.run_list import cannot_look

TAIL = 1 << 14
EVENTS = 8  # how many of the latest are kept


@dataclass(frozen=True)
class RunFacts:
    """What a run's summary does not hold: its recipe, its latest events, how it ended."""

    paths: RunPaths
    meta: MetaRecord | None = None
    recipe: Recipe | None = None
    events: tuple[EventRecord, ...] = ()  # the last few, oldest first
    checkpoints: tuple[int, ...] = ()  # steps
    ended: ExitRecord | None = None
    problem: str = ""


def read_facts(paths: RunPaths, before: RunFacts | None = None) -> RunFacts:
    """The facts as they are on disk now; what cannot be read is left out and reported in `problem`.

    With `before`, the recipe is not read again, since it does not change.
    """
    meta = ended = recipe = None
    checkpoints, problem = tuple[int, ...](), ""
    try:
        checkpoints = checkpoint_steps(paths)
        meta = read_meta(paths)
        if before is not None and before.paths == paths and before.meta == meta:
            recipe = before.recipe
        ended = read_record(paths.exit, ExitRecord)
        recipe = recipe or read_recipe(paths)
    except LinftuiError as error:
        problem = str(error)
    except OSError as error:
        problem = cannot_look(paths, error)
    return RunFacts(
        paths=paths,
        meta=meta,
        recipe=recipe,
        events=_last_events(paths.events),
        checkpoints=checkpoints,
        ended=ended,
        problem=problem,
    )


def checkpoint_steps(paths: RunPaths) -> tuple[int, ...]:
    """The steps of the complete checkpoints, in order."""
    return tuple(found.step for found in complete_checkpoints(paths))


def _last_events(path: Path) -> tuple[EventRecord, ...]:
    try:
        with open_regular(path) as file:
            start = max(0, file.seek(0, os.SEEK_END) - TAIL)
            file.seek(start)
            lines = file.read(TAIL).split(b"\n")[1 if start else 0 : -1]
    except OSError:
        return ()
    decode, known = decoder(EventRecord), list[EventRecord]()
    for line in reversed(lines):
        if len(known) == EVENTS:
            break
        try:
            known.append(decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    return tuple(reversed(known))
