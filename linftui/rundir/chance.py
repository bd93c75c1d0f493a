"""Whether a network is no better than guessing, which a finished run does not show by itself."""

import math

from linftui.recipe.data import facts_of

ONE_SIDED_95 = 1.645  # of the normal distribution, in standard deviations


def chance_caution(dataset: str, clean_accuracy: float, n: int) -> str:
    """A sentence where an accuracy is no better than always giving the same answer; else empty.

    By a one-sided score test at 95 %: the accuracy must be significantly above the share of the commonest
    class.

    Args:
        dataset: the data set's name; for an unknown one the result is empty.
        clean_accuracy: the share of the test images that is classified correctly, in [0, 1].
        n: the number of test images.
    """
    facts = facts_of(dataset)
    if facts is None or n <= 0:
        return ""
    chance = facts.commonest_class
    if clean_accuracy > chance + ONE_SIDED_95 * math.sqrt(chance * (1 - chance) / n):
        return ""
    return (
        f"at chance level: clean accuracy {clean_accuracy:.4f} at p = inf, and always giving the same answer "
        f"would score {chance:.4f}; try a smaller optimizer.lr or more epochs"
    )
