"""A process is itself and no other: not a dead one, not a later one of the same pid."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from linftui.rundir.liveness import describe_process, is_alive, this_host
from linftui.rundir.records import ProcessRecord


def described(pid: int) -> ProcessRecord:
    process = describe_process(pid, "rank-0")
    assert process is not None
    return process


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def test_a_running_process_is_alive(sleeper: subprocess.Popen[bytes]) -> None:
    assert is_alive(described(os.getpid()))
    assert is_alive(described(sleeper.pid))


def test_a_finished_process_is_not_alive(sleeper: subprocess.Popen[bytes]) -> None:
    process = described(sleeper.pid)
    sleeper.kill()
    sleeper.wait()
    assert not is_alive(process)
    assert describe_process(sleeper.pid, "rank-0") is None


def test_a_zombie_is_not_alive(sleeper: subprocess.Popen[bytes]) -> None:
    process = described(sleeper.pid)
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)  # dead, and its pid not given back yet
    assert Path(f"/proc/{sleeper.pid}").exists()
    assert not is_alive(process)
    assert describe_process(sleeper.pid, "rank-0") is None


@pytest.mark.parametrize("field", ["start_time", "uid"])
def test_a_later_process_of_the_same_pid_is_another(sleeper: subprocess.Popen[bytes], field: str) -> None:
    process = described(sleeper.pid)
    assert not is_alive(structs.replace(process, **{field: getattr(process, field) + 1}))


def test_two_processes_have_two_identities(sleeper: subprocess.Popen[bytes]) -> None:
    assert described(sleeper.pid) != described(os.getpid())
    assert described(sleeper.pid).uid == os.getuid()


@pytest.mark.parametrize("name", [b"a) Z 1 (b", b"\xff\xfe", b"two words"])
def test_a_process_may_have_any_name(tmp_path: Path, name: bytes) -> None:
    program = os.fsencode(tmp_path) + b"/" + name
    os.symlink(shutil.which("sleep") or "", program)
    with subprocess.Popen([program, b"60"]) as process:
        try:
            assert name in Path(f"/proc/{process.pid}/stat").read_bytes()
            assert is_alive(described(process.pid))
        finally:
            process.kill()


def test_a_host_is_known_by_its_boot_and_its_pid_namespace() -> None:
    host = this_host()
    assert host.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip() != ""
    assert host.pid_namespace == os.readlink("/proc/self/ns/pid")
