"""A worker process as its starter sees it."""

import os
import signal
import sys
from pathlib import Path

import pytest

from linftui.errors import WorkerError
from linftui.launch.worker_process import WorkerProcess
from linftui.rundir.liveness import is_alive

PATIENCE_S = 60.0


def start(program: str, folder: Path, *arguments: str) -> WorkerProcess:
    command = [sys.executable, "-c", program, *arguments]
    return WorkerProcess(command, dict(os.environ), folder / "log", "rank-0")


def test_it_has_a_session_and_a_log_of_its_own_and_no_input(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("before\n")
    program = "import os, sys; print(os.getsid(0) == os.getpid(), repr(sys.stdin.read()), flush=True);"
    process = start(program + "print('oh', file=sys.stderr)", tmp_path)
    assert process.wait(PATIENCE_S) == 0
    assert (tmp_path / "log").read_text() == "before\nTrue ''\noh\n"


def test_it_is_known_by_its_identity_and_its_exit_code(tmp_path: Path) -> None:
    process = start("import sys; sys.stdin = None; import time; time.sleep(60)", tmp_path)
    assert process.identity is not None and process.identity.role == "rank-0"
    assert is_alive(process.identity)
    assert process.wait(0.01) is None
    process.kill()
    assert process.wait(PATIENCE_S) == -signal.SIGKILL
    assert not is_alive(process.identity)


def test_it_can_be_asked_to_stop(tmp_path: Path) -> None:
    program = "import signal; signal.signal(15, lambda *_: exit(7)); print('up', flush=True); signal.pause()"
    process = start(program, tmp_path)
    while (tmp_path / "log").read_text() != "up\n":
        assert process.wait(0.01) is None
    process.ask_to_stop()
    assert process.wait(PATIENCE_S) == 7


def test_one_that_cannot_be_started_is_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match="a worker process cannot be started: No such file"):
        WorkerProcess([str(tmp_path / "absent")], {}, tmp_path / "log", "rank-0")
