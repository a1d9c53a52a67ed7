"""Endpoints, their API keys, and the predictions of models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlctl.domain.outputs import Output
from mlctl.domain.run import DataReference


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A model that is served on this machine.

    Attributes:
        status: ready, "not ready" or gone.
        refused: The last version that was promoted and not served: its `version`, the `reason` and the time (`at`).
    """

    name: str
    url: str
    pid: int
    log: str
    status: str
    model_uri: str
    model: str
    version: str
    refused: Mapping[str, str] | None = None


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
    """What one output of a model says of one row. The fields that the kind of output has are set, the others None.

    Attributes:
        label: The most probable class.
        probability: Its probability.
        labels: The labels that apply, or the class of each step of a sequence.
        probabilities: The probability of each of these.
        value: A number, or nested lists of numbers.
        shape: Height and width of a picture whose pixels have classes.
        shares: The share of the pixels that each class has.
        true_label: The true class or value, or the true labels, if they are known.
    """

    label: str | None = None
    probability: float | None = None
    labels: tuple[str, ...] | None = None
    probabilities: tuple[float, ...] | None = None
    value: Any = None
    shape: tuple[int, ...] | None = None
    shares: Mapping[str, float] | None = None
    true_label: str | tuple[str, ...] | None = None


@dataclass(frozen=True)
class OutputPredictions:
    """What one of several outputs says of each row."""

    output: Output
    predictions: tuple[Prediction, ...]


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Predictions of a model for several rows.

    Attributes:
        predictions: What the model's only output says of each row; () if it has several.
        outputs: What each of several outputs says.
        kind: The kind of the only output.
        pictures: Images of the rows, if they can be drawn: brightness in 0..1, shape (height, width).
        input_names: Name of the input of each row, such as its file.
    """

    model: str
    version: str
    task: str
    unit: str
    predictions: tuple[Prediction, ...] = ()
    outputs: tuple[OutputPredictions, ...] = ()
    kind: str = ""
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
    """Metrics of one or two models on the same rows: those of one split of `data`, or "all" rows.

    `intervals` are 95 % confidence intervals of the metrics that have one, for each model.
    """

    recipe: str
    split: str
    rows: int
    models: tuple[str, ...]
    metrics: Mapping[str, tuple[float, ...]]
    run_id: str | None = None
    data: DataReference | None = None
    intervals: Mapping[str, tuple[tuple[float, float] | None, ...]] = field(default_factory=dict)
