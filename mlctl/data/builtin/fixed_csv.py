"""Reading the CSV of a built-in recipe: the columns are known, and nothing about them is guessed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlctl.errors import BadDataError

if TYPE_CHECKING:
    import pandas as pd

DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars", ":": "colons"}


@dataclass(frozen=True)
class Column:
    """What a column must hold: numbers (or else words), and whether a cell may be empty."""

    number: bool = True
    gaps: bool = False


def read(path: Path, columns: Mapping[str, Column]) -> pd.DataFrame:
    """Return the table, its columns in the declared order: numbers as float64, words as str.

    Raises BadDataError that names file, row (1 is the first below the header) and column, what was found and
    what was expected.
    """
    import pandas as pd

    _check_header(path, columns)
    kinds = {name: "float64" if column.number else "str" for name, column in columns.items()}
    try:
        frame = pd.read_csv(
            path, dtype=kinds, keep_default_na=False, na_values=[""], encoding="utf-8-sig", index_col=False
        )
    except ValueError as exc:  # pandas's parser errors are ValueErrors, and so is a word among numbers
        raise _first_wrong(path, columns, exc) from exc
    if frame.empty:
        raise BadDataError(f"{path} has a header and no rows", "fetch the file again")
    for name, column in columns.items():
        _check_values(path, name, column, frame[name])
    return frame[list(columns)]


def _check_header(path: Path, columns: Mapping[str, Column]) -> None:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline(1 << 16).rstrip("\r\n")
    except UnicodeDecodeError as exc:
        raise BadDataError(f"{path} is not UTF-8 text: byte {exc.start}", "is it a CSV file?") from exc
    except OSError as exc:
        raise BadDataError(f"{path} cannot be read: {exc.strerror or exc}", "look at the file") from exc
    if not header:
        raise BadDataError(f"{path} is empty", f"expected a header: {','.join(columns)}")
    names = [name.strip('"') for name in header.split(",")]
    if len(names) == 1 and len(columns) > 1:
        for sign, words in DELIMITERS.items():
            if sign in header:
                raise BadDataError(
                    f"{path}: the columns seem to be divided by {words}, expected commas",
                    "a built-in recipe does not guess: write the file with commas",
                )
    missing = [name for name in columns if name not in names]
    unknown = [name[:40] for name in names if name not in columns]
    twice = sorted({name[:40] for name in names if names.count(name) > 1})
    faults = [("lacks", missing), ("has unknown", unknown), ("has twice", twice)]
    if any(found for _, found in faults):
        said = "; ".join(f"{verb} {', '.join(found[:12])}" for verb, found in faults if found)
        raise BadDataError(f"{path} {said}", f"expected the columns {', '.join(columns)}")


def _check_values(path: Path, name: str, column: Column, values: pd.Series[Any]) -> None:
    missing = values.isna().to_numpy()
    if missing.any() and not column.gaps:
        row = int(missing.argmax()) + 1
        raise BadDataError(
            f"{path}, row {row}, {name}: found nothing, expected a {'number' if column.number else 'word'}",
            "mend the row or take it out",
        )
    if column.number:
        infinite = np.isinf(values.to_numpy())
        if infinite.any():
            raise _wrong(path, int(infinite.argmax()), name, str(values.iloc[int(infinite.argmax())]))


def _first_wrong(path: Path, columns: Mapping[str, Column], exc: ValueError) -> BadDataError:
    """Read everything as words to find the cell that is no number; else give the parser's own words."""
    import pandas as pd

    try:
        frame = pd.read_csv(path, dtype="str", keep_default_na=False, encoding="utf-8-sig", index_col=False)
    except ValueError as again:
        said = str(again).strip()
        return BadDataError(f"{path} is no whole CSV file: {said}", "mend the row, or fetch the file again")
    for name, column in columns.items():
        if not column.number:
            continue
        cells = frame[name]
        wrong = (pd.to_numeric(cells, errors="coerce").isna() & (cells != "")).to_numpy()
        if wrong.any():
            return _wrong(path, int(wrong.argmax()), name, cells.iloc[int(wrong.argmax())])
    return BadDataError(f"{path} cannot be read: {exc}", "fetch the file again")


def _wrong(path: Path, index: int, name: str, found: str) -> BadDataError:
    return BadDataError(
        f"{path}, row {index + 1}, {name}: found {found[:40]!r}, expected a number",
        "mend the row or take it out",
    )
