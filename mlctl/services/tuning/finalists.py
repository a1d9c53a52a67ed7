"""Choosing the values of the final model: the best trials are trained again, until validation loss stops improving.

This is done if the recipe has a test split of rows that are in memory, and neither the search nor a schedule has
set the number of epochs.
The final model is then trained on training and validation rows together, for 1.2 times the winner's best epoch:
there are more rows to learn from. Otherwise, the final model is trained as the best trial was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlctl.adapters.runlog.recorder import now_ms
from mlctl.adapters.search.messages import EpochEnded, Executor, TrialEnded, TrialFailed, TrialJob, WorkerLost
from mlctl.data.join_splits import can_join
from mlctl.domain.objective import Objective
from mlctl.domain.progress import Epoch, ProgressListener
from mlctl.domain.selection import Scored, choose
from mlctl.domain.tags import ERROR_TAG, STATE_TAG
from mlctl.domain.tune import DONE, FAILED, STOPPED
from mlctl.errors import ChildFailedError
from mlctl.services.recipes.prepare import PreparedData
from mlctl.services.tuning.request import RecipeJob
from mlctl.services.tuning.search_history import TrialTracker
from mlctl.services.tuning.search_loop import MAX_LOSSES, TIME_IS_UP
from mlctl.services.tuning.trial_state import TrialState

MAX_EPOCHS, PATIENCE = 100, 10
REFIT_EPOCHS_FACTOR = 1.2  # for training on training and validation rows together
VALIDATION_LOSS = Objective("val_loss", maximize=False)


@dataclass(frozen=True, kw_only=True)
class FinalValues:
    """The values of the final model.

    `epochs` is set if it is trained on training and validation rows, for so many epochs. `validation` then
    holds the metrics that these values reached before. `phase_epochs` are the epochs of each phase, up to the last
    one that is trained; empty if the recipe has no phases.
    """

    trial: str
    values: Mapping[str, Any]
    epochs: int | None = None
    phase_epochs: tuple[int, ...] = ()
    validation: Mapping[str, float] = field(default_factory=dict)


class Finalists:
    """The best trials, trained until their validation loss stops improving."""

    def __init__(
        self,
        job: RecipeJob,
        *,
        executor: Executor,
        tracker: TrialTracker,
        listener: ProgressListener,
        out_of_time: Callable[[], bool],
    ) -> None:
        """`out_of_time` returns whether the search's time is up: then finalists are not trained any further."""
        self.job = job
        self.executor = executor
        self.tracker = tracker
        self.listener = listener
        self.out_of_time = out_of_time
        self._cut = False  # time was up before they ended

    def choose(self, ranked: Sequence[TrialState], prepared: PreparedData) -> FinalValues:
        """Return the values of the final model; `ranked` are the trials, best first."""
        best = ranked[0]
        as_best_trial = FinalValues(trial=best.trial, values=self.job.values_of_trial(best.values))
        request = self.job.request
        retrain = (
            request.finalists
            and prepared.data.test is not None
            and prepared.data.validation is not None
            and can_join(prepared.data.train, prepared.data.validation)
            and "epochs" in self.job.fixed
            and as_best_trial.values["schedule"] == "constant"
        )
        if not retrain:
            return as_best_trial
        self._cut = self.out_of_time()
        finalists = {f"final-{state.trial}": state for state in ranked[: request.finalists]}
        curves: dict[str, list[Epoch]] = {}
        if not self._cut:
            self.listener.stage(
                f"training {len(finalists)} finalist(s) until the validation loss stops improving"
            )
            curves = self._train(finalists)
        if self._cut:
            self.listener.message(
                f"{TIME_IS_UP} before the finalists ended: the model is trained as the best trial was"
            )
            return as_best_trial
        return self._winner(finalists, curves)

    def _winner(
        self, finalists: Mapping[str, TrialState], curves: Mapping[str, Sequence[Epoch]]
    ) -> FinalValues:
        """Return the values of the best finalist, each at the epoch with its lowest validation loss."""
        candidates: list[FinalValues] = []
        scores: list[Scored] = []
        objective = self.job.objective
        for name, state in finalists.items():
            epochs = [epoch for epoch in curves[name] if math.isfinite(epoch.metrics["val_loss"])]
            if not epochs:
                continue
            best = min(epochs, key=lambda epoch: epoch.metrics["val_loss"])
            total = math.ceil(REFIT_EPOCHS_FACTOR * best.number)
            candidate = FinalValues(
                trial=state.trial,
                values=self.job.values_of_trial(state.values),
                epochs=total,
                phase_epochs=_epochs_by_phase(curves[name][: best.number], total),
                validation=best.metrics,
            )
            candidates.append(candidate)
            scores.append(Scored.of(best.metrics, objective, best.validation_rows))
        if not candidates:
            raise ChildFailedError("every finalist failed", "mlctl runs list shows why")
        return candidates[choose(scores, objective)]

    def _train(self, finalists: Mapping[str, TrialState]) -> dict[str, list[Epoch]]:
        """Train finalists when the search's executor has a free slot; return the epochs of each."""
        curves: dict[str, list[Epoch]] = {name: [] for name in finalists}
        waiting, running, attempts = list(finalists), set[str](), dict.fromkeys(finalists, 0)
        while running or (waiting and not self._cut):
            while waiting and not self._cut and self.executor.free_slots():
                name = waiting.pop(0)
                attempts[name] += 1
                curves[name] = []
                running.add(name)
                self._start(name, attempts[name], finalists[name])
            for event in self.executor.events(0.5):
                name = event.trial
                if isinstance(event, EpochEnded):
                    curves[name].append(event.epoch)
                    self.tracker.epoch(name, event.epoch.number, event.epoch.metrics, now_ms())
                    self._cut = self._cut or self.out_of_time()
                    self.executor.answer(name, not self._cut)
                    continue
                running.discard(name)
                if isinstance(event, WorkerLost) and attempts[name] < MAX_LOSSES:
                    waiting.append(name)
                    continue
                if self._end(name, event):
                    curves[name] = []
        return curves

    def _start(self, name: str, attempt: int, state: TrialState) -> None:
        values = self.job.values_of_trial(state.values)
        if self.job.phase_epochs is None:
            values["epochs"] = MAX_EPOCHS
        self.tracker.begin(name, values, now_ms())
        self.executor.start(
            TrialJob(
                trial=name,
                attempt=attempt,
                values=values,
                objective=VALIDATION_LOSS,
                epochs=MAX_EPOCHS,
                seed=self.job.request.seed,
                waits=True,
                patience=PATIENCE,
            )
        )

    def _end(self, name: str, event: TrialEnded | TrialFailed | WorkerLost) -> bool:
        """End a finalist's run; return whether it failed."""
        match event:
            case TrialEnded():
                state, error = STOPPED if self._cut else DONE, ""
            case TrialFailed():
                state, error = FAILED, event.error
            case WorkerLost():
                state, error = FAILED, event.reason
        tags = {STATE_TAG: state, **({ERROR_TAG: error} if error else {})}
        self.tracker.end(name, "FAILED" if error else "FINISHED", {}, tags, now_ms())
        return bool(error)


def _epochs_by_phase(epochs: Sequence[Epoch], total: int) -> tuple[int, ...]:
    """Return the epochs of each phase, as these epochs have them, with `total` in all; empty without phases."""
    phases = [int(epoch.metrics["phase"]) for epoch in epochs if "phase" in epoch.metrics]
    counts = [phases.count(number) for number in range(1, max(phases, default=0) + 1)]
    return (*counts[:-1], total - sum(counts[:-1])) if counts else ()
