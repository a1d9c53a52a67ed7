"""SQL for runs: which of them, and in what order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from mlctl.domain.run_queries import Condition, RunField, SortKey
from mlctl.domain.tags import RECIPE_TAG

ATTRIBUTES = {"started": "r.start_time", "run_name": "r.name", "status": "r.status", "run_id": "r.run_uuid"}
ROUNDING = {
    ">": (">=", math.floor),
    ">=": (">=", math.floor),
    "<": ("<=", math.ceil),
    "<=": ("<=", math.ceil),
}
TAG = "coalesce((SELECT t.value FROM tags t WHERE t.run_uuid = r.run_uuid AND t.key = '{}'), '')"
SHOWN = {  # as mlctl shows it: "" without a tag
    "run_name": f"coalesce(nullif(r.name, ''), {TAG.format('mlflow.runName')})",  # old versions wrote only the tag
    "recipe": TAG.format(RECIPE_TAG),
    "run_id": "r.run_uuid",
}
Part = tuple[str, list[Any]]  # SQL and its values


def where(condition: Condition) -> Part | None:
    """Return SQL that holds for at least the runs that the condition matches; None: for all runs."""
    field, operator, value = condition.field, condition.operator, condition.value
    if field.kind == "metric":
        if isinstance(value, str) or not math.isfinite(value) or operator not in {"=", "<", "<=", ">", ">="}:
            return None
        sql = f"m.key = ? AND (m.is_nan OR m.value {operator} ?)"
        return _exists("latest_metrics m", "m.run_uuid", sql), [field.name, value]
    if field.kind in {"param", "tag"}:
        text = _text("x.value", operator, value)
        if text is None:
            return None
        sql = _exists(f"{field.kind}s x", "x.run_uuid", f"x.key = ? AND {text[0]}")
        return sql, [field.name, *text[1]]
    if field.name == "started" and isinstance(value, float) and operator in ROUNDING:
        sign, rounded = ROUNDING[operator]  # the store has whole milliseconds
        return f"r.start_time {sign} ?", [rounded(value * 1000)]
    if field.name == "status" and operator == "=":
        status = str(value).upper()
        if (
            status == "STOPPED"
        ):  # in the store, a stopped trial is FINISHED or KILLED, and a LOST run is RUNNING
            return None
        return "r.status = ?", ["RUNNING" if status == "LOST" else status]
    return _text(SHOWN[field.name], operator, value) if field.name in SHOWN else None


def order_by(keys: Sequence[SortKey]) -> tuple[str, str, list[Any]]:
    """Return joins, the ORDER BY clause, and the joins' values; runs without a key come last, then newest first."""
    joins, terms, values = "", [], []
    for number, key in enumerate(keys):
        column, is_nan = _column(key.field, number)
        if key.field.kind != "attribute":
            joins += (
                f" LEFT JOIN {'latest_metrics' if key.field.kind == 'metric' else key.field.kind + 's'} s{number}"
                f" ON s{number}.run_uuid = r.run_uuid AND s{number}.key = ?"
            )
            values.append(key.field.name)
        direction = "DESC" if key.descending else "ASC"
        terms += [
            f"CASE WHEN {is_nan} THEN 1 WHEN {column} IS NULL THEN 2 ELSE 0 END",
            f"{column} {direction}",
        ]
    return joins, ", ".join([*terms, "r.start_time DESC", "r.run_uuid"]), values


def _column(field: RunField, number: int) -> tuple[str, str]:
    """Return a field's column, and the condition that it is no number."""
    if field.kind == "attribute":
        return ATTRIBUTES[field.name], "1 = 0"
    return f"s{number}.value", f"s{number}.is_nan" if field.kind == "metric" else "1 = 0"


def _exists(table: str, column: str, condition: str) -> str:
    return f"EXISTS (SELECT 1 FROM {table} WHERE {column} = r.run_uuid AND {condition})"  # noqa: S608  # names are ours


def _text(column: str, operator: str, value: float | str) -> Part | None:
    """Compare texts in lower case; of characters beyond ASCII, each database has its own idea."""
    if isinstance(value, float) or not value.isascii() or "\\" in value:
        return None
    if operator == "contains" and not set("%_") & set(value):
        return f"lower({column}) LIKE ?", [f"%{value.lower()}%"]
    if operator in {"=", "like"}:
        return f"lower({column}) {operator} ?", [value.lower()]
    return None
