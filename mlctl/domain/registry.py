"""Registered models: their versions, promotions, gate checks and history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mlctl.domain.exports import ExportProof
from mlctl.domain.run import DataReference, IntervalPairs, RunScore


@dataclass(frozen=True, kw_only=True)
class ModelReference:
    """A model that can be loaded.

    Attributes:
        name: Name in the registry; None if the user named the model by a run, a folder or a URI.
        version: Version in the registry; None like `name`.
        run_id: Run that logged the model; None if it is unknown.
    """

    uri: str
    name: str | None = None
    version: str | None = None
    run_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class RegisteredVersion:
    """One version of a registered model.

    Attributes:
        stage: Classic stage, such as Production.
        alias: All aliases that point to this version.
        source: Run or folder from which it was registered.
        metrics: Metrics of the logged model.
        intervals: 95 % confidence intervals of metrics.
        score: The objective of its run.
    """

    name: str
    version: str
    stage: str
    alias: tuple[str, ...]
    run_id: str | None
    source: str
    created: datetime | None
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    score: RunScore | None = None

    @property
    def uri(self) -> str:
        """The URI with which any MLflow client loads this version."""
        return f"models:/{self.name}/{self.version}"


@dataclass(frozen=True, kw_only=True)
class RegisteredModel:
    """A registered model with its versions, newest first.

    `disagreements` says in words which aliases and stages differ from the history.
    """

    name: str
    versions: tuple[RegisteredVersion, ...]
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    disagreements: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelList:
    """Registered models, the one changed last first."""

    models: tuple[RegisteredModel, ...]


@dataclass(frozen=True)
class ModelDetail:
    """A registered model with all versions, or with one version and its lineage."""

    model: RegisteredModel
    lineage: Lineage | None = None


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """Origin and interface of one version.

    Attributes:
        inputs: Description of each input.
        outputs: Description of each output.
        flavors: MLflow flavors with the version of their library.
        size_bytes: Size of the model; None if its files cannot be listed.
        origin: Name, SHA-256 and libraries of the file that was registered; empty for a model of a run.
        proofs: What exports of the model answered.
    """

    run_name: str | None
    params: Mapping[str, str]
    data: DataReference | None
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    flavors: Mapping[str, str]
    size_bytes: int | None
    notes: tuple[str, ...] = ()
    origin: Mapping[str, str] = field(default_factory=dict)
    proofs: tuple[ExportProof, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Registration:
    """A registered version; `created` is false if the same model was registered before.

    `intervals` holds the 95 % confidence intervals of metrics.
    """

    name: str
    version: str
    source: str
    run_id: str | None
    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    created: bool = True


@dataclass(frozen=True, kw_only=True)
class GateCheck:
    """One gate of a promotion: the requirement, the value found (None for no value), and whether it holds."""

    check: str
    wanted: str
    found: float | str | None
    holds: bool


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """A move of a version to a stage.

    Attributes:
        replaced: Version that was in the stage before; None if there was none.
        changed: False if the version was in the stage already.
        released: Stages that the version leaves, and that are empty afterwards.
        dry_run: Whether nothing was changed because the user asked for a dry run.
    """

    name: str
    version: str
    stage: str
    replaced: str | None
    changed: bool
    checks: tuple[GateCheck, ...] = ()
    action: str = "promote"
    released: tuple[str, ...] = ()
    dry_run: bool = False
    notes: tuple[str, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether a check failed, so that nothing was changed."""
        return not all(check.holds for check in self.checks)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Metrics of a model on `rows` examples of one split of a recipe's data, with 95 % confidence intervals."""

    model: ModelReference
    recipe: str
    split: str
    rows: int
    metrics: Mapping[str, float]
    data: DataReference
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class HistoryEntry:
    """One entry of a model's history; `released` are the stages that the version left."""

    at: datetime
    by: str
    action: str
    stage: str
    version: str
    replaced: str | None
    reason: str
    checks: tuple[GateCheck, ...] = ()
    run_id: str | None = None
    data_sha256: str | None = None
    released: tuple[str, ...] = ()


@dataclass(frozen=True)
class History:
    """A model's history, oldest entry first.

    Attributes:
        holders: Version of each stage after the last entry.
        at: The time of which it is the history; None for now.
        since: When the first version was registered; None if this is unknown.
        disagreements: Which aliases and stages differ from the history now, in words.
    """

    name: str
    entries: tuple[HistoryEntry, ...]
    holders: Mapping[str, str | None]
    at: datetime | None = None
    since: datetime | None = None
    disagreements: tuple[str, ...] = ()


@dataclass(frozen=True)
class CopiedVersion:
    """A version that another store has as `version`; `created` is false if it was copied before."""

    name: str
    source_version: str
    version: str
    tracking_uri: str
    created: bool = True


@dataclass(frozen=True)
class Reconciliation:
    """What another program had changed in a model, in words.

    `restored` says whether it was undone; `done` is false if nothing was written.
    """

    name: str
    changes: tuple[str, ...]
    restored: bool = False
    done: bool = False


@dataclass(frozen=True, kw_only=True)
class ModelDiff:
    """The differences between two versions: name -> (value of a, value of b); None if one has no value.

    `intervals` holds the 95 % confidence intervals of the metrics that differ.
    """

    name: str
    a: str
    b: str
    params: Mapping[str, tuple[Any, Any]]
    metrics: Mapping[str, tuple[float | None, float | None]]
    intervals: IntervalPairs
    data: Mapping[str, tuple[Any, Any]]
    model: Mapping[str, tuple[Any, Any]]


@dataclass(frozen=True)
class RemovedModel:
    """Deleted versions of a registered model; `model_deleted` says whether the model itself was deleted."""

    name: str
    versions: tuple[str, ...]
    model_deleted: bool


@dataclass(frozen=True)
class DownloadedModel:
    """A model whose folder was copied to `path`."""

    reference: ModelReference
    path: str
    size_bytes: int
