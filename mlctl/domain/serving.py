"""The nouns of serving: endpoints, their keys, and what models answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlctl.domain.run import DataReference


@dataclass(frozen=True)
class Endpoint:
    """A model that is served on this machine; `status` is ready, not ready or gone."""

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
    """Every endpoint of this machine."""

    endpoints: tuple[Endpoint, ...]


@dataclass(frozen=True)
class StoppedEndpoint:
    """An endpoint that was ended: gracefully, firmly, or gone where it had ended before."""

    name: str
    how: str


@dataclass(frozen=True)
class NewKey:
    """A key that was just made; `secret` is shown once and kept nowhere."""

    name: str
    secret: str = field(repr=False)
    file: str = ""


@dataclass(frozen=True)
class KeyList:
    """The keys of a file, without their secrets: (name, first digits of the SHA-256, day)."""

    file: str
    keys: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Prediction:
    """One answer: a label with its probability, or a value; `true_label` where it is known."""

    label: str | None = None
    probability: float | None = None
    value: Any = None
    true_label: str | None = None


@dataclass(frozen=True)
class Predictions:
    """What a model said to some rows. `pictures` are the rows that can be drawn, (height, width) in 0..1."""

    model: str
    version: str
    task: str
    unit: str
    predictions: tuple[Prediction, ...]
    pictures: tuple[tuple[tuple[float, ...], ...], ...] = ()
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class PredictionFile:
    """Answers that were written to a file; `resumed` counts the rows that were there before."""

    file: str
    rows: int
    resumed: int
    model: str
    version: str


@dataclass(frozen=True)
class Comparison:
    """What one or two models reach on the same rows: `split` says which of `data` they are, "all" for each."""

    recipe: str
    split: str
    rows: int
    models: tuple[str, ...]
    metrics: Mapping[str, tuple[float, ...]]
    run_id: str | None = None
    data: DataReference | None = None
