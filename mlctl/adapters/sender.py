"""From a run's journal to the tracking store: each entry can be sent twice and counts once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import mlflow
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModelOutput,
    Metric,
    Param,
    RunTag,
)
from mlflow.models import Model
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from mlctl.adapters.conversion import HEARTBEAT
from mlctl.adapters.journal import Entry, Journal, write_atomically
from mlctl.adapters.tracking import Store
from mlctl.errors import MlctlError

MODEL_NAME = "model"
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 15.0
BEAT_S = 15.0
METRICS_AT_ONCE, PARAMS_AT_ONCE = 1000, 100  # what one MLflow request takes


class Sender:
    """Sends the entries of one run's journal, in order."""

    def __init__(self, store: Store, run_id: str, experiment_id: str, journal: Journal) -> None:
        self.store = store
        self.run_id = run_id
        self.experiment_id = experiment_id
        self.journal = journal
        self.model_id = self._noted_model()

    @property
    def client(self) -> mlflow.MlflowClient:
        """MLflow's client."""
        return self.store.client

    def send(self, entry: Entry) -> None:
        """Send one entry; raises an MlctlError where the store does not take it."""
        with self.store.asking():
            getattr(self, "_send_" + entry["kind"])(entry)

    def beat(self) -> None:
        """Tell the store that the run is alive."""
        with self.store.asking():
            self.client.set_tag(self.run_id, HEARTBEAT, f"{time.time():.0f}")

    def _send_params(self, entry: Entry) -> None:
        params = [Param(name, str(value)) for name, value in entry["values"].items()]
        for start in range(0, len(params), PARAMS_AT_ONCE):
            self.client.log_batch(self.run_id, params=params[start : start + PARAMS_AT_ONCE])

    def _send_tags(self, entry: Entry) -> None:
        self.client.log_batch(self.run_id, tags=[RunTag(name, str(v)) for name, v in entry["values"].items()])

    def _send_metrics(self, entry: Entry) -> None:
        model = self.model_id if entry.get("of_model") else None
        metrics = [
            Metric(
                name, value, entry["at"], entry["step"], model_id=model, run_id=self.run_id if model else None
            )
            for name, value in entry["values"].items()
        ]
        for start in range(0, len(metrics), METRICS_AT_ONCE):
            self.client.log_batch(self.run_id, metrics=metrics[start : start + METRICS_AT_ONCE])

    def _send_data(self, entry: Entry) -> None:
        dataset = Dataset(
            name=entry["name"],
            digest=entry["sha256"][:36],  # what MLflow's column holds; the whole is in a tag
            source_type="local",
            source=entry["source"],
            profile=entry["profile"],
        )
        inputs = [
            DatasetInput(dataset, [InputTag("mlflow.data.context", split)]) for split in entry["splits"]
        ]
        self.client.log_inputs(self.run_id, inputs)

    def _send_artifact(self, entry: Entry) -> None:
        path = Path(entry["path"])
        if not (self.journal.files / path).exists():
            return  # a checkpoint that a newer one has taken the place of
        folder = str(path.parent) if path.parent != Path() else None
        self.client.log_artifact(self.run_id, str(self.journal.files / path), folder)

    def _send_model(self, entry: Entry) -> None:
        if self.model_id is None:
            self.model_id = self._created_model(entry)
            write_atomically(self.journal.folder / "model_id", self.model_id.encode())
        self._name_owner()
        self.client.log_outputs(self.run_id, [LoggedModelOutput(self.model_id, step=entry["step"])])
        self.client.log_model_artifacts(self.model_id, str(self.journal.model))
        self.client.finalize_logged_model(self.model_id, "READY")
        self.client.set_tag(self.run_id, "mlctl.model_uri", f"models:/{self.model_id}")

    def _send_remove(self, entry: Entry) -> None:
        uri = self.client.get_run(self.run_id).info.artifact_uri
        get_artifact_repository(uri, tracking_uri=self.store.tracking_uri).delete_artifacts(entry["path"])

    def _send_resume(self, entry: Entry) -> None:
        self.client.update_run(self.run_id, status="RUNNING")

    def _send_finish(self, entry: Entry) -> None:
        self.client.set_terminated(self.run_id, entry["status"], entry["at"])

    def _noted_model(self) -> str | None:
        note = self.journal.folder / "model_id"
        return note.read_text() if note.exists() else None

    def _created_model(self, entry: Entry) -> str:
        """Return the run's logged model, made now unless a crash came between making and noting it."""
        found = self.client.search_logged_models(
            [self.experiment_id], f"source_run_id = '{self.run_id}' AND name = '{MODEL_NAME}'"
        )
        if found:
            return str(found[0].model_id)
        made = self.client.create_logged_model(
            self.experiment_id,
            MODEL_NAME,
            self.run_id,
            params={k: str(v) for k, v in entry["params"].items()},
        )
        return str(made.model_id)

    def _name_owner(self) -> None:
        """Write into MLmodel whose model this is, as MLflow's own logging does."""
        assert self.model_id is not None
        path = self.journal.model / "MLmodel"
        saved = Model.load(str(path))
        saved.run_id = self.run_id
        saved.model_id = saved.model_uuid = self.model_id
        saved.artifact_path = self.client.get_logged_model(self.model_id).artifact_location
        saved.save(str(path))


class BackgroundSender:
    """A thread that sends what is added to the journal, and tries again for as long as the run lasts.

    Between entries it leaves a heartbeat in the store: a run whose last beat is a minute old is dead.
    """

    def __init__(self, sender: Sender, on_trouble: Callable[[MlctlError], None]) -> None:
        self._sender = sender
        self._on_trouble = on_trouble
        self._wake = threading.Condition()
        journal = sender.journal
        self._pending: list[Entry] = list(journal.entries(journal.sent))  # what a killed process left
        self._count = journal.sent
        self._closing = False
        self._trouble_since: float | None = None
        self._next_beat = 0.0
        self._thread = threading.Thread(target=self._work, name="mlctl-sender", daemon=True)
        self._thread.start()

    def add(self, entry: Entry) -> None:
        """Have an entry sent, that the journal has already."""
        with self._wake:
            self._pending.append(entry)
            self._wake.notify()

    def finish(self, patience_s: float) -> int:
        """Wait until all is sent, or the store has been in trouble for `patience_s`; return what is unsent."""
        began = time.monotonic()
        with self._wake:
            self._closing = True
            self._wake.notify()
        while self._thread.is_alive():
            self._thread.join(0.05)
            if self._trouble_since and time.monotonic() - max(began, self._trouble_since) > patience_s:
                break
        return len(self._pending)

    def _work(self) -> None:
        pause = FIRST_PAUSE_S
        while True:
            with self._wake:
                while not self._pending and time.monotonic() < self._next_beat and not self._closing:
                    self._wake.wait(max(0.0, self._next_beat - time.monotonic()))
                if not self._pending and self._closing:
                    return
                entry = self._pending[0] if self._pending else None
            try:
                if time.monotonic() >= self._next_beat:
                    self._next_beat = time.monotonic() + BEAT_S
                    self._sender.beat()
                if entry is not None:
                    self._sender.send(entry)
            except MlctlError as error:
                if self._trouble_since is None:
                    self._trouble_since = time.monotonic()
                    self._on_trouble(error)
                with self._wake:
                    if not self._closing:
                        self._wake.wait(pause)
                time.sleep(FIRST_PAUSE_S)
                pause = min(2 * pause, LONGEST_PAUSE_S)
                continue
            self._trouble_since, pause = None, FIRST_PAUSE_S
            if entry is not None:
                with self._wake:
                    self._pending.pop(0)
                self._count += 1
                self._sender.journal.acknowledge(self._count)


def profile(splits: Mapping[str, int], rows: int) -> str:
    """Return the profile that MLflow shows of a data set."""
    parts = ", ".join(f'"{name}": {count}' for name, count in splits.items())
    return f'{{"num_rows": {rows}, {parts}}}'
