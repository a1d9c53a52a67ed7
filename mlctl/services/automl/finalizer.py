"""From the models of a blend to one logged model: refit on all rows, blend, save, check, log."""

from __future__ import annotations

import contextlib
import csv
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mlctl.adapters.estimators.encoded_table import EncodedTable
from mlctl.adapters.estimators.spec import LIGHTGBM
from mlctl.adapters.models import onnx_graphs, save
from mlctl.adapters.models.load import predict_raw, to_client_input
from mlctl.adapters.plots.answer_plots import plot_answers
from mlctl.adapters.runlog.recorder import Recorder
from mlctl.adapters.runlog.search_journal import NAME as JOURNAL
from mlctl.adapters.system import provenance
from mlctl.data.dataset import Dataset, Split
from mlctl.domain.automl import LeaderboardEntry
from mlctl.domain.objective import Objective
from mlctl.domain.outputs import Output, outputs_of
from mlctl.domain.progress import ProgressListener
from mlctl.domain.tags import DURATION_TAG, ENDED_TAG, PEAK_MEMORY_TAG
from mlctl.scores import compute_scores
from mlctl.services.automl import fitting, metrics
from mlctl.services.automl.fitting import REFIT_ROUNDS_FACTOR, REFIT_TIME_FACTOR, FittedModel
from mlctl.services.automl.interrupts import INTERRUPTED, InterruptGuard
from mlctl.services.automl.request import AutomlJob
from mlctl.services.automl.time_budget import TimeBudget
from mlctl.services.evaluation.intervals import score_intervals
from mlctl.services.evaluation.threshold import ChosenThreshold
from mlctl.services.training import logged_model, report
from mlctl.services.training.profile import store_profile

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Finalizer:
    """Logs the blend of a run, also if the run was interrupted.

    Attributes:
        job: the validated request.
        data: the dataset with its original targets.
        table: the encoded rows, with the targets that models are fitted to.
        objective: what models are ranked by.
        listener: is told about progress.
        budget: the time that is left.
        session: number of earlier sessions of this run, used as the step of its model.
        guard: records an interrupt.
        threshold: what the user wants of two classes; None for the usual threshold.
    """

    job: AutomlJob
    data: Dataset
    table: EncodedTable
    objective: Objective
    listener: ProgressListener
    budget: TimeBudget
    session: int
    guard: InterruptGuard
    threshold: ChosenThreshold | None = None

    @property
    def output(self) -> Output:
        """What the model answers."""
        output = outputs_of({"classes": self.data.classes, "unit": self.data.unit})[0]
        return output if self.threshold is None else replace(output, threshold=self.threshold.value)

    def log_blend(
        self,
        recorder: Recorder,
        *,
        models: Mapping[str, FittedModel],
        weights: Mapping[str, float],
        temperature: float,
        validation_metrics: Mapping[str, float],
        leaderboard: Sequence[LeaderboardEntry],
        end_reason: str,
    ) -> None:
        """Log the weighted sum of `models`, at a temperature.

        `validation_metrics` are those of the blend before it is refitted.
        """
        self.budget.end_phase("blend")
        refitted = self._refit_models(models, weights)
        self.budget.end_phase("refits on all rows")
        graph = onnx_graphs.blend_graphs(
            [(weight, refitted.get(name, models[name].graph)) for name, weight in weights.items()],
            self.table.offset,
            temperature,
        )
        self.listener.stage("saving and checking the model")
        split_name, split = (
            ("test", self.data.test) if self.data.test else ("validation", self.data.validation)
        )
        predictions = self._save_and_check(recorder, graph, split)
        params = self._params()
        recorder.log_params(params)
        recorder.log_model(params, step=self.session)
        summary = {f"best_{metric}": value for metric, value in validation_metrics.items()}
        summary["models"] = sum(entry.score is not None for entry in leaderboard) - 1  # without the blend
        if self.threshold is not None:
            summary |= {f"best_val_{metric}": value for metric, value in self.threshold.scores.items()}
            summary["best_threshold"] = self.threshold.value
        if split_name == "test":
            values = metrics.measure(
                split.targets, predictions, len(self.data.classes), self.table.target_range
            )
            if self.threshold is not None:
                values |= compute_scores(split.targets, predictions, 2, self.threshold.value)
            summary |= {f"test_{metric}": value for metric, value in values.items()}
            intervals = score_intervals((self.output,), split.targets, predictions, values)
            report.record_intervals(
                recorder, {f"test_{metric}": bounds for metric, bounds in intervals.items()}
            )
        recorder.log_results(summary)
        self._keep_files(recorder, leaderboard)
        self._keep_answers(recorder, split_name, split, predictions)
        recorder.set_tags(
            {
                "mlctl.blend": ", ".join(f"{name} {weight:.3f}" for name, weight in weights.items()),
                "mlctl.refitted": ", ".join(refitted) or "none",
                ENDED_TAG: INTERRUPTED if self.guard.interrupted else end_reason,
                DURATION_TAG: round(time.monotonic() - self.budget.started, 2),
                PEAK_MEMORY_TAG: round(provenance.peak_memory_mb()),
            }
        )

    def _refit_models(
        self, models: Mapping[str, FittedModel], weights: Mapping[str, float]
    ) -> dict[str, bytes]:
        """Refit models on training and validation rows, the heaviest first, while there is time.

        Ctrl-C ends it; the remaining models stay as they are. Returns the refitted graphs by model name.
        """
        refitted: dict[str, bytes] = {}
        heaviest_first = sorted(weights, key=weights.__getitem__, reverse=True)
        with contextlib.suppress(KeyboardInterrupt), self.guard.interruptible():
            for name in heaviest_first:
                model = models[name]
                if model.fitted_to_all:
                    continue
                if self.budget.has_room(REFIT_TIME_FACTOR * model.seconds) and not self.guard.interrupted:
                    self.listener.stage(f"refitting {name} on training and validation rows")
                    if (graph := self._refit(model)) is not None:
                        refitted[name] = graph
        return refitted

    def _refit(self, model: FittedModel) -> bytes | None:
        """Return the graph of the refitted model, or None if that fails."""
        spec = model.spec
        rounds = round(REFIT_ROUNDS_FACTOR * model.rounds) if spec.family == LIGHTGBM else model.rounds
        try:
            refitted = fitting.fit_model(
                spec,
                self.table.all_rows,
                deadline=self.budget.deadline,
                on_round=lambda _: None,
                rounds=rounds,
            )
        except Exception as error:  # the first fit is still there, and as good as its score says
            self.listener.message(f"{spec.name} keeps its first fit: refitting failed: {error}")
            return None
        return refitted.graph

    def _save_and_check(self, recorder: Recorder, graph: bytes, split: Split) -> Array:
        """Save the model folder, load it back, and return its predictions for a split.

        Raises BadDataError if they differ from those of the graph.
        """
        data, encoder = self.data, self.table.features.encoder
        raw = to_client_input(data.raw(split.inputs), encoder)
        expected = onnx_graphs.run_encoded(graph, encoder, raw)
        return logged_model.save_and_check(
            recorder,
            save=lambda folder: save.save_onnx_model(
                folder,
                graph=graph,
                encoder=encoder,
                raw=to_client_input(data.raw(logged_model.sample_rows(split).inputs), encoder),
                predictions=expected,
                metadata=logged_model.metadata(
                    self.job.recipe, data, (self.output,) if self.threshold is not None else ()
                ),
                optional_columns=logged_model.columns_with_gaps(data),
            ),
            predict=lambda loaded: predict_raw(loaded, raw),
            expected=expected,
            score=lambda predictions: metrics.measure(split.targets, predictions, len(data.classes), 1.0),
            finish=lambda folder, answers: self._finish_folder(folder, answers, split),
        )

    def _finish_folder(self, folder: Path, answers: Array, split: Split) -> None:
        data = self.data
        logged_model.store_readings(folder, data)
        store_profile(
            folder,
            data,
            raw=data.raw,
            held_out=None,
            outputs=(self.output,),
            answers=answers,
            targets=split.targets,
        )

    def _params(self) -> dict[str, Any]:
        job, request = self.job, self.job.request
        return {
            "metric": self.objective.metric,
            "timeout_s": request.timeout_s,
            "families": ",".join(job.families),
            "featurize": request.featurize,
            "features": self.table.features.width,
            "seed": request.seed,
            **{name: value for name, value in job.values.items() if name in request.overrides},
            **{
                f"{family}.{name}": value
                for family, params in job.family_params.items()
                for name, value in params.items()
            },
        }

    def _keep_files(self, recorder: Recorder, leaderboard: Sequence[LeaderboardEntry]) -> None:
        """Keep the leaderboard and the journal with the run."""
        with recorder.artifact_path("leaderboard.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            names = list(leaderboard[0].metrics)
            writer.writerow(["model", "family", *names, "weight", "rounds", "seconds", "state", "why"])
            for entry in leaderboard:
                writer.writerow(
                    [
                        entry.model,
                        entry.family,
                        *(entry.metrics.get(name, "") for name in names),
                        round(entry.weight, 4),
                        entry.rounds,
                        round(entry.duration_s, 2),
                        entry.state,
                        entry.reason,
                    ]
                )
        recorder.log_artifact("leaderboard.csv")
        recorder.artifact_path(JOURNAL).write_bytes((recorder.journal.folder / JOURNAL).read_bytes())
        recorder.log_artifact(JOURNAL)

    def _keep_answers(self, recorder: Recorder, split_name: str, split: Split, predictions: Array) -> None:
        """Keep plots and a summary of the predictions with the run."""
        output = self.output
        synthetic = self.data.synthetic
        names = plot_answers(
            lambda name: recorder.artifact_path(f"plots/{name}"),
            output,
            split.targets,
            predictions,
            caption=report.caption_of(recorder, split_name, synthetic),
        )
        report.log_plots(recorder, (f"plots/{name}" for name in names))
        report.write_evaluation(
            recorder,
            [(output, split.targets, predictions)],
            split=split_name,
            rows=len(split),
            synthetic=synthetic,
            inputs_of=lambda rows: self.data.raw(split.take(rows).inputs),
        )
