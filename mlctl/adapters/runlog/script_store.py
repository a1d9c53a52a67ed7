"""The stores that MLflow's calls inside a script reach: the real ones, and in each of them the run of mlctl.

Everything about other runs goes to the real store as it is. What is written to the run of mlctl goes into its journal
first; what is read of it comes from the store when the store has all of the journal.
"""

from __future__ import annotations

import contextlib
import functools
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import (
    LifecycleStage,
    Metric,
    Param,
    Run,
    RunData,
    RunInfo,
    RunStatus,
    RunTag,
)
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.entities.paged_list import PagedList
from mlflow.tracking import fluent
from mlflow.tracking._model_registry import utils as registry_utils
from mlflow.tracking._tracking_service import utils as tracking_utils
from mlflow.tracking._tracking_service.client import TrackingServiceClient

from mlctl.adapters.runlog import local_runs, script_models
from mlctl.adapters.runlog.mlflow_store import RunStore
from mlctl.adapters.runlog.recorder import now_ms, open_store
from mlctl.adapters.runlog.script_calls import RunChoice, ScriptCalls
from mlctl.adapters.system.assigned import assigned
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.note import NOTE_TAG
from mlctl.settings import mask_passwords

NAME_TAG, PARENT_TAG = "mlflow.runName", "mlflow.parentRunId"
MLCTL_PREFIX, MLFLOW_PREFIX = "mlctl.", "mlflow."
DEFAULT_EXPERIMENT_ID = "0"


class ScriptStore(RunStore):
    """A real store, in which the run of mlctl is written through its journal."""

    calls: ScriptCalls  # type: ignore[assignment]

    def __init__(self, calls: ScriptCalls, real: Any, uri: str) -> None:
        self.calls = calls
        self.tracking_uri = uri
        self.real = real

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """The real store's class: MLflow asks whether a store is one of a server."""
        return type(self.real)

    def _real(self) -> Any:
        return self.real

    def _is_own(self, run_id: str) -> bool:
        return self.calls.is_own(run_id)

    # -- the run --------------------------------------------------------------------------------------------

    def create_run(
        self,
        experiment_id: str,
        user_id: str,
        start_time: int,
        tags: Sequence[RunTag],
        run_name: str | None,
        *args: Any,
        **options: Any,
    ) -> Run:
        """Return the run of mlctl if the script has not started it yet, else a new one of the store."""
        calls = self.calls
        if calls.is_claimed or not calls.is_own_process:
            if calls.run.is_offline:
                calls.tell_once(
                    "--offline: only the script's first run is recorded, not those that it nests or adds"
                )
            return self.real.create_run(experiment_id, user_id, start_time, tags, run_name, *args, **options)
        named = {tag.key: str(tag.value) for tag in tags}
        choice = RunChoice(
            tracking_uri=self.tracking_uri,
            experiment=self._chosen_experiment(experiment_id),
            run_name=run_name or named.get(NAME_TAG),
            tags={
                name: value
                for name, value in named.items()
                if name in {NOTE_TAG, PARENT_TAG} or not name.startswith((MLFLOW_PREFIX, MLCTL_PREFIX))
            },
        )
        calls.run.claim(choice)
        calls.is_claimed = True
        return self._run(is_new=True)

    def get_run(self, run_id: str) -> Run:
        """Return a run."""
        return self._run() if self._is_own(run_id) else self.real.get_run(run_id)

    def update_run_info(
        self, run_id: str, run_status: Any = None, end_time: Any = None, run_name: Any = None
    ) -> Any:
        """Note the status that the script gives to the run, which mlctl ends later, and its name."""
        if not self._is_own(run_id):
            return self.real.update_run_info(run_id, run_status, end_time, run_name)
        self.calls.is_claimed = True
        if run_status is not None:
            self.calls.status = RunStatus.to_string(run_status)
        if run_name:
            self.calls.run.rename(run_name)
        return self._run(is_new=True).info

    def delete_run(self, run_id: str) -> None:
        """Delete another run."""
        if self._is_own(run_id):
            self.calls.tell_once("the script deletes its run; mlctl keeps it")
        else:
            self.real.delete_run(run_id)

    def restore_run(self, run_id: str) -> None:
        """Restore another run."""
        if not self._is_own(run_id):
            self.real.restore_run(run_id)

    def log_batch(
        self,
        run_id: str,
        metrics: Sequence[Metric] = (),
        params: Sequence[Param] = (),
        tags: Sequence[RunTag] = (),
    ) -> None:
        """Log metrics, parameters and tags."""
        if not self._is_own(run_id):
            self.real.log_batch(run_id, metrics, params, tags)
            return
        self._log_params(params)
        points = [
            (metric.key, float(metric.value), int(metric.step or 0), int(metric.timestamp or now_ms()))
            for metric in metrics
            if metric.model_id is None
        ]
        if points:
            self.calls.log_points(points)
        if of_models := [metric for metric in metrics if metric.model_id is not None]:
            self._log_of_models(run_id, of_models)
        for tag in tags:
            if tag.key == NAME_TAG:
                self.calls.run.rename(str(tag.value))
        named = {
            tag.key: str(tag.value)
            for tag in tags
            if tag.key != NAME_TAG and not tag.key.startswith(MLCTL_PREFIX)
        }
        if named:
            self.calls.run.recorder.set_tags(named)

    def delete_tag(self, run_id: str, key: str) -> None:
        """Delete a tag."""
        if self._is_own(run_id):
            self._require_sent("delete a tag of the run")
        self.real.delete_tag(run_id, key)

    def get_metric_history(self, run_id: str, metric_key: str, *args: Any, **kwargs: Any) -> Any:
        """Return the points of a metric."""
        if not self._is_own(run_id) or self.calls.run.recorder.drain():
            return self.real.get_metric_history(run_id, metric_key, *args, **kwargs)
        return PagedList([metric for metric in self._recorded_metrics() if metric.key == metric_key], None)

    def log_inputs(self, run_id: str, datasets: Any = None, models: Any = None) -> None:
        """Log the datasets and models that a run uses."""
        if not self._is_own(run_id):
            self.real.log_inputs(run_id, datasets, models)
            return
        if datasets:
            self.calls.run.recorder.log_inputs(
                [
                    {
                        "dataset": given.dataset.to_dictionary(),
                        "tags": [[tag.key, tag.value] for tag in given.tags or ()],
                    }
                    for given in datasets
                ]
            )
        if models:
            self._require_sent("note which models the run uses")
            self.real.log_inputs(run_id, None, models)

    def record_logged_model(self, run_id: str, mlflow_model: Any) -> None:
        """Note a logged model in another run; in that of mlctl it is an output."""
        if not self._is_own(run_id):
            self.real.record_logged_model(run_id, mlflow_model)

    def search_runs(self, *args: Any, **options: Any) -> Any:
        """Return runs, when the store has all of that of mlctl."""
        self._drain()
        return self.real.search_runs(*args, **options)

    def search_logged_models(self, *args: Any, **options: Any) -> Any:
        """Return logged models, among them the one that autologging would have logged by now."""
        if self.calls.is_own_process:
            script_models.log_autologged(self.calls)
            self._drain()
        return self.real.search_logged_models(*args, **options)

    # -- experiments ------------------------------------------------------------------------------------------

    def get_experiment(self, experiment_id: str, *args: Any, **options: Any) -> Any:
        """Return an experiment."""
        return self.real.get_experiment(experiment_id, *args, **options)

    def get_experiment_by_name(self, experiment_name: str, *args: Any, **options: Any) -> Any:
        """Return an experiment, or None if there is none of this name."""
        return self.real.get_experiment_by_name(experiment_name, *args, **options)

    def create_experiment(self, name: str, *args: Any, **options: Any) -> str:
        """Create an experiment, and return its id."""
        return str(self.real.create_experiment(name, *args, **options))

    def set_experiment_tag(self, *args: Any) -> None:
        """Set a tag of an experiment."""
        self.real.set_experiment_tag(*args)

    # -- asynchronous logging -----------------------------------------------------------------------------------

    def log_batch_async(self, run_id: str, *args: Any, **options: Any) -> Any:
        """Log metrics, parameters and tags; to the run of mlctl at once, since the journal is fast."""
        if self._is_own(run_id):
            return super().log_batch_async(run_id, *args, **options)
        return self.real.log_batch_async(run_id, *args, **options)

    def flush_async_logging(self) -> None:
        """Wait for what is logged asynchronously to other runs."""
        self.real.flush_async_logging()

    def shut_down_async_logging(self) -> None:
        """Wait for what is logged asynchronously to other runs, and end it."""
        self.real.shut_down_async_logging()

    def end_async_logging(self) -> None:
        """End what is logged asynchronously to other runs."""
        self.real.end_async_logging()

    # -- inside -----------------------------------------------------------------------------------------------

    def _chosen_experiment(self, experiment_id: str) -> str | None:
        """Return the name of an experiment; None for the default one that the script has not asked for."""
        if experiment_id == DEFAULT_EXPERIMENT_ID and fluent._active_experiment_id is None:
            return None
        found = self.real.get_experiment(experiment_id)
        return found.name if found else None

    def _log_params(self, params: Sequence[Param]) -> None:
        values = {param.key: str(param.value) for param in params}
        for name, value in values.items():
            known = self.calls.params.get(name, value)
            if known != value:
                raise MlflowException(
                    f"Changing param values is not allowed. Param with key='{name}' was already logged with"
                    f" value='{known}'. Attempted logging new value '{value}'.",
                    INVALID_PARAMETER_VALUE,
                )
        if values:
            self.calls.log_params(values)

    def _log_of_models(self, run_id: str, metrics: Sequence[Metric]) -> None:
        """Record points that belong to a logged model, too; MLflow says so of points that the run has already."""
        recorded = {(one.key, one.step, one.timestamp) for one in self._recorded_metrics()}
        new = [one for one in metrics if (one.key, one.step, one.timestamp) not in recorded]
        written = self.calls.log_points(
            [(one.key, float(one.value), int(one.step), int(one.timestamp)) for one in new]
        )
        of_model = [one for one in metrics if one not in new or (one.key, one.step) in written]
        if of_model and self.calls.run.recorder.drain():
            self.real.log_batch(run_id, of_model, [], [])

    def _drain(self) -> None:
        if self.calls.is_own_process and self.calls.run.is_open:
            self.calls.run.recorder.drain()

    def _require_sent(self, what: str) -> None:
        if not self.calls.run.recorder.drain():
            state = "is offline" if self.calls.run.is_offline else "waits for a store that does not answer"
            raise MlflowException(f"cannot {what}: the run {state}")

    def _recorded_metrics(self) -> list[Metric]:
        metrics = []
        for entry in self.calls.run.recorder.journal.entries():
            if entry["kind"] == "metrics":
                metrics += [
                    Metric(name, value, entry["at"], entry["step"]) for name, value in entry["values"].items()
                ]
            elif entry["kind"] == "points":
                metrics += [Metric(name, value, at, step) for name, value, step, at in entry["points"]]
        return metrics

    def _run(self, *, is_new: bool = False) -> Run:
        """Return the run of mlctl, with the status that it has for the script."""
        run = self.calls.run
        recorder = run.recorder
        if not run.is_offline and (is_new or recorder.drain()):
            with contextlib.suppress(MlflowException):
                return self._with_status(run.store.mlflow_client.get_run(recorder.run_id))
        return self._with_status(self._recorded_run())

    def _recorded_run(self) -> Run:
        """Return the run as its record has it, while the store does not answer."""
        recorder = self.calls.run.recorder
        recorded = local_runs.to_run(recorder.journal)
        info = RunInfo(
            run_id=recorder.run_id,
            experiment_id=recorder.journal.header.get("experiment_id", DEFAULT_EXPERIMENT_ID),
            user_id="",
            status=self.calls.status,
            start_time=recorder.journal.header["began"],
            end_time=None,
            lifecycle_stage=LifecycleStage.ACTIVE,
            artifact_uri=recorder.journal.files.as_uri(),
            run_name=recorded.run_name,
        )
        data = RunData(
            metrics=self._recorded_metrics(),
            params=[Param(name, value) for name, value in recorded.params.items()],
            tags=[RunTag(name, value) for name, value in recorded.tags.items()],
        )
        return Run(info, data)

    def _with_status(self, run: Run) -> Run:
        info = run.info
        info._status = self.calls.status
        info._end_time = None if self.calls.status == "RUNNING" else now_ms()
        return run


class ScriptArtifacts(ArtifactRepository):  # type: ignore[misc]
    """The artifacts of the run of mlctl: written through its journal, read from where they are then."""

    def __init__(self, calls: ScriptCalls, store: ScriptStore, run_id: str) -> None:
        super().__init__(f"runs:/{run_id}")
        self._calls = calls
        self._store = store
        self._run_id = run_id

    def log_artifact(self, local_file: Any, artifact_path: str | None = None) -> None:
        """Record a copy of a file."""
        self._calls.log_file(Path(local_file), artifact_path)

    def log_artifacts(self, local_dir: Any, artifact_path: str | None = None) -> None:
        """Record a copy of each file in a folder."""
        folder = Path(local_dir)
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            parts = [*([artifact_path] if artifact_path else []), *file.relative_to(folder).parent.parts]
            self._calls.log_file(file, "/".join(parts) or None)

    def list_artifacts(self, path: str | None = None) -> Any:
        """Return the files and folders in a folder of the run."""
        return self._found().list_artifacts(path)

    def download_artifacts(self, artifact_path: str, dst_path: str | None = None) -> str:
        """Copy a file or a folder of the run to this machine."""
        return str(self._found().download_artifacts(artifact_path, dst_path))

    def delete_artifacts(self, artifact_path: str | None = None) -> None:
        """Delete a file or a folder of the run."""
        self._found().delete_artifacts(artifact_path)

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        self._found()._download_file(remote_file_path, local_path)

    def _found(self) -> Any:
        uri = self._store.get_run(self._run_id).info.artifact_uri
        return get_artifact_repository(uri, tracking_uri=self._store.tracking_uri)


class DirectStore(TrackingStore):
    """A tracking store whose client is not redirected: mlctl sends a run's journal through it."""

    @cached_property
    def mlflow_client(self) -> Any:
        """MLflow's own client."""
        client = TrackingStore.mlflow_client.func(self)  # type: ignore[attr-defined]
        client._tracking_client.__class__ = _DirectClient
        return client


class _DirectClient(TrackingServiceClient):  # type: ignore[misc]
    @property
    def store(self) -> Any:
        """The real store."""
        found = super().store
        return found.real if type(found) is ScriptStore else found


def open_direct(tracking_uri: str, *, offline: bool) -> DirectStore:
    """Return a store for the run of a script; raises UnreachableError and ConfigurationError if it does not answer."""
    if offline:
        return DirectStore(tracking_uri)
    open_store(tracking_uri)
    return DirectStore(tracking_uri, create=True)


@contextlib.contextmanager
def redirected(calls: ScriptCalls) -> Iterator[None]:
    """Let MLflow's calls reach the run of mlctl while the block runs; end the runs that the script leaves active."""
    run = calls.run
    registry = tracking_utils._tracking_store_registry
    open_real = registry.get_store
    scratch = _Scratch(calls) if run.is_offline else None
    stores: dict[int, ScriptStore] = {}

    def get_store(store_uri: Any = None, artifact_uri: Any = None) -> ScriptStore:
        uri = str(tracking_utils._resolve_tracking_uri(store_uri))
        if uri in calls.ignored_uris:
            uri = run.tracking_uri
        real = open_real(scratch.uri if scratch else uri, artifact_uri)
        return stores.setdefault(id(real), ScriptStore(calls, real, uri))

    stack = fluent._active_run_stack.get()
    active = list(stack)
    stack.clear()
    with contextlib.ExitStack() as restored:

        def assign(owner: Any, name: str, value: Any) -> None:
            restored.enter_context(assigned(owner, name, value))

        assign(registry, "get_store", get_store)
        assign(tracking_utils, "_tracking_uri", run.tracking_uri if run.has_fixed_store else None)
        assign(fluent, "_active_experiment_id", None)
        assign(fluent, "_get_artifact_repo", _artifact_lookup(calls, fluent._get_artifact_repo))
        assign(TrackingServiceClient, "_get_artifact_repo", _artifact_opener(calls))
        defaults = fluent.default_experiment_registry
        assign(defaults, "get_experiment_id", _default_experiment(calls, defaults.get_experiment_id))
        if scratch:
            assign(registry_utils, "_registry_uri", scratch.uri)
            restored.callback(scratch.remove)
        for module in (mlflow, mlflow.tracking, tracking_utils):
            assign(module, "set_tracking_uri", _set_uri(calls, tracking_utils.set_tracking_uri))
        for module in (mlflow, fluent):
            assign(module, "set_experiment", _set_experiment(calls, fluent.set_experiment))
        restored.enter_context(script_models.observed(calls))
        try:
            yield
        finally:
            ended = calls.status
            while stack:
                mlflow.end_run()
            if ended != "RUNNING":
                calls.status = ended
            for repository in _artifact_repositories(calls).values():
                repository.flush_async_logging()
            stack.extend(active)


class _Scratch:
    """A store for what a script does with other runs while its run is offline; it is deleted afterwards."""

    def __init__(self, calls: ScriptCalls) -> None:
        self._calls = calls
        self._folder: Path | None = None

    @property
    def uri(self) -> str:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="mlctl-offline-"))
        return f"sqlite:///{self._folder}/mlflow.db"

    def remove(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def _set_uri(calls: ScriptCalls, original: Any) -> Any:
    @functools.wraps(original)
    def set_tracking_uri(uri: Any) -> None:
        if not calls.run.has_fixed_store:
            original(uri)
            return
        text = str(uri)
        if text != calls.run.tracking_uri:
            calls.ignored_uris.add(text)
            used, given = mask_passwords(calls.run.tracking_uri), mask_passwords(text)
            calls.tell_once(f"tracking store: {used}; the script's own, {given}, is not used")

    return set_tracking_uri


def _set_experiment(calls: ScriptCalls, original: Any) -> Any:
    @functools.wraps(original)
    def set_experiment(experiment_name: Any = None, experiment_id: Any = None, **options: Any) -> Any:
        if not calls.run.has_fixed_experiment:
            return original(experiment_name, experiment_id, **options)
        used, experiment_id_used = calls.run.experiment, None
        if calls.run.is_open and not calls.run.is_offline:
            experiment_id_used = calls.run.recorder.journal.header["experiment_id"]
            used = fluent.get_experiment(experiment_id_used).name
        if experiment_name != used:
            given = experiment_name if experiment_name is not None else f"number {experiment_id}"
            calls.tell_once(f"experiment: {used}; the script's own, {given}, is not used")
        return original(None if experiment_id_used else used, experiment_id_used, **options)

    return set_experiment


def _default_experiment(calls: ScriptCalls, original: Any) -> Any:
    def get_experiment_id() -> Any:
        """Return the experiment of the run of mlctl: other runs of the script belong beside it."""
        if calls.is_own_process and calls.run.is_open and calls.is_claimed and not calls.run.is_offline:
            return calls.run.recorder.journal.header["experiment_id"]
        return original()

    return get_experiment_id


def _artifact_repositories(calls: ScriptCalls) -> dict[str, ScriptArtifacts]:
    found: dict[str, ScriptArtifacts] = vars(calls).setdefault("artifact_repositories", {})
    return found


def _artifact_opener(calls: ScriptCalls) -> Any:
    original = TrackingServiceClient._get_artifact_repo

    def get_artifact_repo(client: Any, resource_id: str, **options: Any) -> Any:
        if isinstance(client, _DirectClient) or not calls.is_own(resource_id):
            return original(client, resource_id, **options)
        repositories = _artifact_repositories(calls)
        if resource_id not in repositories:
            repositories[resource_id] = ScriptArtifacts(calls, client.store, resource_id)
        return repositories[resource_id]

    return get_artifact_repo


def _artifact_lookup(calls: ScriptCalls, original: Any) -> Any:
    def get_artifact_repo(run_id: str) -> Any:
        return _artifact_repositories(calls).get(run_id) or original(run_id)

    return get_artifact_repo
