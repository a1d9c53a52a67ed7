"""What is kept of every model that was fitted, so that a race that was killed goes on where it was.

Each model's graph and answers are files beside the journal, written before the journal's line which says that
they are there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlctl.adapters.runlog.search_journal import SearchJournal
from mlctl.domain.tune import DONE, FAILED
from mlctl.services.automl.fitting import Fitted
from mlctl.services.automl.models import Spec

FOLDER = "models"


class ModelCache:
    """The models of one race on this disk."""

    def __init__(self, folder: Path, journal: SearchJournal) -> None:
        self.folder = folder / FOLDER
        self.folder.mkdir(parents=True, exist_ok=True)
        self.journal = journal

    def add(self, fitted: Fitted, score: float, metrics: Mapping[str, float], at: int) -> None:
        """Keep a model."""
        spec = fitted.spec
        (self.folder / f"{spec.name}.onnx").write_bytes(fitted.graph)
        np.save(self.folder / f"{spec.name}.npy", fitted.answers)
        self.journal.add(
            "end", trial=spec.name, family=spec.family, loss=spec.loss, params=dict(spec.params), state=DONE,
            score=score, metrics=dict(metrics), rounds=fitted.rounds, seconds=fitted.seconds, why="", at=at,
        )  # fmt: skip

    def failed(self, spec: Spec, why: str, at: int) -> None:
        """Note that a model cannot be fitted: nobody needs to try again."""
        self.journal.add(
            "end", trial=spec.name, family=spec.family, state=FAILED, score=None, seconds=0.0, why=why, at=at
        )

    def again(self, entries: Iterable[Mapping[str, Any]]) -> list[tuple[Fitted, Mapping[str, Any]]]:
        """Return the models that an earlier sitting has fitted, with their entries."""
        found = []
        for entry in entries:
            if entry["kind"] != "end" or entry["state"] != DONE:
                continue
            name = entry["trial"]
            spec = Spec(name, entry["family"], entry["loss"], entry["params"])
            answers = np.load(self.folder / f"{name}.npy")
            graph = (self.folder / f"{name}.onnx").read_bytes()
            found.append((Fitted(spec, answers, graph, entry["rounds"], entry["seconds"]), entry))
        return found
