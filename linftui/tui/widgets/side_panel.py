"""What is worth knowing of the run under the cursor, beside the table."""

from textual.content import Content

from linftui.recipe.schema import format_fraction
from linftui.rundir.ending import why_it_ended
from linftui.tui.facts import RunFacts
from linftui.tui.journal import event_line
from linftui.tui.run_list import RunRow
from linftui.tui.text import accuracy, age, clean, count, loss, number
from linftui.tui.theme import state_look
from linftui.tui.widgets.lines import Lines, wrapped

LABEL = 11


class SidePanel(Lines):
    """Facts, the last events, and what went wrong where something did."""

    DEFAULT_CSS = "SidePanel { height: 1fr; }"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._row: RunRow | None = None
        self._facts: RunFacts | None = None

    def show(self, row: RunRow | None, facts: RunFacts | None) -> None:
        """Takes the run under the cursor, and what is known of it: not yet anything, perhaps."""
        if facts is not None and (row is None or facts.paths != row.paths):
            facts = None
        self._row, self._facts = row, facts
        self.redraw()

    def make_lines(self, width: int, height: int) -> list[Content]:
        """As many lines as there is height for, the most telling first."""
        if self._row is None:
            return []
        lines = [*_title(self._row), Content.empty(), *self._problem(width), *self._figures()]
        if self._facts is not None:
            lines += [
                Content.empty(),
                *_made_from(self._facts, width),
                Content.empty(),
                *map(event_line, reversed(self._facts.events)),
            ]
        return lines[: height or None]

    def _problem(self, width: int) -> list[Content]:
        row, facts = self._row, self._facts
        assert row is not None
        run, style = row.summary, "$error"
        text = row.summary.problem or (facts.problem if facts else "")
        if not text and facts is not None:
            text = why_it_ended(run.state, run.attempt, facts.ended, facts.events)
            style = state_look(run.state)[2]
        return [*wrapped(clean(text), width, style), Content.empty()] if text else []

    def _figures(self) -> list[Content]:
        assert self._row is not None
        run = self._row.summary
        return [
            fact("certified", accuracy(run.certified_accuracy), f"p = ∞, eps {clean(run.eps_exact or '-')}"),
            fact("clean", accuracy(run.clean_accuracy)),
            fact("loss", loss(run.loss)),
            fact("p", number(run.p), f"λ {number(run.lam)}"),
            fact("step", count(run.step)),
        ]


def fact(label: str, value: str, beside: str = "") -> Content:
    """A line of a label and a value."""
    extra = f"  {beside}" if beside else ""
    return Content.assemble((f"{label:<{LABEL}}", "$muted"), value, (extra, "$muted"))


def _title(row: RunRow) -> list[Content]:
    glyph, word, colour = state_look(row.summary.state)
    attempt = f"  attempt {row.summary.attempt}" if (row.summary.attempt or 0) > 1 else ""
    return [
        Content.styled(clean(row.summary.id), "bold $bright"),
        Content.assemble((f"{glyph} {word}", colour), (attempt, "$muted")),
    ]


def _made_from(facts: RunFacts, width: int) -> list[Content]:
    lines = []
    if (meta := facts.meta) is not None:
        lines += [
            fact("recipe", clean(meta.recipe), clean(meta.recipe_source)),
            fact("seed", str(meta.seed)),
        ]
        if meta.overrides:
            first, *others = (clean(override) for override in meta.overrides)
            lines += [fact("changed", first), *(fact("", other) for other in others[:5])]
        lines.append(fact("started", f"{age(meta.created)} ago", clean(meta.host)))
    if (recipe := facts.recipe) is not None:
        eps = recipe.eps
        lines.append(fact("eps", format_fraction(eps.test), f"trained at {format_fraction(eps.train)}"))
        lines.append(fact("net", f"{recipe.model.depth} × {recipe.model.width}", recipe.data.dataset))
    if facts.checkpoints:
        lines.append(fact("saved", f"step {facts.checkpoints[-1]:,}", f"{len(facts.checkpoints)} kept"))
    return lines
