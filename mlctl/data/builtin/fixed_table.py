"""Reading a text table whose columns are known: every cell is checked, and an error names its row and column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlctl.data.tables import reader
from mlctl.errors import BadDataError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class FixedColumn:
    """What a column must hold: numbers, or else words; and whether a cell may be empty."""

    number: bool = True
    optional: bool = False


def read_fixed_table(path: Path, columns: Mapping[str, FixedColumn]) -> pd.DataFrame:
    """Return these columns in this order: numbers as float64, words as str.

    Raises BadDataError for missing or unknown columns, and for a cell that is not what its column must hold.
    """
    import pandas as pd

    cells = reader.read_cells(path, header=True, known_names=columns)
    if cells is None:
        raise BadDataError(f"{path} is not a text table", "use a .csv file")
    missing = [name for name in columns if name not in cells.column_names]
    unknown = [name[:40] for name in cells.column_names if name not in columns]
    problems = [("has no column", missing), ("has the unknown column", unknown)]
    if missing or unknown:
        mistakes = "; ".join(f"{problem} {', '.join(names[:12])}" for problem, names in problems if names)
        raise BadDataError(f"{path} {mistakes}", f"the columns must be {', '.join(columns)}")
    if not cells.num_rows:
        raise BadDataError(f"{path} has a header but no rows", "download the file again")
    frame = pd.DataFrame(index=pd.RangeIndex(cells.num_rows))
    for name, column in columns.items():
        values = cells[name].to_pandas().astype(object).fillna("")
        is_wrong = (values == "") & (not column.optional)
        if column.number:
            numbers = pd.to_numeric(values, errors="coerce").astype(np.float64)
            is_wrong |= (values != "") & ~np.isfinite(numbers)
        if is_wrong.any():
            row = int(is_wrong.to_numpy().argmax())
            raise BadDataError(
                f"{path}, row {row + 1}, column {name}: found {values[row][:40]!r},"
                f" expected a {'number' if column.number else 'word'}",
                "correct the row, or remove it",
            )
        frame[name] = numbers if column.number else values
    return frame
