"""Which GPUs CUDA_VISIBLE_DEVICES leaves to us: on a shared machine the others belong to someone else."""

from collections.abc import Mapping, Sequence

from linftui.errors import DeviceError
from linftui.rundir.records import Gpu

VISIBLE, ORDER = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"


def visible_gpus(gpus: Sequence[Gpu], environment: Mapping[str, str]) -> tuple[Gpu, ...]:
    """The GPUs that a process with this environment may use, in the order that it names them.

    As in CUDA, a name is a number or the beginning of exactly one UUID, and everything from the first that is
    neither (such as -1) is hidden.

    Raises:
        DeviceError: it names a part of a GPU, or a number that may mean either of two different GPUs.
    """
    if VISIBLE not in environment:
        return tuple(gpus)
    seen = list[Gpu]()
    for name in environment[VISIBLE].split(","):
        named = _named(name.strip(), gpus)
        if named is None:
            break
        if name.strip().isdecimal() and _is_ambiguous(gpus, environment):
            raise DeviceError(
                f"{VISIBLE}={environment[VISIBLE]} is ambiguous, since the GPUs here differ",
                f"set {ORDER}=PCI_BUS_ID, or name UUIDs",
            )
        if named not in seen:
            seen.append(named)
    return tuple(seen)


def refuse_part_of_gpu(name: str, where: str) -> None:
    """Raises DeviceError if `name`, found in `where`, is a MIG instance."""
    if name.startswith("MIG-"):
        raise DeviceError(
            f"{where} names {name}, part of a GPU (MIG), and linftui uses whole GPUs only",
            "name a whole GPU, or choose --devices cpu",
        )


def _named(name: str, gpus: Sequence[Gpu]) -> Gpu | None:
    refuse_part_of_gpu(name, VISIBLE)
    if name.isascii() and name.isdecimal():
        return next((gpu for gpu in gpus if gpu.index == int(name)), None)
    matching = [gpu for gpu in gpus if name.startswith("GPU-") and gpu.uuid.startswith(name)]
    return matching[0] if len(matching) == 1 else None


def _is_ambiguous(gpus: Sequence[Gpu], environment: Mapping[str, str]) -> bool:
    """Whether a number may mean another GPU to CUDA than to NVML: CUDA may count the fastest first."""
    return environment.get(ORDER) != "PCI_BUS_ID" and len({gpu.name for gpu in gpus}) > 1
