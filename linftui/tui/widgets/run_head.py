"""The head of a run's screen: state, progress, figures and notices."""

from collections.abc import Sequence

from textual.content import Content

from linftui.devices import Gpu
from linftui.launch.certification import CertificationProgress
from linftui.rundir.certificates import Certificate
from linftui.rundir.records import CertificateSummary
from linftui.rundir.stopping import StopStages
from linftui.text import (
    accuracy,
    clean,
    clock,
    count,
    decimal,
    duration,
    loss,
    number,
    percent,
    time_of_day,
    wilson,
)
from linftui.tui.live.run_model import RunModel
from linftui.tui.text import bar, device_names
from linftui.tui.theme import state_look
from linftui.tui.widgets.lines import LinesWidget, spread, wrapped

WIDE = 130  # columns from which the bar and the figures share a line
BAR, NARROW_BAR = 28, 8
PROBLEM_LINES = 3


class RunHead(LinesWidget):
    """Two or three lines, and one more for each notice."""

    def __init__(self, model: RunModel, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._model = model
        self._now = 0.0
        self._gpus: tuple[Gpu, ...] = ()
        self._status = ""

    def begin(self, model: RunModel) -> None:
        """Shows another model from the next redraw on."""
        self._model = model

    def show(self, now: float, gpus: tuple[Gpu, ...], status: str) -> None:
        """Draws the model as of `now`; `status` is the progress of background tasks."""
        self._now, self._gpus, self._status = now, gpus, status
        self.redraw()

    def make_lines(self, width: int, height: int) -> list[Content]:
        """The head's lines, then the notices."""
        if width >= WIDE:
            lines = [
                spread(self._first_line(self._facts()), self._eta(), width),
                Content.assemble(self._progress(BAR), "   ", self._figures()),
            ]
        else:
            time = Content.styled("  " + " · ".join(self._times()), "$muted")
            beside = self._progress(NARROW_BAR).cell_length - NARROW_BAR + time.cell_length
            lines = [
                spread(self._first_line([]), self._eta(), width),
                Content.assemble(self._progress(width - beside), time),
                self._figures(),
            ]
        return [*lines, *self._notices(width)]

    def _first_line(self, facts: list[str]) -> Content:
        model = self._model
        if model.standing is None:
            return Content.assemble((clean(model.paths.id), "bold $bright"), ("  reading", "$faint"))
        glyph, word, colour = state_look(model.state)
        return Content.assemble(
            (f"{glyph} {word}", colour), "  ", (clean(model.paths.id), "bold $bright"), "  ",
            (" · ".join(facts), "$muted"),
        )  # fmt: skip

    def _times(self) -> list[str]:
        standing, times = self._model.standing, [clock(self._model.elapsed(self._now))]
        if standing is not None and (standing.row.summary.attempt or 0) > 1:
            times.append(f"attempt {standing.row.summary.attempt}")
        return times

    def _facts(self) -> list[str]:
        standing = self._model.standing
        if standing is None:
            return []
        source = standing.meta.recipe_source if standing.meta else standing.row.summary.recipe or "-"
        return [clean(source), *self._times(), device_names(standing.row.devices, self._gpus)]

    def _eta(self) -> Content:
        eta, infinity = self._model.eta(self._now), self._model.p_infinity_in(self._now)
        if eta is None:
            return Content.empty()
        ahead = f"  p = ∞ in {duration(infinity)}" if infinity is not None else ""
        return Content.assemble(("ETA ", "$muted"), duration(eta), (ahead, "$muted"))

    def _progress(self, width: int) -> Content:
        train, epochs = self._model.train, self._model.epochs
        epoch = train.epoch if train else 0.0
        shown = decimal(epoch, 1).removesuffix(".0")
        _, _, colour = state_look(self._model.state) if self._model.standing else ("", "", "$faint")
        share = epoch / epochs if epochs else 0.0
        return Content.assemble(
            ("epoch ", "$muted"), f"{shown:>5}", (f"/{epochs or '-'}", "$muted"), "  ",
            bar(share, max(width, NARROW_BAR), colour), f" {percent(share):>4}",
        )  # fmt: skip

    def _figures(self) -> Content:
        train = self._model.train
        parts = [
            ("step", count(train.step if train else None)),
            ("p", number(train.p if train else None)),
            ("λ", number(train.lam if train else None, 3)),
            ("lr", number(train.lr if train else None, 3)),
            ("loss", loss(train.loss if train else None)),
        ]
        if train is not None and train.lam is None:  # its objective has no mixing coefficient
            del parts[2]
        figures = [Content.assemble((f"{name} ", "$muted"), value) for name, value in parts]
        if train is not None:
            figures.append(Content.assemble(count(train.images_per_s), (" img/s", "$muted")))
        return Content("   ").join(figures)

    def _notices(self, width: int) -> list[Content]:
        standing = self._model.standing
        if standing is None:
            return []
        lines = [Content.styled(clean(self._status), "$warning")] if self._status else []
        lines += self._problem(width)
        if standing.stop is not None:
            lines.append(stop_line(standing.stop, width))
        if standing.bad_lines:
            many = "1 line" if standing.bad_lines == 1 else f"{standing.bad_lines:,} lines"
            lines.append(Content.styled(f"{many} of its files cannot be read", "$warning"))
        return [*lines, *certificate_lines(standing.certifications, standing.certificates, width)]

    def _problem(self, width: int) -> list[Content]:
        standing = self._model.standing
        assert standing is not None
        candidates = (
            (standing.problem, "$error"),
            (self._model.reason, state_look(self._model.state)[2]),
            (standing.row.summary.caution, "$warning"),
        )
        text, style = next((each for each in candidates if each[0]), ("", ""))
        return problem_lines(text, width, style)


def problem_lines(text: str, width: int, style: str) -> list[Content]:
    """What went wrong, on a few lines; a longer text is cut."""
    lines = wrapped(clean(text), width, style) if text else []
    if len(lines) > PROBLEM_LINES:
        *lines, last = lines[:PROBLEM_LINES]
        lines.append(Content.assemble(last.truncate(width - 2), (" …", style)))
    return lines


def stop_line(stop: StopStages, width: int) -> Content:
    """The progress of a stop: each stage reached is ticked. In a narrow line the last stages stay."""
    asked = f"asked {time_of_day(stop.requested)}"
    wordings = [(asked, "seen by the ranks"), ("asked", "seen by the ranks"), ("asked", "seen"), ("", "")]
    if width >= WIDE:
        wordings.insert(0, (f"{asked} by {clean(stop.by)}", "seen by the ranks"))
    lines = [_stop_stages(stop, *wording) for wording in wordings]
    return next((line for line in lines if line.cell_length <= width), lines[-1])


def _stop_stages(stop: StopStages, asked: str, seen: str) -> Content:
    """The stages on a line, the first two in these words; an empty one is left out."""
    saved = "saved" if stop.saved_step is None else f"saved step {stop.saved_step:,}"
    stages = [
        (asked, True),
        (seen, stop.seen is not None),
        (saved, stop.saved_step is not None),
        ("exited", stop.exited is not None),
    ]
    line = Content.styled("stop", "bold $warning")
    for text, reached in stages:
        mark, colour = ("✓ ", "$success") if reached else ("· ", "$faint")
        if text:
            style = "$foreground" if reached else "$faint"
            line = Content.assemble(line, "  ", (mark, colour), (text, style))
    if stop.killed:
        line = Content.assemble(line, ("  ✗ ended at once", "$error"))
    return line


def certificate_lines(
    certifications: Sequence[CertificationProgress], certificates: Sequence[Certificate], width: int
) -> list[Content]:
    """The running certifications, the failure of the newest one, and the headline certificate.

    A refused request is not shown: whoever asked has seen the refusal.
    """
    begun = [progress for progress in certifications if not progress.refused]
    lines = [certification_line(progress) for progress in begun if progress.state == "running"]
    if begun and begun[0].state == "failed":
        lines += problem_lines(f"certify: {begun[0].error}", width, "$error")
    if certificates:
        lines.append(certificate_line(certificates[0]))
    return lines


def certification_line(progress: CertificationProgress) -> Content:
    """The progress of a certification, and the figure so far with its spread."""
    begun = [summary for _, summary in progress.certificates if summary is not None]
    now = next((summary for summary in begun if not summary.complete), begun[-1] if begun else None)
    if now is None or not now.total:
        return Content.assemble(("certify ", "bold $accent"), ("loading the network", "$muted"))
    return Content.assemble(
        ("certify ", "bold $accent"),
        bar(now.n / now.total, 10), f" {now.n:,}", (f"/{now.total:,}  ", "$muted"), _result(now),
    )  # fmt: skip


def certificate_line(certificate: Certificate) -> Content:
    """A certificate on a line: what it proves, or why it is unverified."""
    summary = certificate.summary
    if summary is None or certificate.problem:
        says = f" says certified {accuracy(summary.certified_accuracy)}" if summary is not None else ""
        return Content.assemble(
            ("unverified  ", "bold $warning"), (clean(certificate.problem), "$warning"),
            (f"  {clean(certificate.paths.root.name)}{says}", "$muted"),
        )  # fmt: skip
    name = f"  of run {clean(certificate.other_name)}" if certificate.other_name else ""
    caveats = f"{', '.join(certificate.caveats)}  " if certificate.caveats else ""
    return Content.assemble(
        ("proved  ", "bold $success"), (caveats, "$warning"), _result(summary),
        (f"  step {summary.step:,}  {summary.n:,} images{name}", "$muted"),
    )  # fmt: skip


def _result(summary: CertificateSummary) -> Content:
    known = summary.n > 0
    spread = f" ± {accuracy(wilson(summary.certified_accuracy, summary.n))}" if known else ""
    return Content.assemble(
        ("certified ", "$muted"), (accuracy(summary.certified_accuracy if known else None), "bold $bright"),
        (f"{spread}  clean ", "$muted"), accuracy(summary.clean_accuracy if known else None),
        (f"  eps {clean(summary.eps_exact)}", "$muted"),
    )  # fmt: skip
