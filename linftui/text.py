"""How values become text, on the command line and on the dashboard: numbers, times, and untrusted strings.

A record may hold any number that JSON can write; none takes more room than a realistic one. Where a value has
two forms, one for columns of fixed width and one for lines that are read once, each form has its own
function.
"""

import math
import time

# Counts end up in records, in floats and in other programs' JSON readers, all of which are exact up to here.
GREATEST_COUNT = 2**53
WRITTEN_OUT = 1e10  # from here on a number with decimals is shown in a few digits
LONGEST_S = 100_000 * 86_400.0  # a longer time is shown as a dash


def clean(text: str) -> str:
    """Text from any source on one line, without control characters or terminal escapes."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def middle(text: str, width: int) -> str:
    """Text shortened in the middle, since the two ends of a run's id identify it."""
    if len(text) <= width:
        return text
    if width < 3:
        return text[: max(width, 0)]
    tail = width // 2
    return f"{text[: width - tail - 1]}…{text[-tail:]}"


def number(value: float | None, digits: int = 4) -> str:
    """A number in a few digits; infinity is `∞`, None a dash."""
    if value is None:
        return "-"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:.{digits}g}".replace("e-0", "e-").replace("e+0", "e")


def decimal(value: float, places: int) -> str:
    """A number with `places` decimals."""
    return f"{value:.{places}f}" if abs(value) < WRITTEN_OUT else number(value)


def count(value: float | None) -> str:
    """A number with commas between thousands and no fraction."""
    return number(value) if value is None or not abs(value) <= GREATEST_COUNT else f"{value:,.0f}"


def loss(value: float | None) -> str:
    """A loss in at most 6 cells, with trailing zeros, so that it does not move as it changes."""
    if value is None or not 0 < value < math.inf:
        return number(value)
    if not 1e-3 <= value < 9999.5:
        return f"{value:.0e}"
    return f"{value:.4f}" if value < 1 else f"{value:#.4g}".rstrip(".")


def accuracy(value: float | None) -> str:
    """An accuracy in [0, 1] as papers on robustness print it: `.8417`."""
    if value is None:
        return "-"
    return f"{value:.4f}".removeprefix("0")


def share(value: float | None) -> str:
    """A share in [0, 1], such as an accuracy, for plain lines: `0.8417`."""
    return "-" if value is None else f"{value:.4f}"


def percent(value: float | None) -> str:
    """A share in per cent, such as `84%`; a number far outside [0, 1] is cut off at 999%."""
    return "-" if value is None or math.isnan(value) else f"{min(max(value, -9.99), 9.99):.0%}"


def wilson(seen: float, n: int) -> float:
    """Half the width of the 95% Wilson score interval of a share seen in n images."""
    if n <= 0:
        return 1.0
    seen = min(max(seen, 0.0), 1.0)  # an untrusted certificate may claim anything
    z = 1.96
    return float(z / (1 + z * z / n) * (seen * (1 - seen) / n + z * z / (4 * n * n)) ** 0.5)


def brief(value: int | None) -> str:
    """A whole number in at most four characters, truncated and not rounded: `9999`, `12k`, `3M`."""
    if value is None:
        return "-"
    for unit, worth in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if value >= max(worth, 10**4):
            return f"{value // worth}{unit}"
    return str(value)


def gib(octets: int | None) -> str:
    """Bytes in GiB, the usual unit of device memory."""
    return "-" if octets is None else f"{octets / 2**30:.{0 if octets >= 10 * 2**30 else 1}f}G"


def age(since: float | None, now: float | None = None) -> str:
    """How long ago a time was, in one unit; a dash for a number that is not a time."""
    now = time.time() if now is None else now
    if since is None or not abs(now - since) < LONGEST_S:
        return "-"
    seconds = max(0.0, now - since)
    for unit, worth in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= worth:
            return f"{seconds / worth:.0f}{unit}"
    return f"{seconds:.0f}s"


def duration(seconds: float | None) -> str:
    """A length of time in round units: `1d04h`, `1h02`, `12 min`, `40 s`."""
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


def clock(seconds: float) -> str:
    """A running time as hh:mm:ss; a dash for a number that is not a length of time."""
    if not abs(seconds) < LONGEST_S:
        return "-"
    minutes, s = divmod(int(max(0.0, seconds)), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours:02d}:{m:02d}:{s:02d}"


def stopwatch(seconds: float) -> str:
    """A measured time as h:mm:ss or m:ss; a dash for a number that is not a length of time."""
    if not abs(seconds) < LONGEST_S:
        return "-"
    minutes, s = divmod(int(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02d}:{s:02d}" if hours else f"{m}:{s:02d}"


def time_of_day(moment: float) -> str:
    """A time of day as hh:mm:ss, local time; dashes for a number that is not a time."""
    try:
        return time.strftime("%H:%M:%S", time.localtime(moment))
    except (OverflowError, ValueError, OSError):
        return "--:--:--"
