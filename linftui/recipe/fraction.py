"""Exact fractions, such as radii: reading what people write, and writing it back."""

import re
from fractions import Fraction
from typing import Any

# Bounded, so that no recipe makes us compute 10 ** 999999999 exactly; every decimal also fits as N/D.
FRACTION = re.compile(r"-?\d{1,18}(\.\d{1,30})?(e-?[0-2]?\d)?|-?\d{1,60}\s*/\s*\d{1,60}", re.ASCII)


def read_fraction(value: Any) -> Fraction:
    """The exact fraction that a YAML value stands for: "8/255", 1, or 0.1.

    0.1 is one tenth, not the binary number next to it. Quote a decimal of more than 17 digits: unquoted, it
    is rounded to a float before it gets here.

    Raises:
        ValueError: it is not a fraction; the message is a sentence.
    """
    if not isinstance(value, bool) and FRACTION.fullmatch(str(value).strip()):
        numerator, _, denominator = str(value).partition("/")
        if not denominator or int(denominator):
            return Fraction(numerator.strip()) / int(denominator or 1)
    raise ValueError(f"must be a fraction such as 8/255 or a decimal such as 0.1, got {value!r}")


def parse_radius(text: str) -> Fraction:
    """The exact radius in text such as "8/255" or "0.1"; ValueError with a sentence if it is not one."""
    eps = read_fraction(text.strip())
    if not 0 <= eps <= 1:
        raise ValueError(f"must lie in [0, 1], in pixel units, got {text.strip()}")
    return eps


def format_fraction(value: Fraction) -> str:
    """The fraction as people write radii: a short decimal if that is exact, else in 255ths, else N/D."""
    ten_thousandths = value * 10_000
    if ten_thousandths.denominator == 1:
        return f"{float(value):g}"
    if (value * 255).denominator == 1:
        return f"{value * 255}/255"
    return str(value)
