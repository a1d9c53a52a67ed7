"""Endpoints, their API keys, and the predictions of models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlctl.domain.run import DataReference


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A model that is served on this machine; `status` is ready, "not ready" or gone."""

    name: str
    url: str
    pid: int
    log: str
    status: str
    model_uri: str
    model: str
    version: str


@dataclass(frozen=True)
class EndpointList:
    """All endpoints of this machine."""

    endpoints: tuple[Endpoint, ...]


@dataclass(frozen=True)
class StoppedEndpoint:
    """A stopped endpoint; `how` is gracefully, firmly (it was killed) or gone (it had ended before)."""

    name: str
    how: str


@dataclass(frozen=True)
class NewKey:
    """A new API key; `secret` is shown once and stored nowhere."""

    name: str
    secret: str = field(repr=False)
    file: str = ""


@dataclass(frozen=True)
class KeyList:
    """The API keys of a file, without their secrets: (name, first digits of the SHA-256, date of creation)."""

    file: str
    keys: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """One prediction: a label with its probability, or a value; `true_label` if it is known."""

    label: str | None = None
    probability: float | None = None
    value: Any = None
    true_label: str | None = None


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Predictions of a model for several rows.

    Attributes:
        pictures: Images of the rows, if they can be drawn: brightness in 0..1, shape (height, width).
        input_names: Name of the input of each row, such as its file.
    """

    model: str
    version: str
    task: str
    unit: str
    predictions: tuple[Prediction, ...]
    pictures: tuple[tuple[tuple[float, ...], ...], ...] = ()
    input_names: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PredictionFile:
    """Predictions that were written to a file; `resumed` counts the rows from an earlier call."""

    file: str
    rows: int
    resumed: int
    model: str
    version: str


@dataclass(frozen=True, kw_only=True)
class ModelComparison:
    """Metrics of one or two models on the same rows: those of one split of `data`, or "all" rows."""

    recipe: str
    split: str
    rows: int
    models: tuple[str, ...]
    metrics: Mapping[str, tuple[float, ...]]
    run_id: str | None = None
    data: DataReference | None = None
