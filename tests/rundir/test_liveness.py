"""A process is itself and no other: not a dead one, not a later one of the same pid."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from linftui.rundir.liveness import (
    SILENCE_S,
    describe_process,
    folder_identity,
    is_alive,
    is_here,
    is_same_folder,
    life,
    seconds_silent,
    this_host,
)
from linftui.rundir.records import HostRecord, ProcessRecord

GONE = ProcessRecord(role="rank-0", pid=2**22 + 1, start_time=1, uid=0)  # above the highest pid
HERE = this_host()
REBOOTED = structs.replace(HERE, boot_id="another boot", machine="")
NAMESAKE = structs.replace(HERE, boot_id="another boot", machine="another machine")
YEARS = 1e9  # longer than any machine has been up
RENAMED = structs.replace(HERE, name="another name")
CONTAINER = structs.replace(HERE, pid_namespace="pid:[1]")
ELSEWHERE = structs.replace(HERE, name="elsewhere", boot_id="another boot")


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


@pytest.mark.parametrize(
    ("host", "process", "silent_s", "expected"),
    [
        (HERE, "me", 1e9, "alive"),  # silence says nothing where a process can be seen
        (HERE, "gone", 0.0, "gone"),
        (RENAMED, "me", 1e9, "alive"),
        (RENAMED, "gone", 0.0, "gone"),
        (REBOOTED, "me", YEARS, "gone"),  # what was written last is from before
        (REBOOTED, "me", 1.0, "alive"),  # so this is another machine of that name
        (CONTAINER, "gone", SILENCE_S - 1, "alive"),  # its pids mean nothing here
        (CONTAINER, "me", SILENCE_S + 1, "lost"),
        (ELSEWHERE, "gone", SILENCE_S - 1, "alive"),
        (ELSEWHERE, "me", SILENCE_S + 1, "lost"),
        (ELSEWHERE, "me", float("inf"), "lost"),
    ],
)
def test_what_lives_is_seen_where_it_can_be_and_heard_of_elsewhere(
    host: HostRecord, process: str, silent_s: float, expected: str
) -> None:
    assert life([(host, described(os.getpid()) if process == "me" else GONE)], silent_s) == expected


@pytest.mark.parametrize(
    ("others", "silent_s", "expected"),
    [
        ([(HERE, GONE)], 0.0, "gone"),
        ([(HERE, GONE), (REBOOTED, GONE)], YEARS, "gone"),
        ([(HERE, GONE), (ELSEWHERE, GONE)], 1.0, "alive"),  # it cannot be looked at, and something was heard
        ([(HERE, GONE), (ELSEWHERE, GONE)], SILENCE_S + 1, "lost"),
    ],
)
def test_members_on_several_hosts_live_while_one_of_them_does(
    others: list[tuple[HostRecord, ProcessRecord]], silent_s: float, expected: str
) -> None:
    assert life(others, silent_s) == expected
    assert life([*others, (HERE, described(os.getpid()))], silent_s) == "alive"


@pytest.mark.skipif(not HERE.machine, reason="this machine has no id")
def test_a_machine_that_was_started_again_is_known_by_its_id() -> None:
    """At once, whatever was written lately; and a machine that only has the same name is another one."""
    assert life([(structs.replace(HERE, boot_id="another boot"), described(os.getpid()))], 0.0) == "gone"
    assert life([(NAMESAKE, GONE)], 1.0) == "alive"
    assert life([(NAMESAKE, GONE)], 1e9) == "lost"


def test_nobody_lives_where_nobody_was_recorded() -> None:
    assert life([(HERE, None)], 0.0) == life([], 0.0) == "gone"
    assert life([(ELSEWHERE, None)], 0.0) == "alive"
    assert is_here(RENAMED) and not is_here(REBOOTED) and not is_here(CONTAINER)


def test_a_time_in_the_future_is_silence(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    assert seconds_silent([old, new]) == float("inf")
    old.touch()
    now = time.time()
    for date in (now + 1e6, now - 1e6):
        os.utime(old, (date, date))
        assert seconds_silent([old, new]) == pytest.approx(1e6, abs=60)
    os.utime(old, (now + 30, now + 30))  # the clock of a file server may be a little ahead
    assert seconds_silent([old, new]) < 60
    new.touch()
    os.utime(old, (now + 1e6, now + 1e6))
    assert seconds_silent([old, new]) < 60


def test_a_folder_keeps_its_identity_and_its_copy_has_another(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    known = folder_identity(folder)
    assert is_same_folder(known, folder.rename(tmp_path / "moved"), HERE)
    shutil.copytree(tmp_path / "moved", folder)
    assert not is_same_folder(known, folder, HERE)
    assert is_same_folder("", folder, HERE)  # an older linftui recorded nothing
    assert folder_identity(tmp_path / "nowhere") == ""


HIDDEN = """
import os, sys
from linftui.rundir.liveness import is_alive, life, this_host
from linftui.rundir.records import ProcessRecord
pid, start_time, uid = map(int, sys.argv[1:])
process = ProcessRecord(role="rank-0", pid=pid, start_time=start_time, uid=uid)
gone = ProcessRecord(role="rank-0", pid=2**22 + 1, start_time=1, uid=uid)
print(is_alive(process), *(life([(this_host(), p)], s) for p in (process, gone) for s in (0.0, 1e9)))
"""


@pytest.mark.parametrize(
    ("hidepid", "said"), [("0", "True alive alive gone gone"), ("2", "False alive lost gone gone")]
)
def test_another_users_process_behind_a_proc_that_hides_it_is_not_taken_for_dead(
    sleeper: subprocess.Popen[bytes], hidepid: str, said: str
) -> None:
    process = described(sleeper.pid)
    ours = [str(number) for number in (process.pid, process.start_time, process.uid)]
    proc = f"mount -t proc -o hidepid={hidepid} proc /proc"
    alone = ["unshare", "--mount", "--propagation", "private", "sh", "-c"]
    if os.getuid() != 0 or subprocess.run([*alone, proc], capture_output=True).returncode:
        pytest.skip("only root can mount /proc so that it hides processes")
    # The folders that Python reads may be root's alone: what is needed is imported before root is given up.
    program = (
        f"import os, linftui.rundir.liveness; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n{HIDDEN}"
    )
    done = subprocess.run(
        [*alone, f'{proc} && exec "$@"', "sh", sys.executable, "-c", program, *ours],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.stdout.strip(), done.stderr) == (said, "")
