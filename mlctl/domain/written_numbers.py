"""Numbers as people write them: with units, currencies, parentheses, bounds, and any sign between thousands."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

MINUS = "-−–"
CURRENCIES = frozenset({
    "$", "€", "£", "¥", "₹", "₽", "₩", "₺", "₴", "₪", "฿", "₫", "₱", "₦", "¢", "us$", "a$", "c$", "ca$", "au$", "hk$",
    "nz$", "s$", "r$", "mx$", "nt$", "usd", "eur", "gbp", "jpy", "cny", "rmb", "inr", "rub", "chf", "sek", "nok",
    "dkk", "pln", "czk", "huf", "ron", "try", "aud", "cad", "nzd", "sgd", "hkd", "krw", "brl", "mxn", "zar", "ils",
    "thb", "aed", "sar", "egp", "uah", "idr", "myr", "php", "vnd", "kr", "kr.", "rs", "rs.", "rp", "rm", "zł", "kč",
    "ft", "lei", "fr", "fr.", "sfr", "sfr.", "元", "円", "원", "руб", "руб.", "р.", "₸", "tl", "eur.", "dm",
})  # fmt: skip
SIGNS = frozenset({"%", "‰", "#", "№", "no.", "nr.", "+"})  # beside a number, and no unit of its own
MULTIPLIERS: Mapping[str, float] = {
    "k": 1e3, "tsd": 1e3, "tsd.": 1e3, "thousand": 1e3, "mio": 1e6, "mio.": 1e6, "mn": 1e6, "mm": 1e6, "mil": 1e6,
    "million": 1e6, "millions": 1e6, "m": 1e6, "b": 1e9, "bn": 1e9, "mrd": 1e9, "mrd.": 1e9, "billion": 1e9,
    "billions": 1e9, "trillion": 1e12, "lakh": 1e5, "lakhs": 1e5, "lac": 1e5, "lacs": 1e5, "cr": 1e7, "cr.": 1e7,
    "crore": 1e7, "crores": 1e7, "万": 1e4, "亿": 1e8,
}  # fmt: skip
CLEAR_MULTIPLIERS = frozenset(MULTIPLIERS) - {"m", "mm", "b", "mil", "ft", "k"}  # never a unit
# units of one kind: how many of the first one each is
UNIT_GROUPS: tuple[Mapping[str, float], ...] = (
    {
        "m": 1, "meter": 1, "meters": 1, "metre": 1, "metres": 1, "mm": 1e-3, "cm": 1e-2, "dm": 0.1, "km": 1e3,
        "kms": 1e3, "kilometer": 1e3, "kilometers": 1e3, "in": 0.0254, "inch": 0.0254, "inches": 0.0254,
        '"': 0.0254, "”": 0.0254, "ft": 0.3048, "feet": 0.3048, "foot": 0.3048, "yd": 0.9144, "yards": 0.9144,
        "mi": 1609.344, "mile": 1609.344, "miles": 1609.344,
    },
    {
        "g": 1, "gr": 1, "gram": 1, "grams": 1, "mg": 1e-3, "µg": 1e-6, "kg": 1e3, "kgs": 1e3, "kilo": 1e3, "t": 1e6,
        "ton": 1e6, "tons": 1e6, "tonne": 1e6, "tonnes": 1e6, "oz": 28.349523125, "lb": 453.59237, "lbs": 453.59237,
    },
    {
        "s": 1, "sec": 1, "secs": 1, "second": 1, "seconds": 1, "ms": 1e-3, "min": 60, "mins": 60, "minute": 60,
        "minutes": 60, "h": 3600, "hr": 3600, "hrs": 3600, "hour": 3600, "hours": 3600, "d": 86400, "day": 86400,
        "days": 86400, "week": 604800, "weeks": 604800,
    },
    {"month": 1, "months": 1, "mo": 1, "mos": 1, "year": 12, "years": 12, "yr": 12, "yrs": 12, "y": 12},
    {"b": 1, "bytes": 1, "kb": 2**10, "mb": 2**20, "gb": 2**30, "tb": 2**40, "kib": 2**10, "mib": 2**20, "gib": 2**30},
    {"l": 1, "liter": 1, "liters": 1, "litre": 1, "litres": 1, "ml": 1e-3, "cl": 1e-2, "dl": 0.1, "hl": 100},
    {"w": 1, "kw": 1e3, "mw": 1e6, "gw": 1e9},
    {"wh": 1, "kwh": 1e3, "mwh": 1e6},
    {"hz": 1, "khz": 1e3, "mhz": 1e6, "ghz": 1e9},
    {"v": 1, "kv": 1e3, "mv": 1e-3},
    {"pa": 1, "hpa": 100, "kpa": 1e3, "bar": 1e5, "mbar": 100},
    {"m²": 1, "m2": 1, "qm": 1, "sqm": 1, "sq m": 1, "ha": 1e4, "km²": 1e6, "km2": 1e6, "sqft": 0.09290304,
     "sq ft": 0.09290304, "sq. ft": 0.09290304, "ft²": 0.09290304, "acres": 4046.8564224},
    {"km/h": 1, "kmh": 1, "kph": 1, "mph": 1.609344, "m/s": 3.6},
    {"kbps": 1, "mbps": 1e3, "gbps": 1e6},
)  # fmt: skip
_SAME_CURRENCY = {
    "us$": "$", "usd": "$", "eur": "€", "euro": "€", "gbp": "£", "inr": "₹", "rs": "₹", "jpy": "¥", "円": "¥",
    "rub": "₽", "руб": "₽", "р": "₽", "krw": "₩", "sfr": "chf", "fr": "chf",
}  # fmt: skip
ORDINALS = frozenset({"st", "nd", "rd", "th"})
MAX_UNIT_LENGTH = 16

_MINUS = rf"\{MINUS}"  # in a set of characters
_BODY = r"\d(?:[\d.,\s'’`´]*\d)?[.,]?|[.,]\d+"
_PLAIN = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")
_CELL = re.compile(
    rf"""
    (?P<bound>[<>≤≥~≈±]=?|=[<>]|ca\.?\s|approx\.?\s|about\s)?\s*
    (?P<open>\()?\s*
    (?P<minus>[+{_MINUS}])?\s*
    (?P<prefix>[^\d\s.,()+<>{_MINUS}][^\d(<>{_MINUS}]{{0,9}}?)?\s*
    (?P<late_open>\()?
    (?P<inner>[{_MINUS}])?\s*
    (?P<body>{_BODY})
    (?P<exponent>[eE][+-]?\d+)?
    \s*(?P<close_early>\))?
    \s*(?P<tail>[{_MINUS}](?=$|\s*\)?$))?\s*
    (?P<suffix>[^\d\s.,()<>{_MINUS}][^\d()<>]{{0,{MAX_UNIT_LENGTH}}}?[23]?)?\s*
    (?P<close>\))?
    """,
    re.VERBOSE,
)
_SPACED = re.compile(r"\d{1,3}(?:[\s'’`´]\d{3})+(?:[.,]\d+)?")
_INDIAN = re.compile(r"\d{1,2}(?:,\d{2})*,\d{3}")
_WESTERN = re.compile(r"\d{1,3}(?:[.,]\d{3})+")
_SPACE = re.compile(r"[\s'’`´]")


@dataclass(frozen=True, slots=True)
class WrittenNumber:
    """The parts of a written number.

    Attributes:
        body: Its digits with their signs, without spaces and apostrophes: "1,234.50".
        exponent: The power of ten that it is multiplied by, such as "e-3", or "".
        units: What stands before and after it.
        is_bound: It is a bound or an approximation, such as "<0.5" or "10+".
    """

    body: str
    exponent: str = ""
    is_negative: bool = False
    units: tuple[str, ...] = ()
    is_bound: bool = False

    @property
    def unit(self) -> str:
        """Currency and unit as one text; the currency comes first."""
        return " ".join(self.units)


def split_number(text: str) -> WrittenNumber | None:
    """Return the parts of a number in a table's cell; None if the cell is no number."""
    text = text.strip()
    if _PLAIN.fullmatch(text):
        return WrittenNumber(text.lstrip("+-"), is_negative=text[0] == "-")
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
    is_bound = parts["bound"] is not None
    if suffix.startswith("+"):
        is_bound, suffix = True, suffix[1:].strip()
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
    )


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


@dataclass(frozen=True, kw_only=True)
class Units:
    """The units of a column's numbers.

    Attributes:
        factors: By unit as it is written, what a number is multiplied by; "" stands for none.
        base: The unit of the resulting numbers, or "".
    """

    factors: Mapping[str, float]
    base: str

    def factor(self, unit: str) -> float | None:
        """Return the factor of a unit; None if it cannot be converted into the base.

        If no number had a unit, a currency or a percent sign changes nothing, and no other unit is known.
        """
        if (known := self.factors.get(unit)) is not None:
            return known
        if not self.base:
            return 1.0 if is_sign(unit) else None
        found = find_units({**dict.fromkeys(self.factors, 2), self.base: 3, unit: 1})
        return found.factors[unit] if found is not None and found.base == self.base else None


def is_sign(unit: str) -> bool:
    """Whether a unit is a currency or a sign such as "%"."""
    return all(part.lower() in CURRENCIES or part in SIGNS for part in unit.split())


def is_known_unit(unit: str) -> bool:
    """Whether a unit, or each of its words, is one that mlctl knows."""
    words = [unit.lower(), *unit.lower().split()]
    known = [
        word in CURRENCIES or word in SIGNS or word in MULTIPLIERS or word in ORDINALS
        or any(word in group for group in UNIT_GROUPS)
        for word in words
    ]  # fmt: skip
    return known[0] or all(known[1:])


def find_units(counts: Mapping[str, int]) -> Units | None:
    """Return how to convert the units of a column, of which `counts` says how often each occurs; "" stands for none.

    Numbers are expressed in the most frequent unit. None if the units cannot be converted into each other.
    """
    split = {unit: _measure(unit, counts) for unit in counts if unit}
    measures: dict[str, int] = {}
    for unit, (_, measure) in split.items():
        if measure and measure not in SIGNS:
            measures[measure] = measures.get(measure, 0) + counts[unit]
    base = max(measures, key=lambda measure: measures[measure], default="")
    relative = _relative_factors(base, measures)
    if relative is None:
        return None
    factors = {unit: multiplier * relative.get(measure, 1.0) for unit, (multiplier, measure) in split.items()}
    only_signs = next((measure for _, measure in split.values() if measure), "")
    return Units(factors={"": 1.0, **factors}, base=base or only_signs)


def _relative_factors(base: str, measures: Iterable[str]) -> dict[str, float] | None:
    """Return the factor of each measure relative to the base; None if they are of different kinds."""
    others = [measure for measure in measures if measure != base]
    words = {measure: _stem(measure) for measure in (base, *others)}
    if len(set(words.values())) == 1 or set(words) <= ORDINALS:
        return dict.fromkeys(words, 1.0)
    for group in UNIT_GROUPS:
        sizes = {measure: group.get(measure.lower()) for measure in words}
        if all(sizes.values()):
            return {measure: (size or 1) / (sizes[base] or 1) for measure, size in sizes.items()}
    return None


def _stem(unit: str) -> str:
    """Return a unit without case, points, plural and other names of the same currency."""
    unit = unit.lower().replace(".", "").replace(" ", "")
    unit = _SAME_CURRENCY.get(unit, unit)
    return unit[:-1] if len(unit) > 2 and unit.endswith("s") else unit


def _measure(unit: str, column: Collection[str]) -> tuple[float, str]:
    """Return the multiplier in a unit and the unit of measure in it: "Mio. €" is (1e6, "€")."""
    parts = [piece for part in unit.split() for piece in _pieces(part)]
    others = [part for part in parts if part.lower() not in CURRENCIES]
    if len(others) != 1 or others[0].lower() not in MULTIPLIERS:
        return 1.0, unit
    word = others[0]
    rest = " ".join(part for part in parts if part != word)
    if not _is_multiplier(word, column, with_currency=bool(rest)):
        return 1.0, unit
    return MULTIPLIERS[word.lower()], rest


def _pieces(part: str) -> list[str]:
    """Return "k€" as "k" and "€"."""
    for end in (1, 2, 3):
        if part[:end].lower() in MULTIPLIERS and part[end:].lower() in CURRENCIES:
            return [part[:end], part[end:]]
    return [part]


def _is_multiplier(word: str, column: Collection[str], *, with_currency: bool) -> bool:
    """Whether a word such as "M" multiplies a number; beside "km" and "cm", for example, it is a unit of measure."""
    if word.lower() in CLEAR_MULTIPLIERS or with_currency:
        return True
    words = {part.lower() for unit in column for part in unit.split()}
    if words & CURRENCIES:
        return True
    same_group = next((group for group in UNIT_GROUPS if word.lower() in group), {})
    if any(other in same_group for other in words - {word.lower()}):
        return False
    return word in ("k", "K", "M") or bool(words & ({"k", "m", "b", "bn", "mio", "mrd"} - {word.lower()}))
