"""The cells of a column as values: numbers, stripped texts, true and false, or days."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlctl.data.tables.arrow_arrays import to_numpy
from mlctl.domain.missing_values import MISSING_WORDS
from mlctl.domain.numbers import parse_number
from mlctl.serving.scoring import DateParser

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray[Any, Any]


def normalize_cells(values: pd.Series[Any]) -> pd.Series[Any]:
    """Return numbers as float64 with NaN, and all else as stripped str objects with None for an empty cell."""
    import pandas as pd

    if pd.api.types.is_bool_dtype(values):
        return values.map({True: "true", False: "false"}).astype(object).where(values.notna(), None)
    if pd.api.types.is_numeric_dtype(values):
        if values.dtype == np.float64:
            array = values.to_numpy()
            if not np.isinf(array).any():
                return values
            return pd.Series(np.where(np.isfinite(array), array, np.nan), values.index, name=values.name)
        if isinstance(values.dtype, np.dtype):
            return values.astype(np.float64)
        numbers = values.astype("Float64").to_numpy(np.float64, na_value=np.nan)
        return pd.Series(np.where(np.isfinite(numbers), numbers, np.nan), values.index, name=values.name)
    if pd.api.types.is_datetime64_any_dtype(values):
        if isinstance(values.dtype, pd.DatetimeTZDtype):
            values = values.dt.tz_convert("UTC")
        return values.dt.strftime("%Y-%m-%dT%H:%M:%S").astype(object).where(values.notna(), None)
    if (encoded := encode_texts(values)) is not None:
        return encoded.series(values)
    cells = values.astype(object).to_numpy(object)
    texts = [_text_or_none(cell) for cell in cells.tolist()]
    array = np.empty(len(texts), object)
    array[:] = texts
    return pd.Series(array, values.index, dtype=object, name=values.name)


@dataclass(frozen=True)
class EncodedTexts:
    """Texts as places in a list of the different ones, without blanks around them.

    Attributes:
        codes: The place of each text, (n,) int; -1 for a missing or empty one.
        cells: The different texts, in the order in which they first occur.
    """

    codes: Array
    cells: list[str]

    def series(self, values: pd.Series[Any]) -> pd.Series[Any]:
        """Return the texts as objects with None, with the index and name of `values`."""
        import pandas as pd

        cells = np.empty(len(self.cells) + 1, object)
        cells[:-1] = self.cells
        return pd.Series(cells[self.codes], values.index, dtype=object, name=values.name)


def encode_texts(values: pd.Series[Any]) -> EncodedTexts | None:
    """Return a column of texts that Arrow holds; None for any other column."""
    import pandas as pd
    import pyarrow

    if not isinstance(values.dtype, pd.StringDtype) or values.dtype.storage != "pyarrow":
        return None
    array = pyarrow.array(values.array)
    encoded = (
        array.combine_chunks() if isinstance(array, pyarrow.ChunkedArray) else array
    ).dictionary_encode()
    codes = to_numpy(encoded.indices, fill=-1).astype(np.int64)
    written = encoded.dictionary.to_pylist()
    places: dict[str, int] = {}
    stripped = [text.strip() for text in written]
    new = [places.setdefault(text, len(places)) if text else -1 for text in stripped]
    if len(places) < len(written):
        codes = np.array([*new, -1])[codes]
    return EncodedTexts(codes, list(places))


def _text_or_none(cell: Any) -> str | None:
    if type(cell) is str:
        return cell.strip() or None
    if cell is None or cell != cell:
        return None
    return str(cell).strip() or None


def as_booleans(values: pd.Series[Any]) -> pd.Series[Any] | None:
    """Return a column of true and false as bool, with None for missing cells; None for any other column."""
    import pandas as pd

    if pd.api.types.is_bool_dtype(values):
        if not values.isna().any():
            return values.astype(bool)
    elif values.dtype != object or pd.api.types.infer_dtype(values, skipna=True) != "boolean":
        return None
    if not values.isna().any():
        return values.astype(bool)
    return values.map(bool, na_action="ignore").astype(object).where(values.notna(), None)


def parse_dates(values: Iterable[Any], date_format: str) -> Array:
    """Return cells as days since 2000, with fractions for the time; NaN if they do not have this format."""
    parser = DateParser(date_format)
    moments = [None if cell is None or cell != cell else parser(cell) for cell in values]
    return np.array(
        [np.nan if moment is None else moment[0] + moment[1] / 24 for moment in moments], np.float64
    )


def cast_to_signature(values: pd.Series[Any], mlflow_type: str, *, required: bool) -> pd.Series[Any]:
    """Convert a file's column to the type that it has in a model's signature, as a client would send it.

    This is for models without readings: those of earlier versions and of other recipes. Cells are stripped, and
    numbers lose a currency or percent sign. In a column of numbers, a word becomes a missing value if the signature
    allows one; if the column is `required`, the word stays, so that the check of the input can report its row.
    """
    if mlflow_type == "boolean":
        booleans = as_booleans(values)
        return _truths(normalize_cells(values)) if booleans is None else booleans
    if mlflow_type in {"long", "integer"} and getattr(values.dtype, "kind", "O") in "iu":
        return values  # as floats, large ones would lose digits
    cells = normalize_cells(values)
    if mlflow_type == "string" and cells.dtype.kind == "f":  # a batch of a text column may hold only numbers
        return cells.map("{:.15g}".format, na_action="ignore").astype(object)
    if cells.dtype.kind == "O":
        cells = cells.where(~cells.isin(MISSING_WORDS), None)
    if mlflow_type not in {"double", "float", "long", "integer"}:
        return cells
    numbers = _parse_numbers(cells)
    return numbers.astype(object).where(numbers.notna() | cells.isna(), cells) if required else numbers


def _truths(cells: pd.Series[Any]) -> pd.Series[Any]:
    """Return numbers and texts as true, false and None; a text that is none of these stays, for the check to report."""
    known = {0.0: False, 1.0: True, "true": True, "false": False, "1": True, "0": False}

    def read(cell: Any) -> Any:
        if isinstance(cell, str):
            return None if cell in MISSING_WORDS else known.get(cell.lower(), cell)
        return known.get(cell, cell)

    truths = cells.map(read, na_action="ignore").astype(object)
    return truths.where(truths.notna(), None)


def _parse_numbers(values: pd.Series[Any]) -> pd.Series[Any]:
    """Return cells as numbers, NaN if they are none; a currency, a percent sign and thousands commas are allowed."""
    import pandas as pd

    if values.dtype.kind == "f":
        return values
    numbers = [parse_number(cell, decorated=True) if isinstance(cell, str) else None for cell in values]
    return pd.Series(np.array(numbers, np.float64), values.index, name=values.name)
