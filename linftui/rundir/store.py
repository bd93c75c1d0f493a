"""A folder of runs: making a run directory, finding one by name, listing them."""

import contextlib
import difflib
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from linftui.errors import LinftuiError, RecipeError, RunDirectoryError, RunNotFoundError, UsageError
from linftui.files import open_lock, open_regular
from linftui.recipe.fraction import parse_radius
from linftui.recipe.schema import Recipe
from linftui.rundir.chance import chance_caution
from linftui.rundir.moments import when_made
from linftui.rundir.paths import DEFAULT_ROOT, RunPaths
from linftui.rundir.reader import read_record
from linftui.rundir.records import MetaRecord, StateRecord
from linftui.rundir.state import State, run_state
from linftui.rundir.tail import last_metrics
from linftui.rundir.writer import cannot_write
from linftui.text import GREATEST_COUNT
from linftui.user_folders import from_home

if TYPE_CHECKING:
    from linftui.recipe.load import LoadedRecipe

PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class RunSummary:
    """A run at a glance: one line of `linftui ls`, and what `linftui show --json` prints."""

    id: str
    state: State | None  # None: the directory is damaged, and `problem` says how
    recipe: str | None
    epoch: int | None  # epochs done
    epochs: int | None
    step: int | None
    p: float | None
    lam: float | None
    loss: float | None
    clean_accuracy: float | None
    certified_accuracy: float | None
    eps: float | None  # the test radius, pixel units
    eps_exact: str | None  # the same, such as "8/255"
    attempt: int | None
    created: float | None
    path: str
    problem: str = ""
    caution: str = ""  # what a person should know of a run that has finished


class RunStore:
    """The runs in one folder, `./runs` unless another is named."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def require(self, *, new: bool = False) -> None:
        """Makes sure that there is a folder of runs; a `new` one, or the default, need not exist.

        Raises:
            UsageError: there is none, or it is not a folder.
            RunDirectoryError: it cannot be listed.
        """
        try:
            os.scandir(self.root).close()
        except FileNotFoundError as error:
            if not new and self.root != DEFAULT_ROOT:
                hint = "--runs-dir and LINFTUI_RUNS_DIR name the folder of runs"
                raise UsageError(f"there is no folder {self.root}", hint) from error
        except NotADirectoryError as error:
            file = next((path for path in (self.root, *self.root.parents) if path.is_file()), self.root)
            raise UsageError(f"{file} is a file, not a folder of runs") from error
        except OSError as error:
            raise RunDirectoryError(f"{self.root}: cannot be listed: {error.strerror or error}") from error

    @contextlib.contextmanager
    def creating(self, recipe_name: str, name: str | None = None) -> Iterator[tuple[RunPaths, RunPaths]]:
        """A new run directory, complete or not at all: it gets its name once the block has written it.

        The block receives the run as it will be, and the hidden folder in which to write it.

        Args:
            recipe_name: the id is `<recipe>-<yyyymmdd-hhmmss>-<4 hex>` where no name is given.
            name: a plain name to use instead.

        Raises:
            UsageError: the name is taken or not plain.
            RunDirectoryError: the folder cannot be written.
        """
        stamp = time.strftime("%Y%m%d-%H%M%S")
        made_up = f"{recipe_name}-{stamp}-{secrets.token_hex(2)}"
        paths = self.named(made_up if name is None else name)
        draft = RunPaths(hidden_beside(paths, "new"))
        try:
            try:
                self.root.mkdir(parents=True, exist_ok=True)
                for folder in (draft.root, draft.checkpoints, draft.certificates, draft.control):
                    folder.mkdir()
                # Made with the run, so that a full disk never keeps it from being removed.
                open_lock(draft.lock).close()
            except OSError as error:
                raise cannot_write(self.root, error) from error
            yield paths, draft
            try:
                draft.root.rename(paths.root)
            except OSError as error:  # another process was faster
                self.named(paths.id)
                raise cannot_write(paths.root, error) from error
        except BaseException:
            shutil.rmtree(draft.root, ignore_errors=True)
            raise

    def named(self, name: str) -> RunPaths:
        """The run directory that a new run of this name would have.

        Raises:
            UsageError: the name is taken or not plain.
        """
        if name == "latest":
            raise UsageError("--name latest is taken: it stands for the newest run", "choose another --name")
        if not PLAIN_NAME.fullmatch(name):
            raise UsageError(
                f"--name {name!r} is not a plain name", "use letters, digits, dots, dashes and underscores"
            )
        paths = RunPaths(self.root / name)
        if os.path.lexists(paths.root):
            raise UsageError(f"{paths.root} exists already", "choose another --name")
        return paths

    def find(self, name: str) -> RunPaths:
        """The run with that id, or that unique beginning of an id, or at that path, or the `latest`.

        Raises:
            RunNotFoundError: there is none, or several ids begin that way.
            UsageError: there is no folder of runs.
            RunDirectoryError: its folders lead elsewhere, or the folder of runs cannot be listed.
        """
        if (exact := self._exactly(name)) is not None:
            return exact
        ids = [run.id for run in self.runs()]
        if name == "latest" and ids:
            return _checked(RunPaths(self.root / self.summaries()[0].id))
        matches = [run for run in ids if name and run.startswith(name)]
        if len(matches) == 1:
            return _checked(RunPaths(self.root / matches[0]))
        if matches:
            raise RunNotFoundError(
                f"{name} could be {', '.join(sorted(matches)[:5])}", "give more of the name"
            )
        self.require()
        near = difflib.get_close_matches(name, ids, n=1)
        hint = f"did you mean {near[0]}?" if near else "linftui ls lists the runs"
        raise RunNotFoundError(f"no run {name!r} in {self.root}", hint)

    def find_exactly(self, name: str) -> RunPaths:
        """The run with exactly that id, or at that path: for what cannot be undone.

        The beginning of an id, or `latest`, may by now stand for another run than the one meant.

        Raises:
            RunNotFoundError: there is none.
            RunDirectoryError: its folders lead elsewhere.
        """
        here, listed = from_home(name), self.root / name
        if _is_run(here) and _is_run(listed) and not os.path.samefile(here, listed):
            raise RunNotFoundError(f"{name} could be {listed} or {here.absolute()}", "give the path")
        if (exact := self._exactly(name)) is not None:
            return exact
        meant = self.find(name)
        raise RunNotFoundError(
            f"no run in {self.root} is called exactly {name!r}", f"do you mean {meant.id}?"
        )

    def _exactly(self, name: str) -> RunPaths | None:
        path = from_home(name)
        if name and _is_run(path):
            return _checked(RunPaths(path.resolve() if path.name in ("", "..") else path))
        if os.path.exists(path) and len(path.parts) > 1:
            raise RunNotFoundError(f"{name} is not a run directory: it is a link or has no meta.json")
        return _checked(RunPaths(self.root / name)) if name in (run.id for run in self.runs()) else None

    def runs(self) -> list[RunPaths]:
        """All run directories, in no particular order; anything else, or hidden, is skipped."""
        try:
            found = [path for path in self.root.iterdir() if not path.name.startswith(".")]
        except OSError:
            return []
        return [RunPaths(path) for path in found if _is_run(path)]

    def summaries(self) -> list[RunSummary]:
        """Every run at a glance, newest first; a damaged one is listed with its problem."""
        return sorted(map(summarise, self.runs()), key=lambda run: (run.created or 0.0, run.id), reverse=True)


def hidden_beside(paths: RunPaths, why: str) -> Path:
    """A free name for a run's folder while it is not a run: being made ("new"), or being removed ("gone").

    A process that is killed meanwhile leaves it behind under this name, which no run can have.
    """
    return paths.root.with_name(f".{paths.id}.{secrets.token_hex(4)}.{why}")


def _checked(paths: RunPaths) -> RunPaths:
    """The run, unless it would make us write or delete outside of it, as a stranger's might."""
    for folder in (paths.checkpoints, paths.certificates, paths.control, paths.logs(1).parent):
        if folder.is_symlink():
            raise RunDirectoryError(f"{folder} is a link; a run keeps its files in its own folder")
    return paths


def _is_run(path: Path) -> bool:
    return os.path.isfile(path / "meta.json") and not path.is_symlink()


def read_meta(paths: RunPaths) -> MetaRecord:
    """The run's meta.json. Raises RunDirectoryError where it is absent or damaged."""
    meta = read_record(paths.meta, MetaRecord)
    if meta is None:
        raise RunDirectoryError(f"{paths.root}: meta.json is missing")
    return meta


def read_recipe(paths: RunPaths) -> Recipe:
    """The recipe of a run. Raises LinftuiError where it is missing or damaged."""
    return read_resolved(paths).recipe


def read_resolved(paths: RunPaths) -> "LoadedRecipe":
    """The recipe with the text it was read from, resolved.yaml. Raises likewise."""
    from linftui.recipe.load import MAX_BYTES, parse_recipe  # YAML, which a listing of runs can do without

    try:
        with open_regular(paths.resolved) as file:
            text = file.read(MAX_BYTES).decode()
        return parse_recipe(text, str(paths.resolved))
    except OSError as error:
        reason = f"{paths.resolved} cannot be read: {error.strerror or error}"
    except UnicodeDecodeError:
        reason = f"{paths.resolved} is not UTF-8 text"
    except RecipeError as error:
        reason = str(error)
    raise RunDirectoryError(f"{paths.id} cannot be used: {reason}")


def summarise(paths: RunPaths) -> RunSummary:
    """A run at a glance, from the small files and the end of the metrics."""
    problem = ""
    state: State | None = None
    meta = eps = current = None
    try:
        meta = read_meta(paths)
        eps = float(parse_radius(meta.eps_test))
        current = read_record(paths.state, StateRecord)
        state = run_state(paths)
    except LinftuiError as error:
        problem = str(error)
    except ValueError as error:
        problem = f"{paths.meta}: eps_test {error}"
    given_up = state == "finished" and current is not None and current.attempt > 1
    train, evaluation = last_metrics(paths.metrics, furthest=given_up)
    if evaluation is not None and eps not in (None, evaluation.eps):
        problem = problem or f"{paths.meta}: eps_test {eps:g} is not the evaluations' eps, {evaluation.eps:g}"
        evaluation = None  # what was certified at one radius is not shown at another
    caution = ""
    if meta is not None and evaluation is not None and state == "finished":
        caution = chance_caution(meta.dataset, evaluation.clean_accuracy, evaluation.n)
    return RunSummary(
        id=paths.id,
        state=state,
        recipe=meta.recipe if meta else None,
        epoch=int(train.epoch) if train and abs(train.epoch) <= GREATEST_COUNT else None,
        epochs=meta.epochs if meta else None,
        step=train.step if train else None,
        p=train.p if train else None,
        lam=train.lam if train else None,
        loss=train.loss if train else None,
        clean_accuracy=evaluation.clean_accuracy if evaluation else None,
        certified_accuracy=evaluation.certified_accuracy if evaluation else None,
        eps=eps,
        eps_exact=meta.eps_test if meta else None,
        attempt=current.attempt if current else None,
        created=when_made(meta.created, paths.meta) if meta else None,
        path=str(paths.root),
        problem=problem,
        caution=caution,
    )
