"""Signals reach the process that is meant, at work for this run, and no bystander."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from msgspec import structs
from support.stand_ins import GONE, described, is_spared

from linftui.errors import RunStateError
from linftui.processes.signalling import ask_for_stack, end_members, send_signal
from linftui.rundir.paths import RunPaths
from linftui.rundir.records import ProcessRecord


class TestEndMembers:
    def test_each_that_is_ours_is_ended(self, paths: RunPaths, sleeper: subprocess.Popen[bytes]) -> None:
        end_members(paths, [structs.replace(GONE, role="rank-1"), described(sleeper)])
        assert sleeper.wait() == -9

    @pytest.mark.parametrize(
        "arguments",
        [
            [],
            ["linftui"],
            ["linftui/worker/__main__.py", "{run}"],  # an editor
            ["-m", "pytest", "{run}"],
            ["-m", "linftui.worker"],
            ["-m", "linftui.worker", "train", "{other}", "--note", "{run}"],
            ["-m", "linftui.worker", "train", "."],
        ],
    )
    def test_a_bystander_is_spared_whatever_the_record_says(
        self, paths: RunPaths, tmp_path: Path, arguments: list[str]
    ) -> None:
        (tmp_path / "other").mkdir()
        words = [word.format(run=paths.root, other=tmp_path / "other") for word in arguments]
        command = [sys.executable, "-c", "import time; time.sleep(60)", *words]
        with subprocess.Popen(command, cwd=paths.root) as process:
            end_members(paths, [described(process)])
            assert is_spared(process)
            process.kill()

    def test_a_process_of_the_run_that_this_one_is_a_copy_of_is_spared(
        self, paths: RunPaths, tmp_path: Path, sleeper: subprocess.Popen[bytes]
    ) -> None:
        copy = RunPaths(shutil.copytree(paths.root, tmp_path / "copy"))
        end_members(copy, [described(sleeper)])
        assert is_spared(sleeper)

    def test_a_run_that_was_given_another_name_by_a_link_is_the_same(
        self, paths: RunPaths, tmp_path: Path, sleeper: subprocess.Popen[bytes]
    ) -> None:
        (tmp_path / "link").symlink_to(tmp_path)
        end_members(RunPaths(tmp_path / "link" / paths.id), [described(sleeper)])
        assert sleeper.wait() == -9

    def test_a_process_that_has_a_recorded_pid_by_chance_is_spared(
        self, paths: RunPaths, sleeper: subprocess.Popen[bytes]
    ) -> None:
        process = described(sleeper)
        end_members(paths, [structs.replace(process, start_time=process.start_time + n) for n in (-1, 1)])
        assert is_spared(sleeper)


class TestSendSignal:
    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
    def test_the_recorded_process_gets_it(
        self, sleeper: subprocess.Popen[bytes], number: signal.Signals
    ) -> None:
        send_signal(described(sleeper), number)
        assert sleeper.wait() == -number

    def test_a_process_with_another_start_time_is_spared(self, sleeper: subprocess.Popen[bytes]) -> None:
        process = described(sleeper)
        for start_time in (process.start_time - 1, process.start_time + 1):
            send_signal(structs.replace(process, start_time=start_time), signal.SIGKILL)
        assert is_spared(sleeper)

    def test_a_process_of_another_user_is_refused(self, sleeper: subprocess.Popen[bytes]) -> None:
        process = described(sleeper)
        with pytest.raises(RunStateError, match="belongs to another user"):
            send_signal(structs.replace(process, uid=process.uid + 1), signal.SIGKILL)
        assert is_spared(sleeper)

    def test_a_process_that_is_gone_is_no_error(self, sleeper: subprocess.Popen[bytes]) -> None:
        process = described(sleeper)
        sleeper.kill()
        sleeper.wait()
        send_signal(process, signal.SIGKILL)


def run_without_pidfd(removal: str, process: ProcessRecord) -> None:
    """Signals a process from a Python, or a kernel, that lacks what pins a process down."""
    program = f"""
import ctypes, os, signal, struct
from linftui.processes.signalling import send_signal
from linftui.rundir.records import ProcessRecord
{removal}
process = ProcessRecord(
    role="rank-0", pid={process.pid}, start_time={process.start_time}, uid={process.uid}
)
send_signal(process, signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


# A filter of the kernel's own that answers pidfd_open with an error, as old kernels and containers do.
REFUSED = """
def op(code, k, jt=0, jf=0): return struct.pack("HBBI", code, jt, jf, k)
program = op(0x20, 0) + op(0x15, 434, 0, 1) + op(0x06, 0x50000 | {errno}) + op(0x06, 0x7FFF0000)
held = ctypes.create_string_buffer(program)
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl(38, 1, 0, 0, 0)
assert libc.prctl(22, 2, struct.pack("HP", 4, ctypes.addressof(held))) == 0, os.strerror(ctypes.get_errno())
try:
    os.pidfd_open(os.getpid())
    raise AssertionError("it is not refused")
except OSError as error:
    assert error.errno == {errno}
"""


@pytest.mark.parametrize(
    "removal",
    [
        "vars(os).pop('pidfd_open', None)",
        *(
            pytest.param(
                REFUSED.format(errno=number),
                marks=pytest.mark.skipif(
                    not hasattr(os, "pidfd_open"), reason="this Python has no pidfd_open"
                ),
            )
            for number in (errno.ENOSYS, errno.EPERM)
        ),
    ],
)
def test_a_process_is_signalled_where_it_cannot_be_pinned_down(
    sleeper: subprocess.Popen[bytes], removal: str
) -> None:
    process = described(sleeper)
    run_without_pidfd(removal, structs.replace(process, start_time=process.start_time - 1))
    assert is_spared(sleeper)
    run_without_pidfd(removal, process)
    assert sleeper.wait() == -signal.SIGKILL


@pytest.mark.parametrize("stopped", [False, True])
def test_a_process_that_hangs_says_what_it_is_doing(tmp_path: Path, stopped: bool) -> None:
    program = "import time; from linftui.processes.signalling import show_stack_when_asked\n"
    program += "def waiting_for_others(): print('up', flush=True); time.sleep(60)\n"
    program += "show_stack_when_asked(); waiting_for_others()"
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-c", program], stdout=output, stderr=output)
    with process:
        while log.read_text() != "up\n":
            assert process.poll() is None
        if stopped:
            process.send_signal(signal.SIGSTOP)
        ask_for_stack(described(process))
        deadline = time.monotonic() + 30
        while "in waiting_for_others" not in log.read_text() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert "in waiting_for_others" in log.read_text() and process.poll() is None
        process.kill()
