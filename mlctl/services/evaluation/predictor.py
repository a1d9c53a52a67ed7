"""Who is asked for predictions: a model in this process, or an endpoint; both say what they take alike."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mlctl.adapters.predict.endpoint_client import Remote
from mlctl.errors import BadDataError, MlctlError
from mlctl.services.models.fetch import located
from mlctl.serving.model import Model
from mlctl.serving.request_error import RequestError
from mlctl.serving.signature import Column, Signature, Tensor
from mlctl.serving.tables import Columns
from mlctl.settings import Settings

Array = np.ndarray[Any, Any]
Rows = Array | Columns


@dataclass(frozen=True)
class About:
    """What is known of a model; a server of another program says nothing."""

    name: str
    version: str
    task: str = ""
    classes: tuple[str, ...] = ()
    unit: str = ""
    recipe: str = ""
    full_scale: float | None = None
    signature: Signature = field(default_factory=Signature)


class Asked(Protocol):
    """What answers rows."""

    about: About

    def answer(self, rows: Rows, first: int = 0) -> Array:
        """Return the answers, (n, classes) or (n, 1); `first` is the first row's place in its input.

        Raises BadDataError for what the model refuses.
        """


@contextmanager
def asked(settings: Settings, model: str, key_file: Path | None) -> Iterator[Asked]:
    """Open MODEL, or an endpoint's URL, for a while; raises what finding, loading or reaching it raises."""
    if model.startswith(("http://", "https://")):
        yield _Endpoint(Remote(model, key_file))
        return
    with tempfile.TemporaryDirectory(prefix="mlctl-model-") as scratch:
        yield _Local(settings, model, Path(scratch))


def length(rows: Rows) -> int:
    """Return how many rows there are."""
    return len(next(iter(rows.values()), [])) if isinstance(rows, dict) else len(rows)


def take(rows: Rows, first: int, last: int) -> Rows:
    """Return the rows from `first` to before `last`."""
    if isinstance(rows, dict):
        return {name: values[first:last] for name, values in rows.items()}
    return rows[first:last]


class _Local:
    def __init__(self, settings: Settings, model: str, scratch: Path) -> None:
        serving = located(settings, model, scratch)
        try:
            self._model = Model(Path(serving.folder))
        except MlctlError:
            raise
        except Exception as exc:
            raise BadDataError(
                f"the model {serving.name} cannot be loaded: {type(exc).__name__}: {exc}", "log it again"
            ) from exc
        told = self._model.about
        self.about = About(
            serving.name, serving.version, told.task, told.classes, told.unit, told.recipe,
            self._model.full_scale, self._model.signature,
        )  # fmt: skip

    def answer(self, rows: Rows, first: int = 0) -> Array:
        try:
            if isinstance(rows, dict):
                return np.asarray(self._model.predict_table(rows, first))
            return np.asarray(self._model.predict_tensor(rows))
        except RequestError as refusal:
            raise BadDataError(refusal.message, refusal.hint) from refusal
        except Exception as exc:
            raise BadDataError(
                f"the model does not answer: {type(exc).__name__}: {exc}", "--debug shows where"
            ) from exc


class _Endpoint:
    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        said = remote.about()
        if said is None:
            self.about = About(remote.url, "")
            return
        tensor = Tensor(said["tensor"]["dtype"], tuple(said["tensor"]["shape"])) if said["tensor"] else None
        columns = tuple(Column(**one) for one in said["columns"])
        self.about = About(
            said["name"], said["version"], said["task"], tuple(said["classes"]), said["unit"], said["recipe"],
            said["full_scale"], Signature(tensor, columns),
        )  # fmt: skip

    def answer(self, rows: Rows, first: int = 0) -> Array:
        if isinstance(rows, dict):
            data = [list(row) for row in zip(*rows.values(), strict=True)]
            payload: dict[str, Any] = {"dataframe_split": {"columns": list(rows), "data": data}}
        else:
            payload = {"inputs": rows.tolist()}
        try:
            answers, _ = self._remote.predict(payload)
        except BadDataError as exc:
            if not first:
                raise
            raise BadDataError(f"of the rows from {first} on: {exc.message}", exc.hint) from exc
        found = np.asarray(answers)
        if len(found) != length(rows):
            raise BadDataError(
                f"{self._remote.url} answers {len(found)} rows to {length(rows)}", "is it the right endpoint?"
            )
        return found
