"""The words of a text table that stand for a gap, as training reads them and as an endpoint does."""

from __future__ import annotations

OF_PANDAS = frozenset({
    "", "NA", "N/A", "n/a", "<NA>", "#NA", "#N/A", "#N/A N/A", "NULL", "null", "None", "NaN", "-NaN", "nan", "-nan",
    "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN",
})  # fmt: skip
OUR_OWN = ("?", "-", "missing", "Missing", "none", "NONE", "na", "Na")
WORDS = OF_PANDAS | frozenset(OUR_OWN)
