"""The store that MLflow's calls inside a recipe reach: it collects what they log, and asks the real store the rest."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import mlflow
from mlflow.entities import (
    Experiment,
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
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.entities.paged_list import PagedList
from mlflow.tracking import fluent
from mlflow.tracking._model_registry import utils as registry_utils
from mlflow.tracking._tracking_service import utils as tracking_utils
from mlflow.tracking._tracking_service.client import TrackingServiceClient
from mlflow.utils.async_logging.run_operations import RunOperations
from mlflow.utils.autologging_utils import disable_autologging

from mlctl.adapters.system.assigned import assigned
from mlctl.domain.note import NOTE_TAG

if TYPE_CHECKING:
    pass

SCHEME = "mlctl-run"
EXPERIMENT_ID = "0"
OWN_PREFIXES = ("mlflow.", "mlctl.")  # tags that MLflow and mlctl set themselves
RUN_ID_VARIABLE, EXPERIMENT_ID_VARIABLE = "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID"


class Collected(Protocol):
    """What a recipe has logged: see `mlflow_calls.MlflowCalls`."""

    run_id: str
    tracking_uri: str
    params: dict[str, str]
    points: list[tuple[str, float, int, int]]
    tags: dict[str, str]

    @property
    def folder(self) -> Path:
        """The folder in which the run's artifacts are collected."""

    def add_params(self, values: dict[str, str]) -> None:
        """Collect parameters."""


class RunStore:
    """A tracking store with one run, the one that mlctl trains; everything else is in the real store."""

    def __init__(self, calls: Collected) -> None:
        self.calls = calls
        self.tracking_uri = ""  # of the real store; a recipe may set another one

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real(), name)

    # -- the run --------------------------------------------------------------------------------------------

    def create_run(
        self, experiment_id: str, user_id: str, start_time: int, tags: Sequence[RunTag], run_name: str
    ) -> Run:
        """Return the run that mlctl trains, with these tags."""
        self._collect_tags(tags)
        return self._run()

    def get_run(self, run_id: str) -> Run:
        """Return a run."""
        return self._run() if self._is_own(run_id) else self._real().get_run(run_id)

    def update_run_info(
        self, run_id: str, run_status: Any = None, end_time: Any = None, run_name: Any = None
    ) -> Any:
        """Leave the run as it is: mlctl ends it."""
        if not self._is_own(run_id):
            return self._real().update_run_info(run_id, run_status, end_time, run_name)
        return self._run().info

    def delete_run(self, run_id: str) -> None:
        """Leave the run as it is."""
        if not self._is_own(run_id):
            self._real().delete_run(run_id)

    def log_batch(
        self,
        run_id: str,
        metrics: Sequence[Metric] = (),
        params: Sequence[Param] = (),
        tags: Sequence[RunTag] = (),
    ) -> None:
        """Collect metrics, parameters and tags."""
        if not self._is_own(run_id):
            self._real().log_batch(run_id, metrics, params, tags)
            return
        for param in params:
            known = self.calls.params.get(param.key)
            if known is not None and known != str(param.value):
                raise MlflowException(
                    f"Changing param values is not allowed. Param with key='{param.key}' was already logged with"
                    f" value='{known}' for run ID='{run_id}'. Attempted logging new value '{param.value}'.",
                    INVALID_PARAMETER_VALUE,
                )
        self.calls.add_params({param.key: str(param.value) for param in params})
        self.calls.points += [
            (metric.key, float(metric.value), int(metric.step or 0), int(metric.timestamp or _now_ms()))
            for metric in metrics
        ]
        self._collect_tags(tags)

    def log_metric(self, run_id: str, metric: Metric) -> None:
        """Collect a point of a metric."""
        self.log_batch(run_id, metrics=[metric])

    def log_param(self, run_id: str, param: Param) -> None:
        """Collect a parameter."""
        self.log_batch(run_id, params=[param])

    def set_tag(self, run_id: str, tag: RunTag) -> None:
        """Collect a tag."""
        self.log_batch(run_id, tags=[tag])

    def log_batch_async(self, run_id: str, *args: Any, **kwargs: Any) -> RunOperations:
        """Collect metrics, parameters and tags at once."""
        self.log_batch(run_id, *args, **kwargs)
        return RunOperations([])

    def log_metric_async(self, run_id: str, metric: Metric) -> RunOperations:
        """Collect a point of a metric at once."""
        return self.log_batch_async(run_id, metrics=[metric])

    def log_param_async(self, run_id: str, param: Param) -> RunOperations:
        """Collect a parameter at once."""
        return self.log_batch_async(run_id, params=[param])

    def set_tag_async(self, run_id: str, tag: RunTag) -> RunOperations:
        """Collect a tag at once."""
        return self.log_batch_async(run_id, tags=[tag])

    def flush_async_logging(self) -> None:
        """Do nothing: everything is collected at once."""

    def shut_down_async_logging(self) -> None:
        """Do nothing: everything is collected at once."""

    def end_async_logging(self) -> None:
        """Do nothing: everything is collected at once."""

    def delete_tag(self, run_id: str, key: str) -> None:
        """Forget a tag that was collected and is not written yet."""
        if self._is_own(run_id):
            self.calls.tags.pop(key, None)
        else:
            self._real().delete_tag(run_id, key)

    def get_metric_history(self, run_id: str, metric_key: str, *args: Any, **kwargs: Any) -> Any:
        """Return the points of a metric that were collected and are not written yet."""
        if not self._is_own(run_id):
            return self._real().get_metric_history(run_id, metric_key, *args, **kwargs)
        return PagedList([metric for metric in self._metrics() if metric.key == metric_key], None)

    def log_inputs(self, run_id: str, *args: Any, **kwargs: Any) -> None:
        """Leave out the inputs of the run: mlctl records its data."""
        if not self._is_own(run_id):
            self._real().log_inputs(run_id, *args, **kwargs)

    def record_logged_model(self, run_id: str, mlflow_model: Any) -> None:
        """Leave the run as it is."""

    # -- its experiment ---------------------------------------------------------------------------------------

    def get_experiment(self, experiment_id: str) -> Any:
        """Return the run's experiment, or another one of the real store."""
        return _experiment() if experiment_id == EXPERIMENT_ID else self._real().get_experiment(experiment_id)

    def get_experiment_by_name(self, experiment_name: str, *args: Any, **kwargs: Any) -> Any:
        """Return the run's experiment: `mlflow.set_experiment` does not move the run."""
        return _experiment()

    def create_experiment(self, name: str, *args: Any, **kwargs: Any) -> str:
        """Return the id of the run's experiment."""
        return EXPERIMENT_ID

    def set_experiment_tag(self, *args: Any) -> None:
        """Leave the experiment as it is."""

    # -- inside -----------------------------------------------------------------------------------------------

    def _is_own(self, run_id: str) -> bool:
        return run_id == self.calls.run_id

    def _real(self) -> Any:
        return tracking_utils._get_store(self.tracking_uri)

    def _metrics(self) -> list[Metric]:
        return [Metric(name, value, at, step) for name, value, step, at in self.calls.points]

    def _collect_tags(self, tags: Sequence[RunTag]) -> None:
        self.calls.tags.update(
            {
                tag.key: str(tag.value)
                for tag in tags
                if tag.key == NOTE_TAG or not tag.key.startswith(OWN_PREFIXES)
            }
        )

    def _run(self) -> Run:
        info = RunInfo(
            run_id=self.calls.run_id,
            experiment_id=EXPERIMENT_ID,
            user_id="",
            status=RunStatus.to_string(RunStatus.RUNNING),
            start_time=_now_ms(),
            end_time=None,
            lifecycle_stage=LifecycleStage.ACTIVE,
            artifact_uri=self.calls.folder.as_uri(),
            run_name="",
        )
        params = [Param(name, value) for name, value in self.calls.params.items()]
        tags = [RunTag(name, value) for name, value in self.calls.tags.items()]
        return Run(info, RunData(metrics=self._metrics(), params=params, tags=tags))


_stores: dict[str, RunStore] = {}  # by their URIs, by which MLflow caches stores


@contextlib.contextmanager
def redirected(calls: Collected) -> Iterator[None]:
    """Let MLflow's calls reach a `RunStore` while the block runs; the run that was active before is so afterwards."""
    uri = f"{SCHEME}://{id(calls)}"
    if uri not in _stores:
        _stores[uri] = RunStore(calls)
    store = _stores[uri]
    store.tracking_uri = calls.tracking_uri or tracking_utils.get_tracking_uri()
    tracking_utils._tracking_store_registry.register(SCHEME, _build_store)
    _route_artifacts()
    stack = fluent._active_run_stack.get()
    active = list(stack)
    stack.clear()
    with contextlib.ExitStack() as restored:
        for name in (RUN_ID_VARIABLE, EXPERIMENT_ID_VARIABLE):
            restored.enter_context(_restored_environment(name))
        restored.enter_context(assigned(tracking_utils, "_tracking_uri", uri))
        restored.enter_context(assigned(fluent, "_active_experiment_id", EXPERIMENT_ID))
        registry_uri = registry_utils._registry_uri or store.tracking_uri
        restored.enter_context(assigned(registry_utils, "_registry_uri", registry_uri))
        for module in (mlflow, mlflow.tracking, tracking_utils):
            restored.enter_context(assigned(module, "set_tracking_uri", _set_uri_of(store)))
        restored.enter_context(disable_autologging())
        try:
            yield
        finally:
            while stack:
                mlflow.end_run()
            stack.extend(active)


def _build_store(store_uri: str, artifact_uri: str | None = None) -> RunStore:
    return _stores[store_uri]


def _set_uri_of(store: RunStore) -> Callable[[Any], None]:
    def set_tracking_uri(uri: Any) -> None:
        """Use another store for what is not this run, such as a model to load."""
        store.tracking_uri = str(uri)
        registry_utils._registry_uri = str(uri)

    return set_tracking_uri


@contextlib.contextmanager
def _restored_environment(name: str) -> Iterator[None]:
    before = os.environ.pop(name, None)
    try:
        yield
    finally:
        os.environ.pop(name, None)
        if before is not None:
            os.environ[name] = before


def _route_artifacts() -> None:
    """Keep the folder of collected artifacts out of MLflow's cache, in which the run's real artifacts are found."""
    original = TrackingServiceClient._get_artifact_repo
    if getattr(original, "is_routed", False):
        return

    def get_artifact_repo(client: Any, resource_id: str, **options: Any) -> Any:
        if not str(client.tracking_uri).startswith(f"{SCHEME}:"):
            return original(client, resource_id, **options)
        store = client.store
        if options.get("resource", "run") == "run":
            location = store.get_run(resource_id).info.artifact_uri
        else:
            location = store.get_logged_model(resource_id).artifact_location
        return get_artifact_repository(location, tracking_uri=store.tracking_uri)

    get_artifact_repo.is_routed = True  # type: ignore[attr-defined]
    TrackingServiceClient._get_artifact_repo = get_artifact_repo


def _experiment() -> Experiment:
    return Experiment(EXPERIMENT_ID, "mlctl", "", LifecycleStage.ACTIVE)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
