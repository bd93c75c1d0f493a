"""What the machine is seen to have, and what processes are seen to use of it: real ones, without a GPU."""

import ctypes.util
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import psutil
import pytest

from linftui.cores import usable_cores
from linftui.devices import DeviceMonitor, snapshot
from linftui.rundir.records import DeviceRecord, decoder, encode

MIB = 1 << 20


class TestTheMachine:
    def test_cores_and_memory_are_those_of_this_machine(self) -> None:
        machine = snapshot()
        assert machine.cores == usable_cores() <= len(os.sched_getaffinity(0))
        assert machine.memory_total == psutil.virtual_memory().total
        assert 0 < machine.memory_available <= machine.memory_total
        assert machine.cpu is None

    @pytest.mark.skipif(ctypes.util.find_library("nvidia-ml") is not None, reason="this machine has NVML")
    def test_without_nvml_there_are_no_gpus_and_the_reason_is_told(self) -> None:
        for machine in (snapshot(), DeviceMonitor().sample()):
            assert machine.gpus == ()
            assert machine.gpu_problem == "NVML: NVML Shared Library Not Found"

    def test_looking_prints_nothing_and_a_record_of_a_cpu_run_does_not_even_load_pynvml(self) -> None:
        program = "import sys; from linftui.devices import DeviceMonitor, snapshot; m = DeviceMonitor();"
        program += "record = m.record(1, [], [0]); m.close(); assert 'pynvml' not in sys.modules;"
        program += "assert (record.gpus, record.gpu_problem) == ([], ''); m.sample(); snapshot(); m.close()"
        done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# Uses half a second of a processor at each line it is sent, and sleeps otherwise.
WORKER = """
import sys, time
ballast = b"x" * (64 << 20)
print("ready", flush=True)
for line in sys.stdin:
    until = time.process_time() + 0.5
    while time.process_time() < until: pass
    print("done", flush=True)
"""


@contextmanager
def worker() -> Iterator[subprocess.Popen[str]]:
    """A running WORKER that is ready."""
    with subprocess.Popen(
        [sys.executable, "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def burn(process: subprocess.Popen[str]) -> None:
    """Half a second of processor time, be it in however long."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "done\n"


def used(monitor: DeviceMonitor, pids: Sequence[int], during: Callable[[], None]) -> tuple[float, float, int]:
    """Seconds of processor time that the monitor finds, at least and at most, and bytes of memory.

    Seconds and not cores, which depend on how busy this machine is with other things.
    """
    outer = time.monotonic()
    monitor.usage(pids)
    inner = time.monotonic()
    during()
    inner = time.monotonic() - inner
    cores, memory = monitor.usage(pids)
    return cores * inner, cores * (time.monotonic() - outer), memory


class TestUsage:
    def test_cores_are_the_processor_time_of_these_processes_over_the_time_between_the_calls(self) -> None:
        monitor = DeviceMonitor()
        with worker() as busy, worker() as idle:
            least, most, both = used(monitor, [busy.pid, idle.pid], lambda: burn(busy))
            assert least < 0.55 and most > 0.45
            least, _, alone = used(monitor, [idle.pid, idle.pid], lambda: burn(busy))
            assert least < 0.05
        assert 64 * MIB < alone < 128 * MIB < both

    def test_a_process_counts_from_the_call_that_first_names_it(self) -> None:
        monitor = DeviceMonitor()
        with worker() as process:
            burn(process)
            assert monitor.usage([process.pid])[0] == 0.0

    def test_a_process_that_is_gone_counts_nothing_and_hides_no_other(self) -> None:
        monitor = DeviceMonitor()
        with worker() as lasting, worker() as going:

            def during() -> None:
                burn(going)
                going.kill()
                going.wait()
                burn(lasting)

            least, most, memory = used(monitor, [going.pid, lasting.pid], during)
            assert least < 0.55 and most > 0.45
            assert 64 * MIB < memory < 128 * MIB
            assert monitor.usage([going.pid]) == (0.0, 0)

    def test_a_record_tells_of_a_run_on_the_cpu(self) -> None:
        monitor = DeviceMonitor()
        with worker() as process:
            begun = time.monotonic()
            monitor.record(2, [], [process.pid])
            burn(process)
            record = monitor.record(2, [], [process.pid])
            elapsed = time.monotonic() - begun
        assert record.run_cpu * elapsed > 0.45
        assert record.run_memory > 64 * MIB
        # Others may use more, but as much as the run uses is in use.
        assert record.cpu * usable_cores() * elapsed > 0.4
        assert decoder(DeviceRecord)(encode(record)) == record

    def test_the_share_is_of_the_usable_cores_alone(self) -> None:
        program = """
import os, time
os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
from linftui.devices import DeviceMonitor
monitor = DeviceMonitor()
while time.process_time() < 1: pass
print(monitor.sample().cpu)
"""
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert 0.9 < float(done.stdout) <= 1.0  # its one core did nothing else, however many idled

    def test_cores_that_the_kernel_numbers_otherwise_are_taken_all_together(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {4000, 4001})
        monitor = DeviceMonitor()
        with worker() as process:
            burn(process)
        share = monitor.sample().cpu
        assert share is not None and 0.0 < share <= 1.0

    def test_waiting_is_not_work_and_a_guests_time_counts_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        idle, busy = (
            psutil.cpu_times(),
            {"user": 3.0, "guest": 2.0, "system": 1.0, "idle": 5.0, "iowait": 1.0},
        )
        later = idle._replace(**{name: getattr(idle, name) + more for name, more in busy.items()})
        looks = iter([[idle, idle], [later, idle]])
        monkeypatch.setattr(psutil, "cpu_times", lambda percpu: next(looks))
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
        monitor = DeviceMonitor()
        assert monitor.sample().cpu == pytest.approx(0.4)
