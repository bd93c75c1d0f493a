"""Which kernels are chosen, how work is split, and the polynomials in place of powers."""

import math

import numpy as np
import pytest
import torch

from linftui.errors import DeviceError
from linftui.ops.cuda.catalogue import FORMS, PowerForm
from linftui.ops.cuda.choice import (
    BACKWARD,
    FORWARD,
    OVERRIDE,
    Cost,
    choose_method,
    describe,
    pruned_slots,
    splits,
)
from linftui.ops.cuda.powers import Exponent, allowed_error, fit_polynomial, form_of, numbers_of
from linftui.ops.cuda.survivors import Survivors


class TestPowerForm:
    def test_every_p_has_a_form_that_is_compiled(self) -> None:
        for p in [*np.geomspace(1, 1e4, 2000).tolist(), *map(float, range(1, 200))]:
            assert form_of(p) in FORMS, p

    def test_what_the_paper_passes_through(self) -> None:
        assert form_of(8.0).power == 8
        assert form_of(8.001) == PowerForm(degree=9, squarings=1)
        assert [form_of(p).squarings for p in (16.0, 31.9, 32.0, 63.9, 64.0, 127.9)] == [3, 3, 4, 4, 5, 5]
        assert form_of(128.0) == form_of(1.5) == PowerForm()


class TestPolynomial:
    @pytest.mark.parametrize("p", [8.01, 10.0, 12.5, 15.99, 16.0, 20.0, 31.99, 37.3, 63.9, 100.0, 127.9])
    @pytest.mark.parametrize("less", [0, 1])
    def test_its_power_is_as_good_as_float32(self, p: float, less: int) -> None:
        """Between the nodes of the fit too. The backward just above p = 8 errs most, by 7e-7."""
        form = form_of(p)
        exponent = p - less
        coefficients = fit_polynomial(exponent / 2**form.squarings, form)
        r = np.linspace(0, 1, 20_001)
        powers = np.polynomial.polynomial.polyval(1 - r, coefficients) ** (2**form.squarings)
        assert (np.abs(powers - r**exponent) / allowed_error(r, exponent)).max() <= (12 if less else 4)

    def test_the_numbers_lie_where_the_kernels_read_them(self) -> None:
        numbers = numbers_of(12.5, form_of(12.5))
        assert len(numbers) == 34
        assert numbers[:3] == [12.5, 1 / 12.5, 12.5] and numbers[18] == 11.5
        assert numbers[3] == pytest.approx(1, abs=1e-6) and numbers[19] == pytest.approx(1, abs=1e-6)
        assert numbers[4] == pytest.approx(-6.25, rel=1e-3)  # the derivative of r^c at r = 1, turned round

    def test_an_exponent_changes_in_place(self) -> None:
        exponent = Exponent(20.0, torch.device("cpu"))
        before = exponent.numbers
        exponent.update(30.0)
        assert exponent.numbers is before and exponent.p == 30.0
        assert torch.equal(before, torch.tensor(numbers_of(30.0, form_of(30.0)), dtype=torch.float32))


class TestChoice:
    def test_without_a_measurement_p_decides(self) -> None:
        assert choose_method(20.0, False) == choose_method(20.0, True) == choose_method(60.0, True) == "dense"
        assert choose_method(60.0, False) == choose_method(100.0, True) == "pruned"

    def test_a_measurement_overrules_it(self) -> None:
        assert choose_method(1000.0, False, 0.5) == "dense" and choose_method(20.0, False, 1e-4) == "pruned"
        assert choose_method(1000.0, True, 0.5) == "dense" and choose_method(20.0, True, 1e-4) == "pruned"
        assert choose_method(8.0, False, 0.0) == "dense"  # whole powers are cheap

    def test_below_8_nothing_is_pruned(self) -> None:
        assert choose_method(2.5, False, 1e-6) == choose_method(7.9, True, 1e-6) == "dense"

    def test_the_environment_overrules_all_but_whole_powers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(OVERRIDE, "dense")
        assert choose_method(1000.0, False) == choose_method(1000.0, True, 1e-4) == "dense"
        monkeypatch.setenv(OVERRIDE, "pruned")
        assert (
            choose_method(20.0, False) == choose_method(20.0, True, 0.5) == "pruned"
            and choose_method(8.0, False) == "dense"
        )
        monkeypatch.setenv(OVERRIDE, "fast")
        with pytest.raises(DeviceError, match="LINFTUI_CUDA_METHOD must be dense or pruned, got 'fast'"):
            choose_method(20.0, False)

    @pytest.mark.parametrize("cost", [FORWARD, BACKWARD])
    def test_pruning_costs_more_the_more_survives(self, cost: Cost) -> None:
        slots = [pruned_slots(cost, rate) for rate in (0.0, 1e-4, 1e-3, 1e-2, 0.5)]
        assert slots == sorted(slots) and slots[0] == cost.loop < cost.dense < slots[-1]

    def test_the_metadata_names_the_kernels(self) -> None:
        assert describe(math.inf) == "forward: argmax; backward: scatter"
        assert describe(8.0) == "forward: whole power 8; backward: whole power 8"
        assert describe(60.0) == (
            "forward: pruned; backward: special functions + polynomial 6 squared 4 times"
        )
        assert describe(60.0, (0.9, None)).startswith("forward: special functions + polynomial")


class TestSurvivors:
    def test_a_share_is_of_what_was_counted_since_the_reading_before(self) -> None:
        survivors = Survivors(torch.device("cpu"))
        assert survivors.read() == (None, None)
        survivors.counts += torch.tensor([[1, 4], [0, 8]])
        assert survivors.read() == survivors.rates == (0.25, 0.0) and not survivors.counts.any()

    def test_pruning_that_did_not_pay_is_tried_again_in_time(self) -> None:
        """Dense kernels count nothing; if the share stayed as it was, nobody would ever look again."""
        survivors = Survivors(torch.device("cpu"))
        survivors.counts += torch.tensor([[3, 10], [0, 0]])
        rates = [survivors.read() for _ in range(80)]
        assert [choose_method(1000.0, False, rate) for rate, _ in rates[:2]] == ["dense", "dense"]
        assert choose_method(1000.0, False, rates[-1][0]) == "pruned"
        assert all(backward is None for _, backward in rates)


class TestSplits:
    @pytest.mark.parametrize("tiles", [160, 320])
    def test_a_paper_layer_fills_an_h100(self, tiles: int) -> None:
        """Unsplit, 160 tiles keep 61% of 264 places busy; at least 90% is the aim."""
        parts = splits(tiles, pieces=320, capacity=264, overhead=4)
        pieces = math.ceil(320 / parts)
        waves = math.ceil(tiles * parts / 264)
        assert tiles * 320 / (waves * pieces * 264) >= 0.9

    def test_nothing_is_split_for_nothing(self) -> None:
        assert splits(2640, pieces=320, capacity=264, overhead=4) == 1
        assert splits(1, pieces=1, capacity=264, overhead=4) == 1
        assert splits(4, pieces=2, capacity=264, overhead=4) <= 2
