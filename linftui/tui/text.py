"""What takes Textual's styles, or a run's devices, to become text; all else is in `linftui.text`."""

import math

from textual.content import Content

from linftui.rundir.records import Gpu


def bar(share: float | None, width: int, style: str = "$accent", rest: str = "$rail") -> Content:
    """A horizontal bar of `width` cells, half a cell exact."""
    share = 0.0 if share is None or math.isnan(share) else min(max(share, 0.0), 1.0)
    halves = round(share * width * 2)
    full, half = divmod(halves, 2)
    return Content.assemble(("━" * full + "╸" * half, style), ("─" * (width - full - half), rest))


def device_names(devices: tuple[str, ...], gpus: tuple[Gpu, ...] = ()) -> str:
    """Devices of a run in brief: `cpu`, `cpu ×2`, `gpu 0,3`; of another machine's GPUs how many they are."""
    if not devices:
        return "-"
    many = f" ×{len(devices)}" if len(devices) > 1 else ""
    if set(devices) == {"cpu"}:
        return f"cpu{many}"
    index = {gpu.uuid: gpu.index for gpu in gpus}
    if not set(devices) <= index.keys():
        return f"gpu{many}"
    return "gpu " + ",".join(str(index[uuid]) for uuid in devices)
