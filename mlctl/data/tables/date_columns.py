"""Dates in a table: the format of a whole column, from its cells."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mlctl.serving.scoring import EPOCH, EPOCH_MS, ISO_DATE, MONTHS, WEEKDAYS, DateParser

SAMPLE = 2000  # cells that decide on the format
PROBES = 60  # cells whose own form suggests formats
ENDLESS_YEARS = ("9999", "2999", "0001-01-01")
MONTH_FIRST, DAY_FIRST = "month/day/year", "day/month/year"

_TIME = re.compile(
    r"(?<!\d)(?P<hm>\d{1,2}:\d\d)(?P<s>:\d\d(?:[.,]\d+)?)?(?P<p>\s?[ap]\.?m\.?(?=\s|$|,))?"
    r"(?P<z>\s?(?:Z|[+-]\d\d:?\d\d|[+-]\d\d|(?:UTC|GMT)[+-]\d\d?(?::?\d\d)?|(?!uhr|uur|hrs)[A-Z]{3,4})\b(?:\s?\([\w\s]+\)|(?<=\d)\s[A-Z]{3,4}\b)?)?",
    re.IGNORECASE,
)
_ISO_START = re.compile(r"\d{4}-\d{1,2}(?!\d)(?!-[^\W\d_]{3})|\d{4}-W\d\d|\d{8}T\d{4}")
_TOKEN = re.compile(r"\d+|[^\W\d_]+|.", re.DOTALL)
ORDINALS = frozenset({"st", "nd", "rd", "th", "er"})
_PARTICLES = frozenset(
    {"t", "at", "um", "of", "de", "del", "uhr", "h", "hrs", "uur"}
)  # beside the parts of a date
_TIME_WITH_POINTS = re.compile(r"[0-2][0-9]\.[0-5][0-9]\.[0-5][0-9]")
_LETTERS = frozenset("年月日년월일")  # behind the parts of a date
_COMPACT = {14: "%Y%m%d%H%M%S", 12: "%Y%m%d%H%M", 8: "%Y%m%d"}


@dataclass(frozen=True, kw_only=True)
class DateFormat:
    """The format of a column of dates.

    Attributes:
        format: The format; "" if the column holds no dates.
        other: The other format that reads every cell as well, if day and month cannot be told apart; else "".
        reason: Why `format` was preferred to `other`.
        share: Share of the cells that are dates.
        example: A cell.
    """

    format: str = ""
    other: str = ""
    reason: str = ""
    share: float = 0.0
    example: str = ""


def detect_date_format(
    cells: Sequence[str], min_share: float, *, day_first: bool | None = None
) -> DateFormat:
    """Return the format in which at least `min_share` of these cells are dates.

    Args:
        cells: Different cells of a column, in their order.
        min_share: The least share of dates.
        day_first: Whether the other columns of the table write the day before the month; None if they do not say it.
    """
    sample = list(cells[:: max(1, len(cells) // SAMPLE)])
    probes = sample[:: max(1, len(sample) // PROBES)]
    plausible = [cell for cell in probes if len(cell) <= 60 and any(letter.isdigit() for letter in cell)]
    if not plausible or len(plausible) < min_share * len(probes):
        return DateFormat()
    candidates = Counter(format for cell in plausible for format in suggest_formats(cell))
    if not candidates:
        return DateFormat()
    parsers = {format: DateParser(format) for format, _ in candidates.most_common(12)}
    taken = {
        format: np.array([parser(cell) is not None for cell in sample]) for format, parser in parsers.items()
    }
    shares = {format: float(mask.mean()) for format, mask in taken.items()}
    best = max(shares, key=lambda format: (shares[format], _count_days(format, sample), candidates[format]))
    if shares[best] < min_share:  # such as dates with and without a time
        for other in sorted(shares, key=lambda format: -shares[format]):
            both = float((taken[best] | taken[other]).mean())
            if both > shares[best] + 0.01 and not _are_swapped(best, other):
                union = f"{best}|{other}"
                shares[union], taken[union] = both, taken[best] | taken[other]
                best = union
        if shares[best] < min_share:
            return DateFormat()
    if not _is_plausible(best, sample):
        return DateFormat()
    example = sample[int(taken[best].argmax())]
    swapped = next(
        (other for other in shares if _are_swapped(best, other) and shares[other] >= shares[best]), ""
    )
    if not swapped:
        return DateFormat(format=best, share=shares[best], example=example)
    return _choose(best, swapped, sample, shares[best], day_first)


def suggest_formats(cell: str) -> list[str]:
    """Return the formats that a cell may have, from its form alone."""
    cell = cell.strip()
    if _ISO_START.match(cell) and DateParser(ISO_DATE)(cell) is not None:
        return [ISO_DATE]
    if cell.isdigit():
        compact = _COMPACT.get(len(cell))
        return [compact] if compact else []
    time, form = _TIME.search(cell), cell
    if time:
        form = cell[: time.start()] + "\0" + cell[time.end() :]
    tokens = _TOKEN.findall(form)
    numbers = [token for token in tokens if token.isdigit()]
    times = ["%H.%M.%S"] if _TIME_WITH_POINTS.fullmatch(cell) else []
    weekday = _place_of_weekday(tokens)
    words = [token.lower() for place, token in enumerate(tokens) if token.isalpha() and place != weekday]
    orders = _orders(numbers, words)
    return [*(_build_format(tokens, order, time, weekday) for order in orders), *times]


def _place_of_weekday(tokens: Sequence[str]) -> int:
    """Return the place of the weekday in a date, or -1; "mar" is one, such as mardi, if a month follows it."""
    months = [place for place, token in enumerate(tokens) if token.lower() in MONTHS]
    if len(months) > 1 and tokens[months[0]].lower() in WEEKDAYS:
        return months[0]
    return next(
        (place for place, token in enumerate(tokens) if token.lower() in WEEKDAYS and place not in months), -1
    )


def _orders(numbers: Sequence[str], words: Sequence[str]) -> list[list[str]]:
    """Return the directives that the numbers of a date may be, in their order."""
    widths = [len(number) for number in numbers]
    known = [word for word in words if word not in {*ORDINALS, *_LETTERS, *_PARTICLES}]
    has_month = any(word in MONTHS for word in known)
    if known == ["m"] and widths == [4, 2]:  # 2019M01
        return [["%Y", "%m"]]
    if any(word not in MONTHS and word not in {"q", "w"} for word in known) or len(known) > 2:
        return []
    if "q" in known:
        if sorted(widths) == [1, 4]:
            return [["%q", "%Y"] if widths[0] == 1 else ["%Y", "%q"]]
        return []
    if has_month:
        return _orders_beside_month(widths)
    if known:
        return []
    if not numbers:
        return [[]]  # a time alone
    if len(widths) == 3 and widths[0] == 4:
        return [["%Y", "%m", "%d"]]
    if len(widths) == 3 and widths[2] == 4 and max(widths[:2]) <= 2:
        return [["%d", "%m", "%Y"], ["%m", "%d", "%Y"]]
    if len(widths) == 3 and max(widths) <= 2 and widths[2] == 2:
        return [["%d", "%m", "%y"], ["%m", "%d", "%y"], *([["%y", "%m", "%d"]] if widths[0] == 2 else [])]
    if widths == [4, 2]:
        return [["%Y", "%m"]]
    if len(widths) == 2 and widths[0] <= 2 and widths[1] == 4:
        return [["%m", "%Y"]]
    return []


def _orders_beside_month(widths: Sequence[int]) -> list[list[str]]:
    if len(widths) == 1:
        return [["%Y"]] if widths[0] == 4 else [["%y"]] if widths[0] == 2 else []
    if len(widths) != 2:
        return []
    if widths[0] == 4 and widths[1] <= 2:
        return [["%Y", "%d"]]
    if widths[0] <= 2 and widths[1] in (2, 4):
        return [["%d", "%Y" if widths[1] == 4 else "%y"]]
    return []


def _build_format(
    pieces: Sequence[str], order: Sequence[str], time: re.Match[str] | None, weekday: int
) -> str:
    directives = iter(order)
    parts = []
    for place, piece in enumerate(pieces):
        lower = piece.lower()
        if piece == "\0" and time is not None:
            parts.append(_time_format(time))
        elif piece.isdigit():
            parts.append(next(directives))
        elif place == weekday:
            parts.append("%A" if len(piece) > 4 else "%a")
        elif lower in MONTHS:
            parts.append("%B" if len(piece) > 4 else "%b")
        elif lower in ORDINALS:
            continue
        elif piece == "." and place and pieces[place - 1].isalpha():
            continue  # of an abbreviation
        else:
            parts.append(piece.replace("%", "%%"))
    return re.sub(r"\s+", " ", "".join(parts)).strip()


def _time_format(time: re.Match[str]) -> str:
    clock = ("%I:%M" if time["p"] else "%H:%M") + (":%S" if time["s"] else "") + (" %p" if time["p"] else "")
    zone = time["z"] or ""
    return clock + (f"{' ' if zone[0].isspace() else ''}%z" if zone else "")


def _are_swapped(one: str, other: str) -> bool:
    """Whether two formats differ only in the order of day and month."""
    if "%d" not in one or "%m" not in one or one == other:
        return False
    return one.replace("%d", "\0").replace("%m", "%d").replace("\0", "%m") == other


def _choose(one: str, other: str, sample: Sequence[str], share: float, day_first: bool | None) -> DateFormat:
    """Return the more plausible of two formats that both read all cells."""
    by_day = one.index("%d") < one.index("%m")
    day_format, month_format = (one, other) if by_day else (other, one)
    example = sample[0]
    reads = {
        format: [moment for moment in map(DateParser(format), sample) if moment is not None]
        for format in (day_format, month_format)
    }

    def made(format: str, reason: str, *, sure: bool) -> DateFormat:
        unsure = month_format if format == day_format else day_format
        return DateFormat(
            format=format, other="" if sure else unsure, reason=reason, share=share, example=example
        )

    digits = [re.findall(r"\d+", cell)[:2] for cell in sample]
    first, second = ({int(pair[side]) for pair in digits if len(pair) == 2} for side in (0, 1))
    if len(sample) > 3 and len(first) == 1 and len(second) > 1 and first <= {1}:  # the first of each month
        return made(day_format, "each date is the first of a month", sure=False)
    if len(sample) > 3 and len(second) == 1 and len(first) > 1 and second <= {1}:
        return made(month_format, "each date is the first of a month", sure=False)
    sorted_ones = [format for format, moments in reads.items() if len(moments) > 5 and _is_sorted(moments)]
    if len(sorted_ones) == 1:
        return made(sorted_ones[0], "the rows are in this order", sure=False)
    if day_first is not None:
        return made(
            day_format if day_first else month_format, "it is the order in the other columns", sure=False
        )
    return made(month_format if "/" in one else day_format, "", sure=False)


def _count_days(format: str, sample: Sequence[str]) -> int:
    """Return how many different days a format with a short year reads: days vary more than years."""
    if "%y" not in format or "%m" not in format:
        return 0
    place = re.findall("%[ymd]", format).index("%d")
    days = {found[place] for cell in sample if len(found := re.findall(r"\d+", cell)) > place}
    return len(days) if format.startswith("%y") or place == 0 else 0


def _is_sorted(moments: Sequence[tuple[float, float]]) -> bool:
    steps = np.diff([day + hour / 24 for day, hour in moments])
    return bool((steps >= 0).all() or (steps <= 0).all())


def _is_plausible(format: str, sample: Sequence[str]) -> bool:
    """Whether cells that could be numbers or codes are dates: their years are near."""
    if format in _COMPACT.values():
        years = {int(cell[:4]) for cell in sample if cell[:4].isdigit()}
    elif format == "%m.%Y":
        years = {int(cell[-4:]) for cell in sample if cell[-4:].isdigit()}
    else:
        return True
    return bool(years) and min(years) >= 1900 and max(years) <= 2100


def is_no_date(cell: str) -> bool:
    """Whether a cell is a date that nobody means: 0000-00-00, or 31.12.9999 for "without an end"."""
    return not cell.strip("0.:/- T") or any(year in cell for year in ENDLESS_YEARS)


def is_sure_of_numbers(format: str) -> bool:
    """Whether a column of numbers, such as 20190131 or 01.2019, may be one of dates of this format."""
    return format in _COMPACT.values() or format == "%m.%Y"


def is_day_first(format: str) -> bool | None:
    """Whether a format of numbers has the day before the month; None if it has no such order."""
    if "%m" not in format or "%d" not in format or format.startswith("%Y"):
        return None
    return format.index("%d") < format.index("%m")


def are_dates(cells: Iterable[str | None], format: str) -> list[bool]:
    """Return which cells are dates of a format."""
    parser = DateParser(format)
    return [cell is not None and parser(cell) is not None for cell in cells]


def check_format(format: str) -> bool:
    """Whether this is a format that a user may set."""
    if format in (ISO_DATE, EPOCH, EPOCH_MS):
        return True
    return "%" in format and bool(re.search(r"%[YyGbBmHIq]", format))


def describe_order(format: str) -> str:
    """Return the order of day and month in words."""
    return DAY_FIRST if is_day_first(format) else MONTH_FIRST
