"""What `--devices` means on this machine."""

import importlib.util
import os
import re
from importlib.metadata import version

from linftui.devices import DeviceSnapshot
from linftui.errors import DeviceError
from linftui.launch.plan import LaunchPlan
from linftui.launch.visible import VISIBLE, refuse_part_of_gpu, visible_gpus
from linftui.rundir.records import Gpu

_COUNTED = re.compile(r"(cpu|gpu):(\d{1,4})")
_NAMED = r"(\d+|(GPU|MIG)-[0-9A-Za-z/-]+)"
_LISTED = re.compile(rf"{_NAMED}(,{_NAMED})*")


def plan_devices(spec: str, machine: DeviceSnapshot, threads: int | None = None) -> LaunchPlan:
    """Turns `--devices` into a plan: auto | cpu | cpu:N | gpu:N | 0,3 | UUID,...

    `auto` takes the GPU with the most free memory; without a GPU, or with a torch for CPUs, it takes the CPU.
    GPUs that CUDA_VISIBLE_DEVICES hides are not taken. Each rank has `threads` threads; without a number it
    has its share of the cores, or OMP_NUM_THREADS where that is less.

    Raises:
        DeviceError: the text is not understood, or asks for more ranks than there are devices, or for a
            GPU although torch or the compiler of the kernels cannot use one.
    """
    if spec == "auto":
        gpus = [] if _torch_is_for_cpus() else _usable(machine)
        freest = max(gpus, key=_free_memory, default=None)
        chosen: tuple[str, ...] = ("cpu",) if freest is None else (freest.uuid,)
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
    if chosen[0] != "cpu" and _torch_is_for_cpus():
        raise DeviceError(
            f"--devices {spec} takes a GPU, and torch {version('torch')} is built for CPUs only",
            "install a torch that is built for CUDA, or choose --devices cpu",
        )
    if chosen[0] != "cpu" and not _compiles_kernels():
        raise DeviceError(
            f"--devices {spec} takes a GPU, and the compiler for its kernels is not installed",
            "pip install 'linftui[cuda]', or choose --devices cpu",
        )
    return LaunchPlan(devices=chosen, threads=threads or _threads(machine.cores // len(chosen)))


def _threads(share: int) -> int:
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()  # of a list, those of the outer level
    wanted = int(first) if first.isascii() and first.isdecimal() else 0
    return max(1, min(wanted or share, share))


def _torch_is_for_cpus() -> bool:
    """By its version, since importing torch takes a second."""
    return version("torch").endswith("+cpu")


def _compiles_kernels() -> bool:
    try:
        return importlib.util.find_spec("cuda.core") is not None
    except ModuleNotFoundError:  # the package around it is missing too
        return False


def _usable(machine: DeviceSnapshot) -> list[Gpu]:
    """The visible GPUs that respond: a lost one reports neither its UUID nor its memory."""
    gpus = visible_gpus(machine.gpus, os.environ)
    return [gpu for gpu in gpus if gpu.uuid and gpu.memory_total is not None]


def _hides_some(machine: DeviceSnapshot) -> bool:
    return len(visible_gpus(machine.gpus, os.environ)) < len(machine.gpus)


def _free_memory(gpu: Gpu) -> int:
    return (gpu.memory_total or 0) - (gpu.memory_used or 0)


def _counted(kind: str, n: int, machine: DeviceSnapshot) -> tuple[str, ...]:
    gpus = [] if kind == "cpu" else _usable(machine)
    here = machine.cores if kind == "cpu" else len(gpus)
    what = "core" if kind == "cpu" else "GPU"
    if n < 1:
        raise DeviceError(f"--devices {kind}:{n} asks for no rank at all")
    if n > here:
        hidden = kind == "gpu" and _hides_some(machine)
        leaves = f"{VISIBLE}={os.environ.get(VISIBLE)} leaves" if hidden else "this machine has"
        has = "linftui may use" if kind == "cpu" else leaves
        raise DeviceError(
            f"--devices {kind}:{n} asks for {_plural(n, 'rank')}, but {has} {_plural(here, what)}",
            "ask for fewer" if here else "use --devices cpu",
        )
    return ("cpu",) * n if kind == "cpu" else tuple(gpu.uuid for gpu in gpus[:n])


def _plural(n: int, what: str) -> str:
    return f"{n or 'no'} {what}{'' if n == 1 else 's'}"


def _gpu(name: str, machine: DeviceSnapshot) -> str:
    refuse_part_of_gpu(name, "--devices")
    named = next((gpu for gpu in machine.gpus if name in (str(gpu.index), gpu.uuid)), None)
    visible = visible_gpus(machine.gpus, os.environ)
    if named in _usable(machine):
        return named.uuid
    known = ", ".join(str(gpu.index) for gpu in visible) or machine.gpu_problem or "none"
    if named is not None and named not in visible:
        raise DeviceError(f"{VISIBLE}={os.environ[VISIBLE]} hides GPU {name}", f"visible: {known}")
    if named is not None:
        raise DeviceError(f"GPU {name} does not answer: {named.problem}", "choose another")
    raise DeviceError(f"there is no GPU {name} here", f"known: {known}")
