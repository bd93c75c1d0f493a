"""Training a recipe: choose it, change values, see what that means, go."""

import shlex
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from linftui.errors import LinftuiError, UsageError
from linftui.recipe.load import LoadedRecipe
from linftui.recipe.schema import Recipe, format_fraction
from linftui.tui import operations, palette
from linftui.tui.curves import planned
from linftui.tui.screens.base import Listener
from linftui.tui.screens.modal import keys_line
from linftui.tui.text import clean, number
from linftui.tui.widgets.chart import Chart
from linftui.tui.widgets.curve import ChartOptions, Curve
from linftui.tui.widgets.form import Field, fill


class LaunchScreen(Listener):
    """A form; whatever is typed is checked at once, in a thread."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", show=False)]

    def __init__(self) -> None:
        super().__init__()
        self._known: list[operations.KnownRecipe] = []
        self._asked = 0  # so many checks were begun; what comes of an earlier one is no news
        self._ready: operations.LaunchRequest | None = None

    def compose(self) -> ComposeResult:
        """The parts, from top to bottom."""
        yield Static(Content.styled("Train a recipe", "bold $bright"), classes="heading")
        yield OptionList(id="recipes", compact=True, markup=False)
        with Vertical(id="form"):
            yield Field("recipe", "", "a name of the list, or the path of a YAML file", id="recipe")
            yield Field(
                "changes", "", "path=value path=value, such as optimizer.lr=0.02 seed=1", id="changes"
            )
            yield Field("devices", "auto", "auto, cpu, cpu:2, gpu:2, 0,3", id="devices")
            yield Field("name", "", "the run's id; one is made up where it is left empty", id="name")
        yield Static(id="verdict")
        yield Chart("p, as planned", id="preview", options=ChartOptions(log_y=True, clip_outliers=False))
        yield Static(
            keys_line(("enter", "train it"), ("tab", "next field"), ("esc", "leave")), id="launch-keys"
        )

    def on_mount(self) -> None:
        """Lists what there is."""
        self.query_one("#preview").can_focus = False
        self.query_one(OptionList).focus()
        self.dashboard.find_out(self, operations.known_recipes, self._listed)

    def _listed(self, known: list[operations.KnownRecipe]) -> None:
        self._known = known
        width = max((len(recipe.name) for recipe in known), default=0)
        choices = self.query_one(OptionList)
        choices.add_options([Option(_choice(recipe, width)) for recipe in known])
        names = [recipe.name for recipe in known]
        choices.highlighted = names.index("digits") if "digits" in names else 0 if names else None

    @on(OptionList.OptionHighlighted)
    def _pointed_at(self, event: OptionList.OptionHighlighted) -> None:
        fill(self.query_one("#recipe", Input), self._known[event.option_index].name)

    @on(OptionList.OptionSelected)
    def _chosen(self) -> None:
        self.query_one("#changes").focus()

    @on(Input.Changed)
    def _check(self) -> None:
        self._asked += 1
        asked, self._ready = self._asked, None
        try:
            request = self._request()
        except UsageError as error:
            self._refused(asked, error)
            return
        machine = self.dashboard.machine
        if not request.recipe and self._known:
            self._refused(asked, UsageError("recipe: none is chosen"))
        if machine is None or not request.recipe:
            return
        self.dashboard.find_out(
            self,
            lambda: operations.check(request, machine),
            lambda loaded: self._accepted(asked, request, loaded),
            lambda error: self._refused(asked, error),
        )

    def machine_changed(self) -> None:
        """What could not be checked before the devices were known is checked now."""
        if self._ready is None and self.dashboard.machine is not None and not self._asked:
            self._check()

    def _request(self) -> operations.LaunchRequest:
        changes = self.query_one("#changes", Input).value
        try:
            overrides = tuple(shlex.split(changes))
        except ValueError as error:
            raise UsageError(f"changes: {str(error).lower()}") from error
        return operations.LaunchRequest(
            recipe=self.query_one("#recipe", Input).value.strip(),
            overrides=overrides,
            devices=self.query_one("#devices", Input).value.strip() or "auto",
            name=self.query_one("#name", Input).value.strip(),
        )

    def _accepted(self, asked: int, request: operations.LaunchRequest, loaded: LoadedRecipe) -> None:
        if asked != self._asked:
            return
        self._ready = request
        recipe = loaded.recipe
        cautions = [Content.styled(clean(caution), "$warning") for caution in recipe.cautions()]
        self.query_one("#verdict", Static).update(Content("\n").join([summary(recipe), *cautions]))
        chart = self.query_one(Chart)
        chart.visible = True
        chart.options = ChartOptions(log_y=True, clip_outliers=False, x_range=(0.0, float(recipe.epochs)))
        chart.set_curves([Curve("p", planned(recipe)["p"], palette.P, smooth=False, format=number)])

    def _refused(self, asked: int, error: LinftuiError) -> None:
        if asked == self._asked:
            self.query_one("#verdict", Static).update(Content.styled(clean(str(error)), "$error"))
            self.query_one(Chart).set_curves([])  # what was planned before was another recipe
            self.query_one(Chart).visible = False

    @on(Input.Submitted)
    def _go(self) -> None:
        if not self.is_active:
            return  # enter was pressed twice, and the first one has left this screen
        if self._ready is None:
            self.notify("mend what is said in red first", severity="warning", markup=False)
            return
        self.dashboard.launch(self._ready)
        self.dismiss()

    def action_leave(self) -> None:
        """Leaves without training anything."""
        self.dismiss()


def _choice(recipe: operations.KnownRecipe, width: int) -> Content:
    beside = (clean(recipe.problem), "$error") if recipe.problem else (clean(recipe.description), "$muted")
    return Content.assemble(f"{clean(recipe.name):<{width}}  ", beside)


def summary(recipe: Recipe) -> Content:
    """What a recipe does, in two lines."""
    p, model = recipe.p, recipe.model
    return Content.assemble(
        (f"{model.depth} × {model.width}", "$bright"), f" net on {recipe.data.dataset}, ",
        (f"{recipe.epochs:,} epochs", "$bright"), f" of batches of {recipe.batch_size:,}",
        f", seed {recipe.seed}\n",
        f"trained at eps {format_fraction(recipe.eps.train)}, certified at ",
        (f"eps {format_fraction(recipe.eps.test)}", "$bright"),
        f"; p from {p.start:g} to {p.final:g} over epochs {p.begin_epoch:g} to {p.end_epoch:g}, then ∞",
    )  # fmt: skip
