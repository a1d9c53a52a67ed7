"""mlctl train: one recipe, one run, one model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlctl.domain import Run, Watcher
from mlctl.services import prepare
from mlctl.settings import Settings


@dataclass(frozen=True)
class Request:
    """What `mlctl train` was asked for.

    `given` are hyperparameters and data options by name, as typed or as values; `precision` is auto, float32
    or mixed_bfloat16; `patience` None trains all epochs; `data` None lets the recipe look for its own.
    """

    source: str
    given: Mapping[str, Any] = field(default_factory=dict)
    data: str | None = None
    rows: int | None = None
    seed: int = 0
    patience: int | None = None
    precision: str = "auto"
    run_name: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    register: str | None = None
    parent: str | None = None


def train(settings: Settings, request: Request, watcher: Watcher) -> Run:
    """Train, log and check a model; return its run.

    Raises UsageError, NotFoundError, BadDataError for what was asked, UnreachableError where the store is
    away at the start. A run that fails is marked FAILED, one that is interrupted KILLED.
    """
    recipe, values = prepare.recipe_values(request.source, request.given)
    prepared = prepare.prepare(settings, recipe, values, request.data, request.rows, watcher)
    # only now: all that can be wrong with what was typed has been told without loading TensorFlow
    watcher.stage("starting TensorFlow and MLflow")
    from mlctl.adapters import framework

    framework.import_keras()
    with framework.frugal_imports():
        from mlctl.services.training import Training

    return Training(settings, request, prepared, watcher).run()
