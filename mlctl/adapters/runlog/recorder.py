"""Record a run: every value is written to the journal first, and sent from there to the store in the background."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shutil
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlctl.adapters.runlog import mlflow_calls, trial_runs
from mlctl.adapters.runlog.journal import Journal, unwritable_state_error
from mlctl.adapters.runlog.json_lines import Entry
from mlctl.adapters.runlog.mlflow_calls import Point
from mlctl.adapters.runlog.outbox import BackgroundSender
from mlctl.adapters.runlog.run_sender import RunSender, profile
from mlctl.adapters.runlog.stop_watch import StopWatch
from mlctl.adapters.system import system_metrics
from mlctl.adapters.tracking.artifact_access import require_artifact_access
from mlctl.adapters.tracking.health import check_reachable
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.heartbeat import HEARTBEAT, current_heartbeat
from mlctl.domain.metric_names import RESULTS_STEP, SYSTEM_PREFIX, recordable_names, with_recordable_names
from mlctl.domain.progress import ProgressListener
from mlctl.domain.run import DataReference
from mlctl.domain.stop_request import StopRequest
from mlctl.domain.tags import ERROR_TAG, RECIPE_TAG
from mlctl.errors import MlctlError, UsageError

PATIENCE_S = 10.0  # how long the end of a run waits for a store that does not answer
LOCAL_ID = "mlctl.local_id"  # the tag by which the run of an offline record is found
MAX_ERROR_LENGTH = 500


class Recorder:
    """Records one run.

    What a killed process has recorded is not recorded twice: a metric has one value per step.

    Attributes:
        author: What the user has written, in words.
    """

    author = "recipe"

    def __init__(
        self,
        journal: Journal,
        store: TrackingStore | None,
        listener: ProgressListener,
        known: Iterable[tuple[str, int]] = (),
        past_tags: Mapping[str, str] | None = None,
    ) -> None:
        """Continue a journal.

        Args:
            journal: The run's record.
            store: Store to send it to; None for an offline run.
            listener: Reports outages.
            known: (metric, step) of values that the store has already.
            past_tags: The run's tags before it was resumed: a request to stop in them has been answered.
        """
        self.journal = journal
        self._listener = listener
        self._lock = threading.Lock()
        self._known = {*known, *_recorded_metrics(journal.entries())}
        self._known_before = frozenset(self._known)  # by an earlier process
        self._own_metrics: set[str] = set()
        self._results = _recorded_results(journal.entries())
        self._params = _recorded_params(journal.entries())
        self._sender: RunSender | None = None
        self._background: BackgroundSender | None = None
        self._stop_watch: StopWatch | None = None
        self._past_tags = past_tags
        header = journal.header
        self.run_id = header.get("run_id") or journal.folder.name
        self._system_step = 1 + max(
            (step for name, step in self._known if name.startswith(SYSTEM_PREFIX)), default=-1
        )
        self._system = system_metrics.start(self._log_system)
        if store is not None:
            self._start_sender(store)
        mlflow_calls.calls.attach(self, header["tracking_uri"])

    @classmethod
    def create(
        cls,
        store: TrackingStore,
        *,
        experiment: str,
        run_name: str | None,
        tags: Mapping[str, str],
        state_dir: Path,
        listener: ProgressListener,
        offline: bool = False,
    ) -> Recorder:
        """Create a run and its record; `offline` creates the record only.

        Raises UnreachableError and ConfigurationError if the store or the record cannot be written.
        """
        header: dict[str, Any] = {
            "tracking_uri": store.tracking_uri,
            "experiment": experiment,
            "run_name": run_name,
            # with a heartbeat, because a run that dies before it sends one must become LOST
            "tags": {**tags, HEARTBEAT: current_heartbeat()},
            "began": now_ms(),
            "host": socket.gethostname(),
        }
        if offline:
            journal = Journal(state_dir / "runs" / uuid.uuid4().hex)
            journal.update_header(**header)
            return cls(journal, None, listener)
        require_writable(state_dir)  # do not create a run that cannot be recorded
        header |= create_run(store, header, state_dir)
        journal = Journal(state_dir / "runs" / header["run_id"])
        journal.update_header(**header)
        return cls(journal, store, listener)

    @classmethod
    def reopen(
        cls,
        folder: Path,
        store: TrackingStore,
        *,
        header: Mapping[str, Any],
        listener: ProgressListener,
        known: Iterable[tuple[str, int]] = (),
    ) -> Recorder:
        """Continue a run: with its journal if there is one in `folder`, else with a new journal.

        Args:
            folder: Record of the run.
            store: Store in which the run was found; new entries are sent to it.
            header: Header of the record. Without a run id, the run is offline.
            listener: Reports outages.
            known: (metric, step) of values that the store has already.
        """
        is_offline, past_tags = not header.get("run_id"), None
        if not is_offline:
            header = {**header, "tracking_uri": store.tracking_uri}
            with store.translate_errors():
                experiment = store.mlflow_client.get_experiment(header["experiment_id"])
            require_artifact_access(
                store.tracking_uri,
                experiment=experiment.name,
                artifact_location=experiment.artifact_location,
                state_dir=folder.parents[1],
            )
            with store.translate_errors():
                past_tags = store.client.get_run(header["run_id"]).data.tags
        journal = Journal(folder)
        journal.update_header(**header)
        recorder = cls(journal, None if is_offline else store, listener, known, past_tags)
        recorder._add({"kind": "resume", "at": now_ms()})
        return recorder

    def move(self, store: TrackingStore, *, experiment: str, run_name: str | None) -> None:
        """Create the run anew, in another store or experiment, with all that is recorded; delete the one so far.

        A script may choose them after it has trained. Raises as `create` does; the run stays as it is then.
        """
        header = {
            **self.journal.header,
            "tracking_uri": store.tracking_uri,
            "experiment": experiment,
            "run_name": run_name,
        }
        old, background = self._sender, self._background
        if old is None or background is None:  # offline: it is created when it is sent
            self.journal.update_header(**header)
            return
        header |= create_run(store, header, self.journal.folder.parents[1])
        with self._lock:
            background.stop()
            self.journal.update_header(**header)
            self.journal.acknowledge(0)
            for file in self.journal.folder.glob("model_id*"):
                file.unlink()
            self.run_id = header["run_id"]
            self._start_sender(store)
        mlflow_calls.calls.attach(self, header["tracking_uri"])
        with contextlib.suppress(MlctlError), old.store.translate_errors():
            old.client.delete_run(old.run_id)

    def drain(self) -> bool:
        """Wait until the store has everything; return False if it does not answer, or if the run is offline."""
        return self._background is not None and self._background.drain(PATIENCE_S)

    def rename(self, name: str) -> None:
        """Give the run another name."""
        self.journal.update_header(run_name=name)
        self.set_tags({"mlflow.runName": name})

    @property
    def stop_request(self) -> StopRequest | None:
        """Who has asked the run to stop, if anybody has."""
        return self._stop_watch.request if self._stop_watch else None

    @property
    def trial_stop_requests(self) -> Mapping[str, StopRequest]:
        """Who has asked which trials of this search to stop."""
        return self._stop_watch.trials if self._stop_watch else {}

    @property
    def model_uri(self) -> str | None:
        """The URI of the logged model, as soon as the store has it."""
        model_id = self._sender.model_id if self._sender else None
        return f"models:/{model_id}" if model_id else None

    @property
    def params(self) -> Mapping[str, str]:
        """The parameters that are recorded so far."""
        return self._params

    def log_params(self, values: Mapping[str, Any]) -> None:
        """Record parameters; MLflow does not let one change that the run has."""
        texts = {name: str(value) for name, value in values.items()}
        for name in [name for name, text in texts.items() if self._params.get(name, text) != text]:
            text = texts.pop(name)
            if not _is_same(text, self._params[name]):
                self._listener.message(
                    f"the run keeps the parameter {name} as the {self.author} logged it, {self._params[name]}:"
                    f" mlctl would record {text}"
                )
        self._add({"kind": "params", "values": texts})
        self._params.update(texts)
        mlflow_calls.calls.flush(metrics=False)

    def describe(self, text: str) -> None:
        """Record the description of the run; one that a person has written in the store stays."""
        self._add({"kind": "note", "text": text})

    def set_tags(self, values: Mapping[str, Any]) -> None:
        """Record tags."""
        self._add({"kind": "tags", "values": {name: str(value) for name, value in values.items()}})

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Record metrics at a step."""
        values = with_recordable_names(values)
        self._log({name: value for name, value in values.items() if (name, step) not in self._known}, step)
        self._own_metrics.update(values)
        mlflow_calls.calls.flush()

    def log_results(self, values: Mapping[str, float], *, of_model: bool = True) -> None:
        """Record what the model reached, in place of what was recorded before; `of_model` attaches it to the model.

        MLflow's charts draw a metric whose newest value is at step 0 as a bar, and any other one as a curve, which
        would be a single dot here.
        """
        values = with_recordable_names(values)
        self._log(
            {name: value for name, value in values.items() if self._results.get(name) != value},
            RESULTS_STEP,
            of_model=of_model,
        )
        self._results.update(values)
        self._own_metrics.update(values)
        mlflow_calls.calls.flush()

    def note_running_epoch(self, text: str) -> None:
        """Tell the store with the next heartbeat how far the running epoch is; "" if none runs. It is not recorded."""
        if self._sender is not None:
            self._sender.running_epoch = text

    def log_user_params(self, values: Mapping[str, str]) -> None:
        """Record parameters that the recipe logs through MLflow; those of mlctl keep their values."""
        new = {name: value for name, value in values.items() if name not in self._params}
        for name in values.keys() - new.keys():
            if not _is_same(values[name], self._params[name]):
                self._listener.message(
                    f"the {self.author} logs the parameter {name} as {values[name]},"
                    f" which the run has as {self._params[name]}"
                )
        if new:
            self.log_params(new)

    def log_user_metrics(self, points: Sequence[Point]) -> None:
        """Record points of metrics that the recipe logs through MLflow, except of metrics that mlctl records."""
        self._close_system_for(points)
        names = recordable_names(sorted({name for name, *_ in points}))
        new = [
            [names[name], value, step, at]
            for name, value, step, at in points
            if names[name] not in self._own_metrics and (names[name], step) not in self._known_before
        ]
        if new:
            self._add({"kind": "points", "points": new})

    def log_user_artifact(self, file: Path, path: str) -> None:
        """Record a copy of a file that the recipe logs through MLflow."""
        shutil.copy(file, self.artifact_path(path))
        self.log_artifact(path)

    def log_points(self, points: Sequence[Point]) -> None:
        """Record points of metrics; several of one name and step are several points, except over a resume."""
        self._close_system_for(points)
        new = [list(point) for point in points if (point[0], point[2]) not in self._known_before]
        if new:
            self._add({"kind": "points", "points": new})
            self._known.update((point[0], point[2]) for point in points)

    def log_inputs(self, datasets: Sequence[Mapping[str, Any]]) -> None:
        """Record datasets that a script logs: each with a `dataset`, as MLflow's dictionary, and `tags`, as pairs."""
        self._add({"kind": "inputs", "datasets": list(datasets)})

    def log_data(self, reference: DataReference) -> None:
        """Record the data of the run."""
        self._add(
            {
                "kind": "data",
                "name": reference.name,
                "sha256": reference.sha256,
                "source": json.dumps({"uri": reference.source}),
                "profile": profile(reference.splits, reference.rows),
                "splits": list(reference.splits),
            }
        )

    def artifact_path(self, path: str) -> Path:
        """Return the file to which an artifact must be written before `log_artifact` is called."""
        target = self.journal.files / path
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def log_artifact(self, path: str) -> None:
        """Record an artifact that was written to its `artifact_path`."""
        self._add({"kind": "artifact", "path": path})

    def replace_artifacts(self, files: Iterable[Path], folder: str) -> None:
        """Record copies of files as the artifacts of a folder, in place of those of the previous call."""
        previous = [path.name for path in (self.journal.files / folder).glob("*")]
        name = f"{now_ms()}"
        for file in files:
            path = f"{folder}/{name}/{file.name}"
            shutil.copy(file, self.artifact_path(path))
            self.log_artifact(path)
        for name in previous:
            self.delete_artifacts(f"{folder}/{name}")

    def delete_artifacts(self, path: str) -> None:
        """Delete an artifact folder."""
        shutil.rmtree(self.journal.files / path, ignore_errors=True)
        self._add({"kind": "remove", "path": path})

    def log_model(self, params: Mapping[str, Any], step: int, **given: Any) -> None:
        """Record the model folder, which was written to the journal's; it is named after the recipe or the script.

        `given` is what a script says of its model: `name`, `tags`, `model_type`, and its `source_run` if that is nested.
        """
        texts = {name: str(value) for name, value in params.items()}
        given = {"name": logged_model_name(self.journal.header["tags"].get(RECIPE_TAG, "")), **given}
        self._add({"kind": "model", "params": texts, "step": step, **given})

    def finish(self, status: str) -> int:
        """End the run; return how many entries the store has not taken.

        The record is kept if something is unsent, or if the run can be resumed.
        """
        mlflow_calls.calls.detach(self)
        self._close_system()
        if self._stop_watch:
            self._stop_watch.close()
        self._add({"kind": "finish", "status": status, "at": now_ms()})
        if self._background:
            self._background.finish(PATIENCE_S)
            unsent = self._background.unsent()
        else:
            unsent = sum(1 for _ in self.journal.entries())
        unsent += trial_runs.count_unsent(self.journal.folder)
        self.journal.close(remove=not unsent and status == "FINISHED")
        return unsent

    def fail(self, error: BaseException) -> None:
        """End the run as FAILED with its error; if the record cannot be written, tell only the store."""
        try:
            self.set_tags({ERROR_TAG: f"{type(error).__name__}: {error}"[:MAX_ERROR_LENGTH]})
            self.finish("FAILED")
        except MlctlError:
            with contextlib.suppress(MlctlError):
                if self._sender:
                    self._sender.send({"kind": "finish", "status": "FAILED", "at": now_ms()})

    def _start_sender(self, store: TrackingStore) -> None:
        header = self.journal.header
        self._sender = RunSender(store, header["run_id"], header["experiment_id"], self.journal)
        self._background = BackgroundSender(
            self.journal,
            self._send,
            check_reachable=lambda: check_reachable(store.tracking_uri),
            report_outage=self._report_outage,
            heartbeat=self._sender.send_heartbeat,
        )
        if self._stop_watch:
            self._stop_watch.close()
        self._stop_watch = StopWatch(store.tracking_uri, header["run_id"], self._past_tags)

    def _log_system(self, values: Mapping[str, float]) -> None:
        """Record what the run uses of its machine, as the next step."""
        at = now_ms()
        points = [[name, value, self._system_step, at] for name, value in values.items()]
        self._add({"kind": "points", "points": points})
        self._system_step += 1

    def _close_system_for(self, points: Sequence[Point]) -> None:
        """Record no system metrics if the user's code does, such as with MLflow's own monitor."""
        if any(name.startswith(SYSTEM_PREFIX) for name, *_ in points):
            self._close_system()

    def _close_system(self) -> None:
        if self._system is not None:
            self._system.close()
            self._system = None

    def _log(self, values: Mapping[str, float], step: int, *, of_model: bool = False) -> None:
        if values:
            self._add(
                {"kind": "metrics", "values": values, "step": step, "at": now_ms(), "of_model": of_model}
            )
            self._known.update((name, step) for name in values)

    def _add(self, entry: dict[str, Any]) -> None:
        with self._lock:  # checkpoints are shared from a thread of their own
            self.journal.add(entry)
            if self._background:
                self._background.notify()

    def _send(self, entry: Entry) -> None:
        assert self._sender is not None
        try:
            self._sender.send(entry)
        except UsageError as error:  # repeating does not help, and the following entries must not wait
            values = entry.get("values", {})
            if len(values) < 2:
                self._listener.message(f"the store refuses some {entry['kind']} of this run: {error.message}")
                return
            for name, value in values.items():  # one that is refused must not take the others with it
                self._send({**entry, "values": {name: value}})

    def _report_outage(self, error: MlctlError) -> None:
        self._listener.message(f"{error.message}; the training continues, and mlctl tries again")


def require_writable(state_dir: Path) -> None:
    """Raise ConfigurationError if runs cannot be recorded in this folder."""
    try:
        (state_dir / "runs").mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=state_dir / "runs").close()
    except OSError as exc:
        raise unwritable_state_error(state_dir, exc) from exc


def open_store(tracking_uri: str) -> TrackingStore:
    """Return a store to write to; raises UnreachableError and ConfigurationError if it does not answer."""
    store = TrackingStore(tracking_uri, create=True)
    store.check_reachable()
    return store


def create_run(store: TrackingStore, header: Mapping[str, Any], state_dir: Path) -> dict[str, str]:
    """Create a run, and its experiment if there is none; return their ids, and the run's name.

    If `mlflow run` has created a run for this process, that run is used. Raises RefusedError if this machine cannot
    write to the experiment's artifacts.
    """
    client = store.mlflow_client
    mlflow_run_id = os.environ.get("MLFLOW_RUN_ID")
    with store.without_retries():
        if mlflow_run_id:
            info = client.get_run(mlflow_run_id).info
            for name, value in header["tags"].items():
                if not name.startswith("mlflow."):  # MLflow knows who made the run, and from which project
                    client.set_tag(mlflow_run_id, name, value)
            return {
                "experiment_id": info.experiment_id,
                "run_id": mlflow_run_id,
                "run_name": info.run_name,
            }
        experiment = client.get_experiment_by_name(header["experiment"])
        if experiment:
            require_artifact_access(
                store.tracking_uri,
                experiment=experiment.name,
                artifact_location=experiment.artifact_location,
                state_dir=state_dir,
            )
            experiment_id = experiment.experiment_id
        else:
            experiment_id = client.create_experiment(header["experiment"])
        run = client.create_run(experiment_id, header["began"], header["tags"], header["run_name"])
    return {
        "experiment_id": str(experiment_id),
        "run_id": str(run.info.run_id),
        "run_name": str(run.info.run_name),
    }


def now_ms() -> int:
    """Return the time in MLflow's unit: milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def logged_model_name(name: str) -> str:
    """Return a name as MLflow takes it for a logged model."""
    return re.sub(r"[/:.%\"']", "_", name) or "model"


def _is_same(text: str, other: str) -> bool:
    """Return whether two texts of a parameter are the same value, such as 0.01 and its float32."""
    try:
        return math.isclose(float(text), float(other), rel_tol=1e-6)
    except ValueError:
        return text == other


def _recorded_metrics(entries: Iterable[Entry]) -> set[tuple[str, int]]:
    recorded: set[tuple[str, int]] = set()
    for entry in entries:
        if entry["kind"] == "metrics":
            recorded.update((name, entry["step"]) for name in entry["values"])
        elif entry["kind"] == "points":
            recorded.update((name, step) for name, _, step, _ in entry["points"])
    return recorded


def _recorded_results(entries: Iterable[Entry]) -> dict[str, float]:
    return {
        name: value
        for entry in entries
        if entry["kind"] == "metrics" and entry["step"] == RESULTS_STEP
        for name, value in entry["values"].items()
    }


def _recorded_params(entries: Iterable[Entry]) -> dict[str, str]:
    return {
        name: value
        for entry in entries
        if entry["kind"] == "params"
        for name, value in entry["values"].items()
    }
