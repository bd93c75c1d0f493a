"""Following one run, and the facts about one: what is told when it is another run, or cannot be looked at."""

import errno
import shutil
from pathlib import Path

import pytest
from msgspec import structs

from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import read_all, read_record
from linftui.rundir.records import MetaRecord
from linftui.rundir.writer import write_record
from linftui.tui import facts, follower
from linftui.tui.facts import read_facts
from linftui.tui.follower import RunFollower


def fail(paths: RunPaths) -> None:
    """What the file system does to a name that is too long for it."""
    raise OSError(errno.ENAMETOOLONG, "File name too long", str(paths.root))


def test_only_the_first_news_tell_from_the_beginning(runs: Path) -> None:
    paths = RunPaths(runs / "tiny-run")
    following = RunFollower(paths)
    first = following.poll()
    assert first is not None and first.first and first.metrics == read_all(paths)
    paths.exit.unlink()
    second = following.poll()
    assert second is not None and not second.first and second.metrics == []


def test_a_run_made_again_under_the_same_name_is_told_from_its_beginning(runs: Path) -> None:
    paths = RunPaths(runs / "tiny-run")
    shutil.copytree(paths.root, runs / "kept")
    following = RunFollower(paths)
    following.poll()
    shutil.rmtree(paths.root)
    (runs / "kept").rename(paths.root)
    news = following.poll()
    assert news is not None and news.first and news.metrics == read_all(paths) and news.events


def test_the_recipe_of_a_run_made_again_is_read_again(runs: Path) -> None:
    paths = RunPaths(runs / "tiny-run")
    known = read_facts(paths)
    assert known.recipe is not None and known.recipe.epochs == 3
    paths.resolved.write_text(paths.resolved.read_text().replace("epochs: 3", "epochs: 4"))
    assert read_facts(paths, known).recipe is known.recipe
    meta = read_record(paths.meta, MetaRecord)
    assert meta is not None
    write_record(paths.meta, structs.replace(meta, created=meta.created + 1))
    again = read_facts(paths, known).recipe
    assert again is not None and again.epochs == 4


def test_a_run_that_cannot_be_looked_at_is_a_problem_and_no_end(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = RunPaths(runs / "tiny-run")
    monkeypatch.setattr(follower, "certifications", fail)
    monkeypatch.setattr(facts, "complete_checkpoints", fail)
    news = RunFollower(paths).poll()
    assert news is not None and news.metrics
    assert news.standing.problem == read_facts(paths).problem
    assert news.standing.problem == f"{paths.root}: cannot be read: File name too long"
