"""A worker process as its starter sees it, and the pipe by which it notices that its starter is gone."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from linftui.errors import WorkerError
from linftui.launch.worker_process import LifePipe, WorkerProcess
from linftui.rundir.liveness import is_alive
from linftui.worker import SupervisorPipe

PATIENCE_S = 60.0


@pytest.fixture
def pipe() -> Iterator[LifePipe]:
    pipe = LifePipe()
    yield pipe
    for descriptor in (pipe._reading, pipe._writing):
        try:
            os.close(descriptor)
        except OSError:
            pass  # the test has closed it


def start(program: str, folder: Path, *arguments: str) -> WorkerProcess:
    command = [sys.executable, "-c", program, *arguments]
    return WorkerProcess(command, dict(os.environ), folder / "log", "rank-0")


class TestWorkerProcess:
    def test_it_has_a_session_and_a_log_of_its_own_and_no_input(self, tmp_path: Path) -> None:
        (tmp_path / "log").write_text("before\n")
        program = "import os, sys; print(os.getsid(0) == os.getpid(), repr(sys.stdin.read()), flush=True);"
        process = start(program + "print('oh', file=sys.stderr)", tmp_path)
        assert process.wait(PATIENCE_S) == 0
        assert (tmp_path / "log").read_text() == "before\nTrue ''\noh\n"

    def test_it_is_known_by_its_identity_and_its_exit_code(self, tmp_path: Path) -> None:
        process = start("import sys; sys.stdin = None; import time; time.sleep(60)", tmp_path)
        assert process.identity is not None and process.identity.role == "rank-0"
        assert is_alive(process.identity)
        assert process.wait(0.01) is None
        process.kill()
        assert process.wait(PATIENCE_S) == -signal.SIGKILL
        assert not is_alive(process.identity)

    def test_it_can_be_asked_to_stop(self, tmp_path: Path) -> None:
        program = (
            "import signal; signal.signal(15, lambda *_: exit(7)); print('up', flush=True); signal.pause()"
        )
        process = start(program, tmp_path)
        while (tmp_path / "log").read_text() != "up\n":
            assert process.wait(0.01) is None
        process.ask_to_stop()
        assert process.wait(PATIENCE_S) == 7

    def test_one_that_cannot_be_started_is_told_in_a_sentence(self, tmp_path: Path) -> None:
        with pytest.raises(WorkerError, match="a worker process cannot be started: No such file"):
            WorkerProcess([str(tmp_path / "absent")], {}, tmp_path / "log", "rank-0")


class TestLifePipe:
    def test_it_is_open_as_long_as_its_maker_holds_it(self, pipe: LifePipe) -> None:
        readers = [SupervisorPipe(pipe.name) for _ in range(3)]
        assert [reader.closed() for reader in readers] == [False] * 3
        pipe.close()
        assert [reader.closed() for reader in readers] == [True] * 3

    def test_no_process_that_we_start_holds_it_open(self, pipe: LifePipe, tmp_path: Path) -> None:
        worker = start("import time; time.sleep(60)", tmp_path)
        reader = SupervisorPipe(pipe.name)
        pipe.close()
        assert reader.closed()
        worker.kill()
        assert worker.wait(PATIENCE_S) is not None

    def test_it_closes_with_its_maker_however_that_ended(self) -> None:
        program = "from linftui.launch.worker_process import LifePipe; import signal; pipe = LifePipe();"
        program += "print(pipe.name, flush=True); signal.pause()"
        maker = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        with maker:
            assert maker.stdout is not None
            name = maker.stdout.readline().strip()
            reader = SupervisorPipe(name)
            assert not reader.closed()
            maker.kill()
        assert reader.closed()
        with pytest.raises(WorkerError, match="the supervisor is gone"):
            SupervisorPipe(name)

    def test_another_pipe_of_the_same_name_is_not_taken_for_it(self, pipe: LifePipe) -> None:
        pid, descriptor, inode = pipe.name.split(":")
        with pytest.raises(WorkerError, match="the supervisor is gone"):
            SupervisorPipe(f"{pid}:{descriptor}:{int(inode) + 1}")
        pipe.close()
        later = LifePipe()  # takes the lowest free descriptors, which are those just closed
        try:
            assert later.name.split(":")[:2] == [pid, descriptor]
            with pytest.raises(WorkerError, match="the supervisor is gone"):
                SupervisorPipe(pipe.name)
        finally:
            later.close()

    def test_a_process_that_hangs_ends_soon_after_its_supervisor_and_says_where_it_hung(
        self, pipe: LifePipe, tmp_path: Path
    ) -> None:
        program = "import sys, time; from linftui.worker import SupervisorPipe\n"
        program += "def waiting_for_others(): print('up', flush=True); time.sleep(600)\n"
        program += "SupervisorPipe(sys.argv[1]).end_process_once_closed(0.1); waiting_for_others()"
        process, log = start(program, tmp_path, pipe.name), tmp_path / "log"
        while log.read_text() != "up\n":
            assert process.wait(0.01) is None
        assert process.wait(0.3) is None  # its patience begins with the supervisor's death
        pipe.close()
        assert process.wait(PATIENCE_S) == 1
        assert "in waiting_for_others" in log.read_text()
