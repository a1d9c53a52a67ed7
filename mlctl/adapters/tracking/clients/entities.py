"""What a client returns: MLflow's entities by their names and attributes, as far as mlctl reads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

Entity = TypeVar("Entity")
PROMPT_TAG = "mlflow.prompt.is_prompt"  # prompts share the registry with models


class Page(list[Entity], Generic[Entity]):
    """Some of the results of a search, and the token of the next page; None on the last one."""

    def __init__(self, found: Iterable[Entity], token: str | None = None) -> None:
        super().__init__(found)
        self.token = token


@dataclass(frozen=True, kw_only=True)
class ExperimentEntity:
    """An experiment."""

    experiment_id: str
    name: str
    artifact_location: str


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """What a store knows of every run; times are milliseconds since 1970."""

    run_id: str
    run_name: str
    experiment_id: str
    status: str
    start_time: int | None
    end_time: int | None
    artifact_uri: str
    lifecycle_stage: str


@dataclass(frozen=True, kw_only=True)
class RunData:
    """What was logged to a run; of a metric, its last value."""

    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class DatasetEntity:
    """A dataset that `mlflow.log_input` noted."""

    name: str
    digest: str
    source_type: str
    profile: str | None = None


@dataclass(frozen=True)
class DatasetInput:
    """A dataset that a run used."""

    dataset: DatasetEntity


@dataclass(frozen=True)
class RunInputs:
    """What a run used."""

    dataset_inputs: Sequence[DatasetInput] = ()


@dataclass(frozen=True, kw_only=True)
class ModelOutput:
    """A model that a run logged."""

    model_id: str
    step: int = 0


@dataclass(frozen=True)
class RunOutputs:
    """What a run made."""

    model_outputs: Sequence[ModelOutput] = ()


@dataclass(frozen=True, kw_only=True)
class RunEntity:
    """A run."""

    info: RunInfo
    data: RunData
    inputs: RunInputs = field(default_factory=RunInputs)
    outputs: RunOutputs = field(default_factory=RunOutputs)


@dataclass(frozen=True, kw_only=True)
class MetricPoint:
    """One value of a metric; the timestamp is milliseconds since 1970."""

    key: str
    value: float
    timestamp: int
    step: int


@dataclass(frozen=True, kw_only=True)
class RegisteredModelEntity:
    """A registered model; `aliases` maps an alias to a version."""

    name: str
    description: str | None
    last_updated_timestamp: int | None
    tags: Mapping[str, str]
    aliases: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class VersionEntity:
    """A registered version. A search returns no aliases, as MLflow's does."""

    name: str
    version: str
    creation_timestamp: int | None
    description: str | None
    current_stage: str
    source: str
    run_id: str | None
    tags: Mapping[str, str]
    aliases: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class LoggedModelEntity:
    """A logged model, and the run that logged it."""

    model_id: str
    artifact_location: str
    source_run_id: str | None


@dataclass(frozen=True, kw_only=True)
class FileEntity:
    """A file or folder of a run's or a model's artifacts; a folder has no size."""

    path: str
    is_dir: bool
    file_size: int | None


class StoreError(Exception):
    """A store refuses a request; it has the code and the message that MLflow's exception would have."""

    def __init__(self, message: str, error_code: str = "INTERNAL_ERROR") -> None:
        super().__init__(message)
        self.message = message
        self.error_code = error_code


def not_found(kind: str, name: Any) -> StoreError:
    """Return the error for something that the store does not have."""
    return StoreError(f"{kind} {name} not found", "RESOURCE_DOES_NOT_EXIST")


def no_model(name: str) -> StoreError:
    """Return the error for a registered model that the store does not have; a prompt is none."""
    return StoreError(f"Registered Model with name={name} not found", "RESOURCE_DOES_NOT_EXIST")


def no_version(name: str, version: str) -> StoreError:
    """Return the error for a version that the store does not have."""
    return StoreError(f"Model Version (name={name}, version={version}) not found", "RESOURCE_DOES_NOT_EXIST")
