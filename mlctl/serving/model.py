"""The model that a worker serves.

A model that mlctl saved is answered by the scoring.py in its own folder, so that every version runs its own code,
and without MLflow. MLflow loads every other model that has a python_function flavor.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mlctl.serving.lengths import check_no_empty_row, has_uneven_rows, predict_by_length
from mlctl.serving.payloads.named_tensors import Tensors
from mlctl.serving.payloads.request_error import bad_request
from mlctl.serving.payloads.signature import ModelSignature
from mlctl.serving.payloads.tables import Columns
from mlctl.serving.saved_model import read_choices, read_saved_model

SCORING_MODULE = "mlctl.serving.scoring"  # under this name, scoring.py does not import MLflow
_DTYPES = {"double": "float64", "float": "float32", "long": "int64", "integer": "int32", "boolean": "bool"}

Array = np.ndarray[Any, Any]


class ServedModel:
    """A loaded model.

    Attributes:
        folder: Folder of the model's files.
        info: Description from the MLmodel file.
        full_scale: Value of a fully lit pixel if the model takes images, else None.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.info = read_saved_model(folder)
        self.full_scale: float | None = None
        self._takes_texts = False
        self._pads = False  # the encoder makes rows of different lengths equally long
        self._any_length = any(spec.takes_any_length for spec in self.signature.all_tensors)
        self._bad_cell: Any = ()  # exception that the model raises for an unreadable cell
        self._predict = self._load_scorer() if self.info.by_mlctl else self.by_mlflow.predict

    @property
    def signature(self) -> ModelSignature:
        """The input that the model takes."""
        return self.info.signature

    @cached_property
    def example(self) -> bytes | None:
        """Body of the example request that was logged with the model, or None."""
        file = self.folder / "serving_input_example.json"
        return file.read_bytes() if file.is_file() else None

    @cached_property
    def choices(self) -> dict[str, list[str]]:
        """The categories of each column that has them."""
        return read_choices(self.folder)

    def predict_tensors(self, rows: Array | Tensors) -> Any:
        """Return the model's answers to checked rows of its tensor, or of its named tensors.

        Rows of different lengths are an object array of arrays. Raises RequestError if the model cannot take an
        empty row.
        """
        if not self.info.by_mlctl:
            rows = _with_text_type(rows)
        if self._any_length and not self._pads:
            if has_uneven_rows(rows):
                return predict_by_length(self._predict, rows)
            check_no_empty_row(rows)
        return self._predict(rows)

    def predict_table(self, columns: Columns, first_row: int = 0) -> Any:
        """Return the model's answers to checked columns.

        Raises RequestError if the model cannot read a cell; the message counts rows from `first_row`.
        """
        if self._takes_texts:
            return self._predict(next(iter(columns.values())))
        try:
            return self._predict(self._to_frame(columns, first_row))
        except self._bad_cell as exc:
            raise bad_request(str(exc), "every value in the training data was of this kind") from None

    @cached_property
    def by_mlflow(self) -> Any:
        """The same model as MLflow loads it, for payloads that only MLflow's own application reads."""
        import mlflow.pyfunc

        return mlflow.pyfunc.load_model(str(self.folder))

    def _load_scorer(self) -> Callable[[Any], Any]:
        spec = importlib.util.spec_from_file_location(SCORING_MODULE, self.folder / "scoring.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        own_module = sys.modules.get(SCORING_MODULE)
        sys.modules[SCORING_MODULE] = module
        try:
            spec.loader.exec_module(module)
            scorer: Callable[[Any], Any] = module.Scorer(str(self.folder / "artifacts" / "model"))
        finally:  # a process that predicts may train a model afterwards, whose encoder is of mlctl's own module
            if own_module is not None:
                sys.modules[SCORING_MODULE] = own_module
        self._bad_cell = getattr(module, "BadCell", ())  # older models treat such a cell as a missing value
        encoder = getattr(scorer, "encoder", None)
        self.full_scale = getattr(encoder, "high", None)
        self._takes_texts = getattr(encoder, "kind", "") == "words"
        self._pads = getattr(encoder, "kind", "") == "tokens"
        return scorer

    def _to_frame(self, columns: Columns, first_row: int) -> Any:
        import pandas as pd  # models of tensors or texts do not need it

        data = {}
        for column in self.signature.columns:
            values = columns[column.name]
            if column.kind == "string":
                data[column.name] = pd.Series(values, dtype=object)
            elif column.kind in {"double", "float"}:
                data[column.name] = pd.Series(np.array(values, dtype=_DTYPES[column.kind]))
            else:
                dtype = "float64" if None in values else _DTYPES[column.kind]
                data[column.name] = pd.Series(values, dtype=dtype)
        frame = pd.DataFrame(data)
        return frame.set_index(pd.RangeIndex(first_row, first_row + len(frame))) if first_row else frame


def _with_text_type(rows: Array | Tensors) -> Array | Tensors:
    """Return the rows with texts of dtype str, which MLflow's signature demands."""
    if isinstance(rows, dict):
        return {name: np.asarray(_with_text_type(array)) for name, array in rows.items()}
    return rows.astype(str) if rows.dtype == object and isinstance(rows.flat[0], str) else rows


def to_json_types(answers: Any) -> Any:
    """Return answers as MLflow's server writes them: lists of numbers, and a DataFrame as records."""
    if isinstance(answers, np.ndarray):
        return [to_json_types(row) for row in answers] if answers.dtype == object else answers.tolist()
    if hasattr(answers, "to_dict"):
        if hasattr(answers, "columns"):
            return json.loads(answers.to_json(orient="records"))
        return answers.tolist()
    if isinstance(answers, Mapping):
        return {str(key): to_json_types(value) for key, value in answers.items()}
    if isinstance(answers, (list, tuple)):
        return [to_json_types(value) for value in answers]
    return answers.item() if isinstance(answers, np.generic) else answers
