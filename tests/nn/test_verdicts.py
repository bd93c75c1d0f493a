"""What counts as a prediction, and pixels as they are classified."""

import math

import numpy as np
import pytest
import torch

from linftui.nn.boxes import to_pixels
from linftui.nn.verdicts import strict_prediction

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
