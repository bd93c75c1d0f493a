"""Finding and loading the compiled kernels: one shared library with a variant for each processor family.

It is compiled at installation if there is a C++ compiler; otherwise the package works without it. The library
must be loaded after torch, so that both share torch's OpenMP threads. Do not fork afterwards.
"""

import ctypes
import os
from collections.abc import Callable
from ctypes import POINTER, c_double, c_float, c_int, c_int32, c_int64, c_void_p
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch  # noqa: F401  (its OpenMP must be loaded first)

import linftui
from linftui.errors import UsageError
from linftui.ops.cpu.powers import Power

FILE = "liblinftui_cpu.so"
FORCE = "LINFTUI_CPU_VARIANT"
VARIANTS = ("avx512", "avx2", "sse4", "portable")  # in order of preference


class PowerFit(ctypes.Structure):
    """`PowerFit` of src/powers.h."""

    _fields_ = (
        ("q", c_double),
        ("kind", c_int32),
        ("degree", c_int32),
        ("squarings", c_int32),
        ("c", c_float),
        ("z_max", c_float),
        ("coefficients", c_float * 7),
        ("near", c_float),
    )

    @staticmethod
    def of(power: Power, near: float) -> "PowerFit":
        """A power in the kernels' form."""
        kind = ("logarithmic", "whole", "squared").index(power.kind)
        coefficients = (c_float * 7)(*power.coefficients)
        degree = len(power.coefficients) - 1
        return PowerFit(power.q, kind, degree, power.squarings, power.c, power.z_max, coefficients, near)


_SIZES = [c_int64, c_int64, c_int64, c_int]  # N, M, K, threads
_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "inf_forward": (c_int, [c_void_p] * 3 + _SIZES),
    "inf_argmax": (c_int, [c_void_p] * 4 + _SIZES),
    "inf_backward": (None, [c_void_p] * 6 + _SIZES),
    "bounds": (c_int, [c_void_p] * 3 + [c_int] + [c_void_p] * 2 + _SIZES),
    "norm_forward": (c_int, [c_void_p] * 3 + [POINTER(PowerFit)] + _SIZES),
    "norm_backward": (c_int, [c_void_p] * 6 + [POINTER(PowerFit), c_void_p] + _SIZES),
    "ceiling": (c_double, [c_int64, c_int]),
}


class Library:
    """The functions of one variant. An operation returns 1 for inputs that it does not take.

    Args:
        loaded: the shared library.
        variant: one of `VARIANTS`.
    """

    def __init__(self, loaded: ctypes.CDLL, variant: str) -> None:
        self.variant = variant
        self.functions: dict[str, Callable[..., Any]] = {}
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(loaded, f"linftui_{variant}_{name}")
            function.restype, function.argtypes = result, arguments
            self.functions[name] = function

    @property
    def name(self) -> str:
        """The name that people see, such as "cpu-avx512"."""
        return f"cpu-{self.variant}"


@lru_cache(maxsize=1)
def load_library() -> tuple[ctypes.CDLL | None, str]:
    """The shared library, or None and the reason why there is none."""
    # An editable installation has two folders: the sources, and where compiled files go.
    files = [Path(folder) / "ops" / "cpu" / FILE for folder in linftui.__path__]
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        return None, "linftui was installed without its compiled CPU kernels"
    try:
        return ctypes.CDLL(str(file)), ""
    except OSError as error:  # such as one compiled for a newer C library
        return None, f"linftui cannot load its compiled CPU kernels ({error})"


@lru_cache(maxsize=1)
def variants() -> dict[str, Library]:
    """The compiled variants that this machine can run, the fastest first; empty without a library."""
    loaded, _ = load_library()
    if loaded is None:
        return {}
    return {
        variant: Library(loaded, variant)
        for variant in VARIANTS
        if hasattr(loaded, f"linftui_{variant}_ceiling") and loaded.linftui_supports(variant.encode())
    }


@lru_cache(maxsize=1)
def library() -> Library | None:
    """The variant in use, or None where there is no compiled library.

    Raises:
        UsageError: LINFTUI_CPU_VARIANT names one that is not known, not here, or not for this processor.
    """
    found = variants()
    forced = os.environ.get(FORCE)
    if not forced:
        return next(iter(found.values()), None)
    if forced not in found:
        raise UsageError(
            f"{FORCE} is {forced}, which " + ("cannot run here" if forced in VARIANTS else "is not known"),
            f"known: {', '.join(VARIANTS)}; can run here: {', '.join(found) or 'none'}",
        )
    return found[forced]
