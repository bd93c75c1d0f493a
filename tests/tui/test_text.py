"""What is drawn or named by the dashboard alone."""

import math

import pytest

from linftui.devices import Gpu
from linftui.tui import text


@pytest.mark.parametrize("share", [None, math.nan, -1.0, 0.0, 0.26, 0.5, 1.0, 7.0])
def test_a_bar_has_its_width_whatever_the_share(share: float | None) -> None:
    bar = text.bar(share, 10)
    assert bar.cell_length == 10
    style = {span.style for span in bar.spans if span.end > span.start}
    assert ("$accent" in style) == (share is not None and share > 0)


def test_devices_are_named_in_brief() -> None:
    here = (Gpu(index=0, uuid="GPU-a", name=""), Gpu(index=3, uuid="GPU-b", name=""))
    assert text.device_names(("cpu",)) == "cpu" and text.device_names(("cpu", "cpu")) == "cpu ×2"
    assert text.device_names(("GPU-a", "GPU-b"), here) == "gpu 0,3"
    assert text.device_names(("GPU-x", "GPU-y"), here) == "gpu ×2" and text.device_names(()) == "-"
