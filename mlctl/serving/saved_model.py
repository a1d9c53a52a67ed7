"""What the MLmodel file of a saved model says about it, read without loading the model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from mlctl.domain.outputs import Outputs, outputs_of
from mlctl.serving.payloads.signature import ModelSignature, read_signature

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, kw_only=True)
class SavedModelInfo:
    """Description of a saved model.

    Attributes:
        by_mlctl: mlctl saved the model, so that its own scoring.py answers requests.
        is_keras: It is a Keras or TensorFlow model.
        signature: The input that the model takes.
        task: Such as "multiclass" or "regression"; "" if it is unknown.
        classes: Names of the classes, in the order of the model's outputs.
        unit: Unit of a regression's answers.
        outputs: What each output means; () for a model of another program.
        recipe: Name of the recipe that trained it.
        runtime: What answers requests: "onnxruntime", "keras", or "mlflow" for other models.
        run_id: The run that logged the model, or "".
        created: When it was saved, in ISO 8601, or "".
    """

    by_mlctl: bool
    is_keras: bool
    signature: ModelSignature
    task: str
    classes: tuple[str, ...]
    unit: str
    outputs: Outputs
    recipe: str
    runtime: str
    run_id: str
    created: str


def read_saved_model(folder: Path) -> SavedModelInfo:
    """Return the description of the model that is saved in a folder."""
    mlmodel = yaml.load((folder / "MLmodel").read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - safe
    own: Mapping[str, Any] = (mlmodel.get("metadata") or {}).get("mlctl") or {}
    return SavedModelInfo(
        is_keras=not {"keras", "tensorflow"}.isdisjoint(mlmodel.get("flavors") or ()),
        by_mlctl=bool(own) and (folder / "scoring.py").is_file(),
        signature=read_signature(mlmodel.get("signature")),
        task=own.get("task", ""),
        classes=tuple(own.get("classes") or ()),
        unit=own.get("unit", ""),
        outputs=outputs_of(own) if own else (),
        recipe=own.get("recipe", ""),
        runtime=own.get("runtime", "mlflow"),
        run_id=mlmodel.get("run_id") or "",
        created=_to_iso(mlmodel.get("utc_time_created")),
    )


def read_choices(folder: Path) -> dict[str, list[str]]:
    """Return the categories of each column that has them, as the model's encoder knows them."""
    try:
        state = json.loads((folder / "artifacts" / "model" / "encoder.json").read_text(encoding="utf-8"))
        encoder = state["encoder"] or {}
        choices = {
            step["of"]: step["known"] for step in encoder.get("steps", ()) if step.get("make") == "category"
        }
        columns = encoder.get("columns", {}).items()
        choices |= {name: column["vocabulary"] for name, column in columns if column.get("vocabulary")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # of another program
        return {}
    return {
        str(name): list(known)
        for name, known in choices.items()
        if all(isinstance(value, str) for value in known)
    }


def _to_iso(moment: Any) -> str:
    """Return the time of an MLmodel file, which is in UTC without saying so."""
    try:
        return datetime.fromisoformat(str(moment)).replace(tzinfo=UTC).isoformat(timespec="seconds")
    except ValueError:
        return ""
