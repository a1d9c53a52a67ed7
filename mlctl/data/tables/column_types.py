"""The types of a table's columns: number, category, boolean, date, text, or dropped."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlctl.domain.numbers import DECORATED, parse_number
from mlctl.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

NUMBER, CATEGORY, BOOLEAN, DATE, TEXT, DROP = "number", "category", "boolean", "date", "text", "drop"
TYPES = (NUMBER, CATEGORY, BOOLEAN, DATE, TEXT, DROP)
TRUE_WORDS, FALSE_WORDS = {"true", "yes", "y", "t", "on"}, {"false", "no", "n", "f", "off"}
DATE_FORMATS = (
    "ISO8601", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y %H:%M", "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M",
    "%d.%m.%Y %H:%M:%S", "%d/%m/%Y %H:%M:%S", "%m/%d/%Y %H:%M:%S", "%d-%m-%Y", "%m-%d-%Y", "%d %b %Y",
    "%d-%b-%Y", "%b %d, %Y", "%Y/%m/%d", "%Y%m%d", "%d.%m.%y", "%d/%m/%y", "%m/%d/%y", "%m/%d/%Y %I:%M %p",
    "%m/%d/%Y %I:%M:%S %p", "%d/%m/%Y %I:%M %p",
)  # fmt: skip
MIN_SHARE = 0.97  # of the filled cells must have a type for mlctl to choose it; the others count as missing
MIN_SHARE_OF_SET_TYPE = 0.5  # is enough if the user sets the type, or if no other type is of use
MIN_ROWS_OF_ID = 20
ID_REASON = "an id: each row has its own"
_ID_NAME = re.compile(r"(^|[_\s.-])(id|uuid|guid|key|index|rownames?|nr)$|^unnamed: 0$", re.IGNORECASE)
_ID_SUFFIX = re.compile(r"[a-z](Id|ID|Key)$")


@dataclass(frozen=True, kw_only=True)
class TableColumn:
    """A column's type.

    Attributes:
        reason: Why it is dropped, else "".
        missing: Number of cells without a value of this type.
        format: Format of a date column, else "".
    """

    name: str
    type: str
    reason: str = ""
    missing: int = 0
    format: str = ""


def convert_columns(frame: pd.DataFrame, types: Mapping[str, str]) -> tuple[pd.DataFrame, list[TableColumn]]:
    """Detect the type of each column and return the columns to use, as a client sends them.

    `types` holds the types that the user sets. Numbers become float64 with NaN, booleans stay bool, all else
    becomes str with None.

    Raises UsageError for a name in `types` that is not a column, for an unknown type, and for a type that most
    cells of the column do not have.
    """
    import pandas as pd

    for name, type in types.items():
        if name not in frame:
            raise UsageError(
                f"column.{name}: the table has no such column", suggest_column(name, frame.columns)
            )
        if type not in TYPES:
            raise UsageError(f"column.{name}={type}: unknown column type", f"use one of {', '.join(TYPES)}")
    converted, columns = {}, []
    for name in map(str, frame):
        values, column = _convert_column(name, frame[name], types.get(name))
        columns.append(column)
        if column.type != DROP:
            converted[name] = values
    return pd.DataFrame(converted, index=frame.index), columns


def suggest_column(name: str, columns: Iterable[Any]) -> str:
    """Return a hint for a name that is not a column."""
    names = [str(column) for column in columns]
    return did_you_mean(name, names) or f"the columns are {', '.join(names[:20])}"


def _convert_column(name: str, values: pd.Series[Any], set_type: str | None) -> tuple[Any, TableColumn]:
    booleans = _as_booleans(values) if set_type in (None, BOOLEAN, CATEGORY) else None
    values = normalize_cells(values)
    filled = values.dropna()
    missing = len(values) - len(filled)
    if set_type == DROP:
        return values, TableColumn(name=name, type=DROP, reason="as set", missing=missing)
    if set_type is None and filled.nunique() <= 1:
        reason = "always empty" if filled.empty else "always the same"
        return values, TableColumn(name=name, type=DROP, reason=reason, missing=missing)
    if booleans is not None:
        return booleans, TableColumn(name=name, type=BOOLEAN, missing=missing)
    if set_type is not None:
        return _convert_to(set_type, name, values)
    if values.dtype.kind == "f":
        type = DROP if _is_numeric_id(name, filled) else NUMBER
    elif date_format := detect_date_format(filled):
        return _date_column(name, values, date_format)
    else:
        type = _type_of_words(filled)
    if type == NUMBER:
        return _number_column(name, values)
    if type == DATE:
        return _date_column(name, values, detect_date_format(filled, MIN_SHARE_OF_SET_TYPE))
    return values, TableColumn(
        name=name, type=type, reason=ID_REASON if type == DROP else "", missing=missing
    )


def _convert_to(set_type: str, name: str, values: pd.Series[Any]) -> tuple[Any, TableColumn]:
    """Convert a column to the type that the user sets; raises UsageError if most cells do not have it."""
    is_number = values.dtype.kind == "f"
    if set_type == TEXT and is_number:
        raise UsageError(
            f"column.{name}={TEXT}: the column holds numbers",
            f"to keep them as words, set column.{name}={CATEGORY}",
        )
    if set_type == BOOLEAN and is_number:
        booleans = values.map({0.0: False, 1.0: True})
        _require_type(set_type, name, values, booleans.notna())
        booleans = booleans.astype(object).where(booleans.notna(), None)
        return booleans, TableColumn(name=name, type=BOOLEAN, missing=int(booleans.isna().sum()))
    if set_type == NUMBER:
        _require_type(set_type, name, values, parse_numbers(values).notna())
        return _number_column(name, values)
    if set_type == DATE:
        if is_number:
            values = (
                values.map("{:.0f}".format, na_action="ignore").astype(object).where(values.notna(), None)
            )
        date_format = detect_date_format(values.dropna(), MIN_SHARE_OF_SET_TYPE)
        _require_type(set_type, name, values, _are_dates(values, date_format))
        return _date_column(name, values, date_format)
    if set_type == BOOLEAN:
        _require_type(set_type, name, values, values.str.lower().isin(TRUE_WORDS | FALSE_WORDS))
    return values, TableColumn(name=name, type=set_type, missing=int(values.isna().sum()))


def _require_type(set_type: str, name: str, values: pd.Series[Any], is_valid: pd.Series[Any]) -> None:
    """Raise UsageError if most of a column's filled cells do not have the type that the user sets."""
    wrong = values[values.notna() & ~is_valid.to_numpy()]
    if len(wrong) > MIN_SHARE_OF_SET_TYPE * values.notna().sum():
        raise UsageError(
            f"column.{name}={set_type}: row {wrong.index[0] + 1} holds {str(wrong.iloc[0])[:40]!r}",
            f"set another type ({', '.join(TYPES)}), or leave the option out",
        )


def _number_column(name: str, values: pd.Series[Any]) -> tuple[Any, TableColumn]:
    numbers = parse_numbers(values)
    return numbers, TableColumn(name=name, type=NUMBER, missing=int(numbers.isna().sum()))


def _date_column(name: str, values: pd.Series[Any], date_format: str) -> tuple[Any, TableColumn]:
    """Return a column of dates in one format; a cell in another format counts as missing."""
    is_date = _are_dates(values, date_format)
    column = TableColumn(name=name, type=DATE, missing=int((~is_date).sum()), format=date_format)
    return values.where(is_date, None), column


def _are_dates(values: pd.Series[Any], date_format: str) -> pd.Series[Any]:
    return parse_dates(values, date_format).notna() if date_format else values.isna() & False


def _as_booleans(values: pd.Series[Any]) -> pd.Series[Any] | None:
    """Return a column of true and false as bool, with None for missing cells; None for any other column."""
    import pandas as pd

    if pd.api.types.infer_dtype(values, skipna=True) != "boolean":
        return None
    if not values.isna().any():
        return values.astype(bool)
    return values.map(bool, na_action="ignore").astype(object).where(values.notna(), None)


def cast_to_signature(values: pd.Series[Any], mlflow_type: str, *, required: bool) -> pd.Series[Any]:
    """Convert a file's column to the type that it has in a model's signature, as a client would send it.

    The conversion is that of `convert_columns`: cells are stripped, and numbers lose a currency or percent sign. In a
    column of numbers, a word becomes a missing value if the signature allows one; if the column is `required`, the
    word stays, so that the check of the input can report its row.
    """
    if mlflow_type == "boolean":
        booleans = _as_booleans(values)
        if booleans is None and normalize_cells(values).isin([0.0, 1.0]).eq(values.notna()).all():
            booleans = values.map(bool, na_action="ignore").astype(object)
        return values if booleans is None else booleans
    if mlflow_type in {"long", "integer"} and getattr(values.dtype, "kind", "O") in "iu":
        return values  # as floats, large ones would lose digits
    cells = normalize_cells(values)
    if mlflow_type == "string" and cells.dtype.kind == "f":  # a batch of a text column may hold only numbers
        return cells.map("{:.15g}".format, na_action="ignore").astype(object)
    if mlflow_type not in {"double", "float", "long", "integer"}:
        return cells
    numbers = parse_numbers(cells)
    return numbers.astype(object).where(numbers.notna() | cells.isna(), cells) if required else numbers


def normalize_cells(values: pd.Series[Any]) -> pd.Series[Any]:
    """Return numbers as float64 with NaN, and all else as stripped str objects with None."""
    import pandas as pd

    if pd.api.types.is_bool_dtype(values):
        return values.map({True: "true", False: "false"}).astype(object).where(values.notna(), None)
    if pd.api.types.is_numeric_dtype(values):
        numbers = values.astype("Float64").to_numpy(np.float64, na_value=np.nan)
        return pd.Series(np.where(np.isfinite(numbers), numbers, np.nan), values.index, name=values.name)
    if pd.api.types.is_datetime64_any_dtype(values):
        return values.dt.strftime("%Y-%m-%dT%H:%M:%S").astype(object).where(values.notna(), None)
    texts = values.astype(object).map(
        lambda cell: cell if isinstance(cell, str) else str(cell), na_action="ignore"
    )
    if not texts.notna().any():  # pandas' methods for texts refuse such a column
        return pd.Series(None, values.index, dtype=object, name=values.name)
    texts = texts.str.strip()
    return texts.astype(object).where(texts.notna() & (texts != ""), None)


def parse_numbers(values: pd.Series[Any]) -> pd.Series[Any]:
    """Return cells as numbers, NaN if they are none; a currency, a percent sign and thousands commas are allowed."""
    import pandas as pd

    if values.dtype.kind == "f":
        return values
    numbers = [parse_number(cell, decorated=True) if isinstance(cell, str) else None for cell in values]
    return pd.Series(np.array(numbers, np.float64), values.index, name=values.name)


def parse_dates(values: Any, date_format: str) -> Any:
    """Return cells as datetimes, NaT if they do not have this format."""
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parsed = pd.to_datetime(pd.Series(values), format=date_format, errors="coerce", utc=True)
    return parsed.dt.tz_localize(None)


def detect_date_format(filled: pd.Series[Any], min_share: float = MIN_SHARE) -> str:
    """Return the format in which at least `min_share` of these cells are dates, or ""."""
    sample = filled.iloc[:: max(1, len(filled) // 1000)].astype(str)
    if not len(sample):
        return ""
    if sample.str.contains(r"\d").mean() < min_share or sample.str.fullmatch(r"\d{1,7}").any():
        return ""
    shares = {date_format: parse_dates(sample, date_format).notna().mean() for date_format in DATE_FORMATS}
    best = max(shares, key=lambda date_format: shares[date_format])
    return best if shares[best] >= min_share else ""


def _is_numeric_id(name: str, filled: pd.Series[Any]) -> bool:
    values = filled.to_numpy()
    if len(values) < MIN_ROWS_OF_ID or (values % 1 != 0).any() or len(np.unique(values)) < len(values):
        return False
    is_sequence = (np.diff(values) == 1).all()
    return bool(is_sequence or _ID_NAME.search(name) or _ID_SUFFIX.search(name))


def _type_of_words(filled: pd.Series[Any]) -> str:
    """Return the type of a column of strings; a column of ids is dropped."""
    looks_numeric = filled.iloc[:1000].map(lambda cell: bool(DECORATED.fullmatch(cell))).mean() >= MIN_SHARE
    if looks_numeric and parse_numbers(filled).notna().mean() >= MIN_SHARE:
        return NUMBER
    distinct = filled.str.lower().unique()
    if len(distinct) == 2 and len(TRUE_WORDS & set(distinct)) == len(FALSE_WORDS & set(distinct)) == 1:
        return BOOLEAN
    distinct_share = len(distinct) / len(filled)
    words_per_cell = filled.iloc[:1000].str.split().str.len().mean()
    if words_per_cell >= 2.5 and distinct_share > 0.3 and len(distinct) > 30:
        return TEXT
    if distinct_share <= 0.95 or len(filled) < MIN_ROWS_OF_ID:
        return CATEGORY
    if parse_numbers(filled).notna().mean() > MIN_SHARE_OF_SET_TYPE:  # more useful than an id
        return NUMBER
    return DATE if detect_date_format(filled, MIN_SHARE_OF_SET_TYPE) else DROP
