"""The pipe by which a worker notices that its starter is gone, however it went."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from linftui.errors import WorkerError
from linftui.launch.worker_process import WorkerProcess
from linftui.processes.life_pipe import LifePipe, SupervisorPipe

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


def test_it_is_open_as_long_as_its_maker_holds_it(pipe: LifePipe) -> None:
    readers = [SupervisorPipe(pipe.name) for _ in range(3)]
    assert [reader.closed() for reader in readers] == [False] * 3
    pipe.close()
    assert [reader.closed() for reader in readers] == [True] * 3


def test_no_process_that_we_start_holds_it_open(pipe: LifePipe, tmp_path: Path) -> None:
    worker = start("import time; time.sleep(60)", tmp_path)
    reader = SupervisorPipe(pipe.name)
    pipe.close()
    assert reader.closed()
    worker.kill()
    assert worker.wait(PATIENCE_S) is not None


def test_it_closes_with_its_maker_however_that_ended() -> None:
    program = "from linftui.processes.life_pipe import LifePipe; import signal; pipe = LifePipe();"
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


def test_another_pipe_of_the_same_name_is_not_taken_for_it(pipe: LifePipe) -> None:
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
    pipe: LifePipe, tmp_path: Path
) -> None:
    program = "import sys, time; from linftui.processes.life_pipe import SupervisorPipe\n"
    program += "def waiting_for_others(): print('up', flush=True); time.sleep(600)\n"
    program += "SupervisorPipe(sys.argv[1]).end_process_once_closed(0.1); waiting_for_others()"
    process, log = start(program, tmp_path, pipe.name), tmp_path / "log"
    while log.read_text() != "up\n":
        assert process.wait(0.01) is None
    assert process.wait(0.3) is None  # its patience begins with the supervisor's death
    pipe.close()
    assert process.wait(PATIENCE_S) == 1
    assert "in waiting_for_others" in log.read_text()
