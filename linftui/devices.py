"""The devices that this machine can train on, and how busy they are: cores, memory, and GPUs through NVML.

Absence is a value: no driver, no GPU and no permission are all states of a snapshot, never errors.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import psutil

from linftui.cores import allowed_cores, usable_cores
from linftui.nvml import NO_GPU, Nvml
from linftui.rundir.records import DeviceRecord, Gpu

__all__ = ["DeviceMonitor", "DeviceSnapshot", "Gpu", "snapshot"]


@dataclass(frozen=True)
class DeviceSnapshot:
    """The machine's devices at one moment. `cores` are those this process may use; memory in bytes."""

    cores: int
    memory_total: int
    memory_available: int
    gpus: tuple[Gpu, ...]  # in PCI order
    gpu_problem: str  # why there are no GPUs to show; empty where there are
    cpu: float | None = None  # share of the cores in use since the previous sample; None: there was none


def snapshot() -> DeviceSnapshot:
    """The machine's devices now."""
    nvml = Nvml()
    try:
        gpus, problem = nvml.look()
    finally:
        nvml.close()
    return _machine(gpus, problem)


class DeviceMonitor:
    """Looks at the machine repeatedly, at little cost; for one thread at a time.

    Shares and rates are means since the previous call, or since the monitor was made.
    """

    def __init__(self) -> None:
        self._nvml = Nvml()
        self._core_seconds = _core_seconds()
        self._process_seconds: dict[psutil.Process, float] = {}
        self._asked = time.monotonic()
        self._seen: dict[str, Gpu] = {}

    def sample(self) -> DeviceSnapshot:
        """The machine now, with the share of its cores in use."""
        gpus, problem = self._nvml.look()
        return _machine(gpus, problem, self._cpu())

    def usage(self, pids: Iterable[int]) -> tuple[float, int]:
        """What these processes use: cores since the previous call, and bytes of memory now.

        A process counts from the first call that names it; one that is gone does not count. Memory is the
        resident set, so memory that several of them share is counted for each.
        """
        since, self._asked = self._asked, time.monotonic()
        before, self._process_seconds = self._process_seconds, {}
        used, memory = 0.0, 0
        for pid in set(pids):
            try:
                process = psutil.Process(pid)  # includes the start time: a reused pid is another process
                with process.oneshot():
                    times, resident = process.cpu_times(), process.memory_info().rss
            except psutil.Error:
                continue
            seconds = times.user + times.system
            used += seconds - before.get(process, seconds)
            memory += resident
            self._process_seconds[process] = seconds
        elapsed = self._asked - since
        return (max(0.0, used / elapsed) if elapsed > 0 else 0.0), memory

    def record(self, attempt: int, uuids: Sequence[str], pids: Sequence[int]) -> DeviceRecord:
        """A record of an attempt that runs on these GPUs (none: on the CPU) with these processes.

        Every GPU asked for is in it, in that order; a lost one at least with its UUID and the problem.
        """
        gpus, problem = self._nvml.look() if uuids else ((), "")
        machine = _machine(gpus, problem, self._cpu())
        cores, memory = self.usage(pids)
        return DeviceRecord(
            attempt=attempt,
            time=time.time(),
            cpu=machine.cpu or 0.0,
            memory_used=machine.memory_total - machine.memory_available,
            memory_total=machine.memory_total,
            run_cpu=cores,
            run_memory=memory,
            gpus=[self._own(uuid, machine) for uuid in uuids],
            gpu_problem=problem,
        )

    def close(self) -> None:
        """Closes NVML. A later call opens it again."""
        self._nvml.close()

    def _own(self, uuid: str, machine: DeviceSnapshot) -> Gpu:
        for gpu in machine.gpus:
            if gpu.uuid == uuid:
                self._seen[uuid] = gpu
                return gpu
        last = self._seen.get(uuid, Gpu(index=-1, uuid=uuid, name=""))
        unnamed = [gpu.problem for gpu in machine.gpus if not gpu.uuid and gpu.index == last.index]
        silent = machine.gpu_problem not in ("", NO_GPU)  # then nothing is known of any GPU
        problem = unnamed[0] if unnamed else machine.gpu_problem if silent else "it is gone"
        return Gpu(index=last.index, uuid=uuid, name=last.name, problem=problem)

    def _cpu(self) -> float:
        before, self._core_seconds = self._core_seconds, _core_seconds()
        both = before.keys() & self._core_seconds.keys()
        busy, total = (sum(self._core_seconds[core][i] - before[core][i] for core in both) for i in (0, 1))
        return min(1.0, max(0.0, busy / total)) if total > 0 else 0.0


def _machine(gpus: tuple[Gpu, ...], problem: str, cpu: float | None = None) -> DeviceSnapshot:
    memory = psutil.virtual_memory()
    return DeviceSnapshot(
        cores=usable_cores(),
        memory_total=memory.total,
        memory_available=memory.available,
        gpus=gpus,
        gpu_problem=problem,
        cpu=cpu,
    )


def _core_seconds() -> dict[int, tuple[float, float]]:
    """For each usable core, its busy seconds and its seconds in all, since a fixed moment in the past."""
    times = dict(enumerate(psutil.cpu_times(percpu=True)))
    cores = allowed_cores()
    if not cores <= times.keys():  # a container numbers its own cores from 0: it may use all of them
        cores = set(times)
    seconds = {}
    for core in cores:
        fields = times[core]._asdict()
        # A guest's time is in `user` and `nice` as well.
        total = sum(fields.values()) - fields.get("guest", 0.0) - fields.get("guest_nice", 0.0)
        seconds[core] = (total - fields["idle"] - fields.get("iowait", 0.0), total)
    return seconds
