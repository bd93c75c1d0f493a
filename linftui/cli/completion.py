"""Shell completion.

A completion becomes part of what the shell reads: zsh evaluates the whole list at once, bash inserts the word
unquoted. So only plain words are offered, whatever the names of the files in a folder.
"""

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from linftui.rundir.paths import DEFAULT_ROOT, RunPaths

if TYPE_CHECKING:
    from linftui.recipe.schema import Recipe

COMPLETE, BASH = "_LINFTUI_COMPLETE", "complete_bash"  # what typer's script for bash sets

_PLAIN = re.compile(r"(~/)?[A-Za-z0-9._/][A-Za-z0-9._/=-]*|~/")


def _offered(words: Iterable[str], beginning: str) -> list[str]:
    return sorted(word for word in set(words) if word.startswith(beginning) and _PLAIN.fullmatch(word))


def recipes(incomplete: str) -> list[str]:
    """Names of recipes, and recipe files."""
    from linftui.recipe.load import recipe_folders

    names = (path.stem for folder in recipe_folders() for path in folder.glob("*.yaml"))
    offered = _offered([*names, *_recipe_files(incomplete)], incomplete)
    if len(offered) == 1 and os.path.isdir(os.path.expanduser(offered[0])):
        # A shell adds a space after a single match, but the user may want a file inside this folder.
        return _offered(_recipe_files(os.path.join(offered[0], "")), "") or offered
    return offered


def _recipe_files(incomplete: str) -> Iterator[str]:
    """Recipe files and subfolders of the folder that the path so far leads to."""
    folder, beginning = os.path.split(incomplete)
    with contextlib.suppress(OSError), os.scandir(os.path.expanduser(folder) or ".") as entries:
        for entry in entries:
            hidden = entry.name.startswith(".") and not beginning
            if not hidden and (entry.name.endswith((".yaml", ".yml")) or _is_folder(entry)):
                yield os.path.join(folder, entry.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    with contextlib.suppress(OSError):  # a link to itself, say
        return entry.is_dir()
    return False


def runs(context: typer.Context, incomplete: str) -> list[str]:
    """Ids of the runs in the runs folder of this command line; paths of runs, once a path is being typed."""
    from linftui.rundir.store import RunStore

    folder, _ = os.path.split(incomplete)
    if folder:
        found = RunStore(Path(os.path.expanduser(folder))).runs()
        return _offered((os.path.join(folder, run.id) for run in found), incomplete)
    return _offered((run.id for run in RunStore(_runs_dir(context)).runs()), incomplete)


def _runs_dir(context: typer.Context) -> Path:
    """The runs folder given after the command, or before it, or the default."""
    contexts = [context, context.find_root()]
    given = next((one.params["runs_dir"] for one in contexts if _is_given(one)), DEFAULT_ROOT)
    return Path(given or os.devnull)  # None if its home folder does not exist: then nothing is offered


def _is_given(context: Any) -> bool:  # typer has no type for the root context
    source = context.get_parameter_source("runs_dir")
    return source is not None and source.name in ("COMMANDLINE", "ENVIRONMENT")


def fields(context: typer.Context, incomplete: str) -> list[str]:
    """Assignments for `--set`, with the values of the recipe on this command line, or of digits."""
    from linftui.errors import LinftuiError
    from linftui.recipe.load import load_recipe

    offered = list[str]()
    named = context.params.get("recipe") or next(iter(context.args), None)  # as for `checkpoints`
    for name in ("digits", named):
        with contextlib.suppress(LinftuiError):
            if name:
                offered = _offered(_assignments(load_recipe(name).recipe), incomplete)
    return offered


def _assignments(recipe: "Recipe") -> Iterator[str]:
    from linftui.recipe.load import to_builtins

    def within(values: dict[str, Any], prefix: str) -> Iterator[str]:
        for key, value in values.items():
            if isinstance(value, dict):
                yield from within(value, f"{prefix}{key}.")
            else:
                yield f"{prefix}{key}={value if isinstance(value, str) else json.dumps(value)}"

    return within(to_builtins(recipe), "")


def rejoin_words(environment: MutableMapping[str, str]) -> None:
    """Rejoins the words that bash splits at = and :, before they are completed.

    The last word is rejoined only if it is an option with its value, which is offered as a whole; for any
    other word, bash itself keeps what comes before the last part.
    """
    if environment.get(COMPLETE) != BASH:
        return
    words, at = environment.get("COMP_WORDS", "").split("\n"), int(environment.get("COMP_CWORD", 0))
    joined, glued = list[str](), False
    for place, word in enumerate(words[: at + 1]):
        breaks = word in ("=", ":")
        if joined and (breaks or glued) and (place < at or joined[-1].startswith("-")):
            joined[-1] += word
        else:
            joined.append(word)
        glued = breaks
    environment.update(COMP_WORDS="\n".join(joined), COMP_CWORD=str(len(joined) - 1))


def devices(incomplete: str) -> list[str]:
    """Words for devices, and the numbers of the visible GPUs."""
    from linftui.devices import snapshot
    from linftui.errors import DeviceError
    from linftui.launch.visible import visible_gpus

    words = ["auto", "cpu"]
    with contextlib.suppress(DeviceError):
        words += [str(gpu.index) for gpu in visible_gpus(snapshot().gpus, os.environ)]
    return _offered(words, incomplete)


def checkpoints(context: typer.Context, incomplete: str) -> list[str]:
    """Steps of the checkpoints of the runs named on this command line so far."""
    from linftui.errors import LinftuiError
    from linftui.rundir.checkpoints import complete_checkpoints
    from linftui.rundir.store import RunStore

    named = context.params.get("run") or context.args  # an option still without a value leaves names there
    found = list[RunPaths]()
    for name in [named] if isinstance(named, str) else named:
        with contextlib.suppress(LinftuiError):
            found.append(RunStore(_runs_dir(context)).find(name))
    steps = (checkpoint.step for run in found for checkpoint in complete_checkpoints(run))
    return _offered(map(str, steps), incomplete)


def named_checkpoints(context: typer.Context, incomplete: str) -> list[str]:
    """Steps of checkpoints, and the words best and latest."""
    return [*checkpoints(context, incomplete), *_offered(["best", "latest"], incomplete)]
