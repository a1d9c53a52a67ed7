"""Which models can be converted, read from their MLmodel file without importing any library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mlctl.serving.saved_model import read_saved_model

FAMILIES = {
    "mlflow.keras": "keras",
    "mlflow.tensorflow": "keras",
    "mlflow.sklearn": "sklearn",
    "mlflow.lightgbm": "lightgbm",
}


@dataclass(frozen=True)
class Family:
    """The library of a model, and the method that answers."""

    name: str
    predict_fn: str


def find_family(folder: Path) -> Family | str:
    """Return the family of a model, or the reason why it is not converted."""
    document = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))
    flavor: Mapping[str, Any] = (document.get("flavors") or {}).get("python_function") or {}
    loader = flavor.get("loader_module") or "this kind"
    if loader not in FAMILIES:
        return f"models of {loader} are not converted"
    signature = read_saved_model(folder).signature
    if signature.params:
        return "its signature takes params"
    if not signature.is_known:
        return "it has no simple signature"
    return Family(FAMILIES[loader], flavor.get("predict_fn") or "predict")
