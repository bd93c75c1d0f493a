"""Text that needs Textual's styles, and the names of a run's devices; all other text is in `linftui.text`."""

import math

from textual.content import Content

from linftui.rundir.records import Gpu


def bar(share: float | None, width: int, style: str = "$accent", rest: str = "$rail") -> Content:
    """A horizontal bar of `width` cells, exact to half a cell."""
    share = 0.0 if share is None or math.isnan(share) else min(max(share, 0.0), 1.0)
    halves = round(share * width * 2)
    full, half = divmod(halves, 2)
    return Content.assemble(("━" * full + "╸" * half, style), ("─" * (width - full - half), rest))


def device_names(devices: tuple[str, ...], gpus: tuple[Gpu, ...] = ()) -> str:
    """A run's devices in brief: `cpu`, `cpu ×2`, `gpu 0,3`; `gpu ×2` if they are another machine's GPUs."""
    if not devices:
        return "-"
    many = f" ×{len(devices)}" if len(devices) > 1 else ""
    if set(devices) == {"cpu"}:
        return f"cpu{many}"
    index = {gpu.uuid: gpu.index for gpu in gpus}
    if not set(devices) <= index.keys():
        return f"gpu{many}"
    return "gpu " + ",".join(str(index[uuid]) for uuid in devices)
