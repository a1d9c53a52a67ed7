"""The nouns of the model registry: what selectors, promotions, their checks and their history answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mlctl.domain.run import DataReference


@dataclass(frozen=True)
class ModelReference:
    """One model that can be loaded: its URI, and what is known of where it comes from.

    `name` and `version` are those of the registry, None for a model that was named by a run, a folder or an
    address; `run_id` is the run that made it, None where nobody knows.
    """

    uri: str
    name: str | None = None
    version: str | None = None
    run_id: str | None = None


@dataclass(frozen=True)
class RegisteredVersion:
    """One version of a registered model; `metrics` are those of the model that was kept.

    `stage` is the classic one, `alias` every alias that points here, `source` what it was registered from.
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

    @property
    def uri(self) -> str:
        """The address under which any MLflow client loads this version."""
        return f"models:/{self.name}/{self.version}"


@dataclass(frozen=True)
class RegisteredModel:
    """A registered model with its versions, newest first."""

    name: str
    versions: tuple[RegisteredVersion, ...]
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelList:
    """Registered models, the one changed last first."""

    models: tuple[RegisteredModel, ...]


@dataclass(frozen=True)
class ModelDetail:
    """A registered model, or one version of it, with its lineage.

    `lineage` is None for the whole model; `size_bytes` None where the files cannot be listed.
    """

    model: RegisteredModel
    lineage: Lineage | None = None


@dataclass(frozen=True)
class Lineage:
    """Where one version comes from and what it takes: run, params, data, signature, flavors, size."""

    run_name: str | None
    params: Mapping[str, str]
    data: DataReference | None
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    flavors: Mapping[str, str]
    size_bytes: int | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Registration:
    """A version that was registered; `created` is false where the same model was registered before."""

    name: str
    version: str
    source: str
    run_id: str | None
    metrics: Mapping[str, float]
    created: bool = True


@dataclass(frozen=True)
class Check:
    """One gate: what was wanted, what was found (None for nothing), and whether it holds."""

    check: str
    wanted: str
    found: float | str | None
    holds: bool


@dataclass(frozen=True)
class Promotion:
    """A move of a version to a stage; `replaced` is the version that held it before, None for none.

    `changed` is false where the version held the stage already; `dry_run` says that nothing was moved.
    """

    name: str
    version: str
    stage: str
    replaced: str | None
    changed: bool
    checks: tuple[Check, ...] = ()
    action: str = "promote"
    dry_run: bool = False
    notes: tuple[str, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether a check did not hold, so that nothing was changed."""
        return not all(check.holds for check in self.checks)


@dataclass(frozen=True)
class Evaluation:
    """What a model reaches on a recipe's data: `metrics` on its `split`, of `rows` examples."""

    model: ModelReference
    recipe: str
    split: str
    rows: int
    metrics: Mapping[str, float]
    data: DataReference


@dataclass(frozen=True)
class Move:
    """One entry of a model's history."""

    at: datetime
    by: str
    action: str
    stage: str
    version: str
    replaced: str | None
    reason: str
    checks: tuple[Check, ...] = ()
    run_id: str | None = None
    data_sha256: str | None = None
    released: tuple[str, ...] = ()


@dataclass(frozen=True)
class History:
    """A model's moves, oldest first; `holders` says which version holds each stage after the last of them."""

    name: str
    moves: tuple[Move, ...]
    holders: Mapping[str, str | None]


@dataclass(frozen=True)
class ModelDiff:
    """What differs between two versions, and nothing else: name -> (of a, of b), None where one has none."""

    name: str
    a: str
    b: str
    params: Mapping[str, tuple[Any, Any]]
    metrics: Mapping[str, tuple[float | None, float | None]]
    data: Mapping[str, tuple[Any, Any]]
    model: Mapping[str, tuple[Any, Any]]


@dataclass(frozen=True)
class RemovedModel:
    """A registered model, or versions of it, that were deleted."""

    name: str
    versions: tuple[str, ...]
    whole: bool


@dataclass(frozen=True)
class DownloadedModel:
    """A model's folder that was copied to `path`."""

    reference: ModelReference
    path: str
    size_bytes: int
