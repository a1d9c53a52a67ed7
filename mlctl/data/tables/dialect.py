"""The dialect of a text table: encoding, delimiter, header, and lines above and below the rows."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from mlctl.data.tables import text_styles
from mlctl.data.tables.encodings import PLAIN, TextScan, scan_file
from mlctl.domain.missing_values import is_number_gap
from mlctl.domain.units import is_known_unit
from mlctl.errors import BadDataError

BLANKS, FIXED, COLONS = " ", "fixed", "::"
COLONS_SIGN = "\x1f"  # in place of COLONS, for readers that take one character
DELIMITERS = {
    ",": "commas",
    ";": "semicolons",
    "\t": "tabs",
    "|": "bars",
    COLONS: "double colons",
    BLANKS: "blanks",
    FIXED: "fixed widths",
    "^": "carets",
    "~": "tildes",
    "\x01": "control characters",
}
_SIGNS = (",", ";", "\t", "|")  # the delimiters of one character
_RARE_SIGNS = ("^", "~", "\x01")  # if all rows have as many of them, and no other sign divides them
SAMPLE_ROWS = 200
FEW_NULLS, NULLS_PER_BYTE = 3, 0.001  # zero bytes in a text, and their share; a file with more is no text
MOST_LINES = 30  # above the header or below the last row
MOST_REMARKS = 5  # below the last row, in a table without other rows of one cell
MIN_ROWS_WITH_UNITS = 5  # with header and units, if one of these is not known
UNITS_ABOVE = 0.95  # share of numbers in a column with a unit above it
NUMBERS_BELOW_HEADER = 0.8  # a text above a column with at least this share of numbers is a column name
REGULAR = 0.9  # share of rows with the usual number of cells, so that blanks are not tried as delimiters
GAPS = frozenset({"", "?", "-", "--", ".", ":", "na", "n/a", "n.a.", "nan", "null", "none", "nd", "#n/a"})
UNNAMED = "Unnamed: "
_NUMBER = re.compile(r"[-+]?[$€£]?\s?(\d[\d'  ]*([.,]\d*)*|[.,]\d+)([eE][-+]?\d+)?\s?[%$€£]?")
_PLACE = re.compile(r"c[1-9]\d*")
_SEP_LINE = re.compile(r'\s*"?sep=(.)"?\s*', re.IGNORECASE)
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


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How a text file holds a table.

    Attributes:
        delimiter: A character; BLANKS for any number of blanks, FIXED for columns of fixed widths.
        header: Whether the first row names the columns.
        names: The name of each column, each one once.
        row_names: Whether each row starts with a cell for which the header has no name, as R writes them. `names`
            has the name "" for it.
        first_line: Number of lines above the header, or above the first row if there is no header.
        header_lines: Number of lines of the header.
        has_units: Whether the last one of these holds units, and no names.
        last_lines: Number of lines below the last row.
        are_names_as_written: Whether no column was renamed.
        bad_bytes: Number of bytes that are read as U+FFFD.
        null_bytes: Number of zero bytes, which are left out.
        has_quotes: Whether a cell may be quoted.
        style: How cells are quoted, if not in the usual way; one of `text_styles`.
        notes: What is left out or renamed.
    """

    encoding: str
    delimiter: str
    header: bool
    names: tuple[str, ...]
    row_names: bool = False
    first_line: int = 0
    header_lines: int = 1
    has_units: bool = False
    last_lines: int = 0
    are_names_as_written: bool = True
    bad_bytes: int = 0
    null_bytes: int = 0
    has_quotes: bool = True
    style: str = ""
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Describe it in words."""
        header = "with a header" if self.header else "without a header (columns are c1, c2, …)"
        between = DELIMITERS.get(self.delimiter, repr(self.delimiter))
        row_names = ", row names left out" if self.row_names else ""
        return f"{self.encoding}, {between} between columns, {header}{row_names}"

    @property
    def is_cleaned(self) -> bool:
        """Whether readers get another content than the file's own."""
        return bool(self.null_bytes or self.style) or self.delimiter == COLONS

    @property
    def separator(self) -> str:
        """The character between the columns, of a cleaned content."""
        return COLONS_SIGN if self.delimiter == COLONS else self.delimiter

    @property
    def is_simple(self) -> bool:
        """Whether the file is UTF-8, and holds a header and rows and nothing else."""
        return (
            self.encoding in PLAIN
            and self.delimiter in _SIGNS
            and not (
                self.bad_bytes
                or self.is_cleaned
                or self.row_names
                or self.first_line
                or self.last_lines
                or self.has_units
            )
        )


@dataclass(frozen=True)
class _Row:
    line: int  # of the file, from 0
    cells: list[str]

    @property
    def filled(self) -> list[str]:
        return [cell for cell in self.cells if cell.strip()]


def detect_dialect(path: Path, *, header: bool | None = None, known_names: Collection[str] = ()) -> Dialect:
    """Detect the dialect of a text file.

    The encoding is decided by the whole file, all else by its first rows and its end.

    Raises BadDataError if the file holds no table.

    Args:
        path: Text file, which may be compressed.
        header: Whether there is a header; None detects it.
        known_names: Possible column names; a first row with one of them is the header.
    """
    try:
        stat = path.stat()
    except OSError as exc:
        raise BadDataError(f"{path} cannot be read: {exc}", "check the file and its permissions") from exc
    return _detect(path, stat.st_mtime_ns, stat.st_size, header, frozenset(known_names))


@lru_cache(maxsize=16)
def _detect(path: Path, time: int, size: int, header: bool | None, known_names: frozenset[str]) -> Dialect:
    scan = scan_file(path)
    if not scan.head.strip():
        raise BadDataError(f"{path} is empty", "a table needs a header and rows")
    text = _text_of(scan.head, scan.encoding)
    if scan.null_bytes > max(FEW_NULLS, NULLS_PER_BYTE * scan.size):
        raise BadDataError(f"{path} is not a text file", "a table is a .csv, .tsv, .xlsx or .parquet file")
    if not scan.is_whole:  # the last line may be incomplete
        text = max(text.rpartition("\n")[0], text.rpartition("\r")[0], key=len) or text
    if arff := text_styles.read_arff_header(path, text):
        return _arff_dialect(scan, arff)
    style = text_styles.find_style(text)
    if style == text_styles.QUOTED_LINES:
        text = text_styles.as_usual(text, style, ",")
    delimiter, rows = _split(text, known_names, style)
    if not rows:
        raise BadDataError(f"{path} holds no columns", "a table is a .csv, .tsv, .xlsx or .parquet file")
    width = _usual_width(rows)
    start = _first_row(rows, width, known_names)
    rows = rows[start:]
    if header is None:
        header = _is_header([row.cells for row in rows], known_names)
    notes = [*_bad_byte_notes(scan)]
    if rows[0].line:
        notes.append(_skipped_note(text, rows[0].line))
    joined = _join_header(rows, notes) if header else rows
    is_joined = len(joined) < len(rows)
    rows = joined
    names, row_names = _names(path, [row.cells for row in rows], header=header, notes=notes)
    has_units = header and _has_units([row.cells for row in rows])
    if has_units:
        notes.append(_units_note(rows[1]))
    below = rows[1 + has_units :]
    next_line = below[0].line if below else text.count("\n") + 1
    last_lines, shown = _lines_below(scan, delimiter, rows, width, style)
    if last_lines:
        notes.append(f"the end is no row, and is left out: {shown!r}")
    return Dialect(
        encoding=scan.encoding,
        delimiter=delimiter,
        header=header,
        names=tuple(names),
        row_names=row_names,
        first_line=rows[0].line,
        header_lines=max(1, next_line - rows[0].line) if header else 0,
        has_units=has_units,
        last_lines=last_lines,
        are_names_as_written=not header
        or (
            not is_joined
            and len({cell.strip() for cell in rows[0].cells}) == len(names)
            and not rows[0].cells[0].lstrip().startswith("#")
        ),
        bad_bytes=scan.bad_bytes,
        null_bytes=scan.null_bytes,
        has_quotes=scan.has_quotes or bool(style),
        style=style,
        notes=tuple(notes),
    )


def _arff_dialect(scan: TextScan, header: text_styles.ArffHeader) -> Dialect:
    names, notes = unique_names(header.names)
    return Dialect(
        encoding=scan.encoding,
        delimiter=",",
        header=True,
        names=tuple(names),
        header_lines=header.lines,
        are_names_as_written=False,
        bad_bytes=scan.bad_bytes,
        null_bytes=scan.null_bytes,
        has_quotes=scan.has_quotes or bool(header.style),
        style=header.style,
        notes=(*_bad_byte_notes(scan), *notes),
    )


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
    filled = [_Row(place, list(row)) for place, row in enumerate(cells) if any(cell.strip() for cell in row)]
    if not filled:
        raise BadDataError(f"{path} is empty", "a table needs a header and rows")
    sample = filled[: SAMPLE_ROWS + MOST_LINES]
    start = _first_row(sample, _usual_width(sample), known_names)
    rows = sample[start:]
    if header is None:
        header = _is_header([row.cells for row in rows], known_names)
    notes = []
    if above := sample[:start]:
        shown = " ".join(above[0].filled)[:60]
        what = "1 row is" if len(above) == 1 else f"{len(above)} rows are"
        notes.append(f"{what} above the header, and left out: {shown!r}")
    rows = _join_header(rows, notes) if header else rows
    names, _ = _names(path, [row.cells for row in rows], header=header, notes=notes)
    below = 0
    for row in reversed(filled[start + header :]):
        if below >= MOST_LINES or not _is_below(row.cells, len(names), rows):
            break
        below += 1
    last = filled[-1].line + 1
    if 0 < below < MOST_LINES:
        last = filled[-below].line
        shown = " ".join(filled[-below].filled)[:60]
        notes.append(f"the end is no row, and is left out: {shown!r}")
    first = rows[1].line if header and len(rows) > 1 else rows[0].line + header
    if header and _has_units([row.cells for row in rows]):
        notes.append(_units_note(rows[1]))
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


def _bad_byte_notes(scan: TextScan) -> Iterator[str]:
    if scan.null_bytes:
        yield f"{scan.null_bytes:,} zero byte{' is' if scan.null_bytes == 1 else 's are'} left out"
    if scan.bad_bytes:
        count = "1 byte is" if scan.bad_bytes == 1 else f"{scan.bad_bytes:,} bytes are"
        yield f"{count} no {scan.encoding.upper().removesuffix('-SIG')}: read as \ufffd"


def _skipped_note(text: str, lines: int) -> str:
    skipped = [
        line if _SEP_LINE.fullmatch(line) else line.strip(" ,;\t|") for line in text.splitlines()[:lines]
    ]
    shown = next((line for line in skipped if line), "an empty line")[:60]
    what = "first line is" if lines == 1 else f"first {lines} lines are"
    return f"the {what} above the header, and left out: {shown!r}"


def _text_of(content: bytes, encoding: str) -> str:
    """Return the text of a file's first bytes, without a character that is cut at the end."""
    import codecs

    return codecs.getincrementaldecoder(encoding)(errors="replace").decode(content)


def _split(text: str, known_names: Collection[str], style: str = "") -> tuple[str, list[_Row]]:
    """Return the delimiter and the first rows."""
    first, _, _ = text.partition("\n")
    if match := _SEP_LINE.fullmatch(first.strip("\r\ufeff")):
        delimiter = match.group(1)
        rows = _split_rows(text, delimiter, style)
        return delimiter, [row for row in rows if row.line > 0]
    candidates = [(delimiter, _split_rows(text, delimiter, style)) for delimiter in (*_SIGNS, COLONS)]

    def score(candidate: tuple[str, list[_Row]]) -> tuple[int, float, int]:
        rows = candidate[1]
        known = max((len(_known(row.cells, known_names)) for row in rows[:MOST_LINES]), default=0)
        return (known if _usual_width(rows) > 1 else 0, *_regularity(rows))

    best = max(candidates, key=score)
    share, width = _regularity(best[1])
    # the last cell may stand behind a tab, and all others between blanks
    has_blanks = best[0] == "\t" and all("  " in row.cells[0].strip() for row in best[1][1:])
    if share >= REGULAR and width > 1 and not has_blanks:
        return best
    if share < REGULAR:
        for sign in _RARE_SIGNS:
            rows = _split_rows(text, sign) if sign in first else []
            if rows and _regularity(rows)[0] == 1:
                return sign, rows
    blanks = _split_rows(text, BLANKS)
    blank_share, blank_width = _regularity(blanks[1:] or blanks)  # R names the rows, and not their column
    are_blanks = (
        blank_width > 1 and len(blanks) > 1 and blank_share > (REGULAR if has_blanks else max(share, REGULAR))
    )
    if are_blanks and len(blanks[0].cells) == blank_width:
        return BLANKS, blanks
    if share < 0.5 and (fixed := _fixed_rows(text)) and (not are_blanks or all(fixed[0].cells)):
        return FIXED, fixed
    return (BLANKS, blanks) if are_blanks else best


def _split_rows(text: str, delimiter: str, style: str = "") -> list[_Row]:
    rows: list[_Row] = []
    if style and style != text_styles.QUOTED_LINES and len(delimiter) == 1:
        text = text_styles.as_usual(text, style, delimiter)
    lines: Iterator[str] = io.StringIO(text, newline=None)  # accepts any line ending
    if delimiter == BLANKS:
        lines = (line.replace("\t", " ").strip() + "\n" for line in lines)
    if delimiter == COLONS:
        lines, delimiter = (line.replace(COLONS, COLONS_SIGN) for line in lines), COLONS_SIGN
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    start = 0
    try:
        for cells in reader:
            if cells and (len(cells) > 1 or cells[0].strip()):
                rows.append(_Row(start, cells))
            start = reader.line_num
            if len(rows) > SAMPLE_ROWS:
                break
    except csv.Error:
        return []
    return rows


def _has_units(rows: Sequence[Sequence[str]]) -> bool:
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


def _join_header(rows: list[_Row], notes: list[str]) -> list[_Row]:
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
    return [_Row(rows[0].line, names), *rows[2:]]


def _has_word_of(rows: Sequence[_Row]) -> Callable[[int], bool]:
    """Return whether a column has the second row's cell below it, too: then it is no name."""

    def has_word(place: int) -> bool:
        cell = rows[1].cells[place].strip()
        return bool(cell) and any(
            place < len(row.cells) and row.cells[place].strip() == cell for row in rows[2:]
        )

    return has_word


def _units_note(row: _Row) -> str:
    return f"the line below the header holds units, and is left out: {' '.join(row.filled)[:60]!r}"


def _fixed_rows(text: str) -> list[_Row]:
    """Return the rows of a table whose columns have fixed widths; [] for any other text."""
    lines = [(number, line) for number, line in enumerate(text.splitlines()[:SAMPLE_ROWS]) if line.strip()]
    if len(lines) < 5:
        return []
    starts = column_starts([line for _, line in lines])
    usual = Counter(len(line.rstrip()) for _, line in lines[1:]).most_common(1)[0][1]
    if len(starts) < 2 or usual < 0.3 * len(lines):
        return []
    return [_Row(number, cut(line, starts)) for number, line in lines]


def column_starts(lines: Sequence[str]) -> list[int]:
    """Return where the columns of a table of fixed widths start: after a place that is blank in all lines."""
    length = max(map(len, lines), default=0)
    is_blank = [all(line[place : place + 1] in ("", " ") for line in lines) for place in range(length)]
    starts = [place for place in range(length) if not is_blank[place] and (not place or is_blank[place - 1])]
    ends = [
        place + 1
        for place in range(length)
        if not is_blank[place] and is_blank[place + 1 : place + 2] != [False]
    ]
    # words of one cell may stand below each other, but only one of them has a name above it
    columns = [
        [start, end, bool(lines[0][start:end].strip())] for start, end in zip(starts, ends, strict=True)
    ]
    place = 0
    while place < len(columns) and len(columns) > 1:
        start, end, has_name = columns[place]
        if has_name:
            place += 1
            continue
        left = start - columns[place - 1][1] if place else length
        right = columns[place + 1][0] - end if place + 1 < len(columns) else length
        first = place - 1 if left <= right else place
        one, other = columns[first : first + 2]
        columns[first : first + 2] = [[one[0], other[1], one[2] or other[2]]]
        place = first
    return [start for start, _, _ in columns]


def cut(line: str, starts: Sequence[int]) -> list[str]:
    """Return the cells of a line whose columns start at these places."""
    ends = [*starts[1:], max(len(line), starts[-1])]
    return [line[start:end].strip() for start, end in zip(starts, ends, strict=True)]


def _known(row: Sequence[str], known_names: Collection[str]) -> set[str]:
    """Return which of the names are in a row."""
    return {cell.strip() for cell in row} & set(known_names)


def _usual_width(rows: Sequence[_Row]) -> int:
    widths = [len(row.cells) for row in rows]
    return max(set(widths), key=widths.count) if widths else 0


def _regularity(rows: Sequence[_Row]) -> tuple[float, int]:
    """Return the share of rows with the most frequent width, and this width.

    A wrong delimiter gives one column or rows of different widths.
    """
    usual = _usual_width(rows)
    widths = [len(row.cells) for row in rows]
    return (widths.count(usual) / len(widths) if usual > 1 else 0.0), usual


def _first_row(rows: Sequence[_Row], width: int, known_names: Collection[str]) -> int:
    """Return the place of the header, or of the first row: below titles and comments."""
    if width < 2:
        return 0
    for place, row in enumerate(rows[:MOST_LINES]):
        if _known(row.cells, known_names) and len(row.cells) > width // 2:
            return place
    place = 0
    while place < min(len(rows) - 1, MOST_LINES) and _is_title(rows, place, width):
        place += 1
    return place if place < len(rows) - 1 or len(rows) == 1 else 0


def _is_title(rows: Sequence[_Row], place: int, width: int) -> bool:
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


def _is_header(rows: Sequence[Sequence[str]], known_names: Collection[str]) -> bool:
    """Whether the first row names the columns; with names such as c1, a model knows a table without a header."""
    if _known(rows[0], known_names):
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


def _names(
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


def _lines_below(
    scan: TextScan, delimiter: str, rows: Sequence[_Row], width: int, style: str
) -> tuple[int, str]:
    """Return how many lines at the end of the file are no rows, and the first of them."""
    if width < 2 or delimiter == FIXED:
        return 0, ""
    content = scan.tail
    if scan.encoding.startswith("utf-16"):
        content = scan.head if scan.is_whole else b""
    text = _text_of(content, scan.encoding)
    if not (scan.is_whole and len(scan.tail) >= len(scan.head)):
        text = text.partition("\n")[2]
    if style == text_styles.QUOTED_LINES:
        text = text_styles.as_usual(text, style, ",")
    lines = list(io.StringIO(text, newline=None))
    found = 0
    for count in range(1, min(MOST_LINES, len(lines)) + 1):
        line = lines[-count]
        cells = (_split_rows(line, delimiter, style) or [_Row(0, [])])[0].cells
        if not any(cell.strip() for cell in cells):
            continue
        if not _is_below(cells, width, rows):
            break
        found = count
    else:
        return 0, ""  # all rows look like this
    start = len(lines) - found
    while found and start > 0 and not lines[start - 1].strip(" ,;\t|\r\n"):
        start -= 1
    if not found or len(lines) - start >= len(lines):
        return 0, ""
    shown = next((line.strip(" ,;\t|\r\n") for line in lines[start:] if line.strip(" ,;\t|\r\n")), "")
    return len(lines) - start, shown[:60]


def _is_below(cells: Sequence[str], width: int, rows: Sequence[_Row]) -> bool:
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
