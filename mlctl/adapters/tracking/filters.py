"""Our conditions in the words of MLflow's search, which knows no numbers in parameters and no `or`."""

from __future__ import annotations

import math

from mlctl.domain.run_queries import Condition, Field


def as_filter(condition: Condition) -> str:
    """Return the condition in MLflow's search, matching at least what it matches; "" where it cannot."""
    kind, name, value = condition.field.kind, condition.field.name, condition.value
    operator = condition.operator
    if "`" in name or (isinstance(value, str) and (set(value) & set("'`\"\\") or not value.isascii())):
        return (
            ""  # quoting differs from database to database, and so does what else than ASCII is in lower case
        )
    if kind == "metric":
        if isinstance(value, str) or not math.isfinite(value):
            return ""
        return f"{named(condition.field)} {operator} {value!r}" if "e" not in repr(value) else ""
    if kind in {"param", "tag"}:
        return _text_filter(named(condition.field), operator, value)
    if name == "started" and isinstance(value, float):
        bounds = {
            ">": (">=", math.floor),
            ">=": (">=", math.floor),
            "<": ("<=", math.ceil),
            "<=": ("<=", math.ceil),
        }
        sign, rounded = bounds.get(operator, ("", math.floor))  # the store keeps whole milliseconds
        return f"attributes.start_time {sign} {rounded(value * 1000)}" if sign else ""
    if name == "status" and operator == "=":
        said = str(value).upper()  # a LOST run is one that the store still has for running
        return f"attributes.status = '{'RUNNING' if said == 'LOST' else said}'"
    if name in {"run_name", "run_id"}:
        return _text_filter(named(condition.field), operator, value)
    if name == "recipe":
        return _text_filter("tags.`mlctl.recipe`", operator, value)
    return ""


def _text_filter(name: str, operator: str, value: float | str) -> str:
    if operator == "contains":
        return f"{name} ILIKE '%{value}%'"
    if isinstance(value, float):
        # "10", "10.0" and "1e1" are one number: what they share is its first digit that counts
        digits = [digit for digit in repr(abs(value)) if digit in "123456789"][:1]
        return f"{name} LIKE '%{digits[0]}%'" if operator == "=" and value and digits else ""
    return f"{name} ILIKE '{value}'" if operator in {"=", "like"} else ""


def named(field: Field) -> str:
    """Return a field as MLflow's search writes it."""
    if field.kind == "attribute":
        column = {"started": "start_time", "run_name": "run_name", "status": "status", "run_id": "run_id"}
        return f"attributes.{column[field.name]}"
    return f"{field.kind}s.`{field.name}`"
