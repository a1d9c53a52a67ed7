"""Text tables: with delimiters, blanks or fixed widths between columns."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlctl.data.tables import compression
from mlctl.data.tables.dialect import BLANKS, COLONS, FIXED, QUOTE_AFTER_SPACES, Dialect, detect_dialect
from mlctl.data.tables.encodings import PLAIN
from mlctl.data.tables.fixed_widths import column_starts, cut
from mlctl.data.tables.formats.content import ReadOptions, TableContent
from mlctl.data.tables.formats.damaged_rows import holds_rows_in_cells, with_stray_quotes, without_long_rows
from mlctl.data.tables.table_rows import SAMPLE_ROWS, UNNAMED
from mlctl.data.tables.text_styles import as_usual
from mlctl.data.tables.written_cells import strip, to_frame
from mlctl.domain.short_texts import one_line
from mlctl.errors import BadDataError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow

_RULE = re.compile(r"\s*[-=:+]*\s*")
_LINE_OF_BOX = r"^\s*[+]?[-=+]{4,}\s*$"  # between the rows of a table that a database or SAP prints


def read_delimited(path: Path, options: ReadOptions) -> TableContent:
    """Return a text table. Raises BadDataError if it is not complete."""
    dialect = detect_dialect(path, header=options.header, known_names=options.known_names)
    table, repairs = (None, []) if options.rows else _arrow_rows(path, dialect)
    if table is None:
        try:
            table = _pandas_table(path, dialect, rows=options.rows)
        except BadDataError:
            if options.rows:
                raise
            text = _row_lines(compression.read_bytes(path), dialect)
            found = with_stray_quotes(text, dialect) or without_long_rows(text, dialect)
            if found is None:
                raise
            table, repairs = found
    table, notes = _without_other_lines(table, dialect)
    frame = to_frame(table.columns, table.column_names)
    return TableContent(
        frame=_without_unnamed(frame), description=str(dialect), notes=(*dialect.notes, *repairs, *notes)
    )


def read_delimited_batches(
    path: Path,
    rows: int,
    *,
    known_names: Collection[str],
    text_columns: Collection[str],
    on_note: Callable[[str], None],
) -> Iterator[pd.DataFrame]:
    """Yield a text table in batches; raises BadDataError, also in its middle."""
    dialect = detect_dialect(path, known_names=known_names)
    for note in dialect.notes:
        on_note(note)
    table, repairs = _arrow_rows(path, dialect)
    if table is None and dialect.has_quotes:
        found = with_stray_quotes(_row_lines(compression.read_bytes(path), dialect), dialect)
        table, repairs = found or (None, [])
    if table is not None:
        table, notes = _without_other_lines(table, dialect)
        for note in (*repairs, *notes):
            on_note(note)
        for start in range(0, table.num_rows, rows):
            part = table.slice(start, rows)
            yield to_frame(part.columns, part.column_names, text_columns=text_columns)
        return
    if dialect.delimiter == FIXED:
        table = _fixed_table(path, dialect, None)
        for start in range(0, table.num_rows, rows):
            part = table.slice(start, rows)
            yield to_frame(part.columns, part.column_names, text_columns=text_columns)
        return
    with _pandas_errors(path), _pandas_reader(path, dialect, chunksize=rows) as batches:
        for batch in batches:
            table, _ = _without_other_lines(_to_arrow(batch, dialect), dialect)
            if table.num_rows:
                yield to_frame(table.columns, table.column_names, text_columns=text_columns)


def read_as_written(path: Path, options: ReadOptions) -> pyarrow.Table:
    """Return all cells of a text table as they are written, such as "NA" and ""; blanks before them are left out."""
    import pyarrow
    from pyarrow import compute

    dialect = detect_dialect(path, header=options.header, known_names=options.known_names)
    # Arrow does not notice a quote that is never closed
    table = None if dialect.has_quotes else _arrow_table(path, dialect)
    if table is None:
        table = _pandas_table(path, dialect, rows=None)
    table, _ = _without_other_lines(table, dialect)
    columns = [compute.utf8_ltrim(column, " ") for column in table.columns]
    return pyarrow.table(columns, names=table.column_names)


def _arrow_rows(path: Path, dialect: Dialect) -> tuple[pyarrow.Table | None, list[str]]:
    """Return `_arrow_table` with its quotes closed, and a note if one was not; Arrow does not notice that."""
    table = _arrow_table(path, dialect)
    if table is None or not dialect.has_quotes or not holds_rows_in_cells(table, dialect):
        return table, []
    text = _row_lines(compression.read_bytes(path), dialect)
    return with_stray_quotes(text, dialect) or (table, [])


def _arrow_table(path: Path, dialect: Dialect) -> pyarrow.Table | None:
    """Return the texts of a file as Arrow reads them, many times faster; None if pandas must read it."""
    import pyarrow
    from pyarrow import csv

    if dialect.delimiter in (BLANKS, FIXED) or len(dialect.names) < 2:
        return None
    content, skipped = _utf_8(path, dialect)
    if dialect.has_quotes and QUOTE_AFTER_SPACES.search(content):
        return None  # to pandas, the quote starts a cell
    names = [name or str(place) for place, name in enumerate(dialect.names)]
    try:
        table = csv.read_csv(
            pyarrow.BufferReader(content),
            csv.ReadOptions(column_names=names, skip_rows=skipped),
            csv.ParseOptions(delimiter=dialect.separator, newlines_in_values=dialect.has_quotes),
            csv.ConvertOptions(
                column_types=dict.fromkeys(names, pyarrow.large_string()), strings_can_be_null=False
            ),
        )
    except (ValueError, OSError, KeyError, pyarrow.ArrowException):
        return None
    if not table.num_rows:
        return None
    return table.select(names[1:]) if dialect.row_names else table


def _utf_8(path: Path, dialect: Dialect) -> tuple[bytes, int]:
    """Return a file's rows as UTF-8, and the number of lines above them."""
    content = compression.read_bytes(path)
    skipped = dialect.first_line + dialect.header_lines
    is_plain = dialect.encoding in PLAIN and not dialect.bad_bytes and not dialect.is_cleaned
    if is_plain and not dialect.last_lines and skipped <= 1:
        return content, skipped
    return _row_lines(content, dialect).encode(errors="replace"), 0


def _text_of(content: bytes, dialect: Dialect) -> str:
    """Return a file's text, with one character between the columns and without zero bytes."""
    text = (content.replace(b"\0", b"") if dialect.null_bytes else content).decode(
        dialect.encoding, errors="replace"
    )
    text = text.replace(COLONS, dialect.separator) if dialect.delimiter == COLONS else text
    return as_usual(text, dialect.style, dialect.separator)


def _row_lines(content: bytes, dialect: Dialect) -> str:
    """Return the lines that are rows."""
    text = _text_of(content, dialect)
    skipped = dialect.first_line + dialect.header_lines
    if not skipped and not dialect.last_lines:
        return text
    lines = list(io.StringIO(text, newline=""))
    return "".join(lines[skipped : len(lines) - dialect.last_lines])


def _pandas_table(path: Path, dialect: Dialect, rows: int | None) -> pyarrow.Table:
    if dialect.delimiter == FIXED:
        return _fixed_table(path, dialect, rows)
    with _pandas_errors(path):
        frame = _pandas_reader(path, dialect, nrows=rows)
    return _to_arrow(frame, dialect)


def _fixed_table(path: Path, dialect: Dialect, rows: int | None) -> pyarrow.Table:
    import pyarrow

    lines = _text_of(compression.read_bytes(path), dialect).splitlines()
    body = lines[dialect.first_line + dialect.header_lines :]
    # with the header, as the dialect sees it
    starts = column_starts([line for line in lines[dialect.first_line : SAMPLE_ROWS] if line.strip()])
    cells = [cut(line, starts) for line in body if line.strip()][:rows]
    columns = [[row[place] for row in cells] for place in range(len(starts))]
    return pyarrow.table(
        [pyarrow.array(column, pyarrow.large_string()) for column in columns], names=list(dialect.names)
    )


_AS_WRITTEN: dict[str, Any] = {"dtype": str, "keep_default_na": False, "na_filter": False}


def _pandas_reader(path: Path, dialect: Dialect, **arguments: Any) -> Any:
    import pandas as pd

    source, more = _source(path, dialect)
    return pd.read_csv(
        source,
        sep=r"\s+" if dialect.delimiter == BLANKS else dialect.separator,
        header=None,
        names=list(range(len(dialect.names))),
        skipinitialspace=True,
        low_memory=False,
        index_col=False,
        **_AS_WRITTEN,
        **more,
        **arguments,
    )


def _source(path: Path, dialect: Dialect) -> tuple[Any, dict[str, Any]]:
    """Return what pandas reads, and how: the file itself, or the lines of it that are rows."""
    has_other_lines = dialect.first_line or dialect.last_lines or dialect.header_lines > 1
    if not has_other_lines and not dialect.is_cleaned:
        reading = {
            "encoding": dialect.encoding,
            "encoding_errors": "replace",
            "skiprows": dialect.header_lines,
        }
        if not compression.is_compressed(path):
            return path, reading
        return io.BytesIO(compression.read_bytes(path)), reading
    return io.StringIO(_row_lines(compression.read_bytes(path), dialect), newline=None), {}


def _to_arrow(frame: pd.DataFrame, dialect: Dialect) -> pyarrow.Table:
    import pyarrow

    columns = [
        pyarrow.chunked_array([pyarrow.array(frame[name], pyarrow.large_string(), from_pandas=True)])
        for name in frame
    ]
    names = list(dialect.names)
    if dialect.row_names:
        columns, names = columns[1:], names[1:]
    return pyarrow.table(columns, names=names)


def _without_other_lines(table: pyarrow.Table, dialect: Dialect) -> tuple[pyarrow.Table, list[str]]:
    """Return the rows without empty ones and without repetitions of the header, and a note for each."""
    import pyarrow
    from pyarrow import compute

    notes: list[str] = []
    if dialect.header and len(table.column_names) > 1:
        if table.num_rows and all(_RULE.fullmatch(column[0].as_py() or "") for column in table.columns):
            table = table.slice(1)  # the line below the header of a table in Markdown
        if dialect.delimiter == "|" and table.num_rows:
            is_line = compute.match_substring_regex(table.column(0), _LINE_OF_BOX)
            for column in table.columns[1:]:
                is_line = compute.and_(is_line, compute.is_null(strip(column)))
            table = table.filter(compute.invert(is_line))
        is_header = compute.equal(table.column(0), table.column_names[0])
        if compute.any(is_header).as_py():
            for name in table.column_names[1:]:
                if not name.startswith(UNNAMED):
                    is_header = compute.and_(
                        is_header, compute.equal(compute.utf8_trim_whitespace(table[name]), name)
                    )
            if count := compute.sum(is_header).as_py():
                table = table.filter(compute.invert(is_header))
                notes.append(
                    f"the header is repeated in {count:,} {'row' if count == 1 else 'rows'}: left out"
                )
    if len(table.column_names) > 1 and table.num_rows:
        is_empty = compute.is_null(strip(table.column(0)))
        for column in table.columns[1:]:
            if not compute.any(is_empty).as_py():
                return table, notes
            is_empty = compute.and_(is_empty, compute.is_null(strip(column)))
        if count := compute.sum(is_empty).as_py():
            table = table.filter(compute.invert(is_empty))
            notes.append(f"{count:,} {'row is' if count == 1 else 'rows are'} empty: left out")
    assert isinstance(table, pyarrow.Table)
    return table, notes


def _without_unnamed(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table without empty columns that have no name, as delimiters at the end of each row make them."""
    empty = [name for name in frame if str(name).startswith(UNNAMED) and frame[name].isna().all()]
    return frame.drop(columns=empty) if empty else frame


@contextmanager
def _pandas_errors(path: Path) -> Iterator[None]:
    """Raise BadDataError for whatever pandas cannot read."""
    import pandas as pd

    try:
        with warnings.catch_warnings():
            # pandas drops cells of columns without a name
            warnings.simplefilter("error", pd.errors.ParserWarning)
            yield
    except pd.errors.ParserWarning as exc:
        raise BadDataError(
            f"{path}: the rows have more cells than the header", "give every column a name in the first row"
        ) from exc
    except UnicodeDecodeError as exc:
        raise BadDataError(f"{path} is not the text that it seems to be", "save it as UTF-8") from exc
    except (ValueError, OSError, EOFError) as exc:  # pandas.errors.ParserError is a ValueError
        reason = one_line(exc)
        raise BadDataError(f"{path} is not a complete table: {reason}", "correct that line") from exc
