"""Numbers in other forms than digits with a unit: durations, feet and inches, "4.1/5", "12.3 ± 0.4", "12 (5%)"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from mlctl.domain.units import TIME_UNITS, UNIT_GROUPS, unit_key

CLOCK, DURATION, PARTS, OUT_OF, REMARK = "clock", "duration", "parts", "out of", "remark"

_SIGN = r"(?P<sign>[-+−])?"
_CLOCK = re.compile(
    _SIGN + r"(?:(?P<days>[0-9]+)\s*d(?:ays?)?,?\s+)?(?P<first>[0-9]{1,4}):(?P<second>[0-5][0-9])"
    r"(?::(?P<third>[0-5][0-9]))?(?:[.,](?P<fraction>[0-9]+))?",
    re.IGNORECASE,
)
_ISO_DURATION = re.compile(
    _SIGN + r"P(?=[0-9T])(?:(?P<w>[0-9]+)W)?(?:(?P<d>[0-9]+)D)?"
    r"(?:T(?=[0-9])(?:(?P<h>[0-9]+)H)?(?:(?P<m>[0-9]+)M)?(?:(?P<s>[0-9]+(?:[.,][0-9]+)?)S)?)?"
)
_PART = re.compile(
    r"\s*(?:(?:and|und|et|y)\s+|,\s*)?([0-9]+(?:[.,][0-9]+)?)\s*([^\W\d_]{1,12}\.?|['’′\"”″]{1,2})?",
)
_YEARS = frozenset({"y", "yr", "yrs", "year", "years"})
_FEET, _INCHES = frozenset("'’′"), frozenset(("'", '"', "”", "″", "''", "’’", "′′", ""))
_OUT_OF = re.compile(
    r"(?:rated\s+)?(?P<number>[0-9]+(?:[.,][0-9]+)?)\s*(?:/\s*|(?:out of|of|von|sur|de|из)\s+)(?P<most>[0-9]+)"
    r"(?:\s*(?:stars?|points?|sternen?|étoiles?|estrellas?|[★⭐]))?",
    re.IGNORECASE,
)
_POWER = re.compile(
    r"(?P<number>[0-9]+(?:[.,][0-9]+)?)\s*(?P<unit>(?:[x×*]\s*)?10\^-?[0-9]{1,2}(?:\s*/\s*[^\W\d_]{1,4})?)"
)
_AROUND = re.compile(r"\s*(?:±|\+/-|\+-|\+/−)\s*[0-9.,]+\s*(?P<unit>%|[^\W\d_]{0,6})\s*")
_BRACKETS = re.compile(r"(?P<number>.*[^\s([])\s*(?:\([^()]+\)|\[[^\[\]]+\])")


def seconds_of_clock(text: str) -> tuple[bool, float] | None:
    """Return whether a duration such as "1:20.5", "2:05:31" or "3 days, 4:00:00" is negative, and its seconds."""
    match = _CLOCK.fullmatch(text)
    if match is None:
        return None
    first, second = int(match["first"]), int(match["second"])
    has_hours = bool(match["third"] or match["days"])
    seconds = first * 3600 + second * 60 + int(match["third"] or 0) if has_hours else first * 60 + second
    seconds += int(match["days"] or 0) * 86400
    return match["sign"] in ("-", "−"), seconds + float(f"0.{match['fraction'] or 0}")


def seconds_of_iso(text: str) -> tuple[bool, float] | None:
    """Return whether a duration such as "PT1H30M" is negative, and its seconds."""
    match = _ISO_DURATION.fullmatch(text)
    if match is None:
        return None
    seconds = sum(float((match[unit] or "0").replace(",", ".")) * TIME_UNITS[unit] for unit in "wdhms")
    return match["sign"] in ("-", "−"), seconds


def join_parts(text: str) -> tuple[float, str] | None:
    """Return a number with several units, such as "2h 50m" or 5'7", in the smallest unit: (170, "m"), (67, "in")."""
    parts = list(_parts_of(text))
    if len(parts) < 2:
        return None
    if parts[0][1] in _FEET and len(parts) == 2 and parts[1][1] in _INCHES and parts[1][0] < 12:
        return parts[0][0] * 12 + parts[1][0], "in"
    units = [unit_key(unit) for _, unit in parts]
    if len(units) == 2 and units[0] in _YEARS and units[1] == "m":
        return parts[0][0] * 12 + parts[1][0], "months"
    for group in (TIME_UNITS, *UNIT_GROUPS):
        sizes = [group.get(unit, 0.0) for unit in units]
        if all(sizes) and all(before > after for before, after in pairwise(sizes)):
            total = sum(number * size for (number, _), size in zip(parts, sizes, strict=True))
            return total / sizes[-1], parts[-1][1]
    return None


def _parts_of(text: str) -> Iterator[tuple[float, str]]:
    """Yield each number with its unit; nothing if there is anything else."""
    found, place = [], 0
    while place < len(text):
        match = _PART.match(text, place)
        if match is None or match.end() == place:
            return
        found.append((float(match[1].replace(",", ".")), match[2] or ""))
        place = match.end()
    if all(unit for _, unit in found[:-1]):
        yield from found


def part_of_most(text: str) -> tuple[str, str] | None:
    """Return "4.1/5" or "4 out of 5" as its number and "/5"."""
    match = _OUT_OF.fullmatch(text)
    return None if match is None else (match["number"], f"/{match['most']}")


def with_power(text: str) -> tuple[str, str] | None:
    """Return "4.2 x10^9/L" as its number and its unit."""
    match = _POWER.fullmatch(text)
    return None if match is None else (match["number"], match["unit"])


def without_remark(text: str) -> str:
    """Return a cell without the error "± 0.4" or the brackets behind its number; "" if it has neither."""
    if match := _BRACKETS.fullmatch(text):
        return match["number"]
    before, found = _AROUND.split(text, maxsplit=1)[0], _AROUND.search(text)
    if found is None or found.end() != len(text) or not before:
        return ""
    return before + found["unit"] if before[-1].isdigit() else before


def body_of(number: float) -> str:
    """Return a number as digits with a point, of which nobody takes the decimals for thousands."""
    number = round(number, 6)
    return str(int(number)) if number.is_integer() else f"{number:.6f}"
