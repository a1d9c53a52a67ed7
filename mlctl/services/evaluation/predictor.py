"""A predictor: a model in this process, or an endpoint. Both describe their input in the same way."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mlctl.adapters.predict.endpoint_client import EndpointClient
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.column_reading import ColumnReading, readings_from_json
from mlctl.domain.outputs import Output, Outputs, outputs_of
from mlctl.errors import BadDataError, MlctlError
from mlctl.machine import count_cores
from mlctl.services.models.fetch import fetch_model
from mlctl.serving.endpoint_spec import ServedVersion
from mlctl.serving.model import ServedModel
from mlctl.serving.payloads.answers import to_json_types
from mlctl.serving.payloads.request_error import RequestError
from mlctl.serving.payloads.signature import ColumnSpec, ModelSignature, TensorSpec
from mlctl.serving.readings import read_target_reading

Array = np.ndarray[Any, Any]
Rows = Array | dict[str, Any]  # a tensor, named tensors, or a table's columns
LARGE_BATCH, BATCH = 1 << 14, 10_000  # rows of a table for mlctl's own models, and for others
Answers = Any  # an array (n, …), or a dict of arrays by output name


@dataclass(frozen=True, kw_only=True)
class PredictorInfo:
    """What is known about a model. Most of it is empty for an endpoint of another program.

    Attributes:
        name: The model's name, or the endpoint's URL.
        version: The registered version; "" if there is none.
        task: Such as "multiclass" or "regression"; "" if it is unknown.
        classes: Names of the classes, in the order of the model's outputs.
        unit: Unit of a regression's predictions.
        recipe: Name of the recipe that trained the model.
        run_id: The run that logged the model, or "".
        outputs: What each output means; () if it is not known.
        full_scale: Value of a fully lit pixel if the model takes images.
        signature: The input that the model takes.
        readings: How the cells of each column of a table are read; {} if it is not known.
        target_reading: How the numbers of the target were read in training, if they were.
        takes_gaps: The model answers rows with missing values, also where training had none.
    """

    name: str
    version: str
    task: str = ""
    classes: tuple[str, ...] = ()
    unit: str = ""
    recipe: str = ""
    run_id: str = ""
    outputs: Outputs = ()
    full_scale: float | None = None
    signature: ModelSignature = field(default_factory=ModelSignature)
    readings: Mapping[str, ColumnReading] = field(default_factory=dict)
    target_reading: ColumnReading | None = None
    takes_gaps: bool = False

    @property
    def title(self) -> str:
        """The model's name and version, for messages."""
        return f"{self.name} {self.version}".strip()

    @property
    def takes_texts(self) -> bool:
        """Whether the input is a single column of texts, or a tensor with one text in each row."""
        columns, tensors = self.signature.columns, self.signature.all_tensors
        if tensors:
            return len(tensors) == 1 and tensors[0].dtype == "str" and tensors[0].is_scalar
        return len(columns) == 1 and columns[0].kind == "string"


class Predictor(Protocol):
    """Predicts rows.

    Attributes:
        info: What is known about the model.
        threads: Number of threads that may predict at the same time.
        batch_rows: Number of rows of a table to predict at once, if the user does not say.
    """

    info: PredictorInfo
    threads: int
    batch_rows: int

    def predict(self, rows: Rows, first_row: int = 0) -> Answers:
        """Return the predictions: an array (n, …), or a dict of arrays by output name if there are several outputs.

        Rows of different shapes are an object array of arrays.

        `first_row` is the position of the first row in its input; messages count rows from 1. Raises
        BadDataError if the model rejects the rows.
        """


@contextmanager
def open_predictor(store: TrackingStore, model: str, key_file: Path | None = None) -> Iterator[Predictor]:
    """Open a model, or the endpoint at a URL, for the duration of the block.

    `key_file` holds the API key of an endpoint. Raises what finding, loading or reaching the model raises.
    """
    if model.startswith(("http://", "https://")):
        yield _Endpoint(EndpointClient(model, key_file))
        return
    with tempfile.TemporaryDirectory(prefix="mlctl-model-") as scratch:
        yield LocalModel(fetch_model(store, model, Path(scratch)))


def count_rows(rows: Rows) -> int:
    """Return the number of rows."""
    return len(next(iter(rows.values()), [])) if isinstance(rows, dict) else len(rows)


def slice_rows(rows: Rows, start: int, stop: int) -> Rows:
    """Return the rows from `start` to before `stop`."""
    if isinstance(rows, dict):
        return {name: values[start:stop] for name, values in rows.items()}
    return rows[start:stop]


class LocalModel:
    """A model whose files are on this machine."""

    def __init__(self, served: ServedVersion) -> None:
        """Load the model. Raises BadDataError if that fails."""
        try:
            self._model = ServedModel(Path(served.folder))
        except MlctlError:
            raise
        except Exception as exc:
            raise BadDataError(
                f"the model {served.name} cannot be loaded: {type(exc).__name__}: {exc}",
                "log the model again",
            ) from exc
        metadata = self._model.info
        runs_in_threads = metadata.by_mlctl and metadata.runtime == "onnxruntime"
        self.threads = count_cores() if runs_in_threads else 1
        self.batch_rows = LARGE_BATCH if metadata.by_mlctl else BATCH
        self.info = PredictorInfo(
            name=served.name,
            version=served.version,
            task=metadata.task,
            classes=metadata.classes,
            unit=metadata.unit,
            recipe=metadata.recipe,
            run_id=metadata.run_id,
            outputs=metadata.outputs,
            full_scale=self._model.full_scale,
            signature=metadata.signature,
            readings=self._model.readings,
            target_reading=read_target_reading(Path(served.folder)),
            takes_gaps=self._model.takes_gaps and metadata.by_mlctl,
        )

    def predict(self, rows: Rows, first_row: int = 0) -> Answers:
        """Predict rows; see `Predictor`."""
        try:
            if isinstance(rows, dict) and not self.info.signature.tensors:
                return _as_arrays(self._model.predict_table(rows, first_row + 1))
            return _as_arrays(self._model.predict_tensors(rows))
        except RequestError as error:
            raise BadDataError(error.message, error.hint) from error
        except Exception as exc:
            raise BadDataError(
                f"the model fails to predict: {type(exc).__name__}: {exc}", "--debug shows the traceback"
            ) from exc


class _Endpoint:
    threads = 1
    batch_rows = 1000

    def __init__(self, client: EndpointClient) -> None:
        self._client = client
        document = client.get_metadata()
        if document is None:
            self.info = PredictorInfo(name=client.url, version="")
            return
        tensor = document["tensor"]
        self.info = PredictorInfo(
            name=document["name"],
            version=document["version"],
            task=document["task"],
            classes=tuple(document["classes"]),
            unit=document["unit"],
            recipe=document["recipe"],
            run_id=document.get("run_id", ""),
            outputs=_outputs_in(document),
            full_scale=document["full_scale"],
            readings=readings_from_json(document.get("readings") or {}),
            takes_gaps=bool(document.get("takes_gaps")) and bool(document.get("readings")),
            signature=ModelSignature(
                tensor=TensorSpec(tensor["dtype"], tuple(tensor["shape"])) if tensor else None,
                columns=tuple(ColumnSpec(**column) for column in document["columns"]),
                tensors=tuple(
                    TensorSpec(entry["dtype"], tuple(entry["shape"]), entry["name"])
                    for entry in document.get("inputs", ())
                    if entry["name"]
                ),
            ),
        )

    def predict(self, rows: Rows, first_row: int = 0) -> Answers:
        if isinstance(rows, dict) and not self.info.signature.tensors:
            data = [list(row) for row in zip(*map(_json_cells, rows.values()), strict=True)]
            payload: dict[str, Any] = {"dataframe_split": {"columns": list(rows), "data": data}}
        else:
            payload = {"inputs": to_json_types(rows)}
        try:
            answer, _ = self._client.predict(payload)
        except BadDataError as exc:
            if not first_row:
                raise
            raise BadDataError(f"in the rows from {first_row + 1} on: {exc.message}", exc.hint) from exc
        predictions = _as_arrays(answer)
        for array in predictions.values() if isinstance(predictions, dict) else [predictions]:
            if len(array) != count_rows(rows):
                raise BadDataError(
                    f"{self._client.url} answers {len(array)} rows for {count_rows(rows)}",
                    "check that this is the right endpoint",
                )
        return predictions


def _json_cells(cells: Any) -> list[Any]:
    """Return a column as JSON has it, with null for a missing value."""
    if not isinstance(cells, np.ndarray):
        return list(cells)
    values: list[Any] = cells.tolist()
    return [None if value != value else value for value in values] if cells.dtype.kind == "f" else values


def _outputs_in(document: Mapping[str, Any]) -> Outputs:
    """Return the outputs that an endpoint describes; endpoints of earlier versions describe one by its classes."""
    if "outputs" not in document:
        return outputs_of(document) if document["task"] else ()
    names = {field.name for field in fields(Output)}
    return tuple(
        Output.from_json({name: value for name, value in entry.items() if name in names})
        for entry in document["outputs"]
        if "kind" in entry
    )


def _as_arrays(answers: Any) -> Answers:
    """Return a model's answers as an array, or as a dict of arrays by output name."""
    if isinstance(answers, Mapping):
        return {str(name): _as_array(answer) for name, answer in answers.items()}
    return _as_array(answers)


def _as_array(answer: Any) -> Array:
    if isinstance(answer, np.ndarray):
        return answer
    answer = to_json_types(answer)
    if not isinstance(answer, list):
        return np.atleast_1d(np.asarray(answer))
    if all(isinstance(value, dict) and len(value) == 1 for value in answer):  # one column of a table
        answer = [next(iter(value.values())) for value in answer]
    try:
        array = np.asarray(answer)
    except ValueError:  # the rows have different shapes
        array = np.empty(len(answer), object)
        for row, value in enumerate(answer):
            array[row] = np.asarray(value)
    return array
