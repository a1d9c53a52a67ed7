"""Reading a table that nobody has described: its encoding, delimiter, header and decimal sign are found."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlctl.errors import BadDataError

if TYPE_CHECKING:
    import pandas as pd

DELIMITERS = (",", ";", "\t", "|")
WORDS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
SAMPLE_BYTES, SAMPLE_ROWS, BLOCK_BYTES = 1 << 17, 200, 1 << 20
GAPS = ("?", "-", "missing", "Missing", "none", "NONE", "na", "Na")  # beside those that pandas knows
PARQUET, CSV = (".parquet", ".pq"), (".csv", ".tsv", ".csv.gz", ".tsv.gz")
_COMMA_NUMBER = r"\s*[$€£]?\s*[-+]?(\d{1,3}(\.\d{3})+|\d+)(,\d+)?\s*[%$€£]?\s*"  # 1.234,50 €
_NUMBER = re.compile(r"[-+]?(\d+([.,]\d*)?|[.,]\d+)([eE][-+]?\d+)?")


@dataclass(frozen=True)
class Layout:
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


def is_table(name: str) -> bool:
    """Whether a file of this name is read as a table."""
    return name.lower().endswith((*PARQUET, *CSV))


def read(path: Path, header: bool | None = None, known: Collection[str] = ()) -> tuple[pd.DataFrame, str]:
    """Return the table as it is, and in words how it was read.

    `header` None finds it, and sees it in any name of `known`. Raises BadDataError where the file is no whole
    table.
    """
    import pandas as pd

    if path.name.lower().endswith(PARQUET):
        try:
            import pyarrow.parquet

            _check_names(path, pyarrow.parquet.read_schema(path).names)
            frame = pd.read_parquet(path)
        except (OSError, ValueError, ImportError) as exc:
            raise BadDataError(f"{path} is no Parquet file: {_line(exc)}", "look at the file") from exc
        said = "Parquet"
    else:
        layout = sniff(path, header, known)
        frame, said = _read_text(path, layout), str(layout)
    if frame.empty or not len(frame.columns):
        raise BadDataError(f"{path} has no rows", "a table needs a header and rows")
    frame.columns = [str(name).strip() for name in frame.columns]
    return frame, said


def written(path: Path, column: str, header: bool | None) -> pd.Series[Any] | None:
    """Return a column's cells as they stand in a text file, words of a gap among them; None for Parquet."""
    if path.name.lower().endswith(PARQUET):
        return None
    as_is = {"dtype": str, "keep_default_na": False, "na_values": None}
    return _read_text(path, sniff(path, header, (column,)), **as_is)[column].str.strip()


def parts(path: Path, rows: int, known: Collection[str], texts: Collection[str]) -> Iterator[pd.DataFrame]:
    """Yield a text file's table, at most so many rows at once.

    `known` are column names to look for: a first row that has one is the header. Of them, `texts` are read
    as they stand; any other column is numbers where a part of it holds nothing else. Raises BadDataError
    where the file is no whole table.
    """
    import pandas as pd

    layout = sniff(path, known=known)
    with _reading(path):
        how = _how(path, layout)
        first = pd.read_csv(path, **how, nrows=1)
        named = zip(first.columns, _names(first, layout), strict=True)
        kinds: dict[Any, Any] = {column: str for column, name in named if name in texts}
        with pd.read_csv(path, **how, chunksize=rows, dtype=kinds) as reader:
            for frame in reader:
                yield _finished(frame, layout)


def head(path: Path, rows: int = 200) -> pd.DataFrame:
    """Return a text file's first rows; raises BadDataError where it is no table."""
    layout = sniff(path)
    return _read_text(path, layout, nrows=rows)


def sniff(path: Path, header: bool | None = None, known: Collection[str] = ()) -> Layout:
    """Find how a text file holds its table; `known` are names that its columns may have.

    Raises BadDataError where it holds none.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            sample = file.read(SAMPLE_BYTES)
    except (OSError, EOFError) as exc:
        raise BadDataError(f"{path} cannot be read: {_line(exc)}", "look at the file") from exc
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
        _check_names(path, rows[0])
    comma = _decimal_commas(rows, quoted=delimiter == ",")
    return Layout(encoding, delimiter, header, "," if comma else ".", header and _row_names(rows))


def _row_names(rows: Sequence[Sequence[str]]) -> bool:
    """Whether all rows have one cell more than the header, and it is not an empty one at their end."""
    body = [row for row in rows[1:] if len(row) == len(rows[0]) + 1]
    return len(body) == len(rows) - 1 > 0 and any(row[-1].strip() for row in body)


def _check_names(path: Path, row: Sequence[str]) -> None:
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


def _read_text(path: Path, layout: Layout, **more: Any) -> pd.DataFrame:
    import pandas as pd

    with _reading(path):
        return _finished(pd.read_csv(path, **(_how(path, layout) | more)), layout)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Say what is wrong with a file that pandas cannot read."""
    import pandas as pd

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # it drops the cells that have no name
            yield
    except pd.errors.ParserWarning as exc:
        raise BadDataError(f"{path}: its rows have more cells than its header", "mend the header") from exc
    except UnicodeDecodeError as exc:
        raise BadDataError(f"{path} is neither UTF-8 nor Windows text", "save it as UTF-8") from exc
    except (ValueError, OSError, EOFError) as exc:  # pandas's parser errors are ValueErrors
        raise BadDataError(f"{path} is no whole table: {_line(exc)}", "mend the row it names") from exc


def _how(path: Path, layout: Layout) -> dict[str, Any]:
    return {
        "encoding": _whole_encoding(path, layout.encoding),
        "sep": layout.delimiter,
        "header": 0 if layout.header else None,
        "decimal": layout.decimal,
        "na_values": GAPS,
        "skipinitialspace": True,
        "low_memory": False,
        "index_col": None if layout.row_names else False,
    }


def _whole_encoding(path: Path, sampled: str) -> str:
    """Return the encoding of all of the file: a byte that is no UTF-8 may come after the sample."""
    if sampled != "utf-8":
        return sampled
    decoder = codecs.getincrementaldecoder("utf-8")()
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        try:
            while block := file.read(BLOCK_BYTES):
                decoder.decode(block)
        except UnicodeDecodeError:
            return "cp1252"
    return sampled


def _finished(frame: pd.DataFrame, layout: Layout) -> pd.DataFrame:
    """Return what pandas has read with its columns' names, and numbers such as 1.234,50 as 1234.50."""
    frame = frame.set_axis(_names(frame, layout), axis="columns")
    if layout.row_names:
        frame = frame.reset_index(drop=True)
    if layout.decimal == ",":
        for name in frame:
            filled = frame[name].dropna()
            if filled.dtype.kind == "O" and len(filled) and filled.str.fullmatch(_COMMA_NUMBER).mean() > 0.5:
                swapped = frame[name].str.replace(".", "").str.replace(",", ".")
                frame[name] = swapped.where(frame[name].str.fullmatch(_COMMA_NUMBER, na=False), frame[name])
    return frame


def _names(frame: pd.DataFrame, layout: Layout) -> list[str]:
    if layout.header:
        return [str(name).strip() for name in frame.columns]
    return [f"c{number}" for number in range(1, len(frame.columns) + 1)]


def _line(exc: BaseException) -> str:
    return " ".join(str(exc).split())[:200]
