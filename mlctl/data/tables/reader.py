"""Reading a table that nobody has described, whole or a part at a time; `layout` finds how it is written."""

from __future__ import annotations

import codecs
import gzip
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlctl.data.tables.dialect import Dialect, check_names, sniff
from mlctl.domain.missing_values import OUR_OWN
from mlctl.errors import BadDataError

if TYPE_CHECKING:
    import pandas as pd

BLOCK_BYTES = 1 << 20
PARQUET, CSV = (".parquet", ".pq"), (".csv", ".tsv", ".csv.gz", ".tsv.gz")
_COMMA_NUMBER = r"\s*[$€£]?\s*[-+]?(\d{1,3}(\.\d{3})+|\d+)(,\d+)?\s*[%$€£]?\s*"  # 1.234,50 €


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

            check_names(path, pyarrow.parquet.read_schema(path).names)
            frame = pd.read_parquet(path)
            frame.columns = [str(name).strip() for name in frame.columns]
        except (OSError, ValueError, ImportError) as exc:
            raise BadDataError(f"{path} is no Parquet file: {_line(exc)}", "look at the file") from exc
        said = "Parquet"
    else:
        layout = sniff(path, header, known)
        frame, said = _read_text(path, layout), str(layout)
    if frame.empty or not len(frame.columns):
        raise BadDataError(f"{path} has no rows", "a table needs a header and rows")
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


def _read_text(path: Path, layout: Dialect, **more: Any) -> pd.DataFrame:
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


def _how(path: Path, layout: Dialect) -> dict[str, Any]:
    return {
        "encoding": _whole_encoding(path, layout.encoding),
        "sep": layout.delimiter,
        "header": 0 if layout.header else None,
        "decimal": layout.decimal,
        "na_values": OUR_OWN,
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


def _finished(frame: pd.DataFrame, layout: Dialect) -> pd.DataFrame:
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


def _names(frame: pd.DataFrame, layout: Dialect) -> list[str]:
    if layout.header:
        return [str(name).strip() for name in frame.columns]
    return [f"c{number}" for number in range(1, len(frame.columns) + 1)]


def _line(exc: BaseException) -> str:
    return " ".join(str(exc).split())[:200]
