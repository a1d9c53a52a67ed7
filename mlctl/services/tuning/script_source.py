"""The trials of a search of a script's arguments."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlctl.adapters.keras import runtime
from mlctl.adapters.runlog.recorder import Recorder
from mlctl.adapters.scripts.execution import Program
from mlctl.adapters.search.messages import TrainTrial
from mlctl.domain.progress import NullProgress
from mlctl.domain.script import BEST
from mlctl.domain.script_flags import trial_arguments
from mlctl.domain.short_texts import list_some
from mlctl.domain.tags import OBJECTIVE_TAG
from mlctl.domain.tune import SearchListener
from mlctl.services.scripts.observer import ScriptObserver
from mlctl.services.scripts.record import ScriptRecord
from mlctl.services.scripts.script_run import run_recorded
from mlctl.services.training.resume_point import ResumePoint
from mlctl.services.tuning.finalists import FinalValues
from mlctl.services.tuning.request import ScriptJob
from mlctl.services.tuning.script_files import files_written, knows_its_trial
from mlctl.services.tuning.script_fork import can_fork, modules_of
from mlctl.services.tuning.script_setup import ScriptSetup
from mlctl.services.tuning.script_space import fixed_arguments
from mlctl.services.tuning.script_trial import train_script_trial
from mlctl.services.tuning.trial_source import SearchContext
from mlctl.services.tuning.trial_state import TrialState
from mlctl.settings import Settings

SHOWN_FILES = 3  # that several trials have written


class ScriptSource:
    """Runs a script with other arguments in each trial; see `TrialSource`."""

    continues_trials = False
    has_output = True

    def __init__(self, settings: Settings, job: ScriptJob, program: Program) -> None:
        self.settings = settings
        self.job = job
        self.program = program
        self._setup = ScriptSetup(
            script=job.script,
            flag_style=job.request.flag_style,
            fork=can_fork(program) and runtime.is_fork_safe(runtime.detect_hardware()),
        )

    @property
    def trial_params(self) -> Mapping[str, Any]:
        """The arguments that all trials have."""
        return {**fixed_arguments(self.job.script.arguments), **self.job.fixed}

    @property
    def train_trial(self) -> TrainTrial:
        """The function that runs a trial from a worker."""
        return train_script_trial

    def make_setup(self) -> ScriptSetup:
        """Return the script."""
        self._started_at = time.time()  # as the times of files
        return self._setup

    def is_fork_safe(self) -> bool:
        """Return whether trials can be forks of a process that has imported Keras."""
        return self._setup.fork

    def create_run(self, listener: SearchListener, tags: Mapping[str, str]) -> Recorder:
        """Create the search's run, and record the script and the modules that it imports from its folder."""
        record = ScriptRecord(self.settings, self.job.script, self.program, listener)
        tags = {**tags, OBJECTIVE_TAG: str(self.job.objective)}
        recorder = record.create(" ".join(["mlctl", *sys.argv[1:]]), tags)
        record.adopt(recorder)
        record.code_files = modules_of(self.program)
        record.describe_code()
        return recorder

    def nested_run_tags(self) -> Mapping[str, Any]:
        """Return the tags of the run of each trial."""
        record = ScriptRecord(self.settings, self.job.script, self.program, NullProgress())
        return {**record.source_tags("mlctl tune"), OBJECTIVE_TAG: str(self.job.objective)}

    def choose_final_values(self, ranked: Sequence[TrialState], context: SearchContext) -> FinalValues:
        """Return the values of the best trial."""
        self._warn_of_shared_files(context.listener)
        best = ranked[0]
        is_of_epochs = bool(best.best_epochs(self.job.objective))
        values = self.job.values_of_trial(best.values)
        self._epochs = int(best.values.get("tuner/epochs", 0))
        self._objective = str(self.job.objective) if is_of_epochs else None
        return FinalValues(trial=best.trial, values=values)

    def train_final_model(
        self, recorder: Recorder, final: FinalValues, *, listener: SearchListener, started: float
    ) -> None:
        """Run the script with the values of the best trial, and log its model.

        If an earlier process was interrupted in this, the training continues from its checkpoint.
        """
        script = self.job.script
        arguments = trial_arguments(script.arguments, final.values, style=self.job.request.flag_style)
        request = replace(
            script,
            arguments=arguments,
            objective=self._objective,
            epochs=self._epochs or script.epochs,
            keep=BEST,
        )
        point = ResumePoint(folder=recorder.journal.folder, header=recorder.journal.header)
        record = ScriptRecord(self.settings, request, self.program, listener, point)
        record.adopt(recorder)
        record.log_arguments()
        run_recorded(record, ScriptObserver(record=record), started)

    def _warn_of_shared_files(self, listener: SearchListener) -> None:
        """Say which files several trials at once have written: they may have read each other's."""
        if self.job.request.parallel == 1 or knows_its_trial(self.program, self.job.script.arguments):
            return
        if names := files_written(Path.cwd(), since=self._started_at):
            listener.message(
                f"trials that ran at once have written the same files: {list_some(names, SHOWN_FILES)};"
                " if the script reads them again, give each trial its own: {trial} in the script's arguments"
            )
