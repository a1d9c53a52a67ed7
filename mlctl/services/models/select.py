"""MODEL: from what is typed to one model that can be loaded.

NAME (the version that holds Production), NAME@alias, NAME/3, NAME/Staging, a RUN, runs:/…, models:/…, a
folder, s3://…. A registered model goes before a run of the same name; ./NAME is always a folder.
"""

from __future__ import annotations

import re
from pathlib import Path

from mlctl.adapters.tracking.registry import Registry
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.registry import ModelReference, RegisteredVersion
from mlctl.domain.run import Run
from mlctl.errors import MlctlError, NotFoundError, UsageError, did_you_mean
from mlctl.services.models.registry_state import seen
from mlctl.services.models.stages import PRODUCTION
from mlctl.services.runs import select
from mlctl.settings import Settings

ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def resolve(settings: Settings, text: str) -> ModelReference:
    """Return the model that `text` names.

    Raises NotFoundError where there is none, UsageError where it cannot be one. Nothing is loaded, and only
    what lies in the store or on this disk is looked for: an s3:// address is taken as it is.
    """
    typed = text.strip()
    if not typed:
        raise UsageError("no model is named", "give a registered model, a run, or a model's folder")
    if typed.startswith(("runs:/", "models:/")) or ADDRESS.match(typed):
        return _of_address(settings, typed)
    if typed.startswith((".", "/", "~")):
        return _folder(Path(typed).expanduser())
    registry = Registry(TrackingStore(settings.tracking_uri))
    name, mark, which = _parts(typed)
    if mark and registry.find(name):
        return _reference(_chosen(registry, name, mark, which))
    if not mark and registry.find(typed):
        return _reference(_chosen(registry, typed, "/", PRODUCTION))
    if (Path(typed) / "MLmodel").is_file():
        return _folder(Path(typed))
    if mark:
        registry.model(name)  # says that it is not there
    return _of_run(settings, typed)


def of_run(store: TrackingStore, run: Run) -> ModelReference:
    """Return the model that a run logged; raises NotFoundError where it logged none."""
    if run.model_uri:
        return ModelReference(run.model_uri, run_id=run.run_id)
    with store.asking():
        listed = store.client.list_artifacts(run.run_id, "model")
    if any(one.path.rpartition("/")[2] == "MLmodel" for one in listed):  # as MLflow 2 logged it
        return ModelReference(f"runs:/{run.run_id}/model", run_id=run.run_id)
    raise NotFoundError(
        f"run {run.run_name or run.run_id} has no model", "mlctl runs artifacts RUN shows what it has"
    )


def _parts(typed: str) -> tuple[str, str, str]:
    """Split NAME@alias and NAME/3 at the mark; a name may hold an @ of its own, and an alias may not."""
    name, mark, which = typed.rpartition("/")
    if not mark:
        name, mark, which = typed.rpartition("@")
    return (name, mark, which) if mark and name and which else (typed, "", "")


def _of_address(settings: Settings, uri: str) -> ModelReference:
    if uri.startswith("runs:/"):
        return _of_runs_uri(settings, uri)
    if uri.startswith("models:/"):
        return _of_models_uri(settings, uri)
    if uri.startswith(("http://", "https://")):
        raise UsageError(f"{uri} is an endpoint, not a model", "mlctl predict takes endpoints")
    if uri.startswith("file://"):
        return _folder(Path(uri.removeprefix("file://")))
    return ModelReference(uri)


def _of_runs_uri(settings: Settings, uri: str) -> ModelReference:
    run_id, _, path = uri.removeprefix("runs:/").strip("/").partition("/")
    path = path.removeprefix("artifacts/")  # the older form
    if not run_id or not path:
        raise UsageError(f"{uri} names no model", "write runs:/RUN_ID/model")
    store = TrackingStore(settings.tracking_uri)
    run = select.find(store, run_id)
    if path == "model":
        return of_run(store, run)
    return ModelReference(f"runs:/{run.run_id}/{path}", run_id=run.run_id)


def _of_models_uri(settings: Settings, uri: str) -> ModelReference:
    path = uri.removeprefix("models:/").strip("/")
    registry = Registry(TrackingStore(settings.tracking_uri))
    if re.fullmatch(r"m-[0-9a-f]{32}", path):
        with registry.store.asking():
            found = registry.client.get_logged_model(path)
        return ModelReference(f"models:/{path}", run_id=found.source_run_id or None)
    name, mark, which = _parts(path)
    if not mark:
        raise UsageError(f"{uri} names no version", f"write models:/{path}/1, or models:/{path}@production")
    return _reference(_chosen(registry, name, mark, which))


def _chosen(registry: Registry, name: str, mark: str, which: str) -> RegisteredVersion:
    """Return the version of a registered model that a number, `latest`, a stage or an alias names."""
    standing = seen(registry, name)
    versions = standing.versions
    if which.lower() == "latest" and versions:
        return versions[0]
    if mark == "/" and which.isdecimal():
        return standing.version(which)
    for one in versions:  # a stage's pointer is the alias of its name in lower case
        if which in one.alias or which.lower() in one.alias:
            return one
    for one in versions if mark == "/" else ():
        if one.stage.lower() == which.lower():
            return one
    there = ", ".join(
        f"{one.version} ({', '.join(one.alias)})" if one.alias else one.version for one in versions
    )
    what = f"no version in {which}" if mark == "/" else f"no alias {which!r}"
    raise NotFoundError(
        f"{name} has {what}; its versions: {there or 'none'}",
        f"say {name}/{versions[0].version}, or mlctl promote {name} {versions[0].version} {PRODUCTION}"
        if versions
        else f"mlctl register RUN {name} makes the first",
    )


def _reference(version: RegisteredVersion) -> ModelReference:
    return ModelReference(version.uri, version.name, version.version, version.run_id)


def _folder(path: Path) -> ModelReference:
    if not (path / "MLmodel").is_file():
        raise NotFoundError(
            f"{path} is no model's folder" if path.is_dir() else f"there is no folder {path}",
            "a model's folder has a file named MLmodel; mlctl models download MODEL DIR makes one",
        )
    return ModelReference(str(path.resolve()))


def _of_run(settings: Settings, typed: str) -> ModelReference:
    store = TrackingStore(settings.tracking_uri)
    try:
        run = select.find(store, typed)
    except NotFoundError as exc:
        raise _unknown(store, typed, exc) from exc
    return of_run(store, run)


def _unknown(store: TrackingStore, typed: str, exc: MlctlError) -> NotFoundError:
    names = [one.name for one in Registry(store).models()]
    hint = did_you_mean(typed, names) or exc.hint
    return NotFoundError(f"there is no model, run or folder {typed!r}", hint)
