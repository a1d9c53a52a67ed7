"""From a run's journal to the tracking store: each entry can be sent twice and counts once."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import mlflow
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModel,
    LoggedModelOutput,
    Metric,
    Param,
    RunTag,
)
from mlflow.models import Model
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from mlctl.adapters.runlog.journal import Entry, Journal, write_atomically
from mlctl.adapters.tracking.health import check_reachable
from mlctl.adapters.tracking.heartbeat import HEARTBEAT, beat
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.errors import MlctlError, UnreachableError, UsageError
from mlctl.settings import masked

MODEL_NAME = "model"
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 15.0
BEAT_S = 15.0
TOLD_EVERY_S = 60.0  # a server that comes and goes is not told of each time
METRICS_AT_ONCE, PARAMS_AT_ONCE = 1000, 100  # what one MLflow request takes


class Sender:
    """Sends the entries of one run's journal, in order."""

    def __init__(self, store: TrackingStore, run_id: str, experiment_id: str, journal: Journal) -> None:
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
        try:
            with self.store.making():  # tried again here, where it is known what must not count twice
                getattr(self, "_send_" + entry["kind"])(entry)
        except OSError as exc:  # a local artifact folder, or what of the record is to be uploaded
            raise UnreachableError(
                f"{entry['kind']} cannot be sent to {masked(self.store.tracking_uri)}: {exc}",
                "try again: mlctl sync",
            ) from exc

    def beat(self) -> None:
        """Tell the store that the run is alive."""
        with self.store.asking():
            self.client.set_tag(self.run_id, HEARTBEAT, beat())

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
        # one input: the store keeps the first context alone where a data set is logged for each of its splits
        context = InputTag("mlflow.data.context", ", ".join(entry["splits"]))
        self.client.log_inputs(self.run_id, [DatasetInput(dataset, [context])])

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
        outputs = self.client.get_run(self.run_id).outputs  # MLflow fails where one is logged twice
        if self.model_id not in {one.model_id for one in (outputs.model_outputs if outputs else [])}:
            self.client.log_outputs(self.run_id, [LoggedModelOutput(self.model_id, step=entry["step"])])
        self.client.log_model_artifacts(self.model_id, str(self.journal.model))
        self.client.finalize_logged_model(self.model_id, "READY")
        for other in self._models():
            if other.model_id != self.model_id and str(other.status) == "PENDING":
                self.client.delete_logged_model(other.model_id)  # asked for by a request that had timed out
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
        if found := self._models():
            return str(found[0].model_id)
        made = self.client.create_logged_model(
            self.experiment_id,
            MODEL_NAME,
            self.run_id,
            params={k: str(v) for k, v in entry["params"].items()},
        )
        return str(made.model_id)

    def _models(self) -> list[LoggedModel]:
        said = f"source_run_id = '{self.run_id}' AND name = '{MODEL_NAME}'"
        return list(self.client.search_logged_models([self.experiment_id], said))

    def _name_owner(self) -> None:
        """Write into MLmodel whose model this is, as MLflow's own logging does."""
        assert self.model_id is not None
        path = self.journal.model / "MLmodel"
        saved = Model.load(str(path))
        saved.run_id = self.run_id
        saved.model_id = saved.model_uuid = self.model_id
        saved.artifact_path = self.client.get_logged_model(self.model_id).artifact_location
        write_atomically(path, saved.to_yaml().encode())  # the training may be reading it


class BackgroundSender:
    """A thread that sends what is added to the journal, and tries again for as long as the run lasts.

    A second one leaves a heartbeat in the store, however long an upload takes: a run whose last beat is a
    minute old is dead.
    """

    def __init__(self, sender: Sender, say: Callable[[str], None]) -> None:
        self.sender = sender
        self._say = say
        self._wake = threading.Condition()
        self._done = sender.journal.sent
        self._written = self._done + sum(1 for _ in sender.journal.entries(self._done))
        self._closing = False
        self._left = threading.Event()  # nobody waits any longer
        self._trouble = False
        self._told_at = float("-inf")
        self._thread = threading.Thread(target=self._work, name="mlctl-sender", daemon=True)
        self._thread.start()
        threading.Thread(target=self._beat, name="mlctl-heartbeat", daemon=True).start()

    def added(self) -> None:
        """Have an entry sent that the journal has taken."""
        with self._wake:
            self._written += 1
            self._wake.notify()

    def finish(self, patience_s: float) -> int:
        """Wait until all is sent; give up on a store that has not answered for `patience_s`.

        Return how many entries are unsent.
        """
        with self._wake:
            self._closing = True
            self._wake.notify()
        done, since = self._done, time.monotonic()
        while self._thread.is_alive():
            self._thread.join(0.05)
            if self._done != done:
                done, since = self._done, time.monotonic()
            if time.monotonic() - since > patience_s and (self._trouble or not self._answers()):
                break
        self._left.set()
        return sum(1 for _ in self.sender.journal.entries(self._done))

    def _answers(self) -> bool:
        """Whether the store is there: an upload may take long, and a server that hangs looks the same."""
        try:
            check_reachable(self.sender.store.tracking_uri)
        except MlctlError:
            return False
        return True

    def _work(self) -> None:
        entries = self._entries()
        pause = FIRST_PAUSE_S
        for entry in entries:
            while not self._left.is_set() and not self._sent(entry):
                with self._wake:
                    if not self._closing:
                        self._wake.wait(pause)
                self._left.wait(FIRST_PAUSE_S)
                pause = min(2 * pause, LONGEST_PAUSE_S)
            if self._left.is_set():
                return
            pause, self._trouble = FIRST_PAUSE_S, False
            self._done += 1
            self.sender.journal.acknowledge(self._done)

    def _entries(self) -> Iterator[Entry]:
        """Yield what is not sent yet, and wait for more until the run ends."""
        while True:
            with self._wake:
                while self._done >= self._written and not self._closing:
                    self._wake.wait()
                closing = self._closing
            yield from self.sender.journal.entries(self._done)
            if closing:
                return

    def _sent(self, entry: Entry) -> bool:
        try:
            self.sender.send(entry)
        except UsageError as error:  # it will never be taken, and what comes after it must not wait
            self._say(f"the store refuses some {entry['kind']} of this run: {error.message}")
        except MlctlError as error:
            new, self._trouble = not self._trouble, True
            if new and time.monotonic() - self._told_at > TOLD_EVERY_S:
                self._told_at = time.monotonic()
                self._say(f"{error.message}; training goes on, and mlctl tries again")
            return False
        return True

    def _beat(self) -> None:
        while not self._left.is_set() and self._thread.is_alive():
            with contextlib.suppress(MlctlError):  # the sender tells of outages
                self.sender.beat()
            self._left.wait(BEAT_S)


def profile(splits: Mapping[str, int], rows: int) -> str:
    """Return the profile that MLflow shows of a data set."""
    parts = ", ".join(f'"{name}": {count}' for name, count in splits.items())
    return f'{{"num_rows": {rows}, {parts}}}'
