"""What the values of a column look like: codes, an id, yes and no, sentences, or categories."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from mlctl.data.tables.column_types import CATEGORY, DROP, TEXT
from mlctl.data.tables.number_columns import WrittenColumn
from mlctl.data.unspaced_scripts import share_unspaced
from mlctl.serving.scoring import FALSE_WORDS, TRUE_WORDS

MIN_ROWS_OF_ID = 20
MIN_COUNTED, LATEST_START = (
    0.9,
    10.0,
)  # share of the steps of 1 in a row counter with gaps, and its first number
MIN_CODES = 0.01  # share of whole numbers that begin with a zero, from which on a column holds codes
ID_REASON = "an id: each row has its own"
COUNTER_REASON = "a row counter"
_ID_NAME = re.compile(
    r"(^|[_\s.-])(id|ids|uuid|guid|key|index|idx|rownames?|row_?(number|num|no|id)?|nr|s\.? ?no|sr\.? ?no|serial"
    r"|record_?(no|id)?)\.?$|^unnamed: \d+$|^(#|№|no\.?|lfd\.? ?nr\.?)$",
    re.IGNORECASE,
)
_YEAR_NAME = re.compile(r"(^|[_\s.-])(year|yr|jahr|année|annee|ano|año|anno|год|年|年份)$", re.IGNORECASE)
_ID_SUFFIX = re.compile(r"[a-z](Id|ID|Key)$")
_LEADING_ZERO = re.compile(r"0[0-9]+")


Array = np.ndarray[Any, Any]


def are_codes(written: WrittenColumn) -> bool:
    """Whether whole numbers are codes, such as post codes: some begin with a zero."""
    with_zero = sum(
        int(count)
        for cell, count in zip(written.cells, written.counts, strict=True)
        if cell[0] == "0" and _LEADING_ZERO.fullmatch(cell)
    )
    return with_zero >= max(1, MIN_CODES * int(written.counts.sum()))


def numeric_id_reason(name: str, filled: Array) -> str:
    """Return why a column of numbers is an id, or ""."""
    if len(filled) < MIN_ROWS_OF_ID or filled[0] == filled[1]:
        return ""
    steps = np.diff(filled)
    if filled[0] % 1 == 0 and (steps == 1).all():
        return "" if _YEAR_NAME.search(name) else COUNTER_REASON  # a year for each row
    # rows without a target, and damaged ones, are left out before this
    has_gaps = (steps % 1 == 0).all() and steps.min() >= 1 and (steps == 1).mean() >= MIN_COUNTED
    if has_gaps and filled[0] % 1 == 0 and filled[0] <= LATEST_START:
        return COUNTER_REASON
    if not (_ID_NAME.search(name) or _ID_SUFFIX.search(name)):
        return ""
    if (filled % 1 != 0).any() or len(np.unique(filled)) < len(filled):
        return ""
    return ID_REASON


def truth_words(words: Sequence[str]) -> tuple[list[str], list[str]] | None:
    """Return the words of true and of false, in lower case; None if a column has others, or only numbers."""
    distinct = {word.lower() for word in words}
    if len(distinct) > 8 or not distinct <= TRUE_WORDS | FALSE_WORDS or distinct <= {"0", "1"}:
        return None
    true_words, false_words = split_truths(words)
    return (true_words, false_words) if true_words and false_words else None


def split_truths(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the words of true and of false, in lower case."""
    distinct = sorted({word.lower() for word in words})
    return [word for word in distinct if word in TRUE_WORDS], [
        word for word in distinct if word in FALSE_WORDS
    ]


def type_of_words(words: Sequence[str], *, filled: int) -> str:
    """Return the type of a column of texts, from its different words and the number of cells that have one.

    A column of ids is dropped.
    """
    distinct_share = len(words) / max(1, filled)
    probes = words[:: max(1, len(words) // 1000)]
    words_per_cell = sum(len(word.split()) for word in probes) / len(probes)
    has_sentences = words_per_cell >= 2.5 or _are_unspaced(probes)
    if has_sentences and distinct_share > 0.3 and len(words) > 30:
        return TEXT
    return CATEGORY if distinct_share <= 0.95 or filled < MIN_ROWS_OF_ID else DROP


def _are_unspaced(probes: Sequence[str]) -> bool:
    """Whether cells are sentences of a script without blanks between words, such as Chinese."""
    return share_unspaced(probes) > 0.3 and sum(map(len, probes)) >= 8 * len(probes)
