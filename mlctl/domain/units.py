"""Units beside numbers: currencies, multipliers such as "Mio.", and units of measure that can be converted."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

CURRENCIES = frozenset({
    "$", "€", "£", "¥", "₹", "₽", "₩", "₺", "₴", "₪", "฿", "₫", "₱", "₦", "¢", "us$", "a$", "c$", "ca$", "au$", "hk$",
    "nz$", "s$", "r$", "mx$", "nt$", "usd", "eur", "gbp", "jpy", "cny", "rmb", "inr", "rub", "chf", "sek", "nok",
    "dkk", "pln", "czk", "huf", "ron", "try", "aud", "cad", "nzd", "sgd", "hkd", "krw", "brl", "mxn", "zar", "ils",
    "thb", "aed", "sar", "egp", "uah", "idr", "myr", "php", "vnd", "kr", "kr.", "rs", "rs.", "rp", "rm", "zł", "kč",
    "ft", "lei", "fr", "fr.", "sfr", "sfr.", "元", "円", "원", "руб", "руб.", "р.", "₸", "tl", "eur.", "dm",
})  # fmt: skip
SIGNS = frozenset(
    {"%", "‰", "#", "№", "no.", "nr.", "+", "★", "⭐"}
)  # beside a number, and no unit of its own
MULTIPLIERS: Mapping[str, float] = {
    "k": 1e3, "tsd": 1e3, "tsd.": 1e3, "thousand": 1e3, "mio": 1e6, "mio.": 1e6, "mn": 1e6, "mm": 1e6, "mil": 1e6,
    "million": 1e6, "millions": 1e6, "m": 1e6, "b": 1e9, "bn": 1e9, "mrd": 1e9, "mrd.": 1e9, "billion": 1e9,
    "billions": 1e9, "trillion": 1e12, "lakh": 1e5, "lakhs": 1e5, "lac": 1e5, "lacs": 1e5, "cr": 1e7, "cr.": 1e7,
    "crore": 1e7, "crores": 1e7, "万": 1e4, "亿": 1e8,
}  # fmt: skip
CLEAR_MULTIPLIERS = frozenset(MULTIPLIERS) - {"m", "mm", "b", "mil", "k"}  # never a unit
TIME_UNITS: Mapping[str, float] = {
    "s": 1, "sec": 1, "secs": 1, "second": 1, "seconds": 1, "ms": 1e-3, "m": 60, "min": 60, "mins": 60, "minute": 60,
    "minutes": 60, "h": 3600, "hr": 3600, "hrs": 3600, "hour": 3600, "hours": 3600, "d": 86400, "day": 86400,
    "days": 86400, "w": 604800, "week": 604800, "weeks": 604800, "sek": 1, "sekunden": 1, "minuten": 60, "std": 3600,
    "stunde": 3600, "stunden": 3600, "tag": 86400, "tage": 86400, "woche": 604800, "wochen": 604800, "heures": 3600,
    "jour": 86400, "jours": 86400, "horas": 3600, "día": 86400, "días": 86400, "час": 3600, "мин": 60, "сек": 1,
}  # fmt: skip
# units of one kind: how many of the first one each is
UNIT_GROUPS: tuple[Mapping[str, float], ...] = (
    {
        "m": 1, "meter": 1, "meters": 1, "metre": 1, "metres": 1, "mm": 1e-3, "cm": 1e-2, "dm": 0.1, "km": 1e3,
        "kms": 1e3, "kilometer": 1e3, "kilometers": 1e3, "in": 0.0254, "inch": 0.0254, "inches": 0.0254,
        '"': 0.0254, "”": 0.0254, "″": 0.0254, "'": 0.3048, "’": 0.3048, "′": 0.3048, "ft": 0.3048, "feet": 0.3048, "foot": 0.3048, "yd": 0.9144, "yards": 0.9144,
        "mi": 1609.344, "mile": 1609.344, "miles": 1609.344,
    },
    {
        "g": 1, "gr": 1, "gram": 1, "grams": 1, "mg": 1e-3, "µg": 1e-6, "kg": 1e3, "kgs": 1e3, "kilo": 1e3, "t": 1e6,
        "ton": 1e6, "tons": 1e6, "tonne": 1e6, "tonnes": 1e6, "oz": 28.349523125, "lb": 453.59237, "lbs": 453.59237,
    },
    TIME_UNITS,
    {
        "month": 1, "months": 1, "mo": 1, "mos": 1, "year": 12, "years": 12, "yr": 12, "yrs": 12, "y": 12, "monat": 1,
        "monate": 1, "jahr": 12, "jahre": 12, "mois": 1, "an": 12, "ans": 12, "mes": 1, "meses": 1, "año": 12, "años": 12,
    },
    {"b": 1, "bytes": 1, "kb": 2**10, "mb": 2**20, "gb": 2**30, "tb": 2**40, "kib": 2**10, "mib": 2**20, "gib": 2**30},
    {"l": 1, "liter": 1, "liters": 1, "litre": 1, "litres": 1, "ml": 1e-3, "cl": 1e-2, "dl": 0.1, "hl": 100},
    {"w": 1, "kw": 1e3, "mw": 1e6, "gw": 1e9},
    {"wh": 1, "kwh": 1e3, "mwh": 1e6},
    {"hz": 1, "khz": 1e3, "mhz": 1e6, "ghz": 1e9},
    {"v": 1, "kv": 1e3, "mv": 1e-3},
    {"pa": 1, "hpa": 100, "kpa": 1e3, "bar": 1e5, "mbar": 100},
    {"m²": 1, "m2": 1, "qm": 1, "sqm": 1, "ha": 1e4, "km²": 1e6, "km2": 1e6, "sqft": 0.09290304,
     "squarefeet": 0.09290304, "ft²": 0.09290304, "ft2": 0.09290304, "acre": 4046.8564224, "acres": 4046.8564224,
     "平米": 1, "平方米": 1, "㎡": 1},
    {"km/h": 1, "kmh": 1, "kph": 1, "mph": 1.609344, "m/s": 3.6},
    {"kbps": 1, "mbps": 1e3, "gbps": 1e6},
)  # fmt: skip
_SAME_CURRENCY = {
    "us$": "$", "usd": "$", "eur": "€", "euro": "€", "gbp": "£", "inr": "₹", "rs": "₹", "jpy": "¥", "円": "¥",
    "rub": "₽", "руб": "₽", "р": "₽", "krw": "₩", "sfr": "chf", "fr": "chf",
}  # fmt: skip
ORDINALS = frozenset({"st", "nd", "rd", "th"})
# pairs of signs: letters behind latitudes and longitudes, debit and credit, and German "Soll" and "Haben"
_SIGN_PAIRS: tuple[Mapping[str, float], ...] = (
    {"N": 1, "S": -1}, {"E": 1, "W": -1}, {"CR": 1, "DR": -1}, {"H": 1, "S": -1},
)  # fmt: skip
_FLAG = re.compile(r"[a-z]{1,2}")  # behind a number of Eurostat: b is a break in the series, e an estimate
MIN_WITHOUT_FLAG = 0.5


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


def unit_key(unit: str) -> str:
    """Return a unit as `UNIT_GROUPS` spells it: "Sq. ft." is "sqft"."""
    return unit.lower().replace(".", "").replace(" ", "")


def is_sign(unit: str) -> bool:
    """Whether a unit is a currency or a sign such as "%"."""
    return all(part.lower() in CURRENCIES or part in SIGNS for part in unit.split())


def is_known_unit(unit: str) -> bool:
    """Whether a unit, or each of its words, is one that mlctl knows."""
    words = [unit.lower(), *unit.lower().split()]
    known = [
        word in CURRENCIES or word in SIGNS or word in MULTIPLIERS or word in ORDINALS
        or any(unit_key(word) in group for group in UNIT_GROUPS)
        for word in words
    ]  # fmt: skip
    return known[0] or all(known[1:])


def find_units(counts: Mapping[str, int]) -> Units | None:
    """Return how to convert the units of a column, of which `counts` says how often each occurs; "" stands for none.

    Numbers are expressed in the most frequent unit. None if the units cannot be converted into each other.
    """
    if signs := _factors_of_signs(counts):
        return Units(factors={"": 1.0, **signs}, base="±")
    split = {unit: _measure(unit, counts) for unit in counts if unit}
    measures: dict[str, int] = {}
    for unit, (_, measure) in split.items():
        if measure and measure not in SIGNS:
            measures[measure] = measures.get(measure, 0) + counts[unit]
    base = max(measures, key=lambda measure: measures[measure], default="")
    relative = _relative_factors(base, measures)
    if relative is None:
        return Units(factors=dict.fromkeys(("", *counts), 1.0), base="") if are_flags(counts) else None
    factors = {unit: multiplier * relative.get(measure, 1.0) for unit, (multiplier, measure) in split.items()}
    only_signs = next((measure for _, measure in split.values() if measure), "")
    return Units(factors={"": 1.0, **factors}, base=base or only_signs)


def _factors_of_signs(units: Iterable[str]) -> dict[str, float]:
    """Return the signs of numbers such as "10.5° S" beside "10.5° N", or "5 DR" beside "7 CR"; {} for other units."""
    words = {unit: unit.replace("°", "").replace(".", "").strip() for unit in units if unit}
    for pair in _SIGN_PAIRS:
        found = {unit: word.upper() if len(word) > 1 else word for unit, word in words.items()}
        if set(found.values()) == set(pair):
            return {unit: pair[word] for unit, word in found.items()}
    return {}


def are_flags(counts: Mapping[str, int]) -> bool:
    """Whether letters behind some of the numbers are remarks, as in "12.3 b" beside "12.4" and "12.5 e"."""
    units = [unit for unit in counts if unit]
    are_letters = all(map(_FLAG.fullmatch, units)) and not all(map(is_known_unit, units))
    return are_letters and counts.get("", 0) >= MIN_WITHOUT_FLAG * sum(counts.values())


def _relative_factors(base: str, measures: Iterable[str]) -> dict[str, float] | None:
    """Return the factor of each measure relative to the base; None if they are of different kinds."""
    others = [measure for measure in measures if measure != base]
    words = {measure: _stem(measure) for measure in (base, *others)}
    if len(set(words.values())) == 1 or set(words) <= ORDINALS:
        return dict.fromkeys(words, 1.0)
    for group in UNIT_GROUPS:
        sizes = {measure: group.get(unit_key(measure)) for measure in words}
        if all(sizes.values()):
            return {measure: (size or 1) / (sizes[base] or 1) for measure, size in sizes.items()}
    return None


def _stem(unit: str) -> str:
    """Return a unit without case, points, plural and other names of the same currency."""
    unit = unit_key(unit)
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
    others = words - {word.lower()}
    if any(word.lower() in group and any(other in group for other in others) for group in UNIT_GROUPS):
        return False
    return word in ("k", "K", "M") or bool(words & ({"k", "m", "b", "bn", "mio", "mrd"} - {word.lower()}))
