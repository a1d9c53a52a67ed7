"""Write mlctl's conditions as filters of MLflow's search, which has no numeric parameters and no `or`."""

from __future__ import annotations

import math

from mlctl.domain.run_queries import Condition, RunField

QUOTING_DIFFERS = set("'`\"\\")  # between databases
BOUNDS = {">": (">=", math.floor), ">=": (">=", math.floor), "<": ("<=", math.ceil), "<=": ("<=", math.ceil)}
ATTRIBUTE_COLUMNS = {
    "started": "start_time",
    "run_name": "run_name",
    "status": "status",
    "run_id": "run_id",
}


def to_mlflow_filter(condition: Condition) -> str:
    """Return a filter that matches at least the runs that the condition matches; "" if MLflow has none."""
    kind, name, value = condition.field.kind, condition.field.name, condition.value
    operator = condition.operator
    if "`" in name or (isinstance(value, str) and (set(value) & QUOTING_DIFFERS or not value.isascii())):
        return ""  # databases also differ in how they lower-case characters beyond ASCII
    if kind == "metric":
        if isinstance(value, str) or not math.isfinite(value):
            return ""
        return f"{mlflow_field(condition.field)} {operator} {value!r}" if "e" not in repr(value) else ""
    if kind in {"param", "tag"}:
        return _text_filter(mlflow_field(condition.field), operator, value)
    if name == "started" and isinstance(value, float):
        sign, rounded = BOUNDS.get(operator, ("", math.floor))  # the store has whole milliseconds
        return f"attributes.start_time {sign} {rounded(value * 1000)}" if sign else ""
    if name == "status" and operator == "=":
        status = str(value).upper()
        if status == "STOPPED":  # in the store, a stopped trial is FINISHED or KILLED; a LOST run is RUNNING
            return ""
        return f"attributes.status = '{'RUNNING' if status == 'LOST' else status}'"
    if not str(value).strip("%"):
        return ""  # it matches a run without a name or recipe, too
    if name in {"run_name", "run_id"}:
        return _text_filter(mlflow_field(condition.field), operator, value)
    if name == "recipe":
        return _text_filter("tags.`mlctl.recipe`", operator, value)
    return ""


def mlflow_field(field: RunField) -> str:
    """Return the name of a field in MLflow's search."""
    if field.kind == "attribute":
        return f"attributes.{ATTRIBUTE_COLUMNS[field.name]}"
    return f"{field.kind}s.`{field.name}`"


def _text_filter(field: str, operator: str, value: float | str) -> str:
    if operator == "contains":
        return f"{field} ILIKE '%{value}%'"
    if isinstance(value, float):
        # "10", "10.0" and "1e1" are the same number: all of them contain its first significant digit
        digits = [digit for digit in repr(abs(value)) if digit in "123456789"][:1]
        return f"{field} LIKE '%{digits[0]}%'" if operator == "=" and value and digits else ""
    return f"{field} ILIKE '{value}'" if operator in {"=", "like"} else ""
