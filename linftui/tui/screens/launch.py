"""The form that trains a recipe: choose it, change values, see what that means, start."""

import shlex

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from linftui.actions import train
from linftui.actions.recipes import KnownRecipe, known_recipes
from linftui.devices import snapshot
from linftui.errors import LinftuiError, UsageError
from linftui.recipe.fraction import format_fraction
from linftui.recipe.schema import Recipe
from linftui.text import clean, number
from linftui.tui import commands
from linftui.tui.bindings import Keyed, commands_of, textual_bindings
from linftui.tui.chart import palette
from linftui.tui.chart.chart import Chart
from linftui.tui.chart.curve import ChartOptions, Curve
from linftui.tui.host import Host
from linftui.tui.live.run_curves import planned
from linftui.tui.screens.form import FormScreen
from linftui.tui.screens.modal import keys_line
from linftui.tui.widgets.field import Field, fill


class Recipes(Keyed, OptionList):
    """The list of recipes."""

    PLACE = "recipes"
    BINDINGS = textual_bindings("recipes")


class LaunchScreen(FormScreen):
    """The recipes, the fields, and what they mean. It stays open until the run has begun."""

    PLACE = "launch"
    BINDINGS = textual_bindings("launch")

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._known: list[KnownRecipe] = []

    def compose(self) -> ComposeResult:
        """The parts, from top to bottom."""
        yield Static(id="heading")
        with VerticalScroll(id="launch", can_focus=False):
            yield Recipes(id="recipes", compact=True, markup=False)
            with Vertical(id="form"):
                yield Field("recipe", "", "a name from the list, or the path of a YAML file", id="recipe")
                yield Field(
                    "changes", "", "path=value path=value, such as optimizer.lr=0.02 seed=1", id="changes"
                )
                yield Field("devices", "auto", "auto, cpu, cpu:2, gpu:2, 0,3", id="devices")
                yield Field("name", "", "the run's id; generated if left empty", id="name")
            yield Static(id="feedback")
            yield Chart("p, as planned", id="preview", options=ChartOptions(log_y=True, clip_outliers=False))
        yield Static(keys_line(*commands_of("launch")), id="launch-keys")

    def on_mount(self) -> None:
        """Lists the recipes."""
        self.query_one("#preview").can_focus = False
        self.query_one(Recipes).focus()
        self.status_changed()
        self.host.find_out(self, known_recipes, self._listed)

    def status_changed(self) -> None:
        """Shows the progress of what is being started."""
        heading = Content.assemble(
            ("Train a recipe", "bold $bright"), "  ", (clean(self.host.status), "$warning")
        )
        self.query_one("#heading", Static).update(heading)

    def _listed(self, known: list[KnownRecipe]) -> None:
        self._known = known
        width = max((len(recipe.name) for recipe in known), default=0)
        choices = self.query_one(Recipes)
        choices.add_options([Option(_choice(recipe, width)) for recipe in known])
        names = [recipe.name for recipe in known]
        choices.highlighted = names.index("digits") if "digits" in names else 0 if names else None

    @on(OptionList.OptionHighlighted)
    def _pointed_at(self, event: OptionList.OptionHighlighted) -> None:
        fill(self.query_one("#recipe", Input), self._known[event.option_index].name)

    @on(OptionList.OptionSelected)
    def _chosen(self) -> None:
        self.query_one("#changes").focus()

    def check(self) -> None:
        """Checks the recipe with its changes, the devices, and whether the name is free."""
        try:
            request = self._request()
        except UsageError as error:
            self.refuse(error)
            return
        if not request.recipe:
            if self._known:
                self.refuse(UsageError("recipe: none is chosen"))
            return
        store, machine = self.host.store, self.host.machine
        self.find_out(lambda: train.check(store, request, machine or snapshot()), self._accepted)

    def _request(self) -> train.TrainRequest:
        changes = self.query_one("#changes", Input).value
        try:
            overrides = tuple(shlex.split(changes))
        except ValueError as error:
            raise UsageError(f"changes: {str(error).lower()}") from error
        return train.TrainRequest(
            recipe=self.query_one("#recipe", Input).value.strip(),
            overrides=overrides,
            devices=self.query_one("#devices", Input).value.strip() or "auto",
            name=self.query_one("#name", Input).value.strip() or None,
        )

    def _accepted(self, plan: train.TrainPlan) -> Content:
        recipe = plan.loaded.recipe
        chart = self.query_one(Chart)
        chart.visible = True
        chart.options = ChartOptions(log_y=True, clip_outliers=False, x_range=(0.0, float(recipe.epochs)))
        chart.set_curves([Curve("p", planned(recipe)["p"], palette.P, smooth=False, format=number)])
        warnings = [Content.styled(clean(warning), "$warning") for warning in plan.warnings]
        return Content("\n").join([recipe_summary(recipe), *warnings])

    def refuse(self, error: LinftuiError) -> None:
        """Shows what is wrong with the fields, and hides the planned p."""
        super().refuse(error)
        self.query_one(Chart).set_curves([])  # they belong to the previous fields
        self.query_one(Chart).visible = False

    def submit(self) -> None:
        """Trains as the fields say."""
        commands.launch(self.host, self._request(), self)


def _choice(recipe: KnownRecipe, width: int) -> Content:
    beside = (clean(recipe.problem), "$error") if recipe.problem else (clean(recipe.description), "$muted")
    return Content.assemble(f"{clean(recipe.name):<{width}}  ", beside)


def recipe_summary(recipe: Recipe) -> Content:
    """A recipe in two lines."""
    p, model = recipe.p, recipe.model
    return Content.assemble(
        (clean(model.summary()), "$bright"), f" net on {recipe.data.dataset}, ",
        (f"{recipe.epochs:,} epochs", "$bright"), f" of batches of {recipe.batch_size:,}",
        f", seed {recipe.seed}\n",
        f"trained at eps {format_fraction(recipe.eps.train)}, certified at ",
        (f"eps {format_fraction(recipe.eps.test)}", "$bright"),
        f"; p from {p.start:g} to {p.final:g} over epochs {p.begin_epoch:g} to {p.end_epoch:g}, then ∞",
    )  # fmt: skip
