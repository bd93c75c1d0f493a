"""All of it in a real terminal, by keys alone: launch, watch, leave, come back, stop, resume, certify."""

import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.person import end
from support.waiting import PATIENCE_S, wait_for

from linftui.rundir.checkpoints import complete_checkpoints
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import read_record
from linftui.rundir.records import CertificateSummary, StateRecord
from linftui.rundir.state import run_state
from linftui.rundir.tail import last_metrics

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(shutil.which("tmux") is None, reason="there is no tmux"),
]

# It never comes to its end, however fast the machine: what is to end is stopped.
RECIPE = """\
name: watched
epochs: 100000
batch_size: 64
data: {dataset: digits}
model: {width: 32, depth: 3}
eps: {train: 0.3, test: 0.1}
p: {begin_epoch: 2, end_epoch: 90000}
objective:
  lam: {start: 0.1, end: 0.001}
log: {every_steps: 5}
"""


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
def run(tmp_path: Path) -> Iterator[RunPaths]:
    """The run that is to be launched; none of its processes outlives the test."""
    run = RunPaths(tmp_path / "runs" / "watched")
    yield run
    end(run)


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Tmux]:
    """A server without a terminal so far, in a folder with the recipe."""
    (tmp_path / "watched.yaml").write_text(RECIPE)
    terminal = Tmux(tmp_path)
    yield terminal
    terminal.close()


def step(run: RunPaths) -> int:
    train, _ = last_metrics(run.metrics)
    return 0 if train is None else train.step


def shown_step(screen: str) -> int:
    """The step that a run's screen tells; -1 where it tells none."""
    found = re.search(r"step ([0-9,]+) +p ", screen)
    return -1 if found is None else int(found[1].replace(",", ""))


def dots(screen: str) -> str:
    """The Braille characters on the screen: the charts' ink."""
    return "".join(character for character in screen if "\u2800" < character <= "\u28ff")


def attempt_goes_on(run: RunPaths, attempt: int) -> None:
    """Waits until an attempt trains, and sees it train on."""
    wait_for(lambda: (state := read_record(run.state, StateRecord)) is not None and state.attempt == attempt)
    wait_for(lambda: run_state(run) == "running")
    reached = step(run)
    wait_for(lambda: step(run) > reached)


def test_a_run_is_launched_watched_left_stopped_resumed_and_certified_by_keys(
    tmux: Tmux, run: RunPaths
) -> None:
    linftui = f"'{sys.executable}' -m linftui"
    tmux.open()
    tmux.command(f"{linftui} run watched.yaml --name watched --devices cpu")
    early = tmux.wait_for("● running", "certified accuracy", "loss", "mixing coefficient", "devices", "img/s")
    wait_for(lambda: shown_step(tmux.screen()) > shown_step(early) >= 0)
    wait_for(lambda: dots(tmux.screen()) != dots(early))  # the charts move

    tmux.type("q")
    tmux.wait_for("1 run is still going", "ready>")
    attempt_goes_on(run, 1)

    tmux.command(linftui)
    tmux.wait_for("watched", "● running")
    tmux.type("Enter")
    tmux.wait_for("certified accuracy", "not a certificate")
    tmux.type("S")
    tmux.wait_for("Stop watched?")
    tmux.type("Enter")
    tmux.wait_for("■ stopped", "saved step")
    assert run_state(run) == "stopped"

    tmux.type("U")
    tmux.wait_for("Resume watched?", "resume from step")
    tmux.type("Enter")
    tmux.wait_for("● running", "attempt 2")
    tmux.close()
    attempt_goes_on(run, 2)

    tmux.open(80, 24)
    tmux.command(linftui)
    tmux.wait_for("watched", "● running")
    tmux.type("S")
    tmux.wait_for("Stop watched?")
    tmux.type("Enter")
    tmux.wait_for("■ stopped")
    tmux.type("C")
    tmux.wait_for("Certify watched", "latest")
    tmux.type("Enter")
    wait_for(lambda: list(run.certificates.glob("step-*-eps-0.1/summary.json")))
    [certificate] = run.certificates.glob("step-*-eps-0.1/summary.json")
    summary = read_record(certificate, CertificateSummary)
    assert summary is not None and summary.complete and summary.n == 360
    assert summary.checkpoint == complete_checkpoints(run)[-1].root.name
    tmux.wait_for("360 images", f"{summary.certified_accuracy:.4f}".removeprefix("0"))
    tmux.type("Escape")  # apart from what follows, or a terminal takes both for alt+q
    wait_for(lambda: "Certify watched" not in tmux.screen())
    tmux.type("q")
    assert "Traceback" not in tmux.wait_for("ready>")


def test_ctrl_z_goes_to_the_shell_and_fg_comes_back(tmux: Tmux, tmp_path: Path, finished_run: Path) -> None:
    shutil.copytree(finished_run, tmp_path / "runs" / "tiny-run")
    tmux.open(100, 30)
    tmux.command(f"sh -c '\"{sys.executable}\" -m linftui; echo left'")  # a wrapper is suspended with it
    tmux.wait_for("tiny-run", "✓ finished")
    for key, seen in (("o", "finished"), ("R", "Train a recipe"), ("C-p", "Search for commands")):
        tmux.type(key)
        tmux.wait_for(seen)
        tmux.type("C-z")
        shell = tmux.wait_for("Stopped", "ready>")
        assert seen not in shell and "left" not in shell.replace("echo left", "")
        tmux.command("clear; stty -a | grep -c ' echo '; jobs")
        tmux.wait_for("1\n", "Stopped", "ready>")
        tmux.command("clear; bg; sleep 0.3; fg")  # in the background it is stopped again
        tmux.wait_for(seen)
    tmux.type("C-c", "Escape")
    tmux.wait_for("tiny-run")
    tmux.type("C-c")
    tmux.wait_for("left\n", "ready>")


@contextmanager
def dashboard(folder: Path, first: str = "") -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A dashboard as the leader of a session, without a shell, and the other end of its terminal.

    `first` is a program that its process runs before.
    """
    (folder / "runs").mkdir()
    ours, theirs = pty.openpty()
    arguments = ["linftui", "--runs-dir", str(folder / "runs")]
    program = f"{first}\nimport sys; sys.argv = {arguments}\nfrom linftui.__main__ import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, start_new_session=True,
        env={**os.environ, "TERM": "xterm-256color"},
    )  # fmt: skip
    os.close(theirs)
    try:
        read_until(ours, b"no runs")
        yield process, ours
    finally:
        process.kill()
        process.wait()


def read_until(terminal: int, text: bytes) -> None:
    shown = b""
    while text not in shown.lower():
        shown = shown[-4096:] + os.read(terminal, 4096)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.6, *(pytest.param(s, marks=pytest.mark.thorough) for s in (1.2, 1.8))])
def test_a_terminal_that_closes_while_the_dashboard_is_loading_leaves_nobody_behind(
    tmp_path: Path, seconds: float
) -> None:
    """With SIGHUP ignored, as under nohup, nobody says that it is gone."""
    (tmp_path / "runs").mkdir()
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        os.environ["TERM"] = "xterm-256color"
        os.execv(sys.executable, [sys.executable, "-m", "linftui"])
    time.sleep(seconds)
    os.close(terminal)
    deadline = time.monotonic() + 60
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            pytest.fail("it is still there")
        time.sleep(0.05)


def test_where_no_shell_could_come_back_to_it_it_is_not_suspended(tmp_path: Path) -> None:
    with dashboard(tmp_path) as (process, terminal):
        os.write(terminal, b"\x1a")
        read_until(terminal, b"there is no shell here")
        os.write(terminal, b"q")
        read_until(terminal, b"\x1b[?1049l")  # the screen of before
        assert process.wait(timeout=60) == 0
        os.close(terminal)


@pytest.mark.parametrize("controls", [True, False], ids=["of the session", "of no session"])
def test_a_terminal_that_is_gone_ends_the_dashboard_even_where_nobody_says_so(
    tmp_path: Path, controls: bool
) -> None:
    """Where SIGHUP is ignored, as under nohup; and where none comes, since it controls no session."""
    first = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    if controls:
        first += "; import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)"
    with dashboard(tmp_path, first) as (process, terminal):
        os.close(terminal)
        assert process.wait(timeout=60) == -signal.SIGHUP
