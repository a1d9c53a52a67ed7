"""Loading a logged model as any MLflow client does, and asking it; TensorFlow comes only with what needs it."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import Model

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.errors import BadDataError, MlctlError

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Loaded:
    """A model in memory with what its MLmodel file says; `model` has MLflow's `predict`."""

    model: Any
    about: Model
    folder: Path

    def answer(self, raw: Any) -> Array:
        """Return the answers to raw input as an array; raises BadDataError where the model refuses it."""
        try:
            with quiet():
                return np.asarray(self.model.predict(raw))
        except Exception as exc:
            raise BadDataError(
                f"the model does not answer: {_said(exc)}", "its log, or --debug, says more"
            ) from exc

    def example(self) -> Any:
        """Return the input example that was logged with the model, or None."""
        with quiet():
            return self.about.load_input_example(str(self.folder))

    @property
    def told(self) -> dict[str, Any]:
        """What mlctl noted in the model: recipe, task, classes, unit; empty for a model of another program."""
        return dict((self.about.metadata or {}).get("mlctl", {}))


@contextmanager
def loaded(store: TrackingStore, uri: str) -> Iterator[Loaded]:
    """Load the model at this URI for a while.

    Raises NotFoundError and the like where its files are gone, BadDataError where they cannot be loaded.
    """
    with tempfile.TemporaryDirectory(prefix="mlctl-model-") as temporary:
        folder = fetched(store, uri, Path(temporary))
        try:
            with quiet():
                found = Loaded(mlflow.pyfunc.load_model(str(folder)), Model.load(str(folder)), folder)
        except Exception as exc:
            raise BadDataError(
                f"the model {uri} cannot be loaded: {_said(exc)}", "log it again, or register another"
            ) from exc
        yield found


def fetched(store: TrackingStore, uri: str, to: Path) -> Path:
    """Return a folder on this disk with the model's files: its own where it lies here, else a copy in `to`."""
    if (Path(uri) / "MLmodel").is_file():
        return Path(uri)
    as_default(store)
    try:
        with store.asking(), quiet():
            return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(to)))
    except MlctlError:
        raise
    except Exception as exc:  # a bucket's, a disk's: each artifact store has its own
        raise BadDataError(
            f"the files of {uri} cannot be fetched: {_said(exc)}", "look at where its artifacts are kept"
        ) from exc


def copied(store: TrackingStore, uri: str, folder: Path) -> int:
    """Copy the model's files to a folder that is not there, or is empty; return their size in bytes."""
    folder = folder.resolve()  # as MLflow answers
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".mlctl-", dir=folder.parent) as temporary:
        place = Path(temporary) / "model"  # beside its goal, so that a whole model appears there at once
        place.mkdir()
        found = fetched(store, uri, place)
        if not found.is_relative_to(temporary):
            found = Path(shutil.copytree(found, place, dirs_exist_ok=True))
        if folder.exists():
            folder.rmdir()
        found.rename(folder)
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def as_default(store: TrackingStore) -> None:
    """Make this store MLflow's default: its loading of models asks no client, but the default."""
    mlflow.set_tracking_uri(store.tracking_uri)
    if os.environ.get("MLFLOW_REGISTRY_URI"):  # unset, the registry is where the runs are, as it is for us
        mlflow.set_registry_uri(store.tracking_uri)


def client_input(raw: Any, encoder: Any) -> Any:
    """Return raw inputs in the form that a client sends: texts become a table with the encoder's column."""
    return pd.DataFrame({encoder.column: raw}) if isinstance(raw, list) else raw


@contextlib.contextmanager
def quiet() -> Any:
    """Keep the chatter of exporters and MLflow off the streams; what other threads tell gets through."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(_Muted(sys.stdout)),
        contextlib.redirect_stderr(_Muted(sys.stderr)),
    ):
        warnings.simplefilter("ignore")
        yield


class _Muted(io.TextIOBase):
    """A stream on which the thread that made it is not heard."""

    def __init__(self, stream: TextIO) -> None:
        # under a live view the stream is a proxy that prints through the view's console, which asks for
        # sys.stderr again: that is this object, and the view would print its own frames for ever
        self._stream = getattr(stream, "rich_proxied_file", stream)
        self._thread = threading.get_ident()

    def write(self, text: str) -> int:
        return len(text) if threading.get_ident() == self._thread else self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    @property
    def encoding(self) -> str:  # type: ignore[override]  # typeshed has an attribute here
        return self._stream.encoding


def _said(exc: Exception) -> str:
    text = " ".join(f"{type(exc).__name__}: {exc}".split())
    return text if len(text) <= 200 else text[:199] + "…"
