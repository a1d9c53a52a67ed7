"""Settings of Keras objects as a run's parameters show them: short, and as the script has written them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

# of every loss and schedule, and what says nothing about it
SILENT = {"name", "reduction", "dtype", "module", "registered_name", "build_config", "fn"}


def plain(value: Any) -> Any:
    """Return a value as the script has written it: 0.02 for the float32 0.0199999995, a schedule with its settings."""
    if isinstance(value, (bool, int, str)) or value is None:
        return value
    if isinstance(value, (float, np.floating)):
        return shortest(float(value))
    if isinstance(value, Mapping):
        if "class_name" in value:
            return _described(str(value["class_name"]), value.get("config") or {})
        return ", ".join(f"{name}: {plain(part)}" for name, part in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(str(plain(part)) for part in value)
    if getattr(value, "shape", None) == ():
        return shortest(float(np.asarray(value)))
    return name_of(value)


def name_of(value: Any) -> str:
    """Return the name of a loss, metric, schedule or function, with the settings that are not the default; of several all."""
    if value is None or isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        if "class_name" in value:
            return str(plain(value))
        return ", ".join(f"{name}: {name_of(part)}" for name, part in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(name_of, value))
    if isinstance(value, type):
        return value.__name__
    name = getattr(value, "name", None) or getattr(value, "__name__", None) or type(value).__name__
    config = _config(value)
    changed = {
        key: part for key, part in config.items() if key in _defaults(type(value)) and key not in SILENT
    }
    changed = {key: part for key, part in changed.items() if part != _defaults(type(value))[key]}
    return _described(str(name), changed)


def _described(name: str, config: Mapping[str, Any]) -> str:
    settings = ", ".join(
        f"{key}={plain(part)}" for key, part in config.items() if key not in SILENT and part is not None
    )
    return f"{name}({settings})" if settings else name


def _config(value: Any) -> Mapping[str, Any]:
    try:
        config = value.get_config()
    except Exception:  # the user's own objects may have none
        return {}
    return config if isinstance(config, Mapping) else {}


def _defaults(cls: type) -> dict[str, Any]:
    try:
        parameters = inspect.signature(cls).parameters.values()
    except (TypeError, ValueError):
        return {}
    return {part.name: part.default for part in parameters if part.default is not part.empty}


def shortest(value: float) -> float:
    """Return a float32 value with as few digits as tell it from other float32 values."""
    with np.errstate(over="ignore"):
        single = np.float32(value)
    return float(str(single)) if float(single) == value else value
