"""Every kernel: its source, entry, compile-time choices, threads and shared memory.

One list serves the launches, the tests that compile everything for every architecture, and the benchmark, so
that every kernel that can be launched has been checked.
"""

from collections.abc import Iterator
from dataclasses import dataclass

THREADS = 256
SLAB = 16  # coordinates in shared memory at a time (tiles.cuh)
GROUP = 4  # outputs m that the backward takes at a time (columns.cuh)
BACKWARD_ROWS = 32  # rows n that a thread of the backward owns (columns.cuh)
WINDOW = 8192  # columns that scatter.cu holds at a time
_FOLD_STAGE, _TILE_STAGE = 256 * 20, 192 * 20  # floats of a slab of rows, padded
WHOLE_POWERS = range(1, 9)


@dataclass(frozen=True)
class Kernel:
    """One entry of one source under some defines: the unit that is compiled, cached and launched."""

    source: str
    entry: str
    threads: int = THREADS
    shared_bytes: int = 0
    defines: tuple[tuple[str, int], ...] = ()

    @property
    def name(self) -> str:
        """For people: "gradient(POWER=8, WARPS=4)"."""
        return self.entry + (f"({', '.join(f'{k}={v}' for k, v in self.defines)})" if self.defines else "")


@dataclass(frozen=True)
class PowerForm:
    """How r^p is computed: as a whole power, or by special functions, with or without a polynomial."""

    power: int = 0
    degree: int = 0
    squarings: int = 0

    @property
    def defines(self) -> tuple[tuple[str, int], ...]:
        if self.power:
            return (("POWER", self.power),)
        return (("DEGREE", self.degree), ("SQUARINGS", self.squarings)) if self.degree else ()

    @property
    def name(self) -> str:
        """For metadata: "whole power 8", "special functions + polynomial 5 squared 4 times"."""
        if self.power:
            return f"whole power {self.power}"
        beside = f" + polynomial {self.degree} squared {self.squarings} times" if self.degree else ""
        return "special functions" + beside


def fold(aligned: bool, bounds: bool) -> Kernel:
    """Distances at p = inf, or their interval image."""
    defines = (("BOUNDS", 1),) if bounds else ()
    return Kernel("fold.cu", "fold_maxima", THREADS, 2 * _FOLD_STAGE * 4, (*_rows(aligned), *defines))


def power(aligned: bool, form: PowerForm) -> Kernel:
    """Sums of powers of every difference."""
    return Kernel("power.cu", "sum_powers", THREADS, 2 * _TILE_STAGE * 4, (*_rows(aligned), *form.defines))


def argmax(aligned: bool) -> Kernel:
    """Distances at p = inf, and the slab where each is attained."""
    shared = (2 * _TILE_STAGE + 32 * THREADS) * 4
    return Kernel("argmax.cu", "argmax_slabs", THREADS, shared, _rows(aligned))


def scan(aligned: bool) -> Kernel:
    """Sums of the powers that matter."""
    shared = (2 * _TILE_STAGE + 2 * 32 * THREADS) * 4
    return Kernel("scan.cu", "scan", THREADS, shared, _rows(aligned))


def finish(what: str) -> Kernel:
    """The last step of a forward: maxima, argmax, bounds, whole_power, scaled or pruned."""
    return Kernel("finish.cu", f"finish_{what}")


def pack(what: str) -> Kernel:
    """The first step of a backward: pairs, whole or thresholds."""
    return Kernel("pack.cu", f"pack_{what}")


def gradient(form: PowerForm, warps: int) -> Kernel:
    """Both gradients over every element."""
    rows = warps * BACKWARD_ROWS
    shared = (2 * rows * 8 + 2 * warps * GROUP * 32) * 4
    return Kernel("gradient.cu", "gradient", warps * 32, shared, (*form.defines, ("WARPS", warps)))


def gradient_scan(warps: int) -> Kernel:
    """Both gradients over the elements that matter."""
    threads = warps * 32
    rows = warps * BACKWARD_ROWS
    shared = (2 * BACKWARD_ROWS * threads + 2 * rows * GROUP + 2 * warps * GROUP * 32) * 4
    return Kernel("gradient_scan.cu", "gradient_scan", threads, shared, (("WARPS", warps),))


def scatter(k: int) -> Kernel:
    """The gradients at p = inf."""
    return Kernel("scatter.cu", "scatter_rows", THREADS, (min(k, WINDOW) + 2 * THREADS) * 4)


def _rows(aligned: bool) -> tuple[tuple[str, int], ...]:
    return (("ROWS_ALIGNED", int(aligned)),)


# The forms that powers.py may ask for: see `form_of` there.
FORMS = (
    *(PowerForm(power=p) for p in WHOLE_POWERS),
    PowerForm(),
    PowerForm(degree=9, squarings=1),
    *(PowerForm(degree=6, squarings=s) for s in (3, 4, 5)),
)


def every_kernel() -> Iterator[Kernel]:
    """All of them, for the tests and for compiling ahead."""
    for aligned in (True, False):
        yield from (fold(aligned, bounds) for bounds in (False, True))
        yield argmax(aligned)
        yield scan(aligned)
        yield from (power(aligned, form) for form in FORMS)
    for warps in (4, 8):
        yield gradient_scan(warps)
        yield from (gradient(form, warps) for form in FORMS)
    for what in ("maxima", "argmax", "bounds", "whole_power", "scaled", "pruned"):
        yield finish(what)
    yield from (pack(what) for what in ("pairs", "whole", "thresholds"))
    yield scatter(WINDOW)
