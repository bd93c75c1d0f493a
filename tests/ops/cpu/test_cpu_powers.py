"""How powers are computed: the fit against exact powers, and that a bad one is never used."""

import math

import numpy as np
import pytest

from linftui.ops.cpu import powers as module
from linftui.ops.cpu.powers import Power, drop_below, power


def test_whole_exponents_are_products_and_small_ones_logarithms() -> None:
    assert all(power(float(q)).kind == "whole" for q in range(9))
    assert [power(q).kind for q in (2.5, 9.0, 10.9)] == ["logarithmic"] * 3


@pytest.mark.parametrize("q", np.geomspace(11.5, 9999, 60).tolist())
def test_a_fit_is_right_wherever_its_power_counts(q: float) -> None:
    fitted = power(q)
    assert fitted.kind == "squared" and 2 <= fitted.c < 4
    r = np.linspace(0, 1, 20001)
    z = fitted.c * (1 - r)
    value = np.polyval(fitted.coefficients[::-1], z) ** 2.0**fitted.squarings
    value[z >= fitted.z_max] = 0
    assert np.abs(value - r**q).max() <= 1e-5
    assert value[r**q < 2.0**-43].max(initial=0) <= 3e-13


def test_a_fit_that_measures_badly_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    good = module.fit_power(37.3)
    bad = Power(good.q, good.kind, good.squarings, good.z_max, (1.001, *good.coefficients[1:]))
    monkeypatch.setattr(module, "fit_power", lambda q: bad)
    assert power.__wrapped__(37.3).kind == "logarithmic"


def test_the_error_is_that_of_float32() -> None:
    """Of (1 + e)^q there is no less than q e, however good the polynomial."""
    assert module.measured_error(module.fit_power(9999.0))[1] > 1e-5


def test_what_is_dropped_is_below_1e_13_or_a_power_of_the_gradient() -> None:
    assert drop_below(100.0) is None
    ratios = drop_below(999.0)
    assert ratios is not None and ratios[0] == math.inf and ratios[255] == -1
    for gradient in (1e-20, 1e-9, 1e-3, 1.0, 3e30):
        ratio = float(ratios[np.float32(gradient).view(np.uint32) >> 23])
        term = gradient * ratio**999
        assert term <= 1.01e-13 or (gradient > 1 and ratio**999 <= 1.01 * 2.0**-44)
