"""What a search trains again and again, with other values each time: a recipe with its data, or a user's script."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mlctl.adapters.runlog.recorder import Recorder
from mlctl.adapters.search.messages import Executor, TrainTrial, TrialSetup
from mlctl.domain.tune import SearchListener
from mlctl.services.tuning.finalists import FinalValues
from mlctl.services.tuning.search_history import TrialTracker
from mlctl.services.tuning.trial_state import TrialState


@dataclass(frozen=True, kw_only=True)
class SearchContext:
    """The parts of a search that is running; `out_of_time` returns whether its time is up."""

    executor: Executor
    tracker: TrialTracker
    listener: SearchListener
    out_of_time: Callable[[], bool]


class TrialSource(Protocol):
    """Makes the trials of a search, its run, and its final model.

    Attributes:
        continues_trials: Whether a trial can go on from the weights of another one, as hyperband's trials do.
        trial_params: Parameters that the runs of all trials record.
        has_output: Whether trials print something that is kept in a file.
    """

    continues_trials: bool
    has_output: bool

    @property
    def trial_params(self) -> Mapping[str, Any]: ...  # noqa: D102 - above

    @property
    def train_trial(self) -> TrainTrial:
        """The function that trains a trial in a worker."""

    def make_setup(self) -> TrialSetup:
        """Return what all trials share."""

    def is_fork_safe(self) -> bool:
        """Return whether workers can be forks of this process."""

    def create_run(self, listener: SearchListener, tags: Mapping[str, str]) -> Recorder:
        """Create the search's run with these tags, and describe what it is made from."""

    def nested_run_tags(self) -> Mapping[str, Any]:
        """Return the tags of the run of each trial."""

    def choose_final_values(self, ranked: Sequence[TrialState], context: SearchContext) -> FinalValues:
        """Return the values of the final model; `ranked` are the trials, best first."""

    def train_final_model(
        self, recorder: Recorder, final: FinalValues, *, listener: SearchListener, started: float
    ) -> None:
        """Train the final model, and log it to the search's run; `started` is the monotonic time of its start."""
