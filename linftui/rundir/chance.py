"""Whether a network is no better than guessing: a run that came to its end does not show it by itself."""

import math

# Of each data set, the share of the commonest class in its test set: what a network gets right that always
# gives the same answer. Tests compare it with `linftui.data.datasets`.
COMMONEST_CLASS = {"digits": 42 / 360, "mnist": 1135 / 10_000, "cifar10": 1000 / 10_000}

ONE_SIDED_95 = 1.645  # of the normal distribution, in standard deviations


def chance_caution(dataset: str, clean_accuracy: float, n: int) -> str:
    """A sentence where an accuracy does not differ from that of always giving the same answer; else empty.

    That is where the one-sided score test at 95 % does not tell it from, or sees it below, the share of the
    commonest class.

    Args:
        dataset: whose test set; of one that is not known nothing is said.
        clean_accuracy: the share that is classified right, in [0, 1].
        n: of so many images.
    """
    chance = COMMONEST_CLASS.get(dataset)
    if chance is None or n <= 0:
        return ""
    if clean_accuracy > chance + ONE_SIDED_95 * math.sqrt(chance * (1 - chance) / n):
        return ""
    return (
        f"at chance level: clean accuracy {clean_accuracy:.4f} at p = inf, and always giving the same answer "
        f"would score {chance:.4f}; try a smaller optimizer.lr or more epochs"
    )
