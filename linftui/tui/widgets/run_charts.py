"""The charts of one run: certified accuracy and loss above; p, the mixing coefficient and devices below."""

import math
from dataclasses import replace

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from linftui.recipe.fraction import format_fraction
from linftui.recipe.schema import Recipe
from linftui.rundir.state import ACTIVE
from linftui.text import accuracy, loss, number, percent
from linftui.tui.chart import palette
from linftui.tui.chart.chart import Chart
from linftui.tui.chart.curve import ChartOptions, Curve, Mark
from linftui.tui.chart.series import Series
from linftui.tui.live.run_curves import planned
from linftui.tui.live.run_model import RunModel

NAMES = ("accuracy", "loss", "p", "lam", "devices")  # in the order of the keys 1 to 5
ROOMY = 110  # columns from which curves have their full names


class RunCharts(Vertical):
    """Five charts with epochs as x, and one crosshair for all."""

    def __init__(self, model: RunModel, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._model = model
        self._planned: dict[str, Series] = {}
        self._drawn_for: tuple[object, ...] = ()  # what the choice of curves depended on

    def compose(self) -> ComposeResult:
        """The grid."""
        with Horizontal(id="charts-above"):
            yield Chart("certified accuracy", id="accuracy")
            yield Chart("loss", id="loss")
        with Horizontal(id="charts-below"):
            yield Chart("p", options=ChartOptions(log_y=True), id="p")
            yield Chart("mixing coefficient λ", options=ChartOptions(log_y=True), id="lam")
            yield Chart("devices", id="devices")

    def begin(self, model: RunModel) -> None:
        """Shows another model from the next redraw on."""
        self._model, self._planned, self._drawn_for = model, {}, ()

    def redraw(self) -> None:
        """Draws the model's current data."""
        recipe = self._model.standing.recipe if self._model.standing else None
        if recipe is not None and not self._planned:
            self._planned = planned(recipe)
            self.set_class(
                not len(self._planned["lam"]), "unmixed"
            )  # its objective has no mixing coefficient
            self.chart("accuracy").heading = heading(recipe)
        self._choose_curves()
        self._choose_options()
        for name in NAMES:
            self.chart(name).redraw()

    def on_resize(self) -> None:
        """Chooses names that fit the width."""
        self._choose_curves()

    def chart(self, name: str) -> Chart:
        """One of the charts in `NAMES`."""
        return self.query_one(f"#{name}", Chart)

    def focus_chart(self, number: int) -> None:
        """Focuses the chart of that number, from 1; enlarges it if one is enlarged, or if it is hidden."""
        chart = self.chart(NAMES[number - 1])
        if chart.id == "lam" and self.has_class("unmixed"):
            return
        if self.enlarged or not self.has_room(chart):
            self.enlarge(chart)
            self.call_after_refresh(chart.focus)  # once it is visible again
        else:
            self.screen.set_focus(chart)  # at once: the next key is meant for it

    def has_room(self, chart: Chart) -> bool:
        """Whether a chart is shown: small terminals hide some."""
        return chart.display and any(row.display for row in self.query(Horizontal) if chart.parent is row)

    @property
    def enlarged(self) -> bool:
        """Whether only one chart is shown."""
        return self.has_class("enlarged")

    def enlarge(self, chart: Chart | None) -> None:
        """Shows only one chart; None: all of them again."""
        self.set_class(chart is not None, "enlarged")
        for other in self.query(Chart):
            other.set_class(other is chart, "chosen")
        for row in self.query(Horizontal):
            row.set_class(chart is not None and chart.parent is row, "chosen")

    def on_chart_crosshair_moved(self, event: Chart.CrosshairMoved) -> None:
        """Moves the crosshair of all charts to the same x."""
        for chart in self.query(Chart):
            chart.crosshair = event.x

    def _choose_curves(self) -> None:
        devices = self._model.curves.devices
        reestimated = self._model.curves.series["certified_reestimated"]
        decides = (self.size.width >= ROOMY, bool(self._planned), tuple(devices), bool(len(reestimated)))
        if decides == self._drawn_for:
            return
        self._drawn_for = decides
        self.chart("accuracy").set_curves(self._accuracies())
        self.chart("loss").set_curves([Curve("", self._series("loss"), palette.LOSS, format=loss)])
        self.chart("p").set_curves(self._schedule("p", palette.P))
        self.chart("lam").set_curves(self._schedule("lam", palette.LAM))
        self.chart("devices").set_curves(self._devices())

    def _series(self, name: str) -> Series:
        return self._model.curves.series[name]

    def _accuracies(self) -> list[Curve]:
        roomy, reestimated = self.size.width >= ROOMY, self._series("certified_reestimated")
        true = "true, p = ∞" if roomy else "true"
        curves = [
            Curve(true, self._series("certified"), palette.CERTIFIED, format=accuracy),
            Curve("clean", self._series("clean"), palette.CLEAN, format=accuracy),
            Curve(
                "train, at p" if roomy else "train", self._series("at_p"), palette.AT_P, faint=True,
                note="not a certificate", short_note="not a cert.", format=accuracy,
            ),
        ]  # fmt: skip
        if len(reestimated):
            name = "re-estimated means" if roomy else "re-est."
            curves.insert(2, Curve(name, reestimated, palette.CERTIFIED, line="dashed", format=accuracy))
        return curves

    def _schedule(self, name: str, color: str) -> list[Curve]:
        curves = [Curve("", self._series(name), color, smooth=False, format=number)]
        if name in self._planned:
            ahead = Curve(
                "planned", self._planned[name], palette.PLANNED,
                line="dotted", smooth=False, format=lambda _: "",
            )  # fmt: skip
            curves.append(ahead)
        return curves

    def _devices(self) -> list[Curve]:
        devices = self._model.curves.devices
        return [
            Curve(
                name, series, palette.CYCLE[place % len(palette.CYCLE)], format=percent,
                line="dashed" if name.startswith("mem") else "solid",
            )
            for place, (name, series) in enumerate(devices.items())
        ]  # fmt: skip

    def _choose_options(self) -> None:
        model, train = self._model, self._model.train
        x_range = (0.0, float(model.epochs)) if model.epochs else None
        so_far = (0.0, axis_end(train.epoch if train else 0.0, model.epochs)) if model.epochs else None
        marks: tuple[Mark, ...] = ()
        if train is not None and train.step > 0 and model.standing is not None:
            epochs = (step * (train.epoch / train.step) for step in model.standing.checkpoints)
            marks = tuple(Mark(epoch) for epoch in epochs if math.isfinite(epoch))
        here = train.epoch if train is not None and model.going_on else None
        plain = ChartOptions(x_range=so_far, growing=model.standing is None or model.state in ACTIVE)
        self.chart("accuracy").options = replace(plain, marks=marks, clip_outliers=False)
        self.chart("loss").options = plain
        schedule = replace(plain, log_y=True, x_range=x_range, clip_outliers=False, here=here)
        self.chart("p").options = self.chart("lam").options = schedule
        self.chart("devices").options = replace(plain, y_range=(0.0, 1.0))


def axis_end(epoch: float, epochs: int) -> float:
    """The end of the x axis at an epoch: it doubles, so that curves fill it and it rarely changes."""
    end = float(epochs)
    while end / 2 >= max(epoch, 1.0):
        end /= 2
    return end


def heading(recipe: Recipe) -> str:
    """The heading of the chart of accuracies."""
    return f"certified accuracy · test · eps {format_fraction(recipe.eps.test)}"
