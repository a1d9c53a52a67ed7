"""Words of a text table that stand for a missing value, both in training and in an endpoint."""

from __future__ import annotations

PANDAS_WORDS = frozenset({
    "", "NA", "N/A", "n/a", "<NA>", "#NA", "#N/A", "#N/A N/A", "NULL", "null", "None", "NaN", "-NaN", "nan", "-nan",
    "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN",
})  # fmt: skip
EXTRA_WORDS = ("?", "-", "missing", "Missing", "none", "NONE", "na", "Na")
MISSING_WORDS = PANDAS_WORDS | frozenset(EXTRA_WORDS)
