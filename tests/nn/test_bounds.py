"""The theorem, tried: bounds of small nets against exact rational arithmetic and against the executed floats.

Every box is one of pixels, x0 +- eps in [0, 1], and its points are taken where a bound would break first:
faces, corners, their float neighbours, the exact ends that no float hits, and whatever a search finds.
"""

import math
from collections.abc import Iterator
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from linftui.nn import AT_INFINITY, DistanceMLP, IntervalBounds
from linftui.nn.boxes import _box_table, pixel_box, round_down, to_pixels
from linftui.ops.reference import next_down, next_up

INF, NAN = math.inf, math.nan
RADII = [Fraction(0), Fraction(1, 10**9), Fraction(2, 255), Fraction(1, 10), Fraction(1, 3), Fraction(2)]
TINY = 2.0**-149  # the smallest denormal
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


def small_net(
    seed: int, inputs: int = 4, *, std: float = 0.376, mean: float = 0.3, weights: float = 1.0
) -> DistanceMLP:
    """inputs -> 5 -> 5 -> 3 with biases and running means of the size that a trained net has."""
    model = DistanceMLP(
        in_shape=(1, 1, inputs), classes=3, width=5, depth=3, identity=0.0, mean=(mean,), std=std, seed=seed
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(weights * torch.randn(parameter.shape, generator=generator))
        for shift in model.shifts:
            shift.running_mean.copy_(weights * torch.randn(5, generator=generator))
    return model.eval().requires_grad_(False)


def random_images(n: int, inputs: int, levels: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, levels + 1, (n, 1, 1, inputs), generator=generator, dtype=torch.uint8)


def fractions_of(tensor: Tensor) -> np.ndarray:
    """The tensor's floats as exact fractions, in an object array."""
    return np.frompyfunc(Fraction, 1, 1)(tensor.double().numpy())


class ExactNet:
    """The real network: the float32 parameters, and arithmetic without rounding."""

    def __init__(self, model: DistanceMLP) -> None:
        self.depth = len(model.hidden)
        self.state = {name: fractions_of(value) for name, value in model.state_dict().items()}

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Logits of one image of exact pixels, [classes]."""
        s = self.state
        z = (pixels - s["normalize.mean"].ravel()) / s["normalize.std"]
        for k in range(self.depth):
            z = abs(z - s[f"hidden.{k}.weight"]).max(1) - s[f"shifts.{k}.running_mean"]
        logits: np.ndarray = -(abs(z - s["last.weight"]).max(1) + s["last.bias"])
        return logits


def assert_executed_inside(model: DistanceMLP, bounds: IntervalBounds, points: Tensor) -> int:
    """Every one of the points [P, N, 1, 1, inputs], P a box, gives logits within that box's bounds."""
    logits = model(points.flatten(0, 1), AT_INFINITY).view(*points.shape[:2], -1)
    assert ((bounds.lower <= logits) & (logits <= bounds.upper)).all()
    return points.shape[0] * points.shape[1]


def assert_exact_inside(model: ExactNet, bounds: IntervalBounds, row: int, points: np.ndarray) -> int:
    """Every one of the exact points [P, inputs] of this row's box gives logits within its bounds."""
    lower, upper = fractions_of(bounds.lower[row]), fractions_of(bounds.upper[row])
    for point in points:
        logits = model(point)
        assert (lower <= logits).all() and (logits <= upper).all()
    return len(points)


def sampled(box: IntervalBounds, n: int, generator: torch.Generator) -> Tensor:
    """Points inside, on faces and at corners: each coordinate is an end as often as it is between them."""
    shape = (n, *box.lower.shape)
    inside = torch.lerp(box.lower, box.upper, torch.rand(shape, generator=generator))
    choice = torch.randint(0, 4, shape, generator=generator)
    points = torch.where(choice == 0, box.lower, torch.where(choice == 1, box.upper, inside))
    return points.clamp(box.lower, box.upper)


def searched(model: DistanceMLP, box: IntervalBounds, start: Tensor) -> Iterator[Tensor]:
    """Where coordinate searches pass that drive each logit up and down, from a start in every box."""

    def reached(points: Tensor) -> Tensor:
        logits = model(points.flatten(0, 1), AT_INFINITY).view(3, 2, len(start), 3)
        own = torch.stack([logits[k, :, :, k] for k in range(3)])  # search k looks at logit k only
        return (own * torch.tensor([1, -1])[:, None]).flatten(0, 1)

    best = start.repeat(6, 1, 1, 1, 1)
    for _, k, end in product(range(2), range(start.shape[-1]), (box.lower, box.upper)):
        candidate = best.clone()
        candidate[..., k] = end[..., k]
        yield candidate
        better = reached(candidate) > reached(best)
        best = torch.where(better[..., None, None, None], candidate, best)


def exact_points(images: Tensor, row: int, eps: Fraction, levels: int, n: int) -> np.ndarray:
    """Exact points of one box, most of them no floats: its true ends, its centre, and between."""
    shares = [
        Fraction(0),
        Fraction(0),
        Fraction(1),
        Fraction(1),
        Fraction(1, 2),
        Fraction(1, 7),
        Fraction(5, 9),
    ]
    centre = np.array([Fraction(k, levels) for k in images[row].ravel().tolist()])
    low, high = np.maximum(centre - eps, Fraction(0)), np.minimum(centre + eps, Fraction(1))
    picked = np.random.default_rng(row).choice(np.array(shares), size=(n, len(centre)))
    return np.concatenate([[centre, low, high], low + (high - low) * picked])


class TestOperations:
    @settings(deadline=None)
    @given(FLOATS, FLOATS, FLOATS)
    def test_each_one_encloses_exact_and_executed_values_at_both_ends(
        self, a: float, b: float, value: float
    ) -> None:
        ends, operand = torch.tensor([[a], [b]]), torch.tensor(value)
        box = IntervalBounds.of(ends.amin(0, keepdim=True), ends.amax(0, keepdim=True))
        operations = [
            (box.minus(operand), ends - operand, lambda x, y: x - y),
            (box.plus(operand), ends + operand, lambda x, y: x + y),
        ]
        if value > 0:
            operations.append((box.divided_by(operand), ends / operand, lambda x, y: x / y))
        for image, executed, exactly in operations:
            if image.finite.all():
                assert ((image.lower < executed) & (executed < image.upper)).all()
                for x in (a, b):
                    exact = exactly(Fraction(x), Fraction(value))
                    assert Fraction(image.lower.item()) < exact < Fraction(image.upper.item())

    def test_a_row_that_was_not_finite_once_stays_marked(self) -> None:
        box = IntervalBounds.of(torch.tensor([[0.0, -INF], [0.0, 1.0]]), torch.ones(2, 2))
        healed = IntervalBounds.of(torch.zeros(2, 2), torch.ones(2, 2), box.finite)
        later = [healed, box.minus(torch.ones(())), box.plus(torch.ones(())), box.divided_by(torch.ones(()))]
        for image in (box, box.negated(), box.flattened(), *later):
            assert image.finite.tolist() == [False, True]

    def test_an_overflow_marks_the_row_even_where_a_neighbour_is_finite(self) -> None:
        ends = torch.tensor([[3e38], [-3e38], [1.0]])
        assert IntervalBounds.of(ends, ends).plus(torch.tensor([3e38])).finite.tolist() == [False, True, True]
        assert IntervalBounds.of(ends, ends).minus(torch.tensor([3e38])).finite.tolist() == [
            True,
            False,
            True,
        ]


class TestPixelBox:
    @pytest.mark.parametrize("levels", [16, 255])
    @pytest.mark.parametrize("eps", ["2/255", "8/255", "0.1", "0.3", "1/3", "1e-9", "0", "1", "3"])
    def test_its_ends_are_the_exact_ones_rounded_outward(self, eps: str, levels: int) -> None:
        radius = Fraction(eps)
        box = pixel_box(torch.arange(levels + 1).to(torch.uint8).view(-1, 1, 1, 1), radius, levels)
        for k, (low, high) in enumerate(zip(box.lower.ravel(), box.upper.ravel(), strict=True)):
            exact_low = max(Fraction(k, levels) - radius, Fraction(0))
            exact_high = min(Fraction(k, levels) + radius, Fraction(1))
            assert Fraction(low.item()) <= exact_low < Fraction(next_up(low).item())
            assert Fraction(next_down(high).item()) < exact_high <= Fraction(high.item())

    def test_the_executed_pixels_lie_in_it_even_at_eps_0(self) -> None:
        for levels in (16, 255):
            images = torch.arange(levels + 1).to(torch.uint8).view(-1, 1, 1, 1)
            box, pixels = pixel_box(images, Fraction(0), levels), to_pixels(images, levels)
            assert ((box.lower <= pixels) & (pixels <= box.upper)).all()

    def test_it_is_float32_whatever_torchs_default_is(self) -> None:
        images, default = torch.arange(17).to(torch.uint8).view(-1, 1, 1, 1), torch.get_default_dtype()
        expected = pixel_box(images, Fraction(1, 7), 16)
        _box_table.cache_clear()
        try:
            torch.set_default_dtype(torch.bfloat16)
            box = pixel_box(images, Fraction(1, 7), 16)
        finally:
            torch.set_default_dtype(default)
            _box_table.cache_clear()
        assert torch.equal(box.lower, expected.lower) and torch.equal(box.upper, expected.upper)

    def test_a_negative_radius_is_refused(self) -> None:
        with pytest.raises(ValueError, match="eps must be >= 0, got -1/10"):
            pixel_box(torch.zeros(1, 1, 1, 1, dtype=torch.uint8), Fraction(-1, 10), 255)

    @settings(deadline=None)
    @given(st.fractions(-(2**127), 2**127, max_denominator=10**60))
    def test_any_fraction_is_rounded_down_to_the_float_below(self, value: Fraction) -> None:
        below = round_down(value)
        assert Fraction(below) <= value < Fraction(next_up(torch.tensor(below)).item())

    def test_fractions_smaller_than_any_float_are_rounded_down_too(self) -> None:
        assert round_down(Fraction(1, 10**400)) == 0 and round_down(Fraction(-1, 10**400)) == -TINY


class TestOracle:
    def test_the_real_and_the_executed_net_stay_inside_at_100_000_points(self) -> None:
        """Executed floats at all of them; exact arithmetic at some thousand, most of them between floats."""
        executed = exact = 0
        for seed, (levels, eps) in enumerate(product((16, 255), RADII)):
            generator = torch.Generator().manual_seed(seed)
            model, images = small_net(seed), random_images(30, 4, levels, seed)
            box = pixel_box(images, eps, levels)
            bounds, real = model.bounds(box), ExactNet(model)
            assert bounds.finite.all()
            for points in (sampled(box, 250, generator), *searched(model, box, to_pixels(images, levels))):
                executed += assert_executed_inside(model, bounds, points)
            for row in range(15):
                points = exact_points(images, row, eps, levels, n=7)
                exact += assert_exact_inside(real, bounds, row, points)
                floats = fractions_of(sampled(box, 5, generator)[:, row].flatten(1))
                exact += assert_exact_inside(real, bounds, row, floats)
        assert executed >= 100_000 and exact >= 2_500

    @pytest.mark.parametrize("inputs", [2, 3])
    def test_nor_does_any_float_neighbour_of_a_face_escape(self, inputs: int) -> None:
        """Every image of a grid, every combination of floats next to the ends and the centre of its box."""
        levels, eps, model = 4, Fraction(1, 10), small_net(inputs, inputs)
        images = torch.cartesian_prod(*[torch.arange(5, dtype=torch.uint8)] * inputs).view(-1, 1, 1, inputs)
        box, centre = pixel_box(images, eps, levels), to_pixels(images, levels)
        bounds, real = model.bounds(box), ExactNet(model)
        near = [box.lower, next_up(box.lower), next_up(next_up(box.lower))]
        near += [next_down(centre), centre, next_up(centre)]
        near += [next_down(next_down(box.upper)), next_down(box.upper), box.upper]
        values = torch.stack(near).clamp(box.lower, box.upper)
        picks = torch.cartesian_prod(*[torch.arange(len(near))] * inputs)
        points = torch.stack([values[pick, ..., k] for k, pick in enumerate(picks.T)], dim=-1)
        assert assert_executed_inside(model, bounds, points) == 9**inputs * 5**inputs
        for row in range(len(images)):
            assert_exact_inside(real, bounds, row, fractions_of(points[row :: 5 * inputs, row].flatten(1)))

    @pytest.mark.parametrize("eps", [Fraction(0), Fraction(1, 10), Fraction(2)])
    def test_boxes_at_any_scale_of_weights_and_inputs_hold(self, eps: Fraction) -> None:
        """std 1e15 and weights of 1e-40 among them, where all is denormal; what overflows is marked."""
        finite = 0
        for seed, (std, weights) in enumerate(product((3e38, 1e20, 1.0, 1e-15), (1e-40, 1e-20, 1.0, 1e15))):
            mean = (0.0, 1e-20, 0.3)[seed % 3]
            model = small_net(seed, std=std, weights=weights, mean=mean)
            images = random_images(6, 4, 16, seed)
            box = pixel_box(images, eps, 16)
            bounds, real = model.bounds(box), ExactNet(model)
            assert_executed_inside(model, bounds, sampled(box, 30, torch.Generator().manual_seed(seed)))
            for row in range(6):
                finite += assert_exact_inside(real, bounds, row, exact_points(images, row, eps, 16, n=3))
            assert bounds.finite.all()
        assert finite == 16 * 6 * 6

    def test_a_box_through_exact_ties_holds(self) -> None:
        """Weights, shifts and pixels on one coarse grid: every difference is exact, many are equal or 0."""
        model, images = small_net(0, std=0.25, mean=0.5), random_images(100, 4, 16)
        for tensor in model.state_dict().values():
            tensor.copy_((tensor * 4).round() / 4)
        box = pixel_box(images, Fraction(1, 16), 16)
        bounds, real = model.bounds(box), ExactNet(model)
        assert_executed_inside(model, bounds, sampled(box, 100, torch.Generator().manual_seed(0)))
        for row in range(40):
            assert_exact_inside(real, bounds, row, exact_points(images, row, Fraction(1, 16), 16, n=3))

    def test_a_larger_box_has_looser_bounds_bit_for_bit(self) -> None:
        model, images = small_net(3), random_images(200, 4, 255)
        all_bounds = [model.bounds(pixel_box(images, eps, 255)) for eps in RADII]
        for inner, outer in zip(all_bounds, all_bounds[1:], strict=False):
            assert ((outer.lower <= inner.lower) & (inner.upper <= outer.upper)).all()


class TestNonFinite:
    @pytest.mark.parametrize("poison", [NAN, INF, -INF])
    def test_it_shows_from_any_entry_of_any_tensor(self, poison: float) -> None:
        images = random_images(7, 4, 255)
        box, clean = pixel_box(images, Fraction(1, 10), 255), small_net(1)
        for name, tensor in clean.state_dict().items():
            if name == "normalize.std":
                continue  # refused by check_net
            for index in np.ndindex(tensor.shape):
                model = small_net(1)
                model.state_dict()[name][index] = poison
                bounds = model.bounds(box)
                assert not bounds.finite.any()
                certified, margin, finite = model.margins(box, torch.zeros(7, dtype=torch.int64))
                assert not finite.any()
                assert not certified.any() and margin.isnan().all()

    def test_an_overflow_inside_shows_although_the_next_float_below_it_is_finite(self) -> None:
        model = small_net(1, std=1e-38)
        model.hidden[0].weight.fill_(-3.3e38)  # beside pixels of up to 7e37
        bounds = model.bounds(pixel_box(random_images(7, 4, 255), Fraction(1, 10), 255))
        assert not bounds.finite.any()
