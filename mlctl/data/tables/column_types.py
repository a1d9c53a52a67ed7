"""What each column of an unknown table is: a number, a category, a yes or no, a date, a text, or to be dropped."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlctl.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

NUMBER, CATEGORY, BOOLEAN, DATE, TEXT, DROP = "number", "category", "boolean", "date", "text", "drop"
KINDS = (NUMBER, CATEGORY, BOOLEAN, DATE, TEXT, DROP)
PLURALS = {
    NUMBER: "numbers", CATEGORY: "categories", BOOLEAN: "yes or no", DATE: "dates", TEXT: "texts", DROP: "dropped",
}  # fmt: skip
TRUE_WORDS, FALSE_WORDS = {"true", "yes", "y", "t", "on"}, {"false", "no", "n", "f", "off"}
DATE_FORMATS = (
    "ISO8601", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y %H:%M", "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M",
    "%d.%m.%Y %H:%M:%S", "%d/%m/%Y %H:%M:%S", "%m/%d/%Y %H:%M:%S", "%d-%m-%Y", "%m-%d-%Y", "%d %b %Y",
    "%d-%b-%Y", "%b %d, %Y", "%Y/%m/%d", "%Y%m%d", "%d.%m.%y", "%d/%m/%y", "%m/%d/%y", "%m/%d/%Y %I:%M %p",
    "%m/%d/%Y %I:%M:%S %p", "%d/%m/%Y %I:%M %p",
)  # fmt: skip
NEARLY_ALL = 0.97  # of the filled cells must be of a kind: the others count as gaps
MOST = 0.5  # as many are enough where a user says the kind, or where no other kind is of use
_ID_NAME = re.compile(r"(^|[_\s.-])(id|uuid|guid|key|index|rownames?|nr)$|^unnamed: 0$", re.IGNORECASE)
_ID_TAIL = re.compile(r"[a-z](Id|ID|Key)$")
_DECORATED = re.compile(r"\s*[$€£]?\s*([-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?|[-+]?\d+(?:\.\d+)?)\s*[%$€£]?\s*")


@dataclass(frozen=True)
class Found:
    """What a column was found, or told, to be; `why` says it of one that is dropped."""

    name: str
    kind: str
    why: str = ""
    gaps: int = 0
    format: str = ""


def typed(frame: pd.DataFrame, told: Mapping[str, str]) -> tuple[pd.DataFrame, list[Found]]:
    """Find every column's kind (`told` overrides it) and return the kept ones as a client sends them.

    Numbers are float64 with NaN for gaps, true and false are bool, all else is str with None. Raises
    UsageError for a told column or kind that is not there, and for a kind that most of a column is not of.
    """
    import pandas as pd

    for name, kind in told.items():
        if name not in frame:
            raise UsageError(
                f"column.{name}: the table has no such column",
                did_you_mean(name, frame.columns) or f"it has: {', '.join(map(str, frame.columns[:20]))}",
            )
        if kind not in KINDS:
            raise UsageError(f"column.{name}={kind} is no kind of column", f"kinds are {', '.join(KINDS)}")
    kept, found = {}, []
    for name in frame:
        values, column = _one(str(name), frame[name], told.get(str(name)))
        found.append(column)
        if column.kind != DROP:
            kept[str(name)] = values
    return pd.DataFrame(kept, index=frame.index), found


def _one(name: str, values: pd.Series[Any], told: str | None) -> tuple[Any, Found]:
    truths = _truths(values) if told in (None, BOOLEAN, CATEGORY) else None
    values = plain(values)
    filled = values.dropna()
    gaps = len(values) - len(filled)
    if told == DROP:
        return values, Found(name, DROP, "as told", gaps)
    if told is None and filled.nunique() <= 1:
        return values, Found(name, DROP, "always empty" if filled.empty else "always the same", gaps)
    if truths is not None:
        return truths, Found(name, BOOLEAN, gaps=gaps)
    if told is not None:
        return _as_told(name, values, told)
    if values.dtype.kind == "f":
        if _is_number_id(name, filled):
            return values, Found(name, DROP, "an id: each row has its own", gaps)
        return values, Found(name, NUMBER, gaps=gaps)
    if date_format(filled):
        return _dated(name, values)
    kind = _kind_of_words(filled)
    if kind == NUMBER:
        return _numbered(name, values)
    if kind == DATE:
        return _dated(name, values, MOST)
    if kind == DROP:
        return values, Found(name, DROP, "an id: each row has its own", gaps)
    return values, Found(name, kind, gaps=gaps)


def _as_told(name: str, values: pd.Series[Any], told: str) -> tuple[Any, Found]:
    """Return a column as the kind that a user says it is; raises UsageError where most of it is not."""
    if told == BOOLEAN and values.dtype.kind == "f":
        truths = values.map({0.0: False, 1.0: True})
        _demand(name, told, values, truths)
        return truths.astype(object).where(truths.notna(), None), Found(
            name, told, gaps=int(truths.isna().sum())
        )
    if told == BOOLEAN:
        words = values.str.lower()
        _demand(name, told, values, words.where(words.isin(TRUE_WORDS | FALSE_WORDS)))
    elif told == NUMBER:
        return _numbered(name, values, told)
    elif told == DATE:
        texts = values.map("{:.0f}".format, na_action="ignore") if values.dtype.kind == "f" else values
        return _dated(name, texts.astype(object).where(texts.notna(), None), MOST, told)
    elif told == TEXT and values.dtype.kind == "f":
        raise UsageError(f"column.{name}={told}: it holds numbers", f"say column.{name}={CATEGORY}")
    return values, Found(name, told, gaps=int(values.isna().sum()))


def _numbered(name: str, values: pd.Series[Any], told: str = "") -> tuple[Any, Found]:
    numbers = numeric(values)
    _demand(name, told, values, numbers)
    return numbers, Found(name, NUMBER, gaps=int(numbers.isna().sum()))


def _dated(name: str, values: pd.Series[Any], share: float = NEARLY_ALL, told: str = "") -> tuple[Any, Found]:
    """Return a column of dates in one format; a cell in another counts as a gap."""
    format = date_format(values.dropna(), share)
    known = dates(values, format).notna() if format else values.isna() & False
    _demand(name, told, values, values.where(known))
    return values.where(known, None), Found(name, DATE, gaps=int((~known).sum()), format=format)


def _demand(name: str, told: str, values: pd.Series[Any], found: pd.Series[Any]) -> None:
    """Raise UsageError where most of a column's filled cells are not of the kind that was told."""
    wrong = values[values.notna() & found.isna().to_numpy()]
    if told and len(wrong) > MOST * values.notna().sum():
        raise UsageError(
            f"column.{name}={told}: it holds {str(wrong.iloc[0])[:40]!r}",
            f"say another kind ({', '.join(KINDS)}), or none",
        )


def _truths(values: pd.Series[Any]) -> pd.Series[Any] | None:
    """Return a column of true and false as bool, or with None for its gaps; None for any other column."""
    import pandas as pd

    if pd.api.types.infer_dtype(values, skipna=True) != "boolean":
        return None
    if not values.isna().any():
        return values.astype(bool)
    return values.map(bool, na_action="ignore").astype(object).where(values.notna(), None)


def as_sent(values: pd.Series[Any], kind: str, required: bool) -> pd.Series[Any]:
    """Return a file's column as a client would send it to a model whose signature has it as this MLflow type.

    Cells are taken as `typed` takes them: trimmed, numbers without their currency or percent sign. A word in
    a column of numbers is a gap where the model knows gaps in it; else it stays, to be refused by its place.
    """
    if kind == "boolean":
        truths = _truths(values)
        if truths is None and plain(values).isin([0.0, 1.0]).eq(values.notna()).all():
            truths = values.map(bool, na_action="ignore").astype(object)
        return values if truths is None else truths
    found = plain(values)
    if kind == "string" and found.dtype.kind == "f":  # a part of a column of words in which all are numbers
        return found.map("{:.15g}".format, na_action="ignore").astype(object)
    if kind not in {"double", "float", "long", "integer"}:
        return found
    numbers = numeric(found)
    return numbers.astype(object).where(numbers.notna() | found.isna(), found) if required else numbers


def plain(values: pd.Series[Any]) -> pd.Series[Any]:
    """Return numbers as float64 and all else as str objects, gaps as NaN or None."""
    import pandas as pd

    if pd.api.types.is_bool_dtype(values):
        return values.map({True: "true", False: "false"}).astype(object).where(values.notna(), None)
    if pd.api.types.is_numeric_dtype(values):
        numbers = values.astype("Float64").to_numpy(np.float64, na_value=np.nan)
        return pd.Series(np.where(np.isfinite(numbers), numbers, np.nan), values.index)
    if pd.api.types.is_datetime64_any_dtype(values):
        return values.dt.strftime("%Y-%m-%dT%H:%M:%S").astype(object).where(values.notna(), None)
    texts = values.astype(object)
    texts = texts.map(
        lambda cell: cell if isinstance(cell, str) else str(cell), na_action="ignore"
    ).str.strip()
    return texts.astype(object).where(texts.notna() & (texts != ""), None)


def numeric(values: pd.Series[Any]) -> pd.Series[Any]:
    """Return cells as numbers, also with a currency, a percent sign or thousands commas; NaN for all else."""
    import pandas as pd

    if values.dtype.kind == "f":
        return values
    undecorated = values.astype(object).map(
        lambda cell: m.group(1).replace(",", "") if (m := _DECORATED.fullmatch(cell)) else cell,
        na_action="ignore",
    )
    return pd.to_numeric(undecorated, errors="coerce").astype(np.float64)


def dates(values: Any, format: str) -> Any:
    """Return cells as datetimes by a format that `date_format` gave, NaT where they are none."""
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parsed = pd.to_datetime(pd.Series(values), format=format, errors="coerce", utc=True)
    return parsed.dt.tz_localize(None)


def date_format(filled: pd.Series[Any], share: float = NEARLY_ALL) -> str:
    """Return the format in which nearly all of these cells, or this share, are dates; "" where there is none."""
    few = filled.iloc[:: max(1, len(filled) // 1000)].astype(str)
    if not len(few) or few.str.contains(r"\d").mean() < share or few.str.fullmatch(r"\d{1,7}").any():
        return ""
    best = max(DATE_FORMATS, key=lambda format: dates(few, format).notna().mean())
    return best if dates(few, best).notna().mean() >= share else ""


def _is_number_id(name: str, filled: pd.Series[Any]) -> bool:
    values = filled.to_numpy()
    if len(values) < 20 or (values % 1 != 0).any() or len(np.unique(values)) < len(values):
        return False
    steps = np.diff(values)
    return bool((steps == 1).all() or _ID_NAME.search(name) or _ID_TAIL.search(name))


def _kind_of_words(filled: pd.Series[Any]) -> str:
    if filled.iloc[:1000].map(lambda cell: bool(_DECORATED.fullmatch(cell))).mean() >= NEARLY_ALL and (
        numeric(filled).notna().mean() >= NEARLY_ALL
    ):
        return NUMBER
    distinct = filled.str.lower().unique()
    if len(distinct) == 2 and len(TRUE_WORDS & set(distinct)) == len(FALSE_WORDS & set(distinct)) == 1:
        return BOOLEAN
    share = len(distinct) / len(filled)
    words = filled.iloc[:1000].str.split().str.len().mean()
    if words >= 2.5 and share > 0.3 and len(distinct) > 30:
        return TEXT
    if share <= 0.95 or len(filled) < 20:
        return CATEGORY
    if numeric(filled).notna().mean() > MOST:  # of an id nothing can be learned: of these something can
        return NUMBER
    return DATE if date_format(filled, MOST) else DROP
