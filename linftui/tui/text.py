"""How values become text on the dashboard where it has forms of its own, which keep their width."""

import math
import time

from textual.content import Content

from linftui.rundir.records import LONGEST_S, Gpu
from linftui.text import number


def loss(value: float | None) -> str:
    """A loss in at most 6 cells, with its zeros at the end, so that a changing one keeps its place."""
    if value is None or not 0 < value < math.inf:
        return number(value)
    if not 1e-3 <= value < 9999.5:
        return f"{value:.0e}"
    return f"{value:.4f}" if value < 1 else f"{value:#.4g}".rstrip(".")


def accuracy(value: float | None) -> str:
    """An accuracy in [0, 1], as tables of the field print it: `.8417`."""
    if value is None:
        return "-"
    return f"{value:.4f}".removeprefix("0")


def percent(share: float | None) -> str:
    """A share in per cent, such as `84%`; a number that is no share ends at 999%."""
    return "-" if share is None or math.isnan(share) else f"{min(max(share, -9.99), 9.99):.0%}"


def brief(value: int | None) -> str:
    """A whole number in at most four characters, cut off and not rounded: `9999`, `12k`, `3M`."""
    if value is None:
        return "-"
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if value >= max(size, 10**4):
            return f"{value // size}{unit}"
    return str(value)


def clock(seconds: float) -> str:
    """A length of time that runs, as hh:mm:ss; a dash for a number that is none."""
    if not abs(seconds) < LONGEST_S:
        return "-"
    minutes, s = divmod(int(max(0.0, seconds)), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours:02d}:{m:02d}:{s:02d}"


def duration(seconds: float | None) -> str:
    """A length of time as people say it: `1d04h`, `1h02`, `12 min`, `40 s`."""
    if seconds is None or not abs(seconds) < LONGEST_S:
        return "-"
    seconds = max(0.0, seconds)
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 1440:
        return f"{minutes // 60}h{minutes % 60:02d}"
    return f"{minutes // 1440}d{minutes % 1440 // 60:02d}h"


def time_of_day(moment: float) -> str:
    """A moment as hh:mm:ss, local time; dashes for a number that is no moment."""
    try:
        return time.strftime("%H:%M:%S", time.localtime(moment))
    except (OverflowError, ValueError, OSError):
        return "--:--:--"


def size(octets: int | None) -> str:
    """Bytes in GiB, as device memory is spoken of."""
    return "-" if octets is None else f"{octets / 2**30:.{0 if octets >= 10 * 2**30 else 1}f}G"


def middle(text: str, width: int) -> str:
    """Text cut in its middle: the ends of a run's id are what tells it apart."""
    if len(text) <= width:
        return text
    if width < 3:
        return text[: max(width, 0)]
    tail = width // 2
    return f"{text[: width - tail - 1]}…{text[-tail:]}"


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
