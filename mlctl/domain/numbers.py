"""What a number is in a text table: the same in training, in `mlctl predict` and in an endpoint."""

from __future__ import annotations

import re
from decimal import Decimal

EXACT_FLOATS = 2**53  # whole numbers up to this one have a float of their own
MAX_EXACT = 10**25  # whole numbers up to this one are read exactly; no type holds larger ones
_PLAIN = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"[+-]?[0-9]{1,25}")
# 1,234.50 or 12.5, with a currency or percent sign
DECORATED = re.compile(
    r"\s*[$€£]?\s*([-+]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[-+]?[0-9]+(?:\.[0-9]+)?)\s*[%$€£]?\s*"
)
# 1.234,50 or 12,5, unless the comma may stand between thousands
_DECIMAL_COMMA = re.compile(r"\s*[$€£]?\s*([-+]?(?:[0-9]{1,3}(?:\.[0-9]{3})+|[0-9]+),[0-9]+)\s*[%$€£]?\s*")


def parse_number(text: str, *, decorated: bool = False) -> int | float | None:
    """Return the number that a text is, with every digit of a whole number; None if it is none.

    A number has ASCII digits, at most one point, and an exponent: 12, -.5, 1e3. Words such as inf, and numbers that
    no float can hold, are none.

    Args:
        text: A table's cell.
        decorated: A currency sign, a percent sign, thousands commas and a decimal comma are allowed.
    """
    text = text.strip() if decorated else text.strip(" \t\r\n")
    if decorated and (match := DECORATED.fullmatch(text)):
        text = match.group(1).replace(",", "")
    elif decorated and (match := _DECIMAL_COMMA.fullmatch(text)):
        text = match.group(1).replace(".", "").replace(",", ".")
    if _WHOLE.fullmatch(text):
        return int(text)
    return exact_number(text) if _PLAIN.fullmatch(text) else None


def exact_number(text: str) -> int | float | None:
    """Return a decimal number; None if no float can hold it.

    A whole number of 2^53 or more is an int if it is exactly a float's value, as 1e18 is. Otherwise it is a float,
    which has lost digits.
    """
    number = float(text)
    if -EXACT_FLOATS < number < EXACT_FLOATS:
        return number
    if abs(number) == float("inf"):
        return None
    if abs(number) > MAX_EXACT:
        return number
    return int(number) if Decimal(text) == Decimal(number) else number
