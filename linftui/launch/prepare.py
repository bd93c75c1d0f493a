"""A new run directory from a checked recipe: everything that defines the run, written before it starts."""

import os
import sys
import time
from importlib.metadata import PackageNotFoundError, version

from msgspec import structs

from linftui import __version__
from linftui.launch.plan import LaunchPlan
from linftui.launch.programs import output_of
from linftui.recipe.fraction import format_fraction
from linftui.recipe.load import LoadedRecipe, resolved
from linftui.recipe.schema import Recipe
from linftui.recipe.section import replaced
from linftui.rundir.liveness import this_host
from linftui.rundir.paths import RunPaths
from linftui.rundir.records import MetaRecord
from linftui.rundir.store import RunStore
from linftui.rundir.writer import write_atomic, write_record
from linftui.user_folders import from_home


def create_run(store: RunStore, loaded: LoadedRecipe, plan: LaunchPlan, name: str | None) -> RunPaths:
    """Makes the run directory: the recipe as given and as resolved, and where the run was made.

    It appears under its name once all of this is in it.

    Raises:
        UsageError: the name is taken or not plain.
        RunDirectoryError: the folder cannot be written; nothing of it is left.
    """
    recipe = _with_absolute_root(loaded.recipe)
    with store.creating(recipe.name, name) as (paths, draft):
        write_atomic(draft.recipe, loaded.text.encode())
        whole = resolved(recipe)
        write_atomic(draft.resolved, whole.text.encode())
        write_record(
            draft.meta,
            MetaRecord(
                id=paths.id,
                created=time.time(),
                recipe=recipe.name,
                recipe_source=loaded.source,
                recipe_hash=whole.hash,
                overrides=list(loaded.overrides),
                argv=sys.argv,
                seed=recipe.seed,
                epochs=recipe.epochs,
                eps_test=format_fraction(recipe.eps.test),
                dataset=recipe.data.dataset,
                versions=installed_versions(),
                git=_git_commit(),
                host=this_host().name,
                devices=list(plan.devices),
                threads=plan.threads,
            ),
        )
    return paths


def _with_absolute_root(recipe: Recipe) -> Recipe:
    """The run may be resumed from another folder, so a relative data.root is made absolute now."""
    if recipe.data.root is None:
        return recipe
    root = str(from_home(recipe.data.root).resolve())
    return structs.replace(recipe, data=replaced(recipe.data, root=root))


def installed_versions() -> dict[str, str]:
    """Versions of the packages that a run's numbers depend on, without importing any."""
    versions = {"linftui": __version__, "python": sys.version.split()[0]}
    for package in ("torch", "numpy", "safetensors", "scikit-learn"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def _git_commit() -> str | None:
    """The commit of the folder that the run is started from.

    HEAD is resolved and nothing more. To find changed files, git would run programs that the folder's own
    .git/config names (core.fsmonitor, filters), and to read the commit object it may fetch it, with a command
    that the same file names. An unpacked archive can bring such a file along.
    """
    try:
        folder = os.getcwd()
    except FileNotFoundError:  # it was removed under us
        return None
    return output_of("git", "-C", folder, "rev-parse", "--verify", "HEAD")
