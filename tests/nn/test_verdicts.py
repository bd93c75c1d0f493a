"""What counts as a prediction, and pixels as they are classified."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor

from linftui.nn import DistanceMLP, Moment
from linftui.nn.boxes import to_pixels
from linftui.nn.verdicts import strict_prediction, verdicts

INF, NAN = math.inf, math.nan


class TestPixels:
    @pytest.mark.parametrize("levels", [16, 255])
    def test_they_are_the_fractions_rounded_to_nearest(self, levels: int) -> None:
        images = torch.arange(levels + 1).to(torch.uint8).view(1, 1, 1, -1)
        expected = np.float32(np.arange(levels + 1) / np.float64(levels))
        assert np.array_equal(to_pixels(images, levels).numpy().ravel(), expected)


class TestStrictPrediction:
    @pytest.mark.parametrize(
        ("logits", "prediction"),
        [
            ([1.0, 3.0, 2.0], 1),
            ([-5.0, -7.0, -6.0], 0),
            ([0.0, 0.0, 2.0**-149], 2),
            ([3.0, 3.0, 2.0], None),
            ([3.0, 1.0, 3.0], None),
            ([0.0, -0.0, -1.0], None),
            ([NAN, NAN, NAN], None),
            ([5.0, NAN, 1.0], None),
            ([5.0, 1.0, -INF], None),
            ([INF, 1.0, 2.0], None),
            ([-INF, -INF, -INF], None),
        ],
    )
    def test_only_a_finite_row_with_one_class_on_top_has_one(
        self, logits: list[float], prediction: int | None
    ) -> None:
        index, strict = strict_prediction(torch.tensor([logits]))
        assert (index.item() if strict.item() else None) == prediction

    def test_rows_do_not_concern_each_other(self) -> None:
        index, strict = strict_prediction(torch.tensor([[NAN, 0.0], [0.0, 1.0], [1.0, 1.0]]))
        assert strict.tolist() == [False, True, False] and index[1] == 1


class Faulty(DistanceMLP):
    """A net that a fault of the machine has made compute a NaN for its first image."""

    def forward(self, x: Tensor, moment: Moment) -> Tensor:
        logits = super().forward(x, moment)
        logits[0, 0] = NAN
        return logits


def test_an_image_whose_logits_are_not_finite_is_not_certified_whatever_its_bounds_prove() -> None:
    settings = {"in_shape": (1, 2, 2), "classes": 3, "width": 4, "depth": 2, "identity": 10.0}
    sound, faulty = (kind(**settings, mean=(0.3,), std=0.25, seed=0).eval() for kind in (DistanceMLP, Faulty))
    images = torch.randint(0, 256, (20, 1, 2, 2), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    labels = verdicts(sound, images, torch.zeros(20, dtype=torch.int64), Fraction(0), 255).prediction
    proved = verdicts(sound, images, labels, Fraction(0), 255)
    said = verdicts(faulty, images, labels, Fraction(0), 255)
    assert proved.certified[0] and proved.finite.all()
    assert not said.certified[0] and not said.correct[0] and not said.finite[0]
    assert torch.equal(said.certified[1:], proved.certified[1:])
