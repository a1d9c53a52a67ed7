"""Numbers as people write them: with units, currencies, parentheses, bounds, and any sign between thousands."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace

from mlctl.domain import number_forms
from mlctl.domain.units import CURRENCIES, SIGNS

MINUS = "-−–"
FOOTNOTES = "*†‡§"
MAX_UNIT_LENGTH = 16
MAX_OTHER_FORM = 40  # characters

_MINUS = rf"\{MINUS}"  # in a set of characters
_BODY = r"\d(?:[\d.,\s'’`´]*\d)?[.,]?|[.,]\d+"
_PLAIN = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")
_BOUND_WORDS = (
    r"ca\.?|circa|approx\.?|about|around|under|below|less\ than|fewer\ than|up\ to|at\ most|over|above|more\ than"
    r"|at\ least|unter|bis|weniger\ als|höchstens|maximal|über|ab|mehr\ als|mindestens|etwa|rund|moins\ de|plus\ de"
    r"|environ|menos\ de|más\ de|до|от|более|менее|около|свыше"
)
_BOUND_BEHIND = re.compile(
    r"(?:^|\s)(?:(?:and|or)\s(?:over|above|up|more|older|under|below|less|fewer|younger)|plus|(?:und|oder)\s(?:mehr|älter"
    r"|darüber|jünger|weniger)|(?:et|ou)\splus|[yo]\smás)$|(?:以上|以下|及以上|及以下)$",
    re.IGNORECASE,
)
_BOUND_START = re.compile(rf"[<>≤≥~≈±=]|(?:{_BOUND_WORDS})\s", re.IGNORECASE)
_BOUND_ENDS = frozenset(
    [
        "over",
        "above",
        "up",
        "more",
        "older",
        "under",
        "below",
        "less",
        "fewer",
        "younger",
        "plus",
        "mehr",
        "älter",
        "darüber",
        "jünger",
        "weniger",
        "más",
    ]
)
_CELL = re.compile(
    rf"""
    (?P<bound>[<>≤≥~≈±]=?|=[<>]|(?:{_BOUND_WORDS})\s)?\s*
    (?P<open>\()?\s*
    (?P<minus>[+{_MINUS}])?\s*
    (?P<prefix>[^\d\s.,()+<>{_MINUS}][^\d(<>{_MINUS}]{{0,9}}?)?\s*
    (?P<late_open>\()?
    (?P<inner>[{_MINUS}])?\s*
    (?P<body>{_BODY})
    (?P<exponent>[eE][+-]?\d+)?
    \s*(?P<close_early>\))?
    \s*(?P<tail>[{_MINUS}](?=\s*(?:[$€£¥₹₽₩₺]|EUR|USD|GBP|CHF)?\s*\)?$))?\s*
    (?P<suffix>[^\d\s.,()<>{_MINUS}][^\d()<>]{{0,{MAX_UNIT_LENGTH}}}?(?:/100\s?[a-z]{{1,5}}|2/[a-z]{{1,5}}|[23])?)?\s*
    (?P<close>\))?
    """,
    re.VERBOSE | re.IGNORECASE,
)
_SPACED = re.compile(r"\d{1,3}(?:[\s'’`´]\d{3})+(?:[.,]\d*)?")
_INDIAN = re.compile(r"\d{1,2}(?:,\d{2})*,\d{3}")
_WESTERN = re.compile(r"\d{1,3}(?:[.,]\d{3})+")
_SPACE = re.compile(r"[\s'’`´]")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
# of full width, as in Chinese and Japanese files, and Arabic digits
_OTHER_SIGNS = {
    **{code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)},
    **{first + digit: 0x30 + digit for first in (0x0660, 0x06F0) for digit in range(10)},
    0xFFE5: 0xA5, 0xFFE1: 0xA3, 0x066B: 0x2E, 0x066C: 0x2C, 0x066A: 0x25,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class WrittenNumber:
    """The parts of a written number.

    Attributes:
        body: Its digits with their signs, without spaces and apostrophes: "1,234.50".
        exponent: The power of ten that it is multiplied by, such as "e-3", or "".
        units: What stands before and after it.
        is_bound: It is a bound or an approximation, such as "<0.5" or "10+".
        form: One of those of `number_forms`, for a number in another form, such as "1:20.5"; else "".
    """

    body: str
    exponent: str = ""
    is_negative: bool = False
    units: tuple[str, ...] = ()
    is_bound: bool = False
    form: str = ""

    @property
    def unit(self) -> str:
        """Currency and unit as one text; the currency comes first."""
        return " ".join(self.units)


def split_number(text: str) -> WrittenNumber | None:
    """Return the parts of a number in a table's cell; None if the cell is no number."""
    text = (text if text.isascii() else _INVISIBLE.sub("", text).translate(_OTHER_SIGNS)).strip()
    if _PLAIN.fullmatch(text):
        return WrittenNumber(text.lstrip("+-"), is_negative=text[0] == "-")
    if ".#" in text:  # 1.#INF
        return None
    return _split_usual(text) or _split_other(text)


def may_be_bound(text: str) -> bool:
    """Whether a number may be a bound, such as "<0.5" or "85 and over"; `split_number` knows it, but takes longer."""
    if "+" in text or (not text[0].isdigit() and _BOUND_START.match(text)):
        return True
    last = text[-1]
    return not last.isdigit() and (last in "上下" or text.rpartition(" ")[2].lower() in _BOUND_ENDS)


def _split_usual(text: str) -> WrittenNumber | None:
    """Return the parts of digits with a sign, units and a bound."""
    match = _CELL.fullmatch(text)
    if match is None or (not match["body"].isascii() and not _SPACE.search(match["body"])):
        return None
    parts = match.groupdict()
    opened, closed = bool(parts["open"] or parts["late_open"]), bool(parts["close"] or parts["close_early"])
    if opened != closed:
        return None
    body = parts["body"]
    if _SPACE.search(body):
        if not _SPACED.fullmatch(body):
            return None
        body = _SPACE.sub("", body)
        if not body.isascii():
            return None
    prefix, suffix = (" ".join((parts[side] or "").split()) for side in ("prefix", "suffix"))
    if prefix and prefix.lower() not in CURRENCIES and prefix.lower() not in SIGNS:
        return None
    is_bound, without_marks = parts["bound"] is not None, suffix.rstrip(FOOTNOTES + " ")
    form = "" if without_marks == suffix else number_forms.REMARK
    suffix = without_marks
    if suffix.startswith("+"):
        is_bound, suffix = True, suffix[1:].strip()
    elif behind := _BOUND_BEHIND.search(suffix):
        is_bound, suffix = True, suffix[: behind.start()].strip()
    tail = parts["tail"]
    if body.endswith((",", ".")):  # 12.- is a price without cents
        body, tail = body[:-1], None
    signs = [sign for sign in (parts["minus"], parts["inner"], tail) if sign and sign in MINUS]
    if len(signs) + opened > 1:
        return None
    return WrittenNumber(
        body=body,
        exponent=parts["exponent"] or "",
        is_negative=bool(signs) or opened,
        units=tuple(unit for unit in (prefix, suffix) if unit),
        is_bound=is_bound,
        form=form,
    )


def _split_other(text: str) -> WrittenNumber | None:
    """Return the parts of a number in one of the forms of `number_forms`."""
    if len(text) > MAX_OTHER_FORM or not any(map(str.isdigit, text)):
        return None
    for form, read in (
        (number_forms.CLOCK, number_forms.seconds_of_clock),
        (number_forms.DURATION, number_forms.seconds_of_iso),
    ):
        if (found := read(text)) is not None:
            is_negative, seconds = found
            return WrittenNumber(
                number_forms.body_of(seconds), is_negative=is_negative, units=("s",), form=form
            )
    if (joined := number_forms.join_parts(text)) is not None:
        number, unit = joined
        return WrittenNumber(number_forms.body_of(number), units=(unit,), form=number_forms.PARTS)
    if (part := number_forms.part_of_most(text)) is not None:
        return WrittenNumber(part[0], units=(part[1],), form=number_forms.OUT_OF)
    if (power := number_forms.with_power(text)) is not None:
        return WrittenNumber(power[0], units=(power[1],))
    if (rest := number_forms.without_remark(text)) and (written := _split_usual(rest)) is not None:
        return replace(written, form=number_forms.REMARK)
    return None


def evidence(body: str) -> tuple[str, str]:
    """Return what a number's body says about decimal signs: (decimal sign, sign between thousands), or "" for unknown.

    A body such as "1,234" may be either: it says nothing.
    """
    comma, point = body.count(","), body.count(".")
    if not comma and not point:
        return "", ""
    if comma and point:
        last = "," if body.rfind(",") > body.rfind(".") else "."
        return last, "," if last == "." else "."
    sign, count = (",", comma) if comma else (".", point)
    if count > 1:
        return ("." if sign == "," else ","), sign
    return ("", "") if _is_group(body, sign) else (sign, "")


def ambiguous_sign(body: str) -> str:
    """Return the only sign of a body that may stand before decimals or between thousands, such as "1,234"; else ""."""
    for sign in ",.":
        if body.count(sign) == 1 and body.count(",") + body.count(".") == 1 and _is_group(body, sign):
            return sign
    return ""


def _is_group(body: str, sign: str) -> bool:
    """Whether a sign may stand between thousands: three digits follow, and one to three that are no 0 precede it."""
    whole, _, rest = body.partition(sign)
    return len(rest) == 3 and 1 <= len(whole) <= 3 and whole[0] != "0"


def to_float(body: str, decimal: str, thousands: Collection[str]) -> float | None:
    """Return the value of a body, with this decimal sign and these signs between thousands; None if it has none.

    A body that can only be read in another way, such as "12,5" where points precede decimals, is read in that way.
    """
    comma, point = body.count(","), body.count(".")
    if not comma and not point:
        return float(body)
    if comma and point:
        last = "," if body.rfind(",") > body.rfind(".") else "."
        whole, _, rest = body.rpartition(last)
        group = "," if last == "." else "."
        if last in whole or not _are_groups(whole, group):
            return None
        return float(f"{whole.replace(group, '')}.{rest}")
    sign, count = (",", comma) if comma else (".", point)
    if count > 1:
        return float(body.replace(sign, "")) if _are_groups(body, sign) else None
    if sign != decimal and sign in thousands and _is_group(body, sign):
        return float(body.replace(sign, ""))
    return float(body.replace(",", ".") if sign == "," else body)


def _are_groups(whole: str, sign: str) -> bool:
    if sign not in whole:
        return whole.isdigit()
    return bool(_WESTERN.fullmatch(whole) or (sign == "," and _INDIAN.fullmatch(whole)))
