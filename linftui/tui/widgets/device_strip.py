"""The machine at a glance: a bar for each GPU and the run that holds it; without GPUs, the processor."""

from collections.abc import Mapping

from textual.content import Content

from linftui.devices import DeviceSnapshot, Gpu
from linftui.text import clean, gib, middle
from linftui.tui.text import bar
from linftui.tui.widgets.lines import LinesWidget

LINES_AT_MOST = 4


class DeviceStrip(LinesWidget):
    """One line per GPU, or two GPUs a line if they fit; without GPUs, one line of processor and memory."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._machine: DeviceSnapshot | None = None
        self._holders: Mapping[str, str] = {}

    def show(self, machine: DeviceSnapshot | None, holders: Mapping[str, str]) -> None:
        """Takes the latest sample of the machine, and the run that holds each GPU, by the GPU's UUID."""
        self._machine, self._holders = machine, holders
        self.redraw()

    def make_lines(self, width: int, height: int) -> list[Content]:
        """A line for each GPU if there are few; otherwise as many as fit side by side."""
        if self._machine is None:
            return [Content.styled("looking at the machine", "$faint")]
        if not self._machine.gpus:
            return [_processor(self._machine)]
        beside = 1 if width < 140 else 2
        cells = [
            _gpu(gpu, self._holders.get(gpu.uuid, ""), width // beside - 2) for gpu in self._machine.gpus
        ]
        rows = [cells[start : start + beside] for start in range(0, len(cells), beside)]
        lines = [
            Content("  ").join(cell.truncate(width // beside - 2, pad=True) for cell in row) for row in rows
        ]
        if len(lines) > LINES_AT_MOST:
            hidden = len(cells) - beside * (LINES_AT_MOST - 1)
            lines = [*lines[: LINES_AT_MOST - 1], Content.styled(f"and {hidden} more", "$muted")]
        return lines


def _processor(machine: DeviceSnapshot) -> Content:
    used = machine.memory_total - machine.memory_available
    share = machine.cpu or 0.0
    return Content.assemble(
        ("cpu ", "$muted"), bar(share, 10, "$success"), f"{share:5.0%}",
        (f" of {machine.cores} core{'' if machine.cores == 1 else 's'}   ", "$muted"),
        ("memory ", "$muted"), bar(used / max(machine.memory_total, 1), 10, "$primary"),
        f" {gib(used)}", (f" of {gib(machine.memory_total)}   ", "$muted"),
        ("no GPU", "$faint"),
    )  # fmt: skip


def _gpu(gpu: Gpu, holder: str, width: int) -> Content:
    parts = Content.assemble(
        (f"gpu {gpu.index} ", "$muted"), bar(gpu.utilisation, 8, "$success"), _share(gpu.utilisation),
        "  ", bar(_memory_share(gpu), 8, "$primary"), f" {gib(gpu.memory_used)}",
        (f"/{gib(gpu.memory_total)}", "$muted"),
        f" {gpu.power:4.0f}W" if gpu.power is not None else "",
        f" {gpu.temperature:.0f}°C" if gpu.temperature is not None else "",
    )  # fmt: skip
    if gpu.problem:
        parts = Content.assemble((f"gpu {gpu.index} ", "$muted"), (clean(gpu.problem), "$warning"))
    room = width - parts.cell_length - 2
    name = holder or clean(gpu.name)
    return Content.assemble(parts, "  ", (middle(name, max(room, 0)), "$foreground" if holder else "$faint"))


def _share(value: float | None) -> str:
    return "   - " if value is None else f"{value:5.0%}"


def _memory_share(gpu: Gpu) -> float | None:
    return gpu.memory_used / gpu.memory_total if gpu.memory_used is not None and gpu.memory_total else None
