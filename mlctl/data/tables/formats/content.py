"""What a file of any format holds: a table, and what was done to read it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How to read a table.

    Attributes:
        header: Whether the first row names the columns; None detects it.
        known_names: Possible column names; a first row with one of them is the header.
        sheet: Name or number (from 1) of a spreadsheet's sheet; "" takes the first one with rows.
        rows: Number of first rows that are enough; None for all.
    """

    header: bool | None = None
    known_names: Collection[str] = field(default=())
    sheet: str = ""
    rows: int | None = None


@dataclass(frozen=True, kw_only=True)
class TableContent:
    """A table as its file holds it.

    Attributes:
        frame: The rows. A column has the type that the format gives it (numbers, true and false, times), or texts
            as they are written, without spaces around them, NaN for empty cells.
        description: The format, in words.
        notes: One line for each thing that was done: lines that are left out, the encoding's errors, the sheet.
    """

    frame: pd.DataFrame
    description: str
    notes: tuple[str, ...] = ()

    @cached_property
    def sha256(self) -> str:
        """A digest of the names and cells: the same for the same table in any format."""
        digest = hashlib.sha256()
        for name in self.frame:
            column = self.frame[name]
            digest.update(f"{name}\0".encode())
            if column.dtype.kind in "iufb":
                digest.update(np.ascontiguousarray(column.to_numpy(np.float64)).tobytes())
                continue
            texts = column.astype(object).map(str, na_action="ignore")
            digest.update("\0".join(texts.where(texts.notna(), "")).encode(errors="surrogatepass"))
        return digest.hexdigest()


Reader = Callable[[Path, ReadOptions], TableContent]
