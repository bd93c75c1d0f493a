"""`linftui run` and `linftui resume` in real processes: in a pipe, on a terminal, interrupted, killed."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from linftui.recipe.load import load_recipe

Command = Callable[..., subprocess.CompletedProcess[str]]

LAST = Path("checkpoints/step-00000036/model.safetensors")


class Terminal:
    """A pseudo-terminal of 100 x 30 with one command on it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.screen = b""

    def __enter__(self) -> "Terminal":
        self._ours, self._theirs = pty.openpty()
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._ours)  # hangs up on whoever is still there

    def start(self, *arguments: str | Path) -> None:
        # The terminal becomes the command's own, so that Ctrl-C reaches it as it would at a desk.
        program = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
        program += "from linftui.cli.app import main; main()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", program, *map(str, arguments)],
            cwd=self._folder,
            env={**os.environ, "TERM": "xterm-256color"},
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            start_new_session=True,
        )
        os.close(self._theirs)

    def press(self, key: bytes) -> None:
        os.write(self._ours, key)

    def text(self) -> str:
        """All that was ever shown, without escape sequences."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.screen.decode(errors="replace"))

    def read_until(self, shown: Callable[[str], object]) -> None:
        while not shown(self.text()):
            assert self._read(), self.text()

    def read_to_the_end(self) -> int:
        """Reads until the command is gone; returns its exit code."""
        while self._read():
            pass
        return self._process.wait(30)

    def _read(self) -> bool:
        try:
            data = os.read(self._ours, 1 << 16)
        except OSError:  # how Linux says that nobody has the other end any more
            return False
        self.screen += data
        return bool(data)


def start(folder: Path, *arguments: str | Path, stdout: int = subprocess.PIPE) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "linftui", *map(str, arguments)]
    return subprocess.Popen(command, cwd=folder, text=True, stdout=stdout, stderr=subprocess.PIPE)


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def curve(run: Path) -> list[tuple[float, ...]]:
    """All of the training records that does not depend on the clock."""
    fields = ("step", "epoch", "loss", "accuracy", "certified_at_p", "lam", "lr", "scalar")
    metrics = [record for record in records(run / "metrics.jsonl") if record["kind"] == "train"]
    return [tuple(record[field] for field in fields) for record in metrics]


@pytest.mark.slow
def test_in_a_pipe_it_prints_plain_lines_and_leaves_the_promised_files(
    linftui: Command, tiny_recipe: Path, tmp_path: Path
) -> None:
    overrides = ["--set", "data.holdout=100", "--set", "checkpoint.keep=1", "--seed", "7"]
    done = linftui("run", tiny_recipe, "--name", "mine", *overrides)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "run runs/mine attempt 1"
    assert re.fullmatch(
        r"epoch 3\.0/3 step 33 p ∞ loss \d\.\d{4} accuracy \d\.\d{4} \| "
        r"test: clean \d\.\d{4} certified \d\.\d{4} \(p = inf, eps 0\.1\)",
        lines[-2],
    )
    assert lines[-1] == "finished: runs/mine  next: linftui certify runs/mine"
    assert all(line.isprintable() for line in lines)

    run = tmp_path / "runs" / "mine"
    files = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    checkpoints = {path.parent.name for path in run.glob("checkpoints/*/COMPLETE")}  # the newest and the best
    assert "step-00000033" in checkpoints and len(checkpoints) <= 2
    parts = ("model.safetensors", "optimizer.safetensors", "trainer.json", "COMPLETE")
    assert files == {
        *("recipe.yaml", "resolved.yaml", "meta.json", "state.json", "exit.json"),
        *("metrics.jsonl", "events.jsonl", "control/supervisor.lock", "logs/attempt-001/rank-0.log"),
        *(f"checkpoints/{name}/{part}" for name in checkpoints for part in parts),
    }
    assert (run / "control").is_dir() and (run / "certificates").is_dir()

    meta = json.loads((run / "meta.json").read_text())
    assert (meta["id"], meta["recipe"], meta["seed"]) == ("mine", "tiny", 7)
    assert meta["overrides"] == ["data.holdout=100", "checkpoint.keep=1", "seed=7"]
    assert meta["kernel_backend"] and set(meta["versions"]) >= {"linftui", "python", "torch"}
    assert (run / "recipe.yaml").read_text() == tiny_recipe.read_text()
    assert load_recipe(run / "resolved.yaml").recipe == load_recipe(tiny_recipe, meta["overrides"]).recipe
    events = [record["event"] for record in records(run / "events.jsonl")]
    assert events[0] == "started" and events[-1] == "finished"
    splits = {record["split"] for record in records(run / "metrics.jsonl") if record["kind"] == "eval"}
    assert splits == {"test", "holdout"}


@pytest.mark.slow
def test_ctrl_c_on_a_terminal_stops_it_and_resume_ends_with_the_network_of_an_uninterrupted_run(
    linftui: Command, fails: Callable[..., str], tiny_recipe: Path, finished_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "runs" / "cut"
    with Terminal(tmp_path) as terminal:
        # More work in evaluation changes no weight: it only leaves time to press Ctrl-C.
        slowly = ["--set", "evaluation.batch_size=2", "--set", "evaluation.reestimate_means=true"]
        terminal.start("run", tiny_recipe, "--name", "cut", *slowly)
        terminal.read_until(lambda text: re.search(r"certified 0\.\d{4} at eps 0\.1", text))
        terminal.press(b"\x03")
        assert terminal.read_to_the_end() == 130
    text = terminal.text()
    assert "cut  attempt 1" in text and re.search(r"epoch +\d\.\d / 3", text)
    assert re.search(r"loss \d\.\d+ +p \d+.* +λ 0\.\d+ ", text)
    assert re.search(r"test at p = ∞  certified 0\.\d{4} at eps 0\.1   clean 0\.\d{4}", text)
    assert re.search(r"saved at step \d+", text)
    assert "stopped: runs/cut  go on with: linftui resume runs/cut" in text
    assert "Traceback" not in text
    assert terminal.screen.count(b"\x1b[?25l") == terminal.screen.count(b"\x1b[?25h") > 0  # the cursor

    shown = json.loads(linftui("show", "cut", "--json").stdout)
    assert (shown["state"], shown["attempt"]) == ("stopped", 1)
    assert list(run.glob("checkpoints/*/COMPLETE")) and not (run / LAST).exists()

    done = linftui("resume", "cut", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    [line] = done.stdout.splitlines()
    shown = json.loads(line)
    assert (shown["state"], shown["attempt"], shown["step"], shown["p"]) == ("finished", 2, 36, "inf")
    assert line == linftui("show", "cut", "--json").stdout.strip()
    assert (run / LAST).read_bytes() == (finished_run / LAST).read_bytes()
    assert curve(run) == curve(finished_run)
    assert fails(2, "resume", "cut") == "cut is finished; certify it with: linftui certify runs/cut"


def test_a_second_ctrl_c_ends_a_worker_that_does_not_answer(
    linftui: Command, tiny_recipe: Path, tmp_path: Path
) -> None:
    run = tmp_path / "runs" / "stuck"
    with start(tmp_path, "run", tiny_recipe, "--name", "stuck") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "run runs/stuck attempt 1\n"
        members = json.loads((run / "state.json").read_text())["members"]
        worker = next(member["pid"] for member in members if member["role"] == "rank-0")
        os.kill(worker, signal.SIGSTOP)
        try:
            process.send_signal(signal.SIGINT)
            while not (run / "control" / "stop-001.json").exists() and process.poll() is None:
                time.sleep(0.01)
            assert json.loads(linftui("show", "stuck", "--json").stdout)["state"] == "stopping"
            process.send_signal(signal.SIGINT)
            stdout, stderr = process.communicate(timeout=30)
        finally:
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
    assert (process.returncode, stderr) == (130, "")
    assert stdout == "crashed: runs/stuck  no checkpoint was saved\n"
    assert not Path(f"/proc/{worker}").exists()
    assert json.loads((run / "exit.json").read_text())["code"] == -signal.SIGKILL


@pytest.mark.slow
def test_a_reader_that_leaves_does_not_stop_the_run(
    linftui: Command, tiny_recipe: Path, tmp_path: Path
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with start(tmp_path, "run", tiny_recipe, stdout=writing) as process:
        os.close(writing)
        _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (0, "")
    [run] = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"tiny-\d{8}-\d{6}-[0-9a-f]{4}", run.name)
    assert json.loads(linftui("show", run.name, "--json").stdout)["state"] == "finished"


@pytest.mark.slow
def test_resume_passes_over_half_written_checkpoints_with_a_warning(
    linftui: Command, copied_run: Path, finished_run: Path
) -> None:
    (copied_run / "exit.json").unlink()  # as if the machine had gone down
    assert json.loads(linftui("show", "tiny-run", "--json").stdout)["state"] == "crashed"
    (copied_run / "checkpoints/step-00000036/COMPLETE").unlink()
    done = linftui("resume", "tiny-run")
    assert (done.returncode, done.stderr) == (0, "")
    warning = "warning: checkpoint step-00000036 is incomplete: it was not written to its end; "
    assert f"{warning}the one before it is used\n" in done.stdout
    assert (copied_run / LAST).read_bytes() == (finished_run / LAST).read_bytes()
    resumed = [record for record in records(copied_run / "events.jsonl") if record["event"] == "resumed"]
    assert [record["step"] for record in resumed] == [24]
