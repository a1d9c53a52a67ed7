"""The trials of a search of a recipe's values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mlctl.adapters.keras import runtime
from mlctl.adapters.runlog.recorder import Recorder
from mlctl.adapters.search.messages import SearchSetup, TrainTrial
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.tune import SearchListener
from mlctl.services.recipes.prepare import PreparedData
from mlctl.services.training.run_setup import RunSetup
from mlctl.services.tuning.final_training import FinalTraining
from mlctl.services.tuning.finalists import Finalists, FinalValues
from mlctl.services.tuning.request import RecipeJob
from mlctl.services.tuning.trial import train_trial
from mlctl.services.tuning.trial_data import DataRequest, make_setup
from mlctl.services.tuning.trial_source import SearchContext
from mlctl.services.tuning.trial_state import TrialState
from mlctl.settings import Settings


class RecipeSource:
    """Trains a recipe on its data; see `TrialSource`."""

    continues_trials = True
    has_output = False
    trial_params: Mapping[str, Any] = {}

    def __init__(
        self, settings: Settings, store: TrackingStore, job: RecipeJob, prepared: PreparedData
    ) -> None:
        self.settings = settings
        self.job = job
        self.prepared = prepared
        self.setup = RunSetup(
            settings=settings,
            store=store,
            request=job.request.train_request(),
            prepared=prepared,
            objective=job.objective,
        )

    @property
    def train_trial(self) -> TrainTrial:
        """The function that trains a trial in a worker."""
        return train_trial

    def make_setup(self) -> SearchSetup:
        """Return the encoded data."""
        request = self.job.request
        return make_setup(
            self.prepared,
            source=request.source,
            precision=self.setup.precision,
            request=DataRequest(
                # without the store's address, which may have a password, and workers do not need
                settings=replace(self.settings, tracking_uri="", bucket=None, sources={}),
                overrides=request.overrides,
                own_data=self.job.resolved.own_data,
                data=request.data,
                rows=request.rows,
            ),
        )

    def is_fork_safe(self) -> bool:
        """Return whether this process may fork: it has run no TensorFlow operation."""
        return runtime.is_fork_safe(self.setup.hardware)

    def create_run(self, listener: SearchListener, tags: Mapping[str, str]) -> Recorder:
        """Create the search's run, and describe recipe, data and machine."""
        recorder = self.setup.create_run(listener, tags)
        self.setup.describe(recorder)
        return recorder

    def nested_run_tags(self) -> Mapping[str, Any]:
        """Return the tags of the run of each trial."""
        return self.setup.nested_run_tags("mlctl tune")

    def choose_final_values(self, ranked: Sequence[TrialState], context: SearchContext) -> FinalValues:
        """Return the values of the best trial, or of the best of several that were trained longer."""
        finalists = Finalists(
            self.job,
            executor=context.executor,
            tracker=context.tracker,
            listener=context.listener,
            out_of_time=context.out_of_time,
        )
        return finalists.choose(ranked, self.prepared)

    def train_final_model(
        self, recorder: Recorder, final: FinalValues, *, listener: SearchListener, started: float
    ) -> None:
        """Train the final model."""
        training = FinalTraining(self.setup, listener, final)
        training.started = started
        training.train_into(recorder)
