"""What a script logs to MLflow in a trial of a search: kept in a folder of this process, and read at its end."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlctl import settings
from mlctl.adapters.runlog.script_calls import ModelRequest
from mlctl.adapters.scripts.execution import Program
from mlctl.domain.progress import NullProgress
from mlctl.domain.script import ScriptRequest
from mlctl.services.scripts.record import ScriptRecord

if TYPE_CHECKING:
    from mlctl.adapters.runlog.recorder import Recorder


class PrintedMessages(NullProgress):
    """A ProgressListener that prints messages: they are part of the trial's output."""

    def message(self, text: str) -> None:
        """Print it."""
        print(f"mlctl: {text}")


class TrialRecord(ScriptRecord):
    """A run that exists in a folder only, with the stores that the script asks for, and ends with the process.

    The search records the trial's run. Nothing that the script logs, registers or chooses reaches a real store.
    """

    def __init__(
        self, script: ScriptRequest, program: Program, folder: Path, last_model: Callable[[], Any]
    ) -> None:
        """`last_model` returns the model that the script has trained last, or None."""
        loaded = settings.load({"tracking_uri": f"sqlite:///{folder}/mlflow.db", "experiment": script.name})
        super().__init__(
            dataclasses.replace(loaded, state_dir=folder),
            dataclasses.replace(script, offline=True, parent=None),
            program,
            PrintedMessages(),
        )
        self.last_model = last_model

    def has_model_to_log(self, model: Any) -> bool:
        """Return True: each model that the script logs is saved in the folder."""
        return (model if model is not None else self.last_model()) is not None

    def has_no_model(self) -> bool:
        """Return whether the script has trained no model."""
        return self.last_model() is None

    def log_model(self, request: ModelRequest) -> bool:
        """Save a model in the folder, where the script finds it; return True."""
        from mlctl.adapters.models.plain_save import save_plain

        model = request.model if request.model is not None else self.last_model()
        save_plain(model, self.recorder.journal.model)
        return True

    def metrics(self) -> dict[str, float]:
        """Return the last value of each metric that the script has logged."""
        if not self.is_open:
            return {}
        found: dict[str, float] = {}
        for entry in self.recorder.journal.entries():
            if entry["kind"] == "points":
                found.update({name: value for name, value, _, _ in entry["points"]})
            elif entry["kind"] == "metrics":
                found.update(entry["values"])
        return found

    def _create(self) -> Recorder:
        from mlctl.adapters.runlog.recorder import Recorder

        return Recorder.create(
            self.store,
            experiment=self.experiment,
            run_name=self.run_name,
            tags=self.chosen_tags,
            state_dir=self.settings.state_dir,
            listener=self.listener,
            offline=True,
        )
