"""The panel beside the table, with the facts about the run under the cursor."""

import re

from textual.content import Content

from linftui.recipe.fraction import format_fraction
from linftui.rundir.ending import why_it_ended
from linftui.text import accuracy, age, clean, count, loss, number
from linftui.tui.live.run_facts import RunFacts
from linftui.tui.live.run_list import RunRow
from linftui.tui.theme import state_look
from linftui.tui.widgets.history_lines import event_line
from linftui.tui.widgets.lines import LinesWidget, wrapped

LABEL = 11


class SidePanel(LinesWidget):
    """Facts, the latest events, and what went wrong, if anything did."""

    DEFAULT_CSS = "SidePanel { height: 1fr; }"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._row: RunRow | None = None
        self._facts: RunFacts | None = None
        self._now = 0.0

    def show(self, row: RunRow | None, facts: RunFacts | None, now: float) -> None:
        """Takes the run under the cursor, its facts if they have been read, and the time."""
        if facts is not None and (row is None or facts.paths != row.paths):
            facts = None
        self._row, self._facts, self._now = row, facts, now
        self.redraw()

    def make_lines(self, width: int, height: int) -> list[Content]:
        """As many lines as fit into the height, the most important first."""
        if self._row is None:
            return []
        lines = [*_title(self._row, width), Content.empty(), *self._problem(width), *self._figures()]
        if self._facts is not None:
            lines += [Content.empty(), *_made_from(self._facts, self._row.summary.created, self._now, width)]
            if height and len(lines) > height:
                return [*lines[: height - 1], Content.styled("… the run's recipe has every value", "$faint")]
            lines.append(Content.empty())
            for event in reversed(self._facts.events):
                lines += event_line(event).wrap(max(width, 8))
        return lines[: height or None]

    def _problem(self, width: int) -> list[Content]:
        assert self._row is not None
        run, facts = self._row.summary, self._facts
        reason = why_it_ended(run.state, run.attempt, facts.ended, facts.events) if facts else ""
        candidates = (
            (run.problem or (facts.problem if facts else ""), "$error"),
            (reason, state_look(run.state)[2]),
            (run.caution, "$warning"),
        )
        text, style = next((each for each in candidates if each[0]), ("", ""))
        return [*wrapped(clean(text), width, style), Content.empty()] if text else []

    def _figures(self) -> list[Content]:
        assert self._row is not None
        run = self._row.summary
        return [
            fact("certified", accuracy(run.certified_accuracy), f"p = ∞, eps {clean(run.eps_exact or '-')}"),
            fact("clean", accuracy(run.clean_accuracy)),
            fact("loss", loss(run.loss)),
            fact("p", number(run.p), "" if run.lam is None else f"λ {number(run.lam)}"),
            fact("step", count(run.step)),
        ]


def fact(label: str, value: str, beside: str = "") -> Content:
    """A line of a label and a value."""
    extra = f"  {beside}" if beside else ""
    return Content.assemble((f"{label:<{LABEL}}", "$muted"), value, (extra, "$muted"))


def whole_fact(label: str, value: str, beside: str, width: int) -> list[Content]:
    """The same on as many lines as a value of any length needs."""
    if len(value) + 2 + len(beside) <= width - LABEL:
        return [fact(label, value, beside)]
    room = max(width - LABEL, 8)
    lines = [fact(label if place == 0 else "", part) for place, part in enumerate(break_text(value, room))]
    return [*lines, *(fact("", "", part) for part in break_text(beside, room - 2))]


def break_text(text: str, width: int) -> list[str]:
    """Text on lines of at most `width` characters, broken after the separators in paths and field names."""
    lines, width = [""], max(1, width)  # a panel has no width before its layout
    for part in re.split(r"(?<=[./=_-])", text):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
    return [line[at : at + width] for line in lines for at in range(0, len(line), width)]


def _title(row: RunRow, width: int) -> list[Content]:
    glyph, word, colour = state_look(row.summary.state)
    attempt = f"  attempt {row.summary.attempt}" if (row.summary.attempt or 0) > 1 else ""
    return [
        *(Content.styled(part, "bold $bright") for part in break_text(clean(row.summary.id), width)),
        Content.assemble((f"{glyph} {word}", colour), (attempt, "$muted")),
    ]


def _made_from(facts: RunFacts, created: float | None, now: float, width: int) -> list[Content]:
    lines = []
    if (meta := facts.meta) is not None:
        lines += whole_fact("recipe", clean(meta.recipe), clean(meta.recipe_source), width)
        lines.append(fact("seed", str(meta.seed)))
        for place, override in enumerate(meta.overrides):
            lines += whole_fact("changed" if place == 0 else "", clean(override), "", width)
        ago = "-" if created is None else f"{age(created, now)} ago"
        lines += whole_fact("started", ago, clean(meta.host), width)
    if (recipe := facts.recipe) is not None:
        eps = recipe.eps
        lines.append(fact("eps", format_fraction(eps.test), f"trained at {format_fraction(eps.train)}"))
        lines.append(fact("net", clean(recipe.model.summary()), recipe.data.dataset))
    if facts.checkpoints:
        lines.append(fact("saved", f"step {facts.checkpoints[-1]:,}", f"{len(facts.checkpoints)} kept"))
    return lines
