"""What this machine has to train on: processor cores, memory, and GPUs through NVML.

Absence is a value: no driver, no GPU and no permission are all states of a snapshot, never errors.
"""

import os
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Gpu:
    """A GPU in PCI order, which is the order of `--devices 0,3`. Memory in bytes."""

    index: int
    uuid: str
    name: str
    memory_total: int
    memory_used: int


@dataclass(frozen=True)
class DeviceSnapshot:
    """The machine's devices at one moment. `cores` are those this process may use; memory in bytes."""

    cores: int
    memory_total: int
    memory_available: int
    gpus: tuple[Gpu, ...]
    gpu_problem: str  # why there are no GPUs to show; empty where there are


def snapshot() -> DeviceSnapshot:
    """Looks at the machine now."""
    memory = psutil.virtual_memory()
    gpus, problem = _gpus()
    return DeviceSnapshot(
        cores=usable_cores(),
        memory_total=memory.total,
        memory_available=memory.available,
        gpus=gpus,
        gpu_problem=problem,
    )


def usable_cores() -> int:
    """Cores this process may run on, which may be fewer than the machine has."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def _gpus() -> tuple[tuple[Gpu, ...], str]:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return (), f"NVML: {error}"
    try:
        found = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
            found.append(
                Gpu(
                    index=index,
                    uuid=_text(pynvml.nvmlDeviceGetUUID(handle)),
                    name=_text(pynvml.nvmlDeviceGetName(handle)),
                    memory_total=int(memory.total),
                    memory_used=int(memory.used),
                )
            )
        return tuple(found), "" if found else "NVML: the driver reports no GPU"
    except pynvml.NVMLError as error:
        return (), f"NVML: {error}"
    finally:
        pynvml.nvmlShutdown()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
