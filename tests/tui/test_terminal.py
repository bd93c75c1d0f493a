"""All of it in a real terminal, by keys alone: launch, watch, leave, come back, stop, resume, certify."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import last_metrics, read_record
from linftui.rundir.records import CertificateSummary, StateRecord
from linftui.rundir.state import run_state

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="there is no tmux"),
]

# Small steps, so that there is time to look on.
RECIPE = """\
name: watched
epochs: 30
batch_size: 64
data: {dataset: digits}
model: {width: 32, depth: 3}
eps: {train: 0.3, test: 0.1}
p: {begin_epoch: 2, end_epoch: 26}
objective:
  lam: {start: 0.1, end: 0.001}
log: {every_steps: 5}
"""
PATIENCE_S = 60.0


class Tmux:
    """A tmux server of the test's own, with one terminal at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._socket = folder, str(folder / "tmux")

    def _do(self, *words: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", self._socket, "-f", "/dev/null", *words],
            capture_output=True, text=True, env={**os.environ, "TERM": "xterm-256color"},
        )  # fmt: skip
        return done.stdout

    def open(self, columns: int = 160, rows: int = 45) -> None:
        shell = "PS1='ready> ' exec bash --norc --noprofile"
        self._do(
            "new-session",
            "-d",
            "-s",
            "t",
            "-x",
            str(columns),
            "-y",
            str(rows),
            "-c",
            str(self._folder),
            shell,
        )
        self.wait_for("ready>")

    def type(self, *keys: str) -> None:
        for key in keys:
            self._do("send-keys", "-t", "t", key)

    def command(self, line: str) -> None:
        self._do("send-keys", "-t", "t", "-l", line)
        self.type("Enter")

    def screen(self) -> str:
        return self._do("capture-pane", "-p", "-t", "t")

    def wait_for(self, *texts: str) -> str:
        """The screen, once it holds all of the texts."""
        deadline = time.monotonic() + PATIENCE_S
        while not all(text in (screen := self.screen()) for text in texts):
            assert time.monotonic() < deadline, f"no {texts} on:\n{screen}"
            time.sleep(0.1)
        return screen

    def close(self) -> None:
        """Ends the terminal as a lost connection does: everything on it is hung up on."""
        self._do("kill-server")


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Tmux]:
    (tmp_path / "watched.yaml").write_text(RECIPE)
    terminal = Tmux(tmp_path)
    yield terminal
    terminal.close()
    for run in (tmp_path / "runs").glob("*"):
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run([sys.executable, "-m", "linftui", "stop", "--deadline", "5", str(run)], timeout=60)


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def step(run: RunPaths) -> int:
    train, _ = last_metrics(run.metrics)
    return 0 if train is None else train.step


def dots(screen: str) -> int:
    """How many Braille characters are on the screen: the charts' ink."""
    return sum("\u2800" < character <= "\u28ff" for character in screen)


def test_a_run_is_launched_watched_left_stopped_resumed_and_certified_by_keys(
    tmux: Tmux, tmp_path: Path
) -> None:
    linftui = f"{sys.executable} -m linftui"
    run = RunPaths(tmp_path / "runs" / "watched")
    tmux.open()
    tmux.command(f"{linftui} run watched.yaml --name watched --devices cpu")
    tmux.wait_for("● running", "certified accuracy", "loss", "mixing coefficient", "devices")
    wait_for(lambda: step(run) >= 30)
    early = dots(tmux.wait_for("step 3"))
    wait_for(lambda: step(run) >= 90)
    wait_for(lambda: dots(tmux.screen()) > early)  # the charts move

    tmux.type("q")
    tmux.wait_for("1 run goes on", "ready>")
    left_at = step(run)
    wait_for(lambda: step(run) > left_at + 20)
    assert run_state(run) == "running"

    tmux.command(linftui)
    tmux.wait_for("watched", "● running")
    tmux.type("Enter")
    tmux.wait_for("certified accuracy", "not a certificate")
    tmux.type("S")
    tmux.wait_for("Stop watched?")
    tmux.type("Enter")
    tmux.wait_for("■ stopped")
    wait_for(lambda: run_state(run) == "stopped")
    tmux.wait_for("saved step")

    tmux.type("U")
    tmux.wait_for("● running", "attempt 2")
    wait_for(lambda: step(run) > 0 and run_state(run) == "running")
    state = read_record(run.state, StateRecord)
    assert state is not None and state.attempt == 2
    resumed_at = step(run)
    wait_for(lambda: step(run) > resumed_at + 20)
    tmux.close()
    left_at = step(run)
    wait_for(lambda: step(run) > left_at + 20)

    tmux.open(80, 24)
    tmux.command(linftui)
    tmux.wait_for("watched")
    tmux.type("Enter")
    wait_for(lambda: run_state(run) == "finished")
    tmux.wait_for("✓ finished")
    tmux.type("C")
    tmux.wait_for("Certify watched", "latest")
    tmux.type("Enter")
    certificate = run.certificate("step-00000690-eps-0.1").summary
    wait_for(certificate.exists)
    summary = read_record(certificate, CertificateSummary)
    assert summary is not None and summary.complete and summary.n == 360
    tmux.wait_for("360", f"{summary.certified_accuracy:.4f}".removeprefix("0"))
    tmux.type("Escape")  # apart from what follows, or a terminal takes both for alt+q
    wait_for(lambda: "Certify watched" not in tmux.screen())
    tmux.type("q")
    tmux.wait_for("ready>")
    assert "Traceback" not in tmux.screen()
