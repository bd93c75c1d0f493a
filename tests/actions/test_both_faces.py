"""What is refused, or warned of, reads the same on the command line and where the dashboard asks."""

import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.forgeries import edit
from support.stand_ins import revive

from linftui.actions import certify, remove, resume, stop, train
from linftui.devices import snapshot
from linftui.errors import LinftuiError
from linftui.rundir.liveness import describe_process, this_host
from linftui.rundir.paths import RunPaths
from linftui.rundir.records import CertifyRequest, ExitRecord, MemberRecord
from linftui.rundir.store import RunStore
from linftui.rundir.writer import write_record

Command = Callable[..., subprocess.CompletedProcess[str]]
Sleeper = subprocess.Popen[bytes]

RUN = RunPaths(Path("runs/tiny-run"))


def training(
    *overrides: str, recipe: str = "digits", devices: str = "cpu", name: str | None = None
) -> object:
    request = train.TrainRequest(recipe, overrides, devices, name)
    return train.check(RunStore(Path("runs")), request, snapshot())


def resuming(checkpoint: int | None = None, devices: str | None = None) -> object:
    return resume.check(resume.ResumeRequest(RUN, checkpoint, devices))


def certifying(eps: str = "0.1", checkpoint: str = "latest", means: str = "running") -> object:
    return certify.check(RUN, certify.certify_request(RUN, [eps], checkpoint, means), snapshot(), "cpu")


def nothing(_: Sleeper) -> None:
    """As it is: finished."""


def stopped(_: Sleeper) -> None:
    write_record(RUN.exit, ExitRecord(attempt=1, outcome="stopped", code=0, time=time.time()))


def devices_gone(sleeper: Sleeper) -> None:
    stopped(sleeper)
    edit(RUN.state, devices=["GPU-gone"])


def damaged(sleeper: Sleeper) -> None:
    stopped(sleeper)
    for trainer in RUN.checkpoints.glob("*/trainer.json"):
        trainer.write_text("")


def never_saved(_: Sleeper) -> None:
    shutil.rmtree(RUN.checkpoints)


def going_on(_: Sleeper) -> None:
    revive(RUN.root)


def being_certified(sleeper: Sleeper) -> None:
    logs, worker = RUN.certify_logs("20261123-120000-1"), describe_process(sleeper.pid, "certify")
    assert worker is not None
    logs.root.mkdir()
    write_record(logs.request, CertifyRequest(eps=["0.1"]))
    write_record(logs.worker, MemberRecord(host=this_host(), process=worker))


REFUSED = [
    ("run nowhere", nothing, lambda: training(recipe="nowhere")),
    ("run digits --set epochs=x", nothing, lambda: training("epochs=x")),
    ("run digits --devices gpu:99", nothing, lambda: training(devices="gpu:99")),
    ("run digits --name tiny-run", nothing, lambda: training(name="tiny-run")),
    ("stop tiny-run", nothing, lambda: stop.stop(RUN, "me", insist=True)),
    ("resume tiny-run", nothing, resuming),
    ("resume tiny-run --checkpoint 7", stopped, lambda: resuming(7)),
    ("resume tiny-run --devices toaster", stopped, lambda: resuming(None, "toaster")),
    ("resume tiny-run", devices_gone, resuming),
    ("resume tiny-run", damaged, resuming),
    ("certify tiny-run --eps 2", nothing, lambda: certifying("2")),
    ("certify tiny-run --checkpoint best", nothing, lambda: certifying(checkpoint="best")),
    ("certify tiny-run --means mine", nothing, lambda: certifying(means="mine")),
    ("certify tiny-run", never_saved, certifying),
    ("certify tiny-run", being_certified, certifying),
    ("rm tiny-run --yes", being_certified, lambda: remove.remove(RUN)),
    ("rm tiny-run --yes", going_on, lambda: remove.remove(RUN)),
]


@pytest.fixture(autouse=True)
def _beside_the_runs(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs.parent)


@pytest.mark.parametrize(
    ("words", "happened", "ask"), REFUSED, ids=[f"{words}, {how.__name__}" for words, how, _ in REFUSED]
)
def test_a_refusal_is_the_same_sentence(
    linftui: Command,
    sleeper: Sleeper,
    words: str,
    happened: Callable[[Sleeper], object],
    ask: Callable[[], object],
) -> None:
    happened(sleeper)
    before = sorted(RUN.root.rglob("*"))
    with pytest.raises(LinftuiError) as refused:
        ask()
    done = linftui(*words.split())
    assert (done.returncode, done.stdout) == (refused.value.exit_code, "")
    assert done.stderr == f"linftui: {refused.value}\n"
    assert {*RUN.root.rglob("*")} - {*before} <= {RUN.lock}


@pytest.mark.parametrize(
    ("words", "ask"),
    [
        (
            "run digits --set epochs=95 --set p.end_epoch=99 --dry-run",
            lambda: training("epochs=95", "p.end_epoch=99"),
        ),
        ("resume tiny-run --no-tui", resuming),
    ],
)
def test_a_warning_is_the_same_sentence(
    linftui: Command,
    sleeper: Sleeper,
    ends_at_logout: str,
    words: str,
    ask: Callable[[], train.TrainPlan | resume.ResumePlan],
) -> None:
    stopped(sleeper)
    warnings = ask().warnings
    assert warnings[-1] == ends_at_logout
    done = linftui(*words.split())
    assert done.returncode == 0
    assert done.stderr.splitlines() == [f"linftui: warning: {warning}" for warning in warnings]
