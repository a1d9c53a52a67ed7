"""Words of a text table that stand for a missing value, both in training and in an endpoint."""

from __future__ import annotations

import re

PANDAS_WORDS = frozenset({
    "", "NA", "N/A", "n/a", "<NA>", "#NA", "#N/A", "#N/A N/A", "NULL", "null", "None", "NaN", "-NaN", "nan", "-nan",
    "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN",
})  # fmt: skip
EXTRA_WORDS = ("?", "-", "missing", "Missing", "none", "NONE", "na", "Na")
# these are hardly ever a category: they count in every column
CLEAR_WORDS = (
    ".", "--", "---", "----", "..", "...", "…", "–", "—", "??", "???", ":", "#DIV/0!", "#REF!", "#VALUE!", "#NAME?",
    "#NUM!", "#NULL!", "#SPILL!", "#CALC!", "#NV", "#WERT!", "#ZAHL!", "#BEZUG!", "#N/D", "#VALEUR!", "#NOM?", "#NOMBRE!",
    "#¡DIV/0!", "#¡VALOR!", "#¡REF!", "#¡NUM!", "#¿NOMBRE?", "#VALOR!", "#NOME?", "#Н/Д", "#ЗНАЧ!", "#ДЕЛ/0!", "#ССЫЛКА!", "n.a.", "N.A.", "n.a", "k.A.", "k. A.", "NaT", "(null)", "(blank)", "\\N", "N/a",
    "0000-00-00", "0000-00-00 00:00:00", "00/00/0000", "00.00.0000",
)  # fmt: skip
MISSING_WORDS = PANDAS_WORDS | frozenset(EXTRA_WORDS) | frozenset(CLEAR_WORDS)
# among numbers, these say that there is none; as a category they may mean something
_NUMBER_WORDS = frozenset({
    "nd", "n.d.", "n.d", "n/d", "nv", "n.v.", "unknown", "unk", "undefined", "not available", "not applicable", "not known",
    "no data", "nodata", "no value", "not reported", "not recorded", "not measured", "nil", "void", "empty", "blank",
    "tbd", "tba", "tbc", "invalid", "error", "err", "err.", "fehlt", "keine angabe", "unbekannt", "leer", "inconnu",
    "nc", "n.c.", "nr", "n.r.", "n/r", "ns", "n.s.", "s/d", "s.d.", "desconocido", "нет данных", "н/д", "無", "无",
    "未知", "varies with device", "varies", "trace", "bdl", "bql", "blq", "lod", "<lod", "< lod", "bd", "x", "xx", "xxx",
    "inf", "-inf", "infinity", "-infinity", "1.#inf", "-1.#inf", "ø", "not specified", "unspecified", "not given", "refused",
    "no answer", "don't know", "dk", "k.a", "ka", "/", "//", "entf.", "entfällt", "sin dato", "sin datos", "no disponible",
    "non disponible", "sans objet", "s.o.", "não disponível", "brak", "brak danych", "нет", "suppressed", "withheld",
})  # fmt: skip
_OF_SAS = re.compile(r"\.[A-Za-z_]")
_WITH_UNIT = re.compile(
    r"(?:null|nan|n/?a|none|n\.a\.|-+|\?)\s+[^\W\d_][^\d]{0,15}", re.IGNORECASE
)  # "null bhp"


def is_number_gap(text: str) -> bool:
    """Whether a cell of a column of numbers says that there is no number."""
    if text in MISSING_WORDS or text.strip(" *†‡()[]").lower() in _NUMBER_WORDS or not text.strip(" *†‡()[]"):
        return True
    return bool(_OF_SAS.fullmatch(text) or _WITH_UNIT.fullmatch(text))
