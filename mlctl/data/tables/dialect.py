"""How a text file holds its table: its encoding, delimiter, header and decimal sign are found from its beginning."""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlctl.errors import BadDataError

DELIMITERS = (",", ";", "\t", "|")
WORDS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
SAMPLE_BYTES, SAMPLE_ROWS = 1 << 17, 200
_NUMBER = re.compile(r"[-+]?(\d+([.,]\d*)?|[.,]\d+)([eE][-+]?\d+)?")


@dataclass(frozen=True)
class Dialect:
    """How a text file holds its table.

    `header` is whether its first row names the columns; `row_names` that the rows begin with a cell that the
    header has no name for, as R writes them.
    """

    encoding: str
    delimiter: str
    header: bool
    decimal: str
    row_names: bool = False

    def __str__(self) -> str:
        """Return it in words."""
        named = "with a header" if self.header else "without a header (columns are c1, c2, …)"
        comma = ", decimal commas" if self.decimal == "," else ""
        names = ", row names left out" if self.row_names else ""
        return f"{self.encoding}, {WORDS[self.delimiter]} between columns{comma}, {named}{names}"


def sniff(path: Path, header: bool | None = None, known: Collection[str] = ()) -> Dialect:
    """Find how a text file holds its table; `known` are names that its columns may have.

    Raises BadDataError where it holds none.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            sample = file.read(SAMPLE_BYTES)
    except (OSError, EOFError) as exc:
        raise BadDataError(f"{path} cannot be read: {exc}", "look at the file") from exc
    if not sample.strip():
        raise BadDataError(f"{path} is empty", "a table needs a header and rows")
    encoding, text = _decoded(sample)
    if "\0" in text:
        raise BadDataError(f"{path} is no text", "a table is a .csv, .tsv or .parquet file")
    if len(sample) == SAMPLE_BYTES:  # the last line may be cut
        text = text.rpartition("\n")[0] or text
    delimiter, rows = max(
        ((sign, _rows(text, sign)) for sign in DELIMITERS),
        key=lambda found: (_known(found[1], known), *_evenness(found[1])),
    )
    if header is None:
        header = bool(_known(rows, known)) or _has_header(rows)
    if not rows:
        raise BadDataError(f"{path} is no table of columns", "a table is a .csv, .tsv or .parquet file")
    if header:
        check_names(path, rows[0])
    comma = _decimal_commas(rows, quoted=delimiter == ",")
    return Dialect(encoding, delimiter, header, "," if comma else ".", header and _row_names(rows))


def _row_names(rows: Sequence[Sequence[str]]) -> bool:
    """Whether all rows have one cell more than the header, and it is not an empty one at their end."""
    body = [row for row in rows[1:] if len(row) == len(rows[0]) + 1]
    return len(body) == len(rows) - 1 > 0 and any(row[-1].strip() for row in body)


def check_names(path: Path, row: Sequence[str]) -> None:
    """Refuse a name that two columns have: pandas would call the second by another."""
    names = [cell.strip() for cell in row if cell.strip()]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        places = [str(place) for place, cell in enumerate(row, 1) if cell.strip() == twice]
        raise BadDataError(
            f"{path}: columns {' and '.join(places)} are both named {twice!r}", "give each a name of its own"
        )


def _decoded(sample: bytes) -> tuple[str, str]:
    if sample.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16", sample[: len(sample) // 2 * 2].decode("utf-16", errors="replace")
    if sample.startswith(b"\xef\xbb\xbf"):
        return "utf-8-sig", sample.decode("utf-8-sig", errors="replace")
    try:
        return "utf-8", sample.decode("utf-8")
    except UnicodeDecodeError as exc:
        if exc.start >= len(sample) - 3:  # a character cut in two by the sample's end
            return "utf-8", sample[: exc.start].decode("utf-8")
        return "cp1252", sample.decode("cp1252", errors="replace")


def _rows(text: str, delimiter: str) -> list[list[str]]:
    found = []
    try:
        lines = io.StringIO(text, newline=None)  # whatever a line ends with
        for row in csv.reader(lines, delimiter=delimiter, skipinitialspace=True):
            if row:
                found.append(row)
            if len(found) > SAMPLE_ROWS:
                break
    except csv.Error:
        return []
    return found


def _known(rows: Sequence[Sequence[str]], known: Collection[str]) -> int:
    """Return how many of the names the first row has."""
    return len({cell.strip() for cell in rows[0]} & set(known)) if rows else 0


def _evenness(rows: Sequence[Sequence[str]]) -> tuple[float, int]:
    """Return how alike in width the rows are, and how wide: a wrong delimiter gives one column, or ragged rows."""
    if not rows:
        return 0.0, 0
    widths = [len(row) for row in rows]
    usual = max(set(widths), key=widths.count)
    return (widths.count(usual) / len(widths) if usual > 1 else 0.0), usual


def _has_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row names the columns: a word stands over numbers, or it holds no number at all."""
    first, body = [cell.strip() for cell in rows[0]], rows[1:]
    numbers = [bool(_NUMBER.fullmatch(cell)) for cell in first]
    if not any(numbers) or not body:
        return True
    for column, number in enumerate(numbers):
        cells = [row[column].strip() for row in body if column < len(row) and row[column].strip()]
        if cells and not number and first[column]:
            share = sum(bool(_NUMBER.fullmatch(cell)) for cell in cells) / len(cells)
            if share > 0.8:
                return True
    return False


def _decimal_commas(rows: Sequence[Sequence[str]], quoted: bool) -> bool:
    """Whether numbers have a decimal comma; one that stands `quoted` among commas may also part thousands."""
    cells = [cell.strip(" $€£%\u00a0") for row in rows[1:] for cell in row]
    commas = sum(bool(re.fullmatch(r"[-+]?[\d.]*\d,\d+", cell)) for cell in cells)
    points = sum(bool(re.fullmatch(r"[-+]?[\d,]*\d\.\d+", cell)) for cell in cells)
    if not quoted:
        return commas > points
    thousands = any(re.fullmatch(r"[-+]?\d{1,3}(,\d{3}){2,}", cell) for cell in cells)
    decimals = any(re.fullmatch(r"[-+]?[\d.]*\d,(\d{1,2}|\d{4,})", cell) for cell in cells)
    return decimals and not points and not thousands
