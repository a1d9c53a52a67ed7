"""A listener that records the trials and messages of a search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mlctl.domain.objective import Objective
from mlctl.domain.progress import NullProgress
from mlctl.domain.tune import RunningTrial, Trial


@dataclass
class RecordingListener(NullProgress):
    """A SearchListener that records trials and messages."""

    ended_trials: list[Trial] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    def message(self, text: str) -> None:
        """Record it."""
        self.messages.append(text)

    def search_started(
        self,
        what: str,
        *,
        trials: int,
        parallel: int,
        objective: Objective,
        time_limit_s: float | None = None,
    ) -> None:
        """Ignore it."""

    def trials_updated(
        self, running: Sequence[RunningTrial], *, finished: int, stopped: int, best: float | None
    ) -> None:
        """Ignore it."""

    def trial_ended(self, trial: Trial, is_best: bool) -> None:
        """Record it."""
        self.ended_trials.append(trial)
