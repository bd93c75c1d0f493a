"""GPUs through NVML, the library of NVIDIA's driver: what each GPU reports at a moment.

A driver may be absent, be replaced while we run, lose one GPU of several, or refuse a figure. None of that
is an error here: a missing figure is None, with the reason in a sentence beside it.
"""

import contextlib
import math
import time
from types import ModuleType
from typing import Any

from linftui.rundir.records import Gpu, GpuProcess

NO_GPU = "NVML: the driver reports no GPU"

# In seconds: initialising again can take a driver seconds, and does not recover every lost GPU.
RETRY = 30.0

_MOST_MEMORY = (1 << 63) - 1
_MOST = (1 << 32) - 2  # all bits set means "not available"


class Nvml:
    """The library, kept open from one look to the next; for one thread at a time."""

    def __init__(self) -> None:
        self._open = False
        self._begun = -math.inf
        self._problem = ""

    def look(self) -> tuple[tuple[Gpu, ...], str]:
        """All GPUs in PCI order; if there are none, the reason.

        After a loss that this may cure, NVML is initialised again, at most once in RETRY seconds.
        """
        gpus, problem, faulty = self._gpus()
        if faulty and time.monotonic() - self._begun >= RETRY:
            self._initialise()
            gpus, problem, _ = self._gpus()
        return gpus, problem

    def close(self) -> None:
        """Closes the library; a later look initialises it again."""
        if self._open:
            import pynvml

            with contextlib.suppress(pynvml.NVMLError):
                pynvml.nvmlShutdown()
        self._open, self._begun = False, -math.inf

    def _initialise(self) -> None:
        import pynvml

        self.close()
        self._begun = time.monotonic()
        try:
            pynvml.nvmlInit()
            self._open = True
        except pynvml.NVMLError as error:
            self._problem = f"NVML: {_words(error)}"

    def _gpus(self) -> tuple[tuple[Gpu, ...], str, bool]:
        """The GPUs, the reason if there are none, and whether initialising again may help."""
        import pynvml

        if not self._open:
            return (), self._problem, True
        try:
            asked = [_GpuQueries(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())]
        except pynvml.NVMLError as error:
            return (), f"NVML: {_words(error)}", True
        gpus = tuple(queries.gpu() for queries in asked)
        return gpus, "" if gpus else NO_GPU, not gpus or any(queries.lost for queries in asked)


class _GpuQueries:
    """Queries of one GPU; a failure hides no other GPU, and no other figure if this one still responds."""

    def __init__(self, nvml: ModuleType, index: int) -> None:
        self._nvml = nvml
        self._index = index
        self._handle: Any = None
        self._troubles: dict[str, list[str]] = {}  # what the driver says, and for which figures
        self.lost = False

    def gpu(self) -> Gpu:
        """Everything that it reports."""
        try:
            self._handle = self._nvml.nvmlDeviceGetHandleByIndex(self._index)
        except self._nvml.NVMLError as error:
            self._note(error)
            return Gpu(index=self._index, uuid="", name="", problem=self._problem())
        uuid = self._ask("UUID", "nvmlDeviceGetUUID") or ""
        name = self._ask("name", "nvmlDeviceGetName") or ""
        memory = self._ask("memory", "nvmlDeviceGetMemoryInfo")
        total = _figure(memory and memory.total, _MOST_MEMORY)
        rates = self._ask("utilisation", "nvmlDeviceGetUtilizationRates")
        return Gpu(
            index=self._index,
            uuid=uuid,
            name=name,
            memory_total=total,
            memory_used=_figure(memory and memory.used, total or _MOST_MEMORY),
            utilisation=_scaled(rates and rates.gpu, 100, most=100),
            power=_scaled(self._ask("power", "nvmlDeviceGetPowerUsage"), 1000),
            power_limit=_scaled(self._ask("power limit", "nvmlDeviceGetEnforcedPowerLimit"), 1000),
            temperature=_scaled(self._temperature(), 1),
            processes=self._processes(),
            problem=self._problem(),
        )

    def _temperature(self) -> int | None:
        sensor = self._nvml.NVML_TEMPERATURE_GPU
        celsius: int | None = self._ask(
            "temperature", "nvmlDeviceGetTemperatureV", "nvmlDeviceGetTemperature", arguments=(sensor,)
        )
        return celsius

    def _processes(self) -> list[GpuProcess] | None:
        processes = self._ask(
            "processes",
            "nvmlDeviceGetComputeRunningProcesses_v3",
            "nvmlDeviceGetComputeRunningProcesses_v2",
        )
        if processes is None:
            return None
        return [GpuProcess(pid=p.pid, memory=_figure(p.usedGpuMemory, _MOST_MEMORY)) for p in processes]

    def _ask(self, figure: str, *calls: str, arguments: tuple[int, ...] = ()) -> Any:
        """The answer to the newest call that library and driver know; None where there is none."""
        nvml = self._nvml
        for call in calls:
            question = getattr(nvml, call, None)
            if question is None or self.lost:
                continue
            try:
                return question(self._handle, *arguments)
            except (
                nvml.NVMLError_NotSupported,
                nvml.NVMLError_FunctionNotFound,
                nvml.NVMLError_ArgumentVersionMismatch,
                nvml.NVMLError_NoData,
                nvml.NVMLError_InsufficientSize,  # processes began while they were being listed
            ):
                continue  # this card or driver has no such figure, or not now: not a problem
            except nvml.NVMLError as error:
                self._note(error, figure)
                return None
            except UnicodeDecodeError:
                self._troubles.setdefault("the answer is not text", []).append(figure)
                return None
        return None

    def _note(self, error: Exception, figure: str = "") -> None:
        nvml = self._nvml
        self.lost = isinstance(
            error,
            (
                nvml.NVMLError_Uninitialized,
                nvml.NVMLError_GpuIsLost,
                nvml.NVMLError_GpuNotFound,
                nvml.NVMLError_ResetRequired,
                nvml.NVMLError_LibRmVersionMismatch,
            ),
        )
        figures = self._troubles.setdefault(_words(error), [])
        if figure and not self.lost:  # a lost GPU lacks all figures
            figures.append(figure)

    def _problem(self) -> str:
        return "; ".join(
            f"{words} ({', '.join(figures)})" if figures else words
            for words, figures in self._troubles.items()
        )


def _figure(value: int | None, most: int = _MOST) -> int | None:
    """The figure, or None where it is impossibly large, which means that the driver has none."""
    return value if value is None or value <= most else None


def _scaled(value: int | None, unit: int, most: int = _MOST) -> float | None:
    known = _figure(value, most)
    return None if known is None else known / unit


def _words(error: Exception) -> str:
    """The driver's own sentence, which pynvml asks the driver for only now."""
    try:
        return str(error)
    except UnicodeDecodeError:
        return "an error without a name"
