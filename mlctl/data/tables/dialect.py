"""The dialect of a text table: encoding, delimiter, header, and lines above and below the rows."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from mlctl.data.tables import text_styles
from mlctl.data.tables.encodings import PLAIN, TextScan, scan_file
from mlctl.data.tables.fixed_widths import column_starts, cut
from mlctl.data.tables.table_rows import (
    MOST_LINES,
    SAMPLE_ROWS,
    TableRow,
    first_row,
    has_units_below,
    is_below,
    is_header,
    join_header,
    known_cells,
    name_columns,
    unique_names,
    units_note,
    usual_width,
)
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
_RARE_SIGNS = ("^", "~", "\x01")  # if all rows have as many of them, and no other sign divides them
FEW_NULLS, NULLS_PER_BYTE = 3, 0.001  # zero bytes in a text, and their share; a file with more is no text
REGULAR = 0.9  # share of rows with the usual number of cells, so that blanks are not tried as delimiters
QUOTE_AFTER_SPACES = re.compile(rb'(?:^|[\n\r,;|\t]) +"')  # to pandas, it starts a cell; not to Arrow
_SEP_LINE = re.compile(r'\s*"?sep=(.)"?\s*', re.IGNORECASE)


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
            and self.delimiter in text_styles.SIGNS
            and not (
                self.bad_bytes
                or self.is_cleaned
                or self.row_names
                or self.first_line
                or self.last_lines
                or self.has_units
            )
        )


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
    width = usual_width(rows)
    start = first_row(rows, width, known_names)
    rows = rows[start:]
    if header is None:
        header = is_header([row.cells for row in rows], known_names)
    notes = [*_bad_byte_notes(scan)]
    if rows[0].line:
        notes.append(_skipped_note(text, rows[0].line))
    joined = join_header(rows, notes) if header else rows
    is_joined = len(joined) < len(rows)
    rows = joined
    names, row_names = name_columns(path, [row.cells for row in rows], header=header, notes=notes)
    has_units = header and has_units_below([row.cells for row in rows])
    if has_units:
        notes.append(units_note(rows[1]))
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
    return codecs.getincrementaldecoder(encoding)(errors="replace").decode(content)


def _split(text: str, known_names: Collection[str], style: str = "") -> tuple[str, list[TableRow]]:
    """Return the delimiter and the first rows."""
    first, _, _ = text.partition("\n")
    if match := _SEP_LINE.fullmatch(first.strip("\r\ufeff")):
        delimiter = match.group(1)
        rows = _split_rows(text, delimiter, style)
        return delimiter, [row for row in rows if row.line > 0]
    candidates = [
        (delimiter, _split_rows(text, delimiter, style)) for delimiter in (*text_styles.SIGNS, COLONS)
    ]

    def score(candidate: tuple[str, list[TableRow]]) -> tuple[int, float, int]:
        rows = candidate[1]
        known = max((len(known_cells(row.cells, known_names)) for row in rows[:MOST_LINES]), default=0)
        return (known if usual_width(rows) > 1 else 0, *_regularity(rows))

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


def _split_rows(text: str, delimiter: str, style: str = "") -> list[TableRow]:
    rows: list[TableRow] = []
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
                rows.append(TableRow(start, cells))
            start = reader.line_num
            if len(rows) > SAMPLE_ROWS:
                break
    except csv.Error:
        return []
    return rows


def _fixed_rows(text: str) -> list[TableRow]:
    """Return the rows of a table whose columns have fixed widths; [] for any other text."""
    lines = [(number, line) for number, line in enumerate(text.splitlines()[:SAMPLE_ROWS]) if line.strip()]
    if len(lines) < 5:
        return []
    starts = column_starts([line for _, line in lines])
    usual = Counter(len(line.rstrip()) for _, line in lines[1:]).most_common(1)[0][1]
    if len(starts) < 2 or usual < 0.3 * len(lines):
        return []
    return [TableRow(number, cut(line, starts)) for number, line in lines]


def _regularity(rows: Sequence[TableRow]) -> tuple[float, int]:
    """Return the share of rows with the most frequent width, and this width.

    A wrong delimiter gives one column or rows of different widths.
    """
    usual = usual_width(rows)
    widths = [len(row.cells) for row in rows]
    return (widths.count(usual) / len(widths) if usual > 1 else 0.0), usual


def _lines_below(
    scan: TextScan, delimiter: str, rows: Sequence[TableRow], width: int, style: str
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
        cells = (_split_rows(line, delimiter, style) or [TableRow(0, [])])[0].cells
        if not any(cell.strip() for cell in cells):
            continue
        if not is_below(cells, width, rows):
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
