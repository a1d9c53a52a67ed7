"""MODEL: from what the user types to one model that can be loaded.

MODEL is NAME (its Production version), NAME@alias, NAME/3, NAME/Staging, a RUN, runs:/…, models:/…, a folder, s3://…,
or a file that was trained elsewhere (.keras, .onnx, .tflite, or the folder of a SavedModel). A registered model takes precedence over a run of the same name; ./NAME is always a folder.
"""

from __future__ import annotations

import re
from pathlib import Path

from mlctl.adapters.models.model_files import file_kind
from mlctl.adapters.tracking.registry import Registry
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.registry import ModelReference, RegisteredVersion
from mlctl.domain.run import Run
from mlctl.errors import NotFoundError, UsageError, did_you_mean
from mlctl.services.models.registry_state import read_state
from mlctl.services.models.stages import CLASSIC_STAGES, PRODUCTION
from mlctl.services.runs import select

URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
LOGGED_MODEL_ID = re.compile(r"m-[0-9a-f]{32}")


def resolve_model(store: TrackingStore, text: str) -> ModelReference:
    """Return the model that `text` names, without loading it.

    Only the store and this machine's disk are searched: an s3:// address is returned unchecked.

    Raises NotFoundError if there is no such model, UsageError if the text cannot name one.
    """
    typed = text.strip()
    if not typed:
        raise UsageError("MODEL is empty", "give a registered model, a run, or a model's folder")
    if typed.startswith(("runs:/", "models:/")) or URL.match(typed):
        return _from_uri(store, typed)
    if typed.startswith((".", "/", "~")):
        return _from_folder(Path(typed).expanduser())
    registry = Registry(store)
    name, separator, selector = _split(typed)
    if separator and registry.find_model(name):
        return version_reference(_select_version(registry, name, separator, selector))
    if not separator and registry.find_model(typed):
        return version_reference(_select_version(registry, typed, "/", PRODUCTION))
    if (Path(typed) / "MLmodel").is_file() or file_kind(Path(typed)):
        return _from_folder(Path(typed))
    if separator:
        registry.get_model(name)  # raises NotFoundError
    try:
        run = select.find_run(store, typed)
    except NotFoundError as exc:
        names = [model.name for model in registry.list_models()]
        suggestion = did_you_mean(typed, names) or (exc.hint if "did you mean" in exc.hint else "")
        raise NotFoundError(
            f"there is no model, run or folder {typed!r}",
            suggestion or "to see what there is: mlctl models list, mlctl runs list",
        ) from exc
    return model_of_run(store, run)


def model_of_run(store: TrackingStore, run: Run) -> ModelReference:
    """Return the model that a run logged. Raises NotFoundError if it logged none."""
    if run.model_uri:
        return ModelReference(uri=run.model_uri, run_id=run.run_id)
    with store.translate_errors():
        artifacts = store.client.list_artifacts(run.run_id, "model")
    if any(artifact.path.rpartition("/")[2] == "MLmodel" for artifact in artifacts):  # as MLflow 2 logged it
        return ModelReference(uri=f"runs:/{run.run_id}/model", run_id=run.run_id)
    raise NotFoundError(
        f"run {run.run_name or run.run_id} has no model", "mlctl runs artifacts RUN lists its artifacts"
    )


def version_reference(version: RegisteredVersion) -> ModelReference:
    """Return the reference of a registered version."""
    return ModelReference(uri=version.uri, name=version.name, version=version.version, run_id=version.run_id)


def _split(typed: str) -> tuple[str, str, str]:
    """Split NAME@alias and NAME/3 at the separator. A name may contain an @, but an alias may not."""
    name, separator, selector = typed.rpartition("/")
    if not separator:
        name, separator, selector = typed.rpartition("@")
    return (name, separator, selector) if separator and name and selector else (typed, "", "")


def _from_uri(store: TrackingStore, uri: str) -> ModelReference:
    if uri.startswith("runs:/"):
        return _from_runs_uri(store, uri)
    if uri.startswith("models:/"):
        return _from_models_uri(store, uri)
    if uri.startswith(("http://", "https://")):
        raise UsageError(f"{uri} is an endpoint, not a model", "mlctl predict accepts endpoints")
    if uri.startswith("file://"):
        return _from_folder(Path(uri.removeprefix("file://")))
    return ModelReference(uri=uri)


def _from_runs_uri(store: TrackingStore, uri: str) -> ModelReference:
    run_id, _, path = uri.removeprefix("runs:/").strip("/").partition("/")
    path = path.removeprefix("artifacts/")  # the older form
    if not run_id or not path:
        raise UsageError(f"{uri} names no model", "write runs:/RUN_ID/model")
    run = select.find_run(store, run_id)
    if path == "model":
        return model_of_run(store, run)
    return ModelReference(uri=f"runs:/{run.run_id}/{path}", run_id=run.run_id)


def _from_models_uri(store: TrackingStore, uri: str) -> ModelReference:
    path = uri.removeprefix("models:/").strip("/")
    if LOGGED_MODEL_ID.fullmatch(path):
        with store.translate_errors():
            logged_model = store.client.get_logged_model(path)
        return ModelReference(uri=f"models:/{path}", run_id=logged_model.source_run_id or None)
    name, separator, selector = _split(path)
    if not separator:
        raise UsageError(f"{uri} names no version", f"write models:/{path}/1, or models:/{path}@production")
    return version_reference(_select_version(Registry(store), name, separator, selector))


def _select_version(registry: Registry, name: str, separator: str, selector: str) -> RegisteredVersion:
    """Return the version of a model that a number, `latest`, a stage or an alias names."""
    state = read_state(registry, name)
    versions = state.versions
    if selector.lower() == "latest" and versions:
        return versions[0]
    if separator == "/" and selector.isdecimal():
        return state.version(selector)
    for version in versions:  # the alias of a stage is the stage's name in lower case
        if selector in version.alias or selector.lower() in version.alias:
            return version
    for version in versions if separator == "/" else ():
        if version.stage.lower() == selector.lower():
            return version
    listed = ", ".join(
        f"{version.version} ({', '.join(version.alias)})" if version.alias else version.version
        for version in versions
    )
    missing = f"no version in {selector}" if separator == "/" else f"no alias {selector!r}"
    hint = f"mlctl register RUN {name} creates the first version"
    if versions:
        newest = versions[0].version
        known = (*CLASSIC_STAGES, *(alias for version in versions for alias in version.alias))
        hint = (
            did_you_mean(selector, known) if selector.title() not in CLASSIC_STAGES else ""
        ) or f"use {name}/{newest}, or run mlctl promote {name} {newest} {PRODUCTION}"
    raise NotFoundError(f"{name} has {missing}; its versions: {listed or 'none'}", hint)


def _from_folder(path: Path) -> ModelReference:
    if file_kind(path):
        return ModelReference(uri=str(path.resolve()))
    if not (path / "MLmodel").is_file():
        raise NotFoundError(
            f"{path} is not the folder of a model" if path.is_dir() else f"there is no folder {path}",
            "a model's folder contains a file named MLmodel; mlctl models download MODEL DIR creates one",
        )
    return ModelReference(uri=str(path.resolve()))
