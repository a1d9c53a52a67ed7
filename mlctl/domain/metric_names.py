"""Names of metrics that a tracking store takes, since Keras allows any text; and the step of single values."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

MAX_LENGTH = 250
RESULTS_STEP = 0  # of what a model reached; epochs count from 1
REFUSED = re.compile(r"[^/\w.\- :]")

SYSTEM_PREFIX = "system/"  # of what a run uses of its machine, as MLflow names it

Value = TypeVar("Value")


def recordable_name(name: str) -> str:
    """Return a metric's name as MLflow takes it: `top@2` becomes `top_2`; most names stay as they are."""
    if not REFUSED.search(name) and posixpath.normpath(name) == name and name[0] not in "./":
        return name[:MAX_LENGTH]
    parts = [part for part in REFUSED.sub("_", name).split("/") if part.strip(".")]
    return ("/".join(parts) or "metric")[:MAX_LENGTH]


def recordable_names(names: Iterable[str]) -> dict[str, str]:
    """Return the recordable name of each metric. If two would be the same, the changed one gets a number."""
    names = list(names)
    taken = {name for name in names if recordable_name(name) == name}
    result = {}
    for name in names:
        new = name if name in taken else _free_name(recordable_name(name), taken)
        taken.add(new)
        result[name] = new
    return result


def with_recordable_names(metrics: Mapping[str, Value]) -> dict[str, Value]:
    """Return metrics under names that MLflow takes."""
    return {new: metrics[name] for name, new in recordable_names(metrics).items()}


def describe_changes(names: Iterable[str]) -> str:
    """Return what a user must know about names that are written in another way; "" if all stay as they are."""
    changed = {
        name.removeprefix("val_"): new.removeprefix("val_")
        for name, new in recordable_names(names).items()
        if name != new
    }
    if not changed:
        return ""
    texts = ", ".join(f"{name} as {new}" for name, new in changed.items())
    return f"MLflow refuses some characters in names of metrics: {texts} in the run"


def system_metrics_of(metrics: Mapping[str, Value]) -> Mapping[str, Value]:
    """Return the metrics that tell what a run uses of its machine."""
    return {name: value for name, value in metrics.items() if name.startswith(SYSTEM_PREFIX)}


def without_system_metrics(metrics: Mapping[str, Value]) -> Mapping[str, Value]:
    """Return the metrics that tell how a run trains, and how good it is."""
    if not any(name.startswith(SYSTEM_PREFIX) for name in metrics):
        return metrics
    return {name: value for name, value in metrics.items() if not name.startswith(SYSTEM_PREFIX)}


def _free_name(name: str, taken: set[str]) -> str:
    number, free = 2, name
    while free in taken:
        free = f"{name[: MAX_LENGTH - 8]}_{number}"
        number += 1
    return free
