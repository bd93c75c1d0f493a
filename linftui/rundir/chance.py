"""Whether a network is no better than guessing: a run that came to its end does not show it by itself."""

import math

from linftui.recipe.data import facts_of

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
