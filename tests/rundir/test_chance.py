"""A finished run at chance level is told as one; one that is just better than chance is not."""

import pytest

from linftui.rundir.chance import chance_caution


@pytest.mark.parametrize(
    ("dataset", "accuracy", "n", "cautioned"),
    [
        ("digits", 0.0, 360, True),  # NaNs, or ties: nothing is right
        ("digits", 42 / 360, 360, True),  # always the same answer
        ("digits", 52 / 360, 360, True),
        ("digits", 53 / 360, 360, False),
        ("digits", 0.95, 360, False),
        ("mnist", 0.1135, 10_000, True),
        ("mnist", 0.1187, 10_000, True),
        ("mnist", 0.1188, 10_000, False),
        ("cifar10", 0.1, 10_000, True),
        ("cifar10", 0.1135, 10_000, False),  # which would be chance on MNIST
        ("", 0.1, 360, False),  # of an older run
        ("unknown", 0.0, 360, False),
        ("digits", 0.0, 0, False),
    ],
)
def test_where_accuracy_is_at_chance(dataset: str, accuracy: float, n: int, cautioned: bool) -> None:
    sentence = chance_caution(dataset, accuracy, n)
    assert sentence.startswith(f"at chance level: clean accuracy {accuracy:.4f} at p = inf") == cautioned
    assert bool(sentence) == cautioned
