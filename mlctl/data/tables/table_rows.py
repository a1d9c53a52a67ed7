"""The rows of a table, in a text or a sheet: titles, the header, units, and remarks and totals below the last row."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from mlctl.domain.missing_values import is_number_gap
from mlctl.domain.units import is_known_unit
from mlctl.errors import BadDataError

SAMPLE_ROWS = 200
MOST_LINES = 30  # above the header or below the last row
MOST_REMARKS = 5  # below the last row, in a table without other rows of one cell
MIN_ROWS_WITH_UNITS = 5  # with header and units, if one of these is not known
UNITS_ABOVE = 0.95  # share of numbers in a column with a unit above it
NUMBERS_BELOW_HEADER = 0.8  # a text above a column with at least this share of numbers is a column name
GAPS = frozenset({"", "?", "-", "--", ".", ":", "na", "n/a", "n.a.", "nan", "null", "none", "nd", "#n/a"})
UNNAMED = "Unnamed: "
_NUMBER = re.compile(r"[-+]?[$€£]?\s?(\d[\d'  ]*([.,]\d*)*|[.,]\d+)([eE][-+]?\d+)?\s?[%$€£]?")
_PLACE = re.compile(r"c[1-9]\d*")
_COMMENTS = ("#", "%", "//", "!")
_TOTAL = re.compile(
    r"(grand |sub)?total\w*\W*|sum(me)?\W*|gesamt\w*\W*|insgesamt\W*|average\W*|mean\W*|итого\W*|всего\W*|合计|总计|합계",
    re.IGNORECASE,
)
_REMARK = re.compile(
    r"\s*(source|sources|note|notes|quelle|fuente|copyright|©|\*|#|\(\s*\d+ rows|\d+ rows|end of|generated|created|data"
    r" (from|source)|last updated|as of|total rows|rows:)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class TableRow:
    """A row, and the number of its line in the file, from 0."""

    line: int
    cells: list[str]

    @property
    def filled(self) -> list[str]:
        """The cells that are not empty."""
        return [cell for cell in self.cells if cell.strip()]


@dataclass(frozen=True, kw_only=True)
class TablePlace:
    """Where a table is in the rows of a sheet.

    Attributes:
        header: Whether it has column names.
        names: The name of each column, each one once.
        first: Place of its first row below the header.
        last: Place after its last row.
        notes: What is left out or renamed.
    """

    header: bool
    names: tuple[str, ...]
    first: int
    last: int
    notes: tuple[str, ...] = ()


def find_table(
    path: Path,
    cells: Sequence[Sequence[str]],
    *,
    header: bool | None,
    known_names: Collection[str],
) -> TablePlace:
    """Find the table in the rows of a sheet: below titles and empty rows, and above remarks and totals.

    Raises BadDataError if there is none. The arguments are those of `detect_dialect`.
    """
    filled = [
        TableRow(place, list(row)) for place, row in enumerate(cells) if any(cell.strip() for cell in row)
    ]
    if not filled:
        raise BadDataError(f"{path} is empty", "a table needs a header and rows")
    sample = filled[: SAMPLE_ROWS + MOST_LINES]
    start = first_row(sample, usual_width(sample), known_names)
    rows = sample[start:]
    if header is None:
        header = is_header([row.cells for row in rows], known_names)
    notes = []
    if above := sample[:start]:
        shown = " ".join(above[0].filled)[:60]
        what = "1 row is" if len(above) == 1 else f"{len(above)} rows are"
        notes.append(f"{what} above the header, and left out: {shown!r}")
    rows = join_header(rows, notes) if header else rows
    names, _ = name_columns(path, [row.cells for row in rows], header=header, notes=notes)
    below = 0
    for row in reversed(filled[start + header :]):
        if below >= MOST_LINES or not is_below(row.cells, len(names), rows):
            break
        below += 1
    last = filled[-1].line + 1
    if 0 < below < MOST_LINES:
        last = filled[-below].line
        shown = " ".join(filled[-below].filled)[:60]
        notes.append(f"the end is no row, and is left out: {shown!r}")
    first = rows[1].line if header and len(rows) > 1 else rows[0].line + header
    if header and has_units_below([row.cells for row in rows]):
        notes.append(units_note(rows[1]))
        first = rows[2].line
    return TablePlace(header=header, names=tuple(names), first=first, last=last, notes=tuple(notes))


def unique_names(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return column names without repetitions, and a note for each that is renamed.

    The second price is price_2. A column without a name is named by its place, as pandas does.
    """
    taken = {name.strip() for name in names}
    result: list[str] = []
    notes = []
    used: set[str] = set()
    for place, written in enumerate(names):
        name = written.strip() or f"{UNNAMED}{place}"
        if name in used:
            number = 2
            while f"{name}_{number}" in taken | used:
                number += 1
            notes.append(f"several columns are named {name!r}: column {place + 1} is {name}_{number}")
            name = f"{name}_{number}"
        used.add(name)
        result.append(name)
    return result, notes


def usual_width(rows: Sequence[TableRow]) -> int:
    """Return the number of cells that most rows have."""
    widths = [len(row.cells) for row in rows]
    return max(set(widths), key=widths.count) if widths else 0


def known_cells(row: Sequence[str], known_names: Collection[str]) -> set[str]:
    """Return which of the names are in a row."""
    return {cell.strip() for cell in row} & set(known_names)


def first_row(rows: Sequence[TableRow], width: int, known_names: Collection[str]) -> int:
    """Return the place of the header, or of the first row: below titles and comments."""
    if width < 2:
        return 0
    for place, row in enumerate(rows[:MOST_LINES]):
        if known_cells(row.cells, known_names) and len(row.cells) > width // 2:
            return place
    place = 0
    while place < min(len(rows) - 1, MOST_LINES) and _is_title(rows, place, width):
        place += 1
    return place if place < len(rows) - 1 or len(rows) == 1 else 0


def _is_title(rows: Sequence[TableRow], place: int, width: int) -> bool:
    """Whether a line above the rows is no header: a title, a comment or an empty line."""
    row, below = rows[place], rows[place + 1]
    filled = len(row.filled)
    if row.cells[0].lstrip().startswith(_COMMENTS):
        # a header may start with a #
        return len(row.cells) != width or below.cells[0].lstrip().startswith(_COMMENTS)
    if len(row.cells) < width:
        return filled <= max(1, width // 2) and filled < width - 1
    if len(row.cells) > width:  # a sentence with commas
        is_sentence = any(len(cell.split()) > 2 for cell in row.filled)
        has_names = len(below.filled) == width and not any(map(_NUMBER.fullmatch, below.filled))
        return is_sentence and has_names
    usual = sorted(len(other.filled) for other in rows)[len(rows) // 2]
    if filled <= max(1, width // 3):
        return width > 2 and (filled < len(below.filled) or filled < usual - 1)
    # such as a name, an empty cell and a year
    return width > 3 and filled <= width // 2 < usual == width


def is_header(rows: Sequence[Sequence[str]], known_names: Collection[str]) -> bool:
    """Whether the first row names the columns; with names such as c1, a model knows a table without a header."""
    if known_cells(rows[0], known_names):
        return True
    are_places = bool(known_names) and all(_PLACE.fullmatch(name) for name in known_names)
    return not are_places and _has_header(rows)


def _has_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row names the columns.

    It does if it holds no number, or a text above a column of numbers, or the numbers of the columns, unless its
    cells are found below, too.
    """
    first = [cell.strip() for cell in rows[0]]
    body = [row for row in rows[1:] if row != rows[0]]  # joined files repeat their header
    is_number = [bool(_NUMBER.fullmatch(cell)) for cell in first]
    is_gap = [cell.lower() in GAPS for cell in first]
    columns = [
        [row[place].strip() for row in body if place < len(row) and row[place].strip().lower() not in GAPS]
        for place in range(len(first))
    ]
    for place, name in enumerate(first):
        if is_number[place] or is_gap[place] or not columns[place]:
            continue
        numbers = sum(bool(_NUMBER.fullmatch(cell)) for cell in columns[place])
        if numbers / len(columns[place]) > NUMBERS_BELOW_HEADER and name not in columns[place]:
            return True
    if not body:
        return True
    words = [
        name in column for name, column, gap in zip(first, columns, is_gap, strict=True) if column and not gap
    ]
    if not any(is_number):
        # words that all are cells, too, are no names
        return not (len(body) >= 10 and len(words) > 1 and all(words))
    counted = [int(name) for name, number in zip(first, is_number, strict=True) if number and name.isdigit()]
    if len(counted) > 2 and len(counted) == sum(is_number):
        steps = {after - before for before, after in pairwise(counted)}
        others = [word for word, number in zip(first, is_number, strict=True) if not number and word]
        if steps == {1} and not any(
            word in column for word, column in zip(first, columns, strict=True) if word in others
        ):
            return True
    return False


def join_header(rows: list[TableRow], notes: list[str]) -> list[TableRow]:
    """Return rows whose header is one line, if the second line names the columns of groups in the first one.

    Merged cells of a spreadsheet leave empty names behind a group's name.
    """
    if len(rows) < 4:
        return rows
    first, second = ([cell.strip() for cell in row.cells] for row in rows[:2])
    width = len(first)
    empty = [place for place in range(1, width) if not first[place]]
    if len(second) != width or not empty or not first[0] or any(map(_NUMBER.fullmatch, second)):
        return rows
    if not all(second[place] for place in empty) or any(map(_has_word_of(rows), range(width))):
        return rows
    names, group = [], ""
    for above, below in zip(first, second, strict=True):
        group = above or group
        names.append(f"{group} {below}".strip())
    notes.append(f"the names of columns are in two lines: {' '.join(names)[:60]!r}")
    return [TableRow(rows[0].line, names), *rows[2:]]


def _has_word_of(rows: Sequence[TableRow]) -> Callable[[int], bool]:
    """Return whether a column has the second row's cell below it, too: then it is no name."""

    def has_word(place: int) -> bool:
        cell = rows[1].cells[place].strip()
        return bool(cell) and any(
            place < len(row.cells) and row.cells[place].strip() == cell for row in rows[2:]
        )

    return has_word


def has_units_below(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row below the header holds the units of the columns: words above numbers, and no number."""
    if len(rows) < 3:
        return False
    units = []
    for place, cell in enumerate(cell.strip() for cell in rows[1]):
        below = [row[place].strip() for row in rows[2:] if place < len(row)]
        below = [other for other in below if other.lower() not in GAPS]
        if not cell or cell.lower() in GAPS or is_number_gap(cell):
            continue
        if cell in below or _NUMBER.fullmatch(cell):
            return False
        if below and sum(bool(_NUMBER.fullmatch(other)) for other in below) >= UNITS_ABOVE * len(below):
            units.append(cell.strip("()[]"))
    are_known = bool(units) and all(map(is_known_unit, units))
    return are_known or (len(units) > 1 and len(rows) >= MIN_ROWS_WITH_UNITS)


def units_note(row: TableRow) -> str:
    """Return the note for a row of units."""
    return f"the line below the header holds units, and is left out: {' '.join(row.filled)[:60]!r}"


def name_columns(
    path: Path, rows: Sequence[Sequence[str]], *, header: bool, notes: list[str]
) -> tuple[list[str], bool]:
    """Return the column names, and whether the first one is that of row names."""
    body = rows[1:] if header else rows
    widths = [len(row) for row in body]
    usual = max(set(widths), key=widths.count) if widths else len(rows[0])
    if not header:
        return [f"c{number}" for number in range(1, usual + 1)], False
    first = list(rows[0])
    if first[0].lstrip().startswith("#"):
        first[0] = first[0].lstrip()[1:]
    extra = usual - len(first)
    if extra > 0:
        has_more = any(cell.strip() for row in body for cell in row[len(first) :])
        if has_more and extra == 1 and all(len(row) == usual for row in body):
            names, renamed = unique_names(first)
            notes += renamed
            return ["", *names], True
        if has_more:
            raise BadDataError(
                f"{path}: the rows have more cells than the header",
                "give every column a name in the first row",
            )
        first += [""] * extra
    names, renamed = unique_names(first)
    notes += renamed
    return names, False


def is_below(cells: Sequence[str], width: int, rows: Sequence[TableRow]) -> bool:
    """Whether a line at the end is clearly no row: a remark, or a total."""
    filled = [cell for cell in cells if cell.strip()]
    first = cells[0].strip()
    # a short file's rows include this line
    if sum(row.cells[0].strip() == first for row in rows[1:]) > 1:
        return False
    if _REMARK.match(first) and (len(cells) != width or len(filled) == 1):
        return True
    if len(filled) == 1 and first and width > 2:
        short = sum(len(row.filled) < 2 for row in rows)
        return short <= min(MOST_REMARKS, 0.2 * len(rows))
    return bool(first and _TOTAL.fullmatch(first))
