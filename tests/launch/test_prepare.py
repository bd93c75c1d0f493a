"""A new run directory says all that the run is."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from linftui import __version__
from linftui.errors import LinftuiError, RunDirectoryError, UsageError
from linftui.launch import prepare
from linftui.launch.plan import LaunchPlan
from linftui.launch.prepare import create_run
from linftui.recipe.load import load_recipe, resolved
from linftui.rundir.paths import RunPaths
from linftui.rundir.state import run_state
from linftui.rundir.store import RunStore, read_meta, read_recipe

PLAN = LaunchPlan(devices=("cpu",), threads=2)


@pytest.fixture
def create(tmp_path: Path, tiny_recipe: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RunPaths]:
    """Makes a run of the tiny recipe, from a folder that is not under version control."""
    monkeypatch.chdir(tmp_path)

    def make(*overrides: str, name: str | None = None) -> RunPaths:
        return create_run(RunStore(tmp_path / "runs"), load_recipe(tiny_recipe, overrides), PLAN, name)

    return make


def test_the_recipe_is_kept_as_given_and_as_resolved(
    create: Callable[..., RunPaths], tiny_recipe: Path
) -> None:
    paths = create("seed=7", "eps.test=8/255")
    assert paths.recipe.read_bytes() == tiny_recipe.read_bytes()
    recipe = read_recipe(paths)
    assert recipe == load_recipe(tiny_recipe, ["seed=7", "eps.test=8/255"]).recipe
    assert recipe.seed == 7 and "adam_eps" in paths.resolved.read_text()


def test_meta_json_says_where_the_run_comes_from(create: Callable[..., RunPaths], tiny_recipe: Path) -> None:
    meta = read_meta(create("seed=7", "eps.test=8/255", name="mine"))
    assert (meta.id, meta.recipe, meta.recipe_source) == ("mine", "tiny", str(tiny_recipe))
    assert (meta.seed, meta.epochs, meta.eps_test) == (7, 3, "8/255")
    assert (meta.overrides, meta.argv) == (["seed=7", "eps.test=8/255"], sys.argv)
    assert meta.recipe_hash == resolved(load_recipe(tiny_recipe, ["seed=7", "eps.test=8/255"]).recipe).hash
    assert meta.recipe_hash != resolved(load_recipe(tiny_recipe).recipe).hash
    assert (meta.devices, meta.host, meta.kernel_backend) == (["cpu"], os.uname().nodename, None)
    assert meta.versions["linftui"] == __version__ and {"python", "torch", "numpy"} < set(meta.versions)


def test_a_new_run_is_pending_and_can_be_found(create: Callable[..., RunPaths], tmp_path: Path) -> None:
    paths = create()
    assert run_state(paths) == "pending"
    assert paths.id.startswith("tiny-")
    assert RunStore(tmp_path / "runs").find("tiny").root == paths.root


def test_a_run_that_cannot_be_written_leaves_nothing_behind(
    create: Callable[..., RunPaths], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, record: object) -> None:
        raise RunDirectoryError(f"{path}: cannot be written: No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(prepare, "write_record", full)
        with pytest.raises(RunDirectoryError):
            create(name="half")
    assert list((tmp_path / "runs").iterdir()) == []
    assert read_meta(create(name="half")).id == "half"


def test_a_taken_name_changes_nothing_in_the_run_that_has_it(create: Callable[..., RunPaths]) -> None:
    paths = create(name="mine")
    before = paths.meta.read_bytes()
    with pytest.raises(UsageError, match="mine exists already"):
        create("seed=7", name="mine")
    assert paths.meta.read_bytes() == before


def test_a_relative_data_root_is_pinned_down(create: Callable[..., RunPaths], tmp_path: Path) -> None:
    assert read_recipe(create("data.root=here/data")).data.root == str(tmp_path / "here" / "data")
    assert read_recipe(create("data.root=/there")).data.root == "/there"
    assert read_recipe(create()).data.root is None


def test_the_commit_that_is_checked_out_is_noted(create: Callable[..., RunPaths], tmp_path: Path) -> None:
    assert read_meta(create()).git is None
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@y", "-c", "commit.gpgsign=false"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    assert read_meta(create()).git is None  # nothing is committed yet
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "-m", "first"], check=True)
    commit = subprocess.check_output(["git", "rev-parse", "HEAD"], text=True).strip()
    assert len(commit) == 40 and read_meta(create()).git == commit


def test_a_folder_that_was_removed_has_no_commit(
    tmp_path: Path, tiny_recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    paths = create_run(RunStore(tmp_path / "runs"), load_recipe(tiny_recipe), PLAN, None)
    assert read_meta(paths).git is None


@pytest.mark.parametrize("damage", [b"", b"seed: [", b"seed: 1\nseed: 2\n", b"\xff"], ids=range(4))
def test_a_run_whose_recipe_is_damaged_is_told_in_a_sentence(
    create: Callable[..., RunPaths], damage: bytes
) -> None:
    paths = create(name="mine")
    paths.resolved.write_bytes(damage)
    with pytest.raises(LinftuiError, match="mine cannot be used: .*resolved.yaml"):
        read_recipe(paths)


def test_what_is_written_is_strict_json(
    create: Callable[..., RunPaths], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["linftui", "run", b"caf\xe9.yaml".decode("utf-8", "surrogateescape")])
    assert json.loads(create().meta.read_bytes())["argv"] == ["linftui", "run", "caf?.yaml"]
