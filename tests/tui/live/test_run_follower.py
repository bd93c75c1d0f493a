"""Following one run, and the facts about one: what is told when it is another run, or cannot be looked at."""

import errno
import os
import shutil
import time
from pathlib import Path

import pytest
from msgspec import structs
from support.forgeries import FORGERIES, NAME, Forge, edit

from linftui.launch.certification import certifications
from linftui.rundir import certificates
from linftui.rundir.certificates import UNFINISHED
from linftui.rundir.liveness import describe_process, this_host
from linftui.rundir.paths import CertifyLogPaths, RunPaths
from linftui.rundir.reader import read_all, read_record
from linftui.rundir.records import CertifyTask, ErrorRecord, MemberRecord, MetaRecord
from linftui.rundir.writer import write_record
from linftui.tui.live import run_facts, run_follower
from linftui.tui.live.run_facts import read_facts
from linftui.tui.live.run_follower import RunFollower, Standing
from linftui.tui.widgets.run_head import certificate_lines


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
    monkeypatch.setattr(run_follower, "certifications", fail)
    monkeypatch.setattr(run_facts, "complete_checkpoints", fail)
    news = RunFollower(paths).poll()
    assert news is not None and news.metrics
    assert news.standing.problem == read_facts(paths).problem
    assert news.standing.problem == f"{paths.root}: cannot be read: File name too long"


def standing_of(paths: RunPaths) -> Standing:
    """How a run stands at the first look, gone on with until its certificates are checked."""
    following = RunFollower(paths)
    for _ in range(1000):
        following.poll()
        assert following._standing is not None
        if all(certificate.problem != UNFINISHED for certificate in following._standing.certificates):
            break
    return following._standing


def told(standing: Standing) -> list[str]:
    """What the head of the run's screen says of its certificates."""
    return [line.plain for line in certificate_lines(standing.certifications, standing.certificates, 200)]


@pytest.mark.parametrize(("forge", "reason"), FORGERIES.values(), ids=FORGERIES)
def test_a_forged_certificate_is_told_as_unverified(certified_runs: Path, forge: Forge, reason: str) -> None:
    paths = RunPaths(certified_runs / "tiny-run")
    for folder in paths.certificates.iterdir():
        if folder.name != NAME:
            shutil.rmtree(folder)
    [before] = told(standing_of(paths))
    assert before.startswith("proved  certified .")
    forge(paths)
    *others, after = told(standing_of(paths))
    assert after.startswith(f"unverified  {reason}")
    assert not any("proved" in line for line in (*others, after))


def test_a_certification_that_was_refused_leaves_the_head_as_it_was(certified_runs: Path) -> None:
    paths = RunPaths(certified_runs / "tiny-run")
    before = told(standing_of(paths))

    def fails(tag: str, *, begun: bool, later_s: float = 1.0, words: int = 1) -> CertifyLogPaths:
        time_of_it = time.strftime("%Y%m%d-%H%M%S", time.gmtime(time.time() + later_s))
        logs = paths.certify_logs(f"{time_of_it}-{tag}")
        logs.root.mkdir()
        if begun:
            write_record(logs.task, CertifyTask(certificates=["a"], drafts=[".a"], done=0, warnings=[]))
        write_record(
            logs.error,
            ErrorRecord(error="", message=f"{tag}{' failed' * words}", hint="", exit_code=1, time=0.0),
        )
        return logs

    fails("1", begun=False)
    assert told(standing_of(paths)) == before
    fails("2", begun=True)
    assert told(standing_of(paths)) == ["certify: 2 failed", *before]
    fails("3", begun=False)
    assert told(standing_of(paths)) == ["certify: 2 failed", *before]
    # Made while a clock was a year ahead, and an hour ago: it is not the newest for ever.
    ahead = fails("4", begun=True, later_s=365 * 86_400)
    os.utime(ahead.root, (time.time() - 3600,) * 2)
    assert told(standing_of(paths)) == ["certify: 2 failed", *before]
    fails("5", begun=True, later_s=2.0, words=200)
    head = told(standing_of(paths))
    assert head[0].startswith("certify: 5 failed failed") and head[2].endswith(" …")
    assert len(head) == 3 + len(before)


def test_the_head_tells_the_certificate_that_counts_and_others_as_what_they_are(certified_runs: Path) -> None:
    paths = RunPaths(certified_runs / "tiny-run")
    standing = standing_of(paths)
    assert [bool(found.problem) for found in standing.certificates] == [False] * 3
    [whole] = told(standing)
    assert whole.startswith("proved  certified .") and "eps 0.1  step 36  360 images" in whole
    edit(paths.certificate(NAME).summary, certified_accuracy=1.0)
    [elsewhere] = told(standing_of(paths))
    assert elsewhere.startswith("proved  at eps 8/255, not the recipe's 0.1  certified .")
    assert "eps 8/255" in elsewhere
    edit(paths.certificate("step-00000036-eps-8_255").summary, certified_accuracy=1.0)
    [partial] = told(standing_of(paths))
    assert partial.startswith("proved  first 50 of 360 images, re-estimated means  certified .")


def test_a_certificate_of_a_run_that_was_renamed_says_of_which(certified_runs: Path) -> None:
    renamed = RunPaths((certified_runs / "tiny-run").rename(certified_runs / "renamed"))
    [line] = told(standing_of(renamed))
    assert line.startswith("proved") and line.endswith("360 images  of run tiny-run")


def test_large_weights_are_checked_poll_by_poll(
    certified_runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = RunPaths(certified_runs / "tiny-run")
    monkeypatch.setattr(certificates, "PIECE", 512)
    monkeypatch.setattr(run_follower, "CHECK_S", 0.0)
    following, seen = RunFollower(paths), set[str]()
    for _ in range(1000):
        following.poll()
        assert following._standing is not None
        found = following._standing.certificates
        seen |= {certificate.problem for certificate in found}
        if not any(certificate.problem for certificate in found):
            break
    assert seen == {UNFINISHED, ""}


def test_a_certification_that_is_going_on_never_says_that_something_is_proved(certified_runs: Path) -> None:
    """Whatever its task and its draft say."""
    paths = RunPaths(certified_runs / "tiny-run")
    draft = paths.certificate(f".{NAME}.1-1.draft")
    paths.certificate(NAME).root.rename(draft.root)
    for folder in paths.certificates.glob("step-*"):
        shutil.rmtree(folder)
    logs, me = paths.certify_logs("20260101-000000-1-000000000"), describe_process(os.getpid(), "certify")
    assert me is not None
    for earlier in paths.logs(1).parent.glob("certify-*"):
        shutil.rmtree(earlier)
    logs.root.mkdir()
    write_record(logs.worker, MemberRecord(host=this_host(), process=me))
    for names, drafts, done in (
        ([NAME, NAME], [draft.root.name] * 2, 0),
        ([draft.root.name] * 2, [NAME] * 2, 1),
    ):
        write_record(logs.task, CertifyTask(certificates=names, drafts=drafts, done=done))
        assert [progress.state for progress in certifications(paths)] == ["running"]
        [line] = told(standing_of(paths))
        assert line.startswith("certify ") and "proved" not in line
    edit(draft.summary, certified_accuracy=7.5)
    head = " ".join(told(standing_of(paths)))
    assert head.startswith("certify: ") and "proved" not in head and "7.5" not in head
