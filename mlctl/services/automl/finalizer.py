"""From the models of a blend to one model in the run: fitted again on all rows, joined, saved, checked, logged."""

from __future__ import annotations

import contextlib
import csv
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlctl.adapters.models import onnx_graphs, save
from mlctl.adapters.plots import run_plots
from mlctl.adapters.runlog.recorder import Recorder
from mlctl.adapters.runlog.search_journal import NAME as JOURNAL
from mlctl.adapters.system import provenance
from mlctl.data.dataset import Dataset, Split
from mlctl.domain.automl import LeaderboardEntry
from mlctl.domain.objective import Objective
from mlctl.domain.progress import ProgressListener
from mlctl.scores import labels_of
from mlctl.services.automl import fitting, metrics
from mlctl.services.automl.fitting import MORE_DATA, MORE_ROWS, Fitted
from mlctl.services.automl.interrupts import Interrupts
from mlctl.services.automl.models import LIGHTGBM
from mlctl.services.automl.table import Table
from mlctl.services.automl.time_budget import TimeBudget
from mlctl.services.training import logged_model
from mlctl.services.workflows.automl import AutomlJob

INTERRUPTED = "interrupted"

Array = np.ndarray[Any, Any]


class Finalizer:
    """What a race ends with, however it ends."""

    def __init__(
        self, asked: AutomlJob, data: Dataset, table: Table, objective: Objective, listener: ProgressListener, clock: TimeBudget,
        sitting: int, interrupts: Interrupts,
    ) -> None:  # fmt: skip
        """`data` has the targets as they are; `sitting` counts how often the race was resumed.

        Each sitting has a point of its own in the metrics.
        """
        self.asked = asked
        self.data = data
        self.table = table
        self.objective = objective
        self.listener = listener
        self.clock = clock
        self.sitting = sitting
        self.interrupts = interrupts

    def log(
        self, recorder: Recorder, chosen: Mapping[str, Fitted], shares: Mapping[str, float],
        reached: Mapping[str, float], leaderboard: Sequence[LeaderboardEntry], ended: str,
    ) -> None:  # fmt: skip
        """Log the blend of `chosen`; `reached` is what validation says of it before it is fitted to that, too."""
        graph_of = {name: one.graph for name, one in chosen.items()}
        again = self._fitted_again(chosen, shares)
        parts = [(share, again.get(name, graph_of[name])) for name, share in shares.items()]
        graph = onnx_graphs.blended(parts, self.table.offset)
        self.listener.stage("saving and checking the model")
        name, split = ("test", self.data.test) if self.data.test else ("validation", self.data.validation)
        answers = self._saved_and_checked(recorder, graph, split)
        classes = len(self.data.classes)
        params = self._params()
        recorder.params(params)
        recorder.model(params, step=self.sitting)
        summary = {f"best_{metric}": value for metric, value in reached.items()}
        summary["models"] = sum(one.score is not None for one in leaderboard) - 1
        if name == "test":
            found = metrics.measured(split.targets, answers, classes, self.table.span)
            summary |= {f"test_{metric}": value for metric, value in found.items()}
        recorder.metrics(summary, step=self.sitting, of_model=True)
        self._keep(recorder, leaderboard, name, split, answers)
        recorder.tags({
            "mlctl.blend": ", ".join(f"{name} {share:.3f}" for name, share in shares.items()),
            "mlctl.refitted": ", ".join(again) or "none",
            "mlctl.ended": INTERRUPTED if self.interrupts.noted else ended,
            "mlctl.duration_s": round(time.monotonic() - self.clock.started, 2),
            "mlctl.peak_memory_mb": round(provenance.peak_memory_mb()),
        })  # fmt: skip

    def _fitted_again(self, chosen: Mapping[str, Fitted], shares: Mapping[str, float]) -> dict[str, bytes]:
        """Fit models on training and validation rows together, the heaviest first, while there is time.

        Ctrl-C ends it, and the others stay as they were.
        """
        again: dict[str, bytes] = {}
        if self.table.folds:  # they ended with a fit to all rows
            return again
        heaviest = sorted(shares, key=shares.__getitem__, reverse=True)
        with contextlib.suppress(KeyboardInterrupt), self.interrupts.cutting():
            for name in heaviest:
                one = chosen[name]
                if self.clock.has_room(MORE_ROWS * one.seconds) and not self.interrupts.noted:
                    self.listener.stage(f"fitting {name} again, on validation rows, too")
                    again |= self._refitted(one)
        return again

    def _refitted(self, one: Fitted) -> dict[str, bytes]:
        """Return the graph of a model that was fitted again by its name, or nothing where that failed."""
        boosted, name = one.spec.family == LIGHTGBM, one.spec.name
        grown = round(MORE_DATA * one.rounds) if boosted else one.rounds
        try:
            fitted = fitting.fit(one.spec, self.table.whole, self.clock.deadline, lambda *_: None, grown)
        except Exception as error:  # the model as it was is there, and as good as its score says
            self.listener.message(f"{name} stays as it was: fitting it again failed: {error}")
            return {}
        return {name: fitted.graph}

    def _saved_and_checked(self, recorder: Recorder, graph: bytes, split: Split) -> Array:
        """Write the model folder, load it back, and return its answers; raises BadDataError where they differ."""
        data, encoder = self.data, self.table.features.encoder
        wanted = onnx_graphs.answers(graph, encoder(split.inputs))
        return logged_model.saved_and_checked(
            recorder,
            lambda folder: save.save_graph(
                folder, graph, encoder, logged_model.few(split).inputs, wanted,
                logged_model.about(self.asked.recipe, data), logged_model.gaps_of(data),
            ),
            lambda loaded: save.answer(loaded, split.inputs),
            wanted,
            lambda answers: metrics.measured(split.targets, answers, len(data.classes), 1.0),
        )  # fmt: skip

    def _params(self) -> dict[str, Any]:
        request = self.asked.request
        return {
            "metric": self.objective.metric, "timeout_s": request.timeout_s, "families": ",".join(self.asked.families),
            "featurize": request.featurize, "features": self.table.features.width, "seed": request.seed,
            **{name: value for name, value in self.asked.values.items() if name in request.given},
            **{f"{family}.{name}": value for family, own in self.asked.fixed.items() for name, value in own.items()},
        }  # fmt: skip

    def _keep(
        self,
        recorder: Recorder,
        leaderboard: Sequence[LeaderboardEntry],
        name: str,
        split: Split,
        answers: Array,
    ) -> None:
        """Keep the leaderboard, the journal, and the picture of right and wrong with the run."""
        with recorder.artifact("leaderboard.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            measures = list(leaderboard[0].metrics)
            writer.writerow(["model", "family", *measures, "weight", "rounds", "seconds", "state", "why"])
            for one in leaderboard:
                values = [one.metrics.get(metric, "") for metric in measures]
                writer.writerow([one.model, one.family, *values, round(one.weight, 4), one.rounds,
                                 round(one.duration_s, 2), one.state, one.why])  # fmt: skip
        recorder.keep("leaderboard.csv")
        recorder.artifact(JOURNAL).write_bytes((recorder.journal.folder / JOURNAL).read_bytes())
        recorder.keep(JOURNAL)
        on = f"{name}, synthetic data" if self.data.synthetic else name
        if self.data.classes:
            path = "plots/confusion_matrix.png"
            run_plots.confusion(
                recorder.artifact(path), split.targets, labels_of(answers), self.data.classes, on
            )
        else:
            path = "plots/predicted_vs_actual.png"
            run_plots.predicted_against_actual(
                recorder.artifact(path), split.targets, answers[:, 0], self.data.unit, on
            )
        recorder.keep(path)
