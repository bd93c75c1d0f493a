"""Evaluation: the figures of a plain loop, whatever the batches, and a model left as it was."""

import math
from collections.abc import Callable
from fractions import Fraction

import pytest
import torch

from linftui.data.datasets import load_dataset
from linftui.data.images import Dataset
from linftui.nn import AT_INFINITY, DistanceMLP
from linftui.nn.boxes import pixel_box, to_pixels
from linftui.train.evaluate import EvaluationResult, evaluate

EPS = Fraction(1, 100)


def never() -> bool:
    return False


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


@pytest.fixture
def model(digits: Dataset) -> DistanceMLP:
    """A net whose last layer holds one digit of each class: a nearest neighbour classifier, right on most."""
    net = DistanceMLP(
        in_shape=(1, 8, 8), classes=10, width=64, depth=1, identity=0.0, mean=(0.3,), std=0.376, seed=0
    )
    first = [(digits.train.labels == label).nonzero()[0, 0] for label in range(10)]
    pixels = to_pixels(digits.train.images[torch.stack(first)], 16)
    with torch.no_grad():
        net.last.weight.copy_(net.normalize(pixels, AT_INFINITY).flatten(1))
    return net


def test_the_figures_are_those_of_a_loop_over_single_images(digits: Dataset, model: DistanceMLP) -> None:
    test = digits.test.subset(torch.arange(100))
    clean = certified = 0
    for image, label in zip(test.images[:, None], test.labels.tolist(), strict=True):
        logits = model.eval()(to_pixels(image, 16), AT_INFINITY)[0].tolist()
        clean += all(logits[label] > logits[j] for j in range(10) if j != label)
        bounds = model.bounds(pixel_box(image, EPS, 16))
        certified += all(
            bounds.lower[0, label].item() > bounds.upper[0, j].item() for j in range(10) if j != label
        )
    assert 10 < certified < clean < 100
    assert evaluate(model, test, EPS, 16, 100, never) == EvaluationResult(100, clean / 100, certified / 100)


@pytest.mark.parametrize("batch_size", [1, 7, 360, 1000])
def test_the_size_of_batches_changes_nothing(digits: Dataset, model: DistanceMLP, batch_size: int) -> None:
    assert evaluate(model, digits.test, EPS, 16, batch_size, never) == evaluate(
        model, digits.test, EPS, 16, 100, never
    )


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("should_stop", [lambda: False, lambda: True])
def test_the_model_keeps_its_mode_and_its_means(
    digits: Dataset, training: bool, should_stop: Callable[[], bool]
) -> None:
    net = DistanceMLP(
        in_shape=(1, 8, 8), classes=10, width=8, depth=2, identity=10.0, mean=(0.3,), std=0.376, seed=0
    ).train(training)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    evaluate(net, digits.test, EPS, 16, 100, should_stop)
    assert net.training == net.shifts[0].training == training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize(("looks", "done"), [(0, False), (1, False), (3, False), (4, True)])
def test_asked_to_stop_half_way_it_gives_no_figures(
    digits: Dataset, model: DistanceMLP, looks: int, done: bool
) -> None:
    answers = iter([False] * looks)
    result = evaluate(model, digits.test, EPS, 16, 100, lambda: next(answers, True))
    assert (result is not None) == done


def test_a_diverged_net_is_right_on_nothing(digits: Dataset, model: DistanceMLP) -> None:
    model.last.weight.data[3, 5] = math.nan
    assert evaluate(model, digits.test, EPS, 16, 100, never) == EvaluationResult(360, 0.0, 0.0)
