"""What will be started, decided before anything is: devices, ranks, threads, and the command line."""

import os
import re
import sys
from dataclasses import dataclass

from linftui.devices import DeviceSnapshot
from linftui.errors import DeviceError

_COUNTED = re.compile(r"(cpu|gpu):(\d{1,4})")
_LISTED = re.compile(r"(\d+|GPU-[0-9A-Za-z-]+)(,(\d+|GPU-[0-9A-Za-z-]+))*")


@dataclass(frozen=True)
class LaunchPlan:
    """Where a run is trained: "cpu" or the UUIDs of GPUs, and the threads each rank computes with."""

    devices: tuple[str, ...]
    threads: int

    @property
    def torch_device(self) -> str:
        return "cpu" if self.devices == ("cpu",) else "cuda"

    def worker_command(self, *arguments: str) -> list[str]:
        """The command of a worker on these devices."""
        return [
            # -P: the folder it is started in, perhaps a stranger's run, is no place to import from.
            sys.executable, "-P", "-m", "linftui.worker", *arguments,
            "--device", self.torch_device, "--threads", str(self.threads),
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        """The worker's environment: it sees its own devices only, in the order that NVML lists them."""
        visible = "" if self.devices == ("cpu",) else ",".join(self.devices)
        return {
            **os.environ,
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
            "CUDA_VISIBLE_DEVICES": visible,
            "PYTHONUNBUFFERED": "1",
        }


def plan_devices(spec: str, machine: DeviceSnapshot) -> LaunchPlan:
    """Turns `--devices` into a plan: auto | cpu | cpu:N | gpu:N | 0,3 | UUID,...

    `auto` takes the GPU with the most free memory, else the CPU.

    Raises:
        DeviceError: the text is not understood, or asks for more ranks than there are devices.
    """
    if spec == "auto":
        free = sorted(machine.gpus, key=lambda gpu: gpu.memory_used - gpu.memory_total)
        chosen: tuple[str, ...] = (free[0].uuid,) if free else ("cpu",)
    elif spec == "cpu":
        chosen = ("cpu",)
    elif counted := _COUNTED.fullmatch(spec):
        chosen = _counted(counted[1], int(counted[2]), machine)
    elif _LISTED.fullmatch(spec):
        chosen = tuple(_gpu(name, machine) for name in spec.split(","))
        if len(set(chosen)) < len(chosen):
            raise DeviceError(f"--devices {spec} names a GPU twice")
    else:
        raise DeviceError(
            f"--devices {spec!r} is not understood", "use auto, cpu, cpu:N, gpu:N, 0,3 or UUIDs"
        )
    if len(chosen) > 1:
        raise DeviceError(
            f"--devices {spec} asks for {len(chosen)} ranks, and this version trains with one",
            "ask for one device",
        )
    return LaunchPlan(devices=chosen, threads=machine.cores)


def _counted(kind: str, n: int, machine: DeviceSnapshot) -> tuple[str, ...]:
    here = machine.cores if kind == "cpu" else len(machine.gpus)
    what = "core" if kind == "cpu" else "GPU"
    if n < 1:
        raise DeviceError(f"--devices {kind}:{n} asks for no rank at all")
    if n > here:
        raise DeviceError(
            f"--devices {kind}:{n} asks for {_plural(n, 'rank')}, but this machine has {_plural(here, what)}",
            "ask for fewer" if here else "use --devices cpu",
        )
    return ("cpu",) * n if kind == "cpu" else tuple(gpu.uuid for gpu in machine.gpus[:n])


def _plural(n: int, what: str) -> str:
    return f"{n or 'no'} {what}{'' if n == 1 else 's'}"


def _gpu(name: str, machine: DeviceSnapshot) -> str:
    for gpu in machine.gpus:
        if name in (str(gpu.index), gpu.uuid):
            return gpu.uuid
    known = ", ".join(str(gpu.index) for gpu in machine.gpus) or machine.gpu_problem
    raise DeviceError(f"there is no GPU {name} here", f"known: {known}")
