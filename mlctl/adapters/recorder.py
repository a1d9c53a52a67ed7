"""Writing a run: every value goes to the journal first, and from there to the store in the background."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlctl.adapters.journal import Journal, write_atomically
from mlctl.adapters.reach import reach
from mlctl.adapters.sender import BackgroundSender, Sender, profile
from mlctl.adapters.tracking import Store
from mlctl.domain import DataReference, Watcher
from mlctl.errors import MlctlError

PATIENCE_S = 10.0  # how long the end of a run waits for a store that does not answer


class Recorder:
    """One run being written."""

    def __init__(self, store: Store, run_id: str, experiment_id: str, folder: Path, watcher: Watcher) -> None:
        self.store = store
        self.run_id = run_id
        self.experiment_id = experiment_id
        self.journal = Journal(folder)
        self._watcher = watcher
        self._sender = BackgroundSender(Sender(store, run_id, experiment_id, self.journal), self._tell)

    @classmethod
    def begin(
        cls, tracking_uri: str, experiment: str, run_name: str | None, tags: Mapping[str, str], state: Path,
        watcher: Watcher,
    ) -> Recorder:  # fmt: skip
        """Create a run; raises UnreachableError and ConfigurationError where the store cannot take it."""
        reach(tracking_uri)
        store = Store(tracking_uri, create=True)
        with store.asking():
            found = store.client.get_experiment_by_name(experiment)
            experiment_id = found.experiment_id if found else store.client.create_experiment(experiment)
            run = store.client.create_run(experiment_id, tags=dict(tags), run_name=run_name)
        folder = state / "runs" / run.info.run_id
        recorder = cls(store, run.info.run_id, experiment_id, folder, watcher)
        about = {"tracking_uri": tracking_uri, "experiment_id": experiment_id, "run_id": run.info.run_id}
        write_atomically(folder / "run.json", json.dumps(about).encode())
        return recorder

    @classmethod
    def again(cls, tracking_uri: str, run_id: str, state: Path, watcher: Watcher) -> Recorder:
        """Go on writing a run that was interrupted: what its journal holds unsent is sent first."""
        reach(tracking_uri)
        store = Store(tracking_uri)
        with store.asking():
            experiment_id = store.client.get_run(run_id).info.experiment_id
            store.client.update_run(run_id, status="RUNNING")
        recorder = cls(store, run_id, experiment_id, state / "runs" / run_id, watcher)
        for entry in recorder.journal.entries(recorder.journal.sent):
            recorder._sender.add(entry)
        return recorder

    def params(self, values: Mapping[str, Any]) -> None:
        """Record parameters."""
        self._add({"kind": "params", "values": {name: str(value) for name, value in values.items()}})

    def tags(self, values: Mapping[str, Any]) -> None:
        """Record tags."""
        self._add({"kind": "tags", "values": {name: str(value) for name, value in values.items()}})

    def metrics(self, values: Mapping[str, float], step: int, of_model: bool = False) -> None:
        """Record metrics at a step; `of_model` says that they are what the logged model reached."""
        entry = {
            "kind": "metrics",
            "values": dict(values),
            "step": step,
            "at": now_ms(),
            "of_model": of_model,
        }
        self._add(entry)

    def data(self, reference: DataReference) -> None:
        """Record what data the run is made from."""
        self._add({
            "kind": "data",
            "name": reference.name,
            "sha256": reference.sha256,
            "source": json.dumps({"uri": reference.source}),
            "profile": profile(reference.splits, reference.rows),
            "splits": list(reference.splits),
        })  # fmt: skip

    def artifact(self, path: str) -> Path:
        """Return where an artifact is to be written; `keep` it once it is there."""
        target = self.journal.files / path
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def keep(self, path: str) -> None:
        """Record an artifact that was written where `artifact` said."""
        self._add({"kind": "artifact", "path": path})

    def model(self, params: Mapping[str, Any], step: int) -> None:
        """Record the model folder, which lies in the journal's own."""
        self._add({"kind": "model", "params": {k: str(v) for k, v in params.items()}, "step": step})

    def finish(self, status: str, keep: bool = False) -> int:
        """End the run; return how many entries the store has not taken.

        The run's folder goes when the store has all of it, unless `keep` says that it is still wanted.
        """
        self._add({"kind": "finish", "status": status, "at": now_ms()})
        unsent = self._sender.finish(PATIENCE_S)
        self.journal.close()
        if not unsent and not keep:
            shutil.rmtree(self.journal.folder, ignore_errors=True)  # the store has it all
        return unsent

    def _add(self, entry: dict[str, Any]) -> None:
        self.journal.add(entry)
        self._sender.add(entry)

    def _tell(self, error: MlctlError) -> None:
        self._watcher.say(
            f"{error.message}; training goes on, and what is unsent is kept in {self.journal.folder}"
        )


def now_ms() -> int:
    """Return the time as MLflow has it: milliseconds since 1970."""
    return time.time_ns() // 1_000_000
