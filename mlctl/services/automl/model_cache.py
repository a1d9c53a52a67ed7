"""Fitted models on disk, so that a run that was killed can be resumed without fitting them again.

The graph and the predictions of each model are files beside the journal. They are written before the line of the
journal that records the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlctl.adapters.estimators.spec import ModelSpec
from mlctl.adapters.runlog.search_journal import SearchJournal
from mlctl.domain.tune import DONE, FAILED
from mlctl.services.automl.fitting import FittedModel

FOLDER = "models"


class ModelCache:
    """The fitted models of one run, below the folder of its local record."""

    def __init__(self, folder: Path, journal: SearchJournal) -> None:
        self.folder = folder / FOLDER
        self.folder.mkdir(parents=True, exist_ok=True)
        self.journal = journal

    def add(self, fitted: FittedModel, score: float, metrics: Mapping[str, float], *, at: int) -> None:
        """Store a model; `at` is the time in milliseconds."""
        spec = fitted.spec
        (self.folder / f"{spec.name}.onnx").write_bytes(fitted.graph)
        np.save(self.folder / f"{spec.name}.npy", fitted.predictions)
        self.journal.add(
            "end",
            trial=spec.name,
            family=spec.family,
            loss=spec.loss,
            params=dict(spec.params),
            state=DONE,
            score=score,
            metrics=dict(metrics),
            rounds=fitted.rounds,
            seconds=fitted.seconds,
            fitted_to_all=fitted.fitted_to_all,
            why="",
            at=at,
        )

    def add_failure(self, spec: ModelSpec, error: str, *, seconds: float, at: int) -> None:
        """Record that a model cannot be fitted, so that a resumed run does not try it again."""
        self.journal.add(
            "end",
            trial=spec.name,
            family=spec.family,
            state=FAILED,
            score=None,
            seconds=seconds,
            why=error,
            at=at,
        )

    def load(self, entries: Iterable[Mapping[str, Any]]) -> list[tuple[FittedModel, Mapping[str, Any]]]:
        """Return the models that these entries of the journal record, each with its entry."""
        models = []
        for entry in entries:
            if entry["kind"] != "end" or entry["state"] != DONE:
                continue
            name = entry["trial"]
            model = FittedModel(
                spec=ModelSpec(name=name, family=entry["family"], loss=entry["loss"], params=entry["params"]),
                predictions=np.load(self.folder / f"{name}.npy"),
                graph=(self.folder / f"{name}.onnx").read_bytes(),
                rounds=entry["rounds"],
                seconds=entry["seconds"],
                fitted_to_all=entry.get("fitted_to_all", False),
            )
            models.append((model, entry))
        return models
