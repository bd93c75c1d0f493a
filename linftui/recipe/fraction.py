"""Exact fractions, as radii are: what people write, and how they are written back."""

import re
from fractions import Fraction
from typing import Any

# Bounded, so that no recipe makes us compute 10 ** 999999999 exactly; every decimal fits as N/D too.
FRACTION = re.compile(r"-?\d{1,18}(\.\d{1,30})?(e-?[0-2]?\d)?|-?\d{1,60}\s*/\s*\d{1,60}", re.ASCII)


def read_fraction(value: Any) -> Fraction:
    """The exact fraction that a value of YAML stands for: "8/255", 1, or 0.1 as one tenth.

    Not the binary neighbour of a tenth. Quote a decimal of more than 17 digits; unquoted, it has been rounded
    to a float before it comes here.

    Raises:
        ValueError: it is none, in a sentence.
    """
    if not isinstance(value, bool) and FRACTION.fullmatch(str(value).strip()):
        numerator, _, denominator = str(value).partition("/")
        if not denominator or int(denominator):
            return Fraction(numerator.strip()) / int(denominator or 1)
    raise ValueError(f"must be a fraction such as 8/255 or a decimal such as 0.1, got {value!r}")


def parse_radius(text: str) -> Fraction:
    """The exact radius that text such as "8/255" or "0.1" is; ValueError with a sentence where it is none."""
    eps = read_fraction(text.strip())
    if not 0 <= eps <= 1:
        raise ValueError(f"must lie in [0, 1], in pixel units, got {text.strip()}")
    return eps


def format_fraction(value: Fraction) -> str:
    """As people write radii: a short decimal where that is exact, else in 255ths, else in lowest terms."""
    ten_thousandths = value * 10_000
    if ten_thousandths.denominator == 1:
        return f"{float(value):g}"
    if (value * 255).denominator == 1:
        return f"{value * 255}/255"
    return str(value)
