"""How the cells of a table are read, in a file of the model's folder: `predict` and endpoints read as training did."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from mlctl.domain.column_reading import ColumnReading, readings_from_json, readings_to_json

FILE = "column_readings.json"
VERSION = 1


def write_readings(readings: Mapping[str, ColumnReading], folder: Path) -> None:
    """Write the readings of a model's columns to its folder."""
    content = json.dumps({"version": VERSION, "columns": readings_to_json(readings)}, ensure_ascii=False)
    (folder / FILE).write_text(content, encoding="utf-8")


def read_readings(folder: Path) -> dict[str, ColumnReading]:
    """Return the readings in a folder; {} if there are none that this version of mlctl can read."""
    try:
        document = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(document, dict) or document.get("version") != VERSION:
        return {}
    return readings_from_json(document["columns"])
