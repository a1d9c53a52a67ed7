"""The model that a worker serves: ours straight from its folder, another team's through MLflow.

Ours is answered by the scoring.py that travels with it, so that every version runs its own code, without
importing MLflow. Whatever else has a python_function flavor is loaded by MLflow.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mlctl.serving.request_error import bad
from mlctl.serving.signature import Signature, read_signature
from mlctl.serving.tables import Columns

SCORING = "mlctl.serving.scoring"  # under this name scoring.py does not ask for MLflow
_KINDS = {"double": "float64", "float": "float32", "long": "int64", "integer": "int32", "boolean": "bool"}

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class About:
    """What clients are told of a model: names of its classes, its unit, what it was made by."""

    task: str
    classes: tuple[str, ...]
    unit: str
    recipe: str
    runtime: str


class Model:
    """A loaded model. `full_scale` is what a fully lit pixel is worth, where it takes pictures."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        saved = yaml.load((folder / "MLmodel").read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - safe
        self.signature: Signature = read_signature(saved.get("signature"))
        about: Mapping[str, Any] = (saved.get("metadata") or {}).get("mlctl") or {}
        self.ours = bool(about) and (folder / "scoring.py").is_file()
        self.about = About(
            about.get("task", ""), tuple(about.get("classes") or ()), about.get("unit", ""),
            about.get("recipe", ""), about.get("runtime", "mlflow"),
        )  # fmt: skip
        self.full_scale: float | None = None
        self._takes_texts = False
        self._bad_cell: Any = ()  # what it raises for a cell that it cannot read
        self._predict = self._scorer() if self.ours else self._by_mlflow()

    @cached_property
    def example(self) -> bytes | None:
        """The body of a request that the model was logged with; None where there is none."""
        file = self.folder / "serving_input_example.json"
        return file.read_bytes() if file.is_file() else None

    def predict_tensor(self, rows: Array) -> Any:
        """Answer (n, …) rows of the signature's type: what the model returns, JSON's own types."""
        return _plain(self._predict(rows))

    def predict_table(self, columns: Columns, first: int = 0) -> Any:
        """Answer checked columns; raises Refusal, which counts rows from `first`, for a cell that cannot be read."""
        if self._takes_texts:
            return _plain(self._predict(next(iter(columns.values()))))
        try:
            return _plain(self._predict(self._frame(columns, first)))
        except self._bad_cell as exc:
            raise bad(str(exc), "all of training's were such") from None

    @cached_property
    def by_mlflow(self) -> Any:
        """The same model as MLflow loads it, for what only MLflow's own application answers."""
        import mlflow.pyfunc

        return mlflow.pyfunc.load_model(str(self.folder))

    def _scorer(self) -> Callable[[Any], Any]:
        spec = importlib.util.spec_from_file_location(SCORING, self.folder / "scoring.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[SCORING] = module
        spec.loader.exec_module(module)
        scorer: Callable[[Any], Any] = module.Scorer(str(self.folder / "artifacts" / "model"))
        self._bad_cell = getattr(module, "BadCell", ())  # older models take such a cell as a gap
        encoder = getattr(scorer, "encoder", None)
        self.full_scale = getattr(encoder, "high", None)
        self._takes_texts = getattr(encoder, "kind", "") == "words"
        return scorer

    def _by_mlflow(self) -> Callable[[Any], Any]:
        predict: Callable[[Any], Any] = self.by_mlflow.predict
        return predict

    def _frame(self, columns: Columns, first: int) -> Any:
        import pandas as pd  # a model of tensors or texts does without

        data = {}
        for column in self.signature.columns:
            values = columns[column.name]
            if column.kind == "string":
                data[column.name] = pd.Series(values, dtype=object)
            elif column.kind in {"double", "float"}:
                data[column.name] = pd.Series(np.array(values, dtype=_KINDS[column.kind]))
            else:
                gaps = None in values
                data[column.name] = pd.Series(values, dtype="float64" if gaps else _KINDS[column.kind])
        frame = pd.DataFrame(data)
        return frame.set_index(pd.RangeIndex(first, first + len(frame))) if first else frame


def _plain(answers: Any) -> Any:
    """Return answers as MLflow's server writes them: lists of numbers, a frame as records."""
    if isinstance(answers, np.ndarray):
        return answers.tolist()
    if hasattr(answers, "to_dict"):
        if hasattr(answers, "columns"):
            return json.loads(answers.to_json(orient="records"))
        return answers.tolist()
    if isinstance(answers, Mapping):
        return {str(key): _plain(value) for key, value in answers.items()}
    if isinstance(answers, (list, tuple)):
        return [_plain(one) for one in answers]
    return answers.item() if isinstance(answers, np.generic) else answers


_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
