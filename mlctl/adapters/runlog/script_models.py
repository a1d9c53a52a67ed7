"""The models that a script logs through MLflow: a Keras model of its run is the run's model, which mlctl logs its way."""

from __future__ import annotations

import contextlib
import functools
import inspect
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import LoggedModelOutput
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.models.utils import _save_example
from mlflow.tracking import fluent
from mlflow.utils import autologging_utils
from mlflow.utils.autologging_utils import AUTOLOGGING_INTEGRATIONS

from mlctl.adapters.runlog.script_calls import ModelRequest, ScriptCalls
from mlctl.adapters.system.import_hooks import after_import
from mlctl.domain.tags import MODEL_URI_TAG

KERAS_FLAVORS = frozenset({"mlflow.keras", "mlflow.tensorflow"})
KERAS_AUTOLOGGING = ("mlflow.tensorflow", "mlflow.keras")  # mlctl records what they would


@contextlib.contextmanager
def observed(calls: ScriptCalls) -> Iterator[None]:
    """Let mlctl log the run's Keras model, and record instead of MLflow's autologging for Keras, while the block runs."""
    calls.hooks = sys.modules[__name__]
    log = vars(Model)["log"]
    with contextlib.ExitStack() as restored:
        restored.callback(setattr, Model, "log", log)
        Model.log = classmethod(_logging(calls, log.__func__))
        last = fluent.last_logged_model
        for module in (mlflow, fluent):
            restored.callback(setattr, module, "last_logged_model", last)
            module.last_logged_model = _last_logged_model(calls, last)
        for name in KERAS_AUTOLOGGING:
            replace = functools.partial(_replace_autologging, calls, name, restored)
            restored.enter_context(after_import(name, replace))
        yield


def log_autologged(calls: ScriptCalls) -> None:
    """Log the model that was trained last if the script expects autologging to have logged it."""
    autologging = calls.autologging
    if not (autologging.is_on and autologging.logs_models) or calls.is_fitting:
        return
    if calls.run.has_model_to_log(None):
        _log(calls, ModelRequest(), registered_model_name=autologging.registered_model_name)


def epoch_ended(calls: ScriptCalls, metrics: Mapping[str, float], step: int) -> None:
    """Log an epoch to the script's active run, as autologging does, if it is not the run of mlctl."""
    if _is_other_run_active(calls):
        mlflow.log_metrics(dict(metrics), step=step - 1)


def fit_ended(calls: ScriptCalls, model: Any) -> None:
    """Do what autologging does after `fit`: the script finds the run as the last active one.

    Another run than that of mlctl gets its model from MLflow.
    """
    if mlflow.active_run() is None:
        calls.is_claimed, calls.status = True, "FINISHED"
        fluent._last_active_run_id.set(calls.run.recorder.run_id)
    elif calls.autologging.logs_models and model is not None and _is_other_run_active(calls):
        mlflow.keras.log_model(model, name="model")


def _is_other_run_active(calls: ScriptCalls) -> bool:
    active = mlflow.active_run()
    return active is not None and calls.is_own_process and not calls.is_own(active.info.run_id)


def _logging(calls: ScriptCalls, original: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function in place of `Model.log`, by which all flavors log their models."""

    def log(cls: type[Model], artifact_path: Any, flavor: Any, *args: Any, **options: Any) -> Any:
        model = options.get("model")
        name = options.get("name") or artifact_path
        is_of_keras = getattr(flavor, "__name__", "") in KERAS_FLAVORS and _is_keras_model(model)
        if not is_of_keras or not calls.is_own_process:
            return original(cls, artifact_path, flavor, *args, **options)
        source_run = _source_run(options)
        if source_run is not None and not calls.is_own(source_run) and not _is_nested(calls, source_run):
            return original(cls, artifact_path, flavor, *args, **options)
        if calls.is_fitting or not calls.run.has_model_to_log(model):
            info = original(cls, artifact_path, flavor, *args, **options)
            if not calls.is_fitting:
                _note_model(calls, info)
            return info
        request = ModelRequest(
            model=model,
            name=name or "model",
            signature=options.get("signature"),
            input_example=options.get("input_example"),
            metadata=options.get("metadata"),
            params=options.get("params") or {},
            tags=options.get("tags") or {},
            model_type=options.get("model_type"),
            source_run=None if source_run is None or calls.is_own(source_run) else source_run,
        )
        info = _log(
            calls,
            request,
            registered_model_name=options.get("registered_model_name"),
            await_registration_for=options.get("await_registration_for"),
        )
        return info or original(cls, artifact_path, flavor, *args, **options)

    return log


def _log(
    calls: ScriptCalls,
    request: ModelRequest,
    *,
    registered_model_name: str | None,
    await_registration_for: Any = None,
) -> Any:
    """Log a model mlctl's way, and register it if the script says so; return its ModelInfo, or None if it cannot."""
    run = calls.run
    with without_autologging():
        if not run.log_model(request):
            return None
    recorder = run.recorder
    is_sent = recorder.drain() and recorder.model_uri is not None
    info = Model.load(str(recorder.journal.model))
    if not is_sent:
        if registered_model_name:
            calls.tell_once(
                f"the model is not registered as {registered_model_name}: the store does not have it yet"
            )
        # where runs:/RUN/NAME is while the run is read from its record
        shutil.copytree(recorder.journal.model, recorder.journal.files / request.name, dirs_exist_ok=True)
        found = info.get_model_info(_NO_MODEL)
        found._model_uri = str(recorder.journal.model)
        return found
    model_id = recorder.model_uri.removeprefix("models:/")
    fluent._last_logged_model_id.set(model_id)
    found = info.get_model_info(run.store.mlflow_client.get_logged_model(model_id))
    if registered_model_name:
        waiting = {} if await_registration_for is None else {"await_registration_for": await_registration_for}
        version = mlflow.register_model(recorder.model_uri, registered_model_name, **waiting)
        found.registered_model_version = version.version
    _note_output(request.source_run or recorder.run_id, model_id)
    return found


def describe_as_asked(folder: Path, request: ModelRequest) -> dict[str, Any]:
    """Write what a script says of its model into the model's folder; return what it says of the logged model."""
    if request.signature or request.input_example is not None or request.metadata:
        info = Model.load(str(folder))
        if request.input_example is not None:
            with contextlib.suppress(MlflowException, TypeError, ValueError):
                _save_example(info, request.input_example, str(folder))
        if request.signature:
            info.signature = request.signature
        if request.metadata:
            info.metadata = {**(info.metadata or {}), **request.metadata}
        info.save(str(folder / "MLmodel"))
    given: dict[str, Any] = {
        "name": request.name,
        "tags": {name: str(value) for name, value in request.tags.items()},
    }
    if request.model_type:
        given["model_type"] = request.model_type
    if request.source_run:
        given["source_run"] = request.source_run
    return given


_NO_MODEL: Any = object()  # in place of an MLflow LoggedModel, which a ModelInfo only keeps


def _note_output(run_id: str, model_id: str) -> None:
    """Let the script's active run know its model, as `Model.log` does."""
    active = mlflow.active_run()
    if active is not None and active.info.run_id == run_id:
        output = LoggedModelOutput(model_id, step=0)
        if active.outputs is None:
            active._outputs = mlflow.entities.RunOutputs(model_outputs=[output])
        else:
            active.outputs.model_outputs.append(output)


def _note_model(calls: ScriptCalls, info: Any) -> None:
    """Note a model that MLflow logs as the run's, if mlctl has none of its own to log."""
    if calls.run.is_open and calls.run.has_no_model() and not calls.run.is_offline:
        calls.run.recorder.set_tags({MODEL_URI_TAG: info.model_uri})


def _source_run(options: Mapping[str, Any]) -> str | None:
    """Return the run to which the script logs a model; None: it has no active run."""
    active = mlflow.active_run()
    return options.get("run_id") or (active.info.run_id if active else None)


def _is_nested(calls: ScriptCalls, run_id: str) -> bool:
    """Return whether a run is nested below that of mlctl: its model is the one of both."""
    if not calls.run.is_open or calls.run.is_offline:
        return False
    parent = mlflow.get_run(run_id).data.tags.get("mlflow.parentRunId")
    return parent is not None and calls.is_own(parent)


def _is_keras_model(model: Any) -> bool:
    keras = sys.modules.get("keras")
    return keras is not None and isinstance(model, keras.Model)


def _last_logged_model(calls: ScriptCalls, original: Callable[[], Any]) -> Callable[[], Any]:
    @functools.wraps(original)
    def last_logged_model() -> Any:
        log_autologged(calls)
        return original()

    return last_logged_model


def _replace_autologging(calls: ScriptCalls, name: str, restored: contextlib.ExitStack) -> None:
    """Note what the script asks of MLflow's autologging for Keras, in place of turning it on."""
    module: Any = sys.modules[name]
    original = module.autolog
    signature = inspect.signature(original)

    @functools.wraps(original)
    def autolog(*args: Any, **options: Any) -> None:
        given = signature.bind(*args, **options)
        given.apply_defaults()
        asked = dict(given.arguments)
        AUTOLOGGING_INTEGRATIONS.setdefault(original.integration_name, {}).update(asked)
        autologging = calls.autologging
        autologging.is_on = not asked.get("disable")
        autologging.logs_models = bool(asked.get("log_models", True))
        if asked.get("registered_model_name"):
            autologging.registered_model_name = asked["registered_model_name"]
        for key, value in (asked.get("extra_tags") or {}).items():
            autologging.tags[key] = str(value)

    owners = [module, *([sys.modules["mlflow.keras.autologging"]] if name == "mlflow.keras" else [])]
    for owner in owners:
        restored.callback(setattr, owner, "autolog", original)
        owner.autolog = autolog


@contextlib.contextmanager
def without_autologging() -> Iterator[None]:
    """Keep MLflow from logging what mlctl itself does with scikit-learn and Keras while the block runs."""
    before = autologging_utils._AUTOLOGGING_GLOBALLY_DISABLED
    autologging_utils._AUTOLOGGING_GLOBALLY_DISABLED = True
    try:
        yield
    finally:
        autologging_utils._AUTOLOGGING_GLOBALLY_DISABLED = before
