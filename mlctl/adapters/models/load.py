"""Loading logged models as any MLflow client does. TensorFlow is imported only for models that need it.

MLflow itself is imported in the functions that need it: many commands import this module and load no model.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlctl.adapters.models import light_fetch
from mlctl.adapters.models.model_files import file_kind
from mlctl.adapters.models.silence import suppress_output
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.short_texts import describe_error
from mlctl.errors import BadDataError, MlctlError

if TYPE_CHECKING:
    from mlflow.models import Model, ModelSignature


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory, with its MLmodel file. `model` has MLflow's `predict`."""

    model: Any
    mlmodel: Model
    folder: Path

    def predict(self, raw: Any) -> Any:
        """Return the predictions for raw input: an array, or a dict of arrays by output name.

        Raises BadDataError if the model refuses the input.
        """
        try:
            return predict_raw(self.model, raw)
        except Exception as exc:
            raise BadDataError(
                f"the model cannot predict this input: {describe_error(exc)}", "see its log, or use --debug"
            ) from exc

    def input_example(self) -> Any:
        """Return the input example that was logged with the model, or None."""
        with suppress_output():
            return self.mlmodel.load_input_example(str(self.folder))

    @property
    def metadata(self) -> dict[str, Any]:
        """What mlctl recorded in the model: recipe, task, classes, unit; empty for a model of another program."""
        return dict((self.mlmodel.metadata or {}).get("mlctl", {}))


@contextmanager
def open_model(store: TrackingStore, uri: str) -> Iterator[LoadedModel]:
    """Load the model at a URI; its files are deleted when the block ends.

    Raises NotFoundError and similar errors if its files are gone, BadDataError if they cannot be loaded.
    """
    import mlflow
    from mlflow.models import Model

    with tempfile.TemporaryDirectory(prefix="mlctl-model-") as temporary:
        folder = fetch_files(store, uri, Path(temporary))
        try:
            with suppress_output():
                loaded = LoadedModel(mlflow.pyfunc.load_model(str(folder)), Model.load(str(folder)), folder)
        except Exception as exc:
            raise BadDataError(
                f"the model {uri} cannot be loaded: {describe_error(exc)}",
                "log it again, or register another one",
            ) from exc
        yield loaded


def fetch_files(store: TrackingStore, uri: str, folder: Path) -> Path:
    """Return a local path with the model's files: its own folder if it is on this disk, else a copy in `folder`."""
    if (Path(uri) / "MLmodel").is_file():
        return Path(uri)
    if file_kind(Path(uri)):
        from mlctl.adapters.models.imported_file import import_file  # it imports the file's runtime

        return import_file(Path(uri), folder)
    with store.translate_errors():
        found = light_fetch.fetch(store, uri, folder)
    if found is not None:
        return found
    import mlflow

    set_default_store(store)
    try:
        with store.translate_errors(), suppress_output():
            return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(folder)))
    except MlctlError:
        raise
    except Exception as exc:  # each artifact store has its own exceptions
        raise BadDataError(
            f"the files of {uri} cannot be downloaded: {describe_error(exc)}",
            "check the run's artifact store",
        ) from exc


def download_model(store: TrackingStore, uri: str, folder: Path) -> int:
    """Copy a model's files to a folder that does not exist or is empty; return their size in bytes."""
    folder = folder.resolve()  # MLflow returns resolved paths
    folder.parent.mkdir(parents=True, exist_ok=True)
    # a temporary folder on the same disk, so that the complete model appears in one step
    with tempfile.TemporaryDirectory(prefix=".mlctl-", dir=folder.parent) as temporary:
        part = Path(temporary) / "model"
        part.mkdir()
        fetched = fetch_files(store, uri, part)
        if not fetched.is_relative_to(temporary):
            fetched = Path(shutil.copytree(fetched, part, dirs_exist_ok=True))
        if folder.exists():
            folder.rmdir()
        fetched.rename(folder)
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def set_default_store(store: TrackingStore) -> None:
    """Make this store MLflow's default, because MLflow loads models from its default store only."""
    import mlflow

    mlflow.set_tracking_uri(store.tracking_uri)
    if os.environ.get("MLFLOW_REGISTRY_URI"):  # if it is not set, MLflow uses the tracking URI, as mlctl does
        mlflow.set_registry_uri(store.tracking_uri)


def load_model(folder: Path | str) -> Any:
    """Load a saved model as any MLflow client does; the folder is not changed."""
    import mlflow

    with suppress_output():
        loaded = mlflow.pyfunc.load_model(str(folder))
    for compiled in Path(folder).rglob("__pycache__"):  # loading compiles the model's scoring.py
        shutil.rmtree(compiled, ignore_errors=True)
    return loaded


def read_example(folder: Path) -> Any:
    """Return the input example of a saved model, or None."""
    from mlflow.models import Model

    with suppress_output():
        return Model.load(str(folder)).load_input_example(str(folder))


def predict_raw(model: Any, raw: Any) -> Any:
    """Return a loaded model's predictions for raw input: an array, or a dict of arrays by output name."""
    import numpy as np

    with suppress_output():
        answers = model.predict(as_signed(model.metadata.signature, raw))
    if isinstance(answers, Mapping):
        return {name: np.asarray(part) for name, part in answers.items()}
    return np.asarray(answers)


def to_client_input(raw: Any, encoder: Any) -> Any:
    """Return raw inputs in the form that clients send: a list of texts becomes a table with one column."""
    if not isinstance(raw, list):
        return raw
    import pandas as pd

    return pd.DataFrame({encoder.column: raw})


def as_signed(signature: ModelSignature | None, raw: Any) -> Any:
    """Return raw input in the form of a model's signature: a tuple of arrays by name, texts of dtype str."""
    schema = signature.inputs if signature is not None else None
    if schema is None or not schema.is_tensor_spec():
        return raw
    from mlctl.adapters.models.signatures import client_input

    return client_input(raw, [name for name in schema.input_names() if isinstance(name, str)])
