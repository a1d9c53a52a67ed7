"""How the cells of a table are read, in a file of the model's folder: `predict` and endpoints read as training did."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlctl.domain.column_reading import ColumnReading, readings_from_json, readings_to_json

FILE = "column_readings.json"
VERSION = 1


def write_readings(
    readings: Mapping[str, ColumnReading], folder: Path, *, target: ColumnReading | None = None
) -> None:
    """Write the readings of a model's columns, and that of its target, to its folder."""
    document = {
        "version": VERSION,
        "columns": readings_to_json(readings),
        "target": None if target is None else target.to_json(),
    }
    (folder / FILE).write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")


def read_readings(folder: Path) -> dict[str, ColumnReading]:
    """Return the readings in a folder; {} if there are none that this version of mlctl can read."""
    return readings_from_json(_read(folder).get("columns") or {})


def read_target_reading(folder: Path) -> ColumnReading | None:
    """Return how the numbers of the target are read; None if it is not known."""
    state = _read(folder).get("target")
    return None if state is None else ColumnReading.from_json(state)


def _read(folder: Path) -> Mapping[str, Any]:
    try:
        document = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) and document.get("version") == VERSION else {}
