"""Send a run's journal to the tracking store. Each entry can be sent twice and counts once."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
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

from mlctl.adapters.runlog.journal import Journal
from mlctl.adapters.runlog.json_lines import Entry
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.heartbeat import HEARTBEAT, current_heartbeat
from mlctl.domain.note import NOTE_TAG, may_replace
from mlctl.domain.tags import MODEL_URI_TAG, RUNNING_EPOCH_TAG
from mlctl.errors import NotFoundError, UnreachableError
from mlctl.files import write_atomically
from mlctl.settings import mask_passwords

MODEL_NAME = "model"
METRICS_BATCH_SIZE, PARAMS_BATCH_SIZE = 1000, 100  # the limits of one MLflow request
MAX_DIGEST_LENGTH = 36  # of MLflow's column; a tag has the whole digest


class RunSender:
    """Sends the entries of one run's journal, in order."""

    def __init__(self, store: TrackingStore, run_id: str, experiment_id: str, journal: Journal) -> None:
        self.store = store
        self.run_id = run_id
        self.experiment_id = experiment_id
        self.journal = journal
        files = sorted(journal.folder.glob("model_id*"), key=lambda file: file.stat().st_mtime)
        self.model_id = files[-1].read_text() if files else None
        self.running_epoch = ""  # what the store is told of the running epoch with the next heartbeat
        self._told_epoch = ""

    @property
    def client(self) -> mlflow.MlflowClient:
        """MLflow's client."""
        return self.store.mlflow_client

    def send(self, entry: Entry) -> None:
        """Send one entry; raises an MlctlError if the store does not take it."""
        try:
            with self.store.without_retries():  # the caller repeats the entry
                getattr(self, "_send_" + entry["kind"])(entry)
        except OSError as exc:  # a local artifact folder, or the file to be uploaded
            raise UnreachableError(
                f"cannot send {entry['kind']} to {mask_passwords(self.store.tracking_uri)}: {exc}",
                "try again: mlctl sync",
            ) from exc

    def send_heartbeat(self) -> None:
        """Tell the store that the run is alive, and how far a long epoch is."""
        with self.store.translate_errors():
            self.client.set_tag(self.run_id, HEARTBEAT, current_heartbeat())
            self._send_running_epoch(self.running_epoch)

    def _send_running_epoch(self, text: str) -> None:
        if text == self._told_epoch:
            return
        if text:
            self.client.set_tag(self.run_id, RUNNING_EPOCH_TAG, text)
        else:
            with (
                contextlib.suppress(NotFoundError),
                self.store.translate_errors(),
            ):  # a user may have deleted it
                self.client.delete_tag(self.run_id, RUNNING_EPOCH_TAG)
        self._told_epoch = text

    def _send_params(self, entry: Entry) -> None:
        params = [Param(name, str(value)) for name, value in entry["values"].items()]
        for start in range(0, len(params), PARAMS_BATCH_SIZE):
            self.client.log_batch(self.run_id, params=params[start : start + PARAMS_BATCH_SIZE])

    def _send_tags(self, entry: Entry) -> None:
        tags = [RunTag(name, str(value)) for name, value in entry["values"].items()]
        self.client.log_batch(self.run_id, tags=tags)

    def _send_note(self, entry: Entry) -> None:
        note = self.client.get_run(self.run_id).data.tags.get(NOTE_TAG, "")
        if may_replace(note) and note != entry["text"]:
            self.client.set_tag(self.run_id, NOTE_TAG, entry["text"])

    def _send_metrics(self, entry: Entry) -> None:
        model_id = self.model_id if entry.get("of_model") else None
        metrics = [
            Metric(
                name,
                value,
                entry["at"],
                entry["step"],
                model_id=model_id,
                run_id=self.run_id if model_id else None,
            )
            for name, value in entry["values"].items()
        ]
        for start in range(0, len(metrics), METRICS_BATCH_SIZE):
            self.client.log_batch(self.run_id, metrics=metrics[start : start + METRICS_BATCH_SIZE])

    def _send_points(self, entry: Entry) -> None:
        metrics = [Metric(name, value, at, step) for name, value, step, at in entry["points"]]
        for start in range(0, len(metrics), METRICS_BATCH_SIZE):
            self.client.log_batch(self.run_id, metrics=metrics[start : start + METRICS_BATCH_SIZE])

    def _send_data(self, entry: Entry) -> None:
        dataset = Dataset(
            name=entry["name"],
            digest=entry["sha256"][:MAX_DIGEST_LENGTH],
            source_type="local",
            source=entry["source"],
            profile=entry["profile"],
        )
        # one input for all splits: if a dataset is logged per split, the store keeps only the first context
        context = InputTag("mlflow.data.context", ", ".join(entry["splits"]))
        self.client.log_inputs(self.run_id, [DatasetInput(dataset, [context])])

    def _send_artifact(self, entry: Entry) -> None:
        path = Path(entry["path"])
        file = self.journal.files / path
        if file.exists():  # a newer checkpoint may have replaced it
            self.client.log_artifact(
                self.run_id, str(file), str(path.parent) if path.parent != Path() else None
            )

    def _send_inputs(self, entry: Entry) -> None:
        inputs = [
            DatasetInput(Dataset.from_dictionary(given["dataset"]), [InputTag(*tag) for tag in given["tags"]])
            for given in entry["datasets"]
        ]
        self.client.log_inputs(self.run_id, inputs)

    def _send_model(self, entry: Entry) -> None:
        name, source_run = entry.get("name", MODEL_NAME), entry.get("source_run", self.run_id)
        file = self._model_id_file(name)
        self.model_id = file.read_text() if file.exists() else self._find_or_create_model(entry, name)
        write_atomically(file, self.model_id.encode())
        self._write_ids_into_model(source_run)
        for run_id in {self.run_id, source_run}:
            outputs = self.client.get_run(run_id).outputs
            logged_ids = {output.model_id for output in (outputs.model_outputs if outputs else [])}
            if self.model_id not in logged_ids:  # MLflow refuses a model that is logged twice
                self.client.log_outputs(run_id, [LoggedModelOutput(self.model_id, step=entry["step"])])
        self.client.log_model_artifacts(self.model_id, str(self.journal.model))
        self.client.finalize_logged_model(self.model_id, "READY")
        for model in self._models(name, source_run):
            if model.model_id != self.model_id and str(model.status) == "PENDING":
                self.client.delete_logged_model(model.model_id)  # a request that timed out created it
        self.client.set_tag(self.run_id, MODEL_URI_TAG, f"models:/{self.model_id}")

    def _send_remove(self, entry: Entry) -> None:
        uri = self.client.get_run(self.run_id).info.artifact_uri
        get_artifact_repository(uri, tracking_uri=self.store.tracking_uri).delete_artifacts(entry["path"])

    def _send_resume(self, entry: Entry) -> None:
        self.client.update_run(self.run_id, status="RUNNING")

    def _send_finish(self, entry: Entry) -> None:
        self.running_epoch = ""
        self._send_running_epoch("")
        self.client.set_terminated(self.run_id, entry["status"], entry["at"])

    def _model_id_file(self, name: str) -> Path:
        """Return the file with the id of a logged model; a run has more than one only if a script logs more."""
        return self.journal.folder / ("model_id" if name == MODEL_NAME else f"model_id-{name}")

    def _find_or_create_model(self, entry: Entry, name: str) -> str:
        """Return the id of the run's logged model, which exists already if a crash came before its id was written."""
        source_run = entry.get("source_run", self.run_id)
        if models := self._models(name, source_run):
            return str(models[0].model_id)
        model = self.client.create_logged_model(
            self.experiment_id,
            name,
            source_run,
            tags=entry.get("tags"),
            params={name: str(value) for name, value in entry["params"].items()},
            model_type=entry.get("model_type"),
        )
        return str(model.model_id)

    def _models(self, name: str, source_run: str) -> list[LoggedModel]:
        filter_string = f"source_run_id = '{source_run}' AND name = '{name}'"
        return list(self.client.search_logged_models([self.experiment_id], filter_string))

    def _write_ids_into_model(self, run_id: str) -> None:
        """Write the ids of the run and of the model into MLmodel, as MLflow's own logging does."""
        assert self.model_id is not None
        path = self.journal.model / "MLmodel"
        model = Model.load(str(path))
        model.run_id = run_id
        model.model_id = model.model_uuid = self.model_id
        model.artifact_path = self.client.get_logged_model(self.model_id).artifact_location
        write_atomically(path, model.to_yaml().encode())  # the training may be reading it


def profile(splits: Mapping[str, int], rows: int) -> str:
    """Return the profile that MLflow shows of a dataset."""
    parts = ", ".join(f'"{name}": {count}' for name, count in splits.items())
    return f'{{"num_rows": {rows}, {parts}}}'
