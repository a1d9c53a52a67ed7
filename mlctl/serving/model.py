"""The model that a worker serves.

A model that mlctl saved is answered by the scoring.py in its own folder, so that every version runs its own code,
and without MLflow. MLflow loads every other model that has a python_function flavor.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mlctl.domain.column_reading import ColumnReading
from mlctl.machine import silent_stderr
from mlctl.serving.batching import BatchingPredictor, batch_rows, concurrency_of
from mlctl.serving.conversion.prepare import Conversion
from mlctl.serving.conversion.scorer import ConvertedScorer
from mlctl.serving.lengths import check_no_empty_row, has_uneven_rows, predict_by_length
from mlctl.serving.payloads.frames import has_integer_gaps, to_frame, to_mlflow_frame
from mlctl.serving.payloads.named_tensors import Tensors
from mlctl.serving.payloads.request_error import bad_request
from mlctl.serving.payloads.signature import ModelSignature
from mlctl.serving.payloads.tables import Columns
from mlctl.serving.readings import read_readings
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
        runtime_reason: Why MLflow answers, although the model might have been converted to ONNX; "" if it was.
    """

    def __init__(
        self, folder: Path, conversion: Conversion | None = None, *, artifacts: Path | None = None
    ) -> None:
        """Load the model in a folder.

        Args:
            folder: Folder of the model's files.
            conversion: Where the model is in ONNX, if it is another program's and was converted.
            artifacts: Folder that scoring.py reads, in place of the one in `folder`.
        """
        self.folder = folder
        self.info = read_saved_model(folder)
        self.runtime_reason = conversion.reason if conversion else ""
        self.full_scale: float | None = None
        self._takes_columns = self._takes_texts = False
        self._pads = False  # the encoder makes rows of different lengths equally long
        self._any_length = any(spec.takes_any_length for spec in self.signature.all_tensors)
        self._bad_cell: Any = ()  # exception that the model raises for an unreadable cell
        self._artifacts = artifacts or folder / "artifacts" / "model"
        self._predict = self._load_predict(conversion)

    def batch(self, setting: str, *, example: Any, workers: int) -> bool:
        """Answer the requests of several connections together, if that pays; return whether it does.

        Args:
            setting: "auto", "off" or the most rows of a batch.
            example: Checked rows of the model's example, or None.
            workers: Number of the endpoint's workers.
        """
        if self.signature.columns or not (rows := batch_rows(setting, self._predict, example)):
            return False
        self._predict = BatchingPredictor(self._predict, max_rows=rows, concurrency=concurrency_of(workers))
        return True

    @property
    def signature(self) -> ModelSignature:
        """The input that the model takes."""
        return self.info.signature

    @property
    def takes_gaps(self) -> bool:
        """Whether the model may get missing values; a Keras model cannot take any, unless its encoder fills them."""
        if self.info.by_mlctl:
            return bool(self.signature.columns) and not self._takes_texts
        return not self.info.is_keras

    @cached_property
    def example(self) -> bytes | None:
        """Body of the example request that was logged with the model, or None."""
        file = self.folder / "serving_input_example.json"
        return file.read_bytes() if file.is_file() else None

    @cached_property
    def readings(self) -> dict[str, ColumnReading]:
        """How the cells of each column are read, of a model that was trained on a user's own table."""
        return read_readings(self.folder)

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
        try:
            if self._takes_columns:
                return self._predict(self._to_arrays(columns))
            if self._takes_texts:
                return self._predict(next(iter(columns.values())))
            arrays = self._to_arrays(columns)
            if self.info.by_mlctl:
                return self._predict(to_frame(arrays, self.signature, first_row=first_row))
            frame = to_mlflow_frame(arrays, self.signature)
            if has_integer_gaps(arrays, self.signature):
                return self._unchecked.predict(frame)
            return self._predict(frame)
        except self._bad_cell as exc:
            if self._takes_columns:
                exc.row += first_row
            raise bad_request(str(exc), "every value in the training data was of this kind") from None

    def predict_with_params(self, inputs: Columns | Array | Tensors, params: Any) -> Any:
        """Return the answers of another program's model to checked input. Raises RequestError if params do not fit."""
        from mlflow.exceptions import MlflowException

        model: Any = self.by_mlflow
        if isinstance(inputs, dict) and self.signature.columns:
            data = to_mlflow_frame(inputs, self.signature)
            model = self._unchecked if has_integer_gaps(inputs, self.signature) else model
        else:
            data = _with_text_type(inputs)
        try:
            return model.predict(data, params=params)
        except MlflowException as exc:
            raise bad_request(exc.message[:300], "GET /model describes the input") from exc

    @cached_property
    def by_mlflow(self) -> Any:
        """The same model as MLflow loads it, for payloads that only MLflow's own application reads."""
        import mlflow.pyfunc

        return mlflow.pyfunc.load_model(str(self.folder))

    @cached_property
    def _unchecked(self) -> Any:
        """The same model without MLflow's check of its input, which refuses missing values among whole numbers."""
        from mlflow.models import ModelSignature

        unchecked = copy(self.by_mlflow)
        unchecked._model_meta = copy(unchecked._model_meta)
        known = unchecked._model_meta.signature
        has_params = known is not None and known.params is not None
        unchecked._model_meta.signature = ModelSignature(params=known.params) if has_params else None
        return unchecked

    def _load_predict(self, conversion: Conversion | None) -> Callable[[Any], Any]:
        if self.info.by_mlctl:
            return self._load_scorer()
        if conversion is None or conversion.folder is None:
            predict: Callable[[Any], Any] = self.by_mlflow.predict
            return predict
        self.info = replace(self.info, runtime="onnxruntime")
        self._takes_columns = True
        return ConvertedScorer(conversion.folder)

    def _load_scorer(self) -> Callable[[Any], Any]:
        spec = importlib.util.spec_from_file_location(SCORING_MODULE, self.folder / "scoring.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        own_module = sys.modules.get(SCORING_MODULE)
        sys.modules[SCORING_MODULE] = module
        try:
            spec.loader.exec_module(module)
            with silent_stderr():
                scorer: Callable[[Any], Any] = module.Scorer(str(self._artifacts))
        finally:  # a process that predicts may train a model afterwards, whose encoder is of mlctl's own module
            if own_module is not None:
                sys.modules[SCORING_MODULE] = own_module
        self._bad_cell = getattr(module, "BadCell", ())  # older models treat such a cell as a missing value
        encoder = getattr(scorer, "encoder", None)
        self.full_scale = getattr(encoder, "high", None)
        self._takes_columns = getattr(scorer, "takes_columns", False)  # older models take a DataFrame
        self._takes_texts = getattr(encoder, "kind", "") == "words"
        self._pads = getattr(encoder, "kind", "") == "tokens"
        return scorer

    def _to_arrays(self, columns: Columns) -> dict[str, Array]:
        return {
            column.name: _to_array(columns[column.name], column.kind)
            for column in self.signature.columns
            if column.name in columns  # an optional one may be absent
        }


def _to_array(values: Any, kind: str) -> Array:
    """Return a checked column as an array; numbers with missing values are float64."""
    if isinstance(values, np.ndarray):
        return values
    if kind == "string" or (kind == "boolean" and None in values):
        array = np.empty(len(values), object)
        array[:] = values
        return array
    if kind in ("double", "float"):
        return np.array(values, dtype=_DTYPES[kind])
    return np.array(values, dtype="float64" if None in values else _DTYPES[kind])


def _with_text_type(rows: Array | Tensors) -> Array | Tensors:
    """Return the rows with texts of dtype str, which MLflow's signature demands."""
    if isinstance(rows, dict):
        return {name: np.asarray(_with_text_type(array)) for name, array in rows.items()}
    return rows.astype(str) if rows.dtype == object and isinstance(rows.flat[0], str) else rows
