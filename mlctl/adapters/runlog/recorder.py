"""Writing a run: every value goes to the journal first, and from there to the store in the background."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mlctl.adapters.runlog import trial_runs
from mlctl.adapters.runlog.journal import Entry, Journal
from mlctl.adapters.runlog.outbox import BackgroundSender, Sender, profile
from mlctl.adapters.tracking.artifact_access import demand_reachable
from mlctl.adapters.tracking.health import check_reachable
from mlctl.adapters.tracking.heartbeat import HEARTBEAT, beat
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.progress import ProgressListener
from mlctl.domain.run import DataReference
from mlctl.errors import ConfigurationError, MlctlError

PATIENCE_S = 10.0  # how long the end of a run waits for a store that does not answer
LOCAL_ID = "mlctl.local_id"  # the tag that finds the run that an offline record became


class Recorder:
    """One run being written.

    Values that a killed process has recorded already are not recorded twice: a step has one point.
    """

    def __init__(
        self,
        journal: Journal,
        store: TrackingStore | None,
        listener: ProgressListener,
        known: Iterable[Any] = (),
    ) -> None:
        self.journal = journal
        self._adding = threading.Lock()
        self._known = {*known, *_known(journal.entries())}
        self._sender: BackgroundSender | None = None
        about = journal.about
        self.run_id = about.get("run_id") or journal.folder.name
        if store is not None:
            sender = Sender(store, about["run_id"], about["experiment_id"], journal)
            self._sender = BackgroundSender(sender, listener.message)

    @classmethod
    def begin(
        cls, tracking_uri: str, experiment: str, run_name: str | None, tags: Mapping[str, str], state: Path,
        listener: ProgressListener, offline: bool = False,
    ) -> Recorder:  # fmt: skip
        """Create a run; raises UnreachableError and ConfigurationError where the store cannot take it."""
        about: dict[str, Any] = {
            "tracking_uri": tracking_uri,
            "experiment": experiment,
            "run_name": run_name,
            "tags": {**tags, HEARTBEAT: beat()},  # one that dies before its first beat is LOST, too
            "began": now_ms(),
            "host": socket.gethostname(),
        }
        if offline:
            journal = Journal(state / "runs" / uuid.uuid4().hex)
            journal.describe(**about)
            return cls(journal, None, listener)
        check_writable(state)  # no run is made that cannot be recorded
        store = open_store(tracking_uri)
        about |= create_run(store, about, state)
        journal = Journal(state / "runs" / about["run_id"])
        journal.describe(**about)
        return cls(journal, store, listener)

    @classmethod
    def reopen(
        cls, folder: Path, listener: ProgressListener, about: Mapping[str, Any], tracking_uri: str,
        known: Iterable[Any] = (),
    ) -> Recorder:  # fmt: skip
        """Go on with a run: its journal's if it is here, else one that begins from what the store knows.

        `tracking_uri` is where the run was found; what is recorded from now on goes there.
        """
        store = None
        if about.get("run_id"):
            about = {**about, "tracking_uri": tracking_uri}
            store = open_store(tracking_uri)
            with store.asking():
                found = store.client.get_experiment(about["experiment_id"])
            demand_reachable(tracking_uri, found.name, found.artifact_location, folder.parents[1])
        journal = Journal(folder)
        journal.describe(**about)
        recorder = cls(journal, store, listener, known)
        recorder._add({"kind": "resume", "at": now_ms()})
        return recorder

    @property
    def model_uri(self) -> str | None:
        """The logged model, once the store has it."""
        model_id = self._sender.sender.model_id if self._sender else None
        return f"models:/{model_id}" if model_id else None

    def params(self, values: Mapping[str, Any]) -> None:
        """Record parameters."""
        self._add({"kind": "params", "values": {name: str(value) for name, value in values.items()}})

    def tags(self, values: Mapping[str, Any]) -> None:
        """Record tags."""
        self._add({"kind": "tags", "values": {name: str(value) for name, value in values.items()}})

    def metrics(self, values: Mapping[str, float], step: int, of_model: bool = False) -> None:
        """Record metrics at a step; `of_model` says that they are what the logged model reached."""
        new = {name: value for name, value in values.items() if (name, step) not in self._known}
        if new:
            self._add({"kind": "metrics", "values": new, "step": step, "at": now_ms(), "of_model": of_model})
            self._known.update((name, step) for name in new)

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

    def share(self, files: Iterable[Path], folder: str) -> None:
        """Record copies of files as the artifacts of a folder, in place of those shared there before."""
        before = [path.name for path in (self.journal.files / folder).glob("*")]
        name = f"{now_ms()}"
        for file in files:
            path = f"{folder}/{name}/{file.name}"
            shutil.copy(file, self.artifact(path))
            self.keep(path)
        for old in before:
            self.remove(f"{folder}/{old}")

    def remove(self, path: str) -> None:
        """Take an artifact folder away again."""
        shutil.rmtree(self.journal.files / path, ignore_errors=True)
        self._add({"kind": "remove", "path": path})

    def model(self, params: Mapping[str, Any], step: int) -> None:
        """Record the model folder, which lies in the journal's own."""
        self._add({"kind": "model", "params": {k: str(v) for k, v in params.items()}, "step": step})

    def finish(self, status: str) -> int:
        """End the run; return how many entries the store has not taken.

        The record stays where something is unsent, or where the run can be resumed.
        """
        self._add({"kind": "finish", "status": status, "at": now_ms()})
        unsent = self._sender.finish(PATIENCE_S) if self._sender else sum(1 for _ in self.journal.entries())
        unsent += trial_runs.waiting(self.journal.folder)
        self.journal.close(remove=not unsent and status == "FINISHED")  # the store has it all
        return unsent

    def fail(self, error: BaseException) -> None:
        """End the run as FAILED with what failed; where the record takes no more, the store is told alone."""
        try:
            self.tags({"mlctl.error": f"{type(error).__name__}: {error}"[:500]})
            self.finish("FAILED")
        except MlctlError:
            with contextlib.suppress(MlctlError):
                if self._sender:
                    self._sender.sender.send({"kind": "finish", "status": "FAILED", "at": now_ms()})

    def _add(self, entry: dict[str, Any]) -> None:
        with self._adding:  # checkpoints are shared from a thread of their own
            self.journal.add(entry)
            if self._sender:
                self._sender.added()


def check_writable(state: Path) -> None:
    """Raise ConfigurationError where runs cannot be recorded."""
    try:
        (state / "runs").mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=state / "runs").close()
    except OSError as exc:
        raise ConfigurationError(
            f"runs cannot be recorded in {state}: {exc.strerror}",
            "free it up, or name another place in MLCTL_STATE_DIR",
        ) from exc


def open_store(tracking_uri: str) -> TrackingStore:
    """Return a store to write to; raises UnreachableError and ConfigurationError where it cannot be."""
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # stdout is the answer's
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")  # a server may hand an upload on to its bucket
    check_reachable(tracking_uri)
    return TrackingStore(tracking_uri, create=True)


def create_run(store: TrackingStore, about: Mapping[str, Any], state: Path) -> dict[str, str]:
    """Create a run, and its experiment where there is none; return their ids.

    Raises RefusedError where the experiment's artifacts would not get to their place. A run that `mlflow run` has opened for this process is taken in its place.
    """
    opened = os.environ.get("MLFLOW_RUN_ID")
    with store.making():
        if opened:
            info = store.client.get_run(opened).info
            for name, value in about["tags"].items():
                if not name.startswith("mlflow."):  # who made it and from what project is MLflow's to say
                    store.client.set_tag(opened, name, value)
            return {"experiment_id": info.experiment_id, "run_id": opened}
        found = store.client.get_experiment_by_name(about["experiment"])
        if found:
            demand_reachable(store.tracking_uri, found.name, found.artifact_location, state)
        experiment_id = found.experiment_id if found else store.client.create_experiment(about["experiment"])
        run = store.client.create_run(experiment_id, about["began"], about["tags"], about["run_name"])
    return {"experiment_id": str(experiment_id), "run_id": str(run.info.run_id)}


def now_ms() -> int:
    """Return the time as MLflow has it: milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def _known(entries: Iterable[Entry]) -> set[tuple[str, int]]:
    metrics = (entry for entry in entries if entry["kind"] == "metrics")
    return {(name, entry["step"]) for entry in metrics for name in entry["values"]}
