"""The dialect of a text table: encoding, delimiter, header and decimal separator, detected from the file's start."""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlctl.errors import BadDataError

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
SAMPLE_BYTES, SAMPLE_ROWS = 1 << 17, 200
NUMBERS_BELOW_HEADER = 0.8  # a text above a column with at least this share of numbers is a column name
_NUMBER = re.compile(r"[-+]?(\d+([.,]\d*)?|[.,]\d+)([eE][-+]?\d+)?")


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How a text file holds a table.

    Attributes:
        header: Whether the first row names the columns.
        decimal: The decimal separator, "." or ",".
        row_names: Whether each row starts with a cell for which the header has no name, as R writes them.
    """

    encoding: str
    delimiter: str
    header: bool
    decimal: str
    row_names: bool = False

    def __str__(self) -> str:
        """Describe it in words."""
        header = "with a header" if self.header else "without a header (columns are c1, c2, …)"
        decimal = ", decimal commas" if self.decimal == "," else ""
        row_names = ", row names left out" if self.row_names else ""
        return f"{self.encoding}, {DELIMITERS[self.delimiter]} between columns{decimal}, {header}{row_names}"


def detect_dialect(path: Path, *, header: bool | None = None, known_names: Collection[str] = ()) -> Dialect:
    """Detect the dialect of a text file.

    Raises BadDataError if the file holds no table.

    Args:
        path: Text file, which may be compressed with gzip.
        header: Whether there is a header; None detects it.
        known_names: Possible column names; a first row with one of them is the header.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            sample = file.read(SAMPLE_BYTES)
    except (OSError, EOFError) as exc:
        raise BadDataError(f"{path} cannot be read: {exc}", "check the file and its permissions") from exc
    if not sample.strip():
        raise BadDataError(f"{path} is empty", "a table needs a header and rows")
    encoding, text = _decode(sample)
    if "\0" in text:
        raise BadDataError(f"{path} is not a text file", "a table is a .csv, .tsv or .parquet file")
    if len(sample) == SAMPLE_BYTES:  # the last line may be incomplete
        text = text.rpartition("\n")[0] or text
    delimiter, rows = max(
        ((delimiter, _split_rows(text, delimiter)) for delimiter in DELIMITERS),
        key=lambda candidate: (_count_known(candidate[1], known_names), *_regularity(candidate[1])),
    )
    if not rows:
        raise BadDataError(f"{path} holds no columns", "a table is a .csv, .tsv or .parquet file")
    if header is None:
        header = bool(_count_known(rows, known_names)) or _has_header(rows)
    if header:
        require_unique_names(path, rows[0])
    return Dialect(
        encoding=encoding,
        delimiter=delimiter,
        header=header,
        decimal="," if _has_decimal_commas(rows, quoted=delimiter == ",") else ".",
        row_names=header and _has_row_names(rows),
    )


def require_unique_names(path: Path, row: Sequence[str]) -> None:
    """Raise BadDataError if two columns have the same name: pandas would rename the second one."""
    names = [cell.strip() for cell in row if cell.strip()]
    duplicate = next((name for name in names if names.count(name) > 1), None)
    if duplicate is not None:
        positions = [str(position) for position, cell in enumerate(row, 1) if cell.strip() == duplicate]
        raise BadDataError(
            f"{path}: columns {' and '.join(positions)} are both named {duplicate!r}", "rename one of them"
        )


def _has_row_names(rows: Sequence[Sequence[str]]) -> bool:
    """Whether all rows have one cell more than the header, which is not just an empty one at the end."""
    longer = [row for row in rows[1:] if len(row) == len(rows[0]) + 1]
    return len(longer) == len(rows) - 1 > 0 and any(row[-1].strip() for row in longer)


def _decode(sample: bytes) -> tuple[str, str]:
    """Return the encoding and the text."""
    if sample.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16", sample[: len(sample) // 2 * 2].decode("utf-16", errors="replace")
    if sample.startswith(b"\xef\xbb\xbf"):
        return "utf-8-sig", sample.decode("utf-8-sig", errors="replace")
    try:
        return "utf-8", sample.decode("utf-8")
    except UnicodeDecodeError as exc:
        if exc.start >= len(sample) - 3:  # the sample ends in the middle of a character
            return "utf-8", sample[: exc.start].decode("utf-8")
        return "cp1252", sample.decode("cp1252", errors="replace")


def _split_rows(text: str, delimiter: str) -> list[list[str]]:
    rows = []
    try:
        lines = io.StringIO(text, newline=None)  # accepts any line ending
        for row in csv.reader(lines, delimiter=delimiter, skipinitialspace=True):
            if row:
                rows.append(row)
            if len(rows) > SAMPLE_ROWS:
                break
    except csv.Error:
        return []
    return rows


def _count_known(rows: Sequence[Sequence[str]], known_names: Collection[str]) -> int:
    """Return how many of the names are in the first row."""
    return len({cell.strip() for cell in rows[0]} & set(known_names)) if rows else 0


def _regularity(rows: Sequence[Sequence[str]]) -> tuple[float, int]:
    """Return the share of rows with the most frequent width, and this width.

    A wrong delimiter gives one column or rows of different widths.
    """
    if not rows:
        return 0.0, 0
    widths = [len(row) for row in rows]
    usual = max(set(widths), key=widths.count)
    return (widths.count(usual) / len(widths) if usual > 1 else 0.0), usual


def _has_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row names the columns: it holds no number, or it has a text above a column of numbers."""
    first, body = [cell.strip() for cell in rows[0]], rows[1:]
    is_number = [bool(_NUMBER.fullmatch(cell)) for cell in first]
    if not any(is_number) or not body:
        return True
    for column, name in enumerate(first):
        if is_number[column] or not name:
            continue
        cells = [row[column].strip() for row in body if column < len(row) and row[column].strip()]
        numbers = sum(bool(_NUMBER.fullmatch(cell)) for cell in cells)
        if cells and numbers / len(cells) > NUMBERS_BELOW_HEADER:
            return True
    return False


def _has_decimal_commas(rows: Sequence[Sequence[str]], quoted: bool) -> bool:
    """Whether numbers have decimal commas; in `quoted` cells, a comma may also separate thousands."""
    cells = [cell.strip(" $€£%\u00a0") for row in rows[1:] for cell in row]
    commas = sum(bool(re.fullmatch(r"[-+]?[\d.]*\d,\d+", cell)) for cell in cells)
    points = sum(bool(re.fullmatch(r"[-+]?[\d,]*\d\.\d+", cell)) for cell in cells)
    if not quoted:
        return commas > points
    thousands = any(re.fullmatch(r"[-+]?\d{1,3}(,\d{3}){2,}", cell) for cell in cells)
    decimals = any(re.fullmatch(r"[-+]?[\d.]*\d,(\d{1,2}|\d{4,})", cell) for cell in cells)
    return decimals and not points and not thousands
