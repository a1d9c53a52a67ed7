"""Register models. A model is checked first, so that a failure leaves nothing behind."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from mlctl.adapters.models import load
from mlctl.adapters.models.model_files import file_kind
from mlctl.adapters.tracking.registry import Registry
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.note import generated_note
from mlctl.domain.progress import NullProgress, ProgressListener
from mlctl.domain.registry import ModelReference, Registration
from mlctl.domain.run import Run
from mlctl.domain.tags import DATA_SHA256_TAG, FILE_LIBRARIES_TAG, FILE_SHA256_TAG, FILE_TAG, STOP_TAG
from mlctl.errors import RefusedError, UsageError
from mlctl.services.models.names import check_name, check_tags
from mlctl.services.models.select import resolve_model
from mlctl.services.registry.gates import answer_example, model_metrics
from mlctl.services.runs.description import describe_version
from mlctl.settings import Settings

LOGGED_MODEL_URI = "models:/m-"


def register_model(
    settings: Settings,
    model: str,
    name: str,
    *,
    description: str | None = None,
    tags: Mapping[str, str] | None = None,
    force: bool = False,
    listener: ProgressListener | None = None,
) -> Registration:
    """Register the model that MODEL names; see `register_in_store`."""
    check_name(name)
    check_tags(tags or {})
    is_file = bool(file_kind(Path(model).expanduser()))
    store = TrackingStore(settings.tracking_uri, create=is_file)
    return register_in_store(
        store, model, name, description=description, tags=tags, force=force, listener=listener
    )


def register_in_store(
    store: TrackingStore,
    model: str,
    name: str,
    *,
    description: str | None = None,
    tags: Mapping[str, str] | None = None,
    force: bool = False,
    listener: ProgressListener | None = None,
) -> Registration:
    """Make a model the next version of a registered model, which is created if it does not exist.

    If the same model is already a version, that version is returned, with the new description and tags.

    Args:
        store: The tracking store.
        model: MODEL, as the user typed it.
        name: Name of the registered model.
        description: Description of the version; None: what the run was made from, and its score.
        tags: Tags of the version.
        force: Register the same model again, and the model of a run that neither finished nor was stopped.
        listener: Receives progress messages.

    Raises:
        RefusedError: The run has not finished.
        BadDataError: The model does not load or does not answer its own input example.
        NotFoundError: There is no such model.
    """
    registry = Registry(store)
    reference = resolve_model(store, model)
    if file_kind(Path(reference.uri)):
        return _register_file(
            registry, Path(reference.uri), name, description=description, tags=tags or {}, force=force
        )
    run = store.get_run(reference.run_id) if reference.run_id else None
    if run and run.status != "FINISHED" and not _was_stopped(run) and not force:
        raise RefusedError(
            f"run {run.run_name} is {run.status}, so its model may be incomplete",
            "wait until it has finished, or add --force",
        )
    source = _source(registry, reference)
    registration = Registration(
        name=name,
        version="",
        source=source,
        run_id=reference.run_id,
        metrics=model_metrics(run),
        intervals=run.intervals if run else {},
    )
    if not force and (existing := _find_version(registry, name, source)):
        _annotate(registry, name, existing, description, tags or {})
        return replace(registration, version=existing, created=False)
    (listener or NullProgress()).stage("checking that the model loads and answers")
    answer_example(store, reference.uri)
    if description is None and run is not None:
        description = generated_note(describe_version(run))
    version = _create_version(registry, registration, run, description, tags or {})
    return replace(registration, version=version)


def _was_stopped(run: Run) -> bool:
    """Return whether `mlctl runs stop` ended a run, which logs its best model so far."""
    return run.status in {"KILLED", "STOPPED"} and STOP_TAG in run.tags


def _register_file(
    registry: Registry,
    path: Path,
    name: str,
    *,
    description: str | None,
    tags: Mapping[str, str],
    force: bool,
) -> Registration:
    """Log a file that was trained elsewhere to a run of its own, and register that run's model."""
    from mlctl.adapters.models.copy_model import log_copy  # they import MLflow and the file's runtime
    from mlctl.adapters.models.imported_file import describe_file, import_file

    origin = describe_file(path)
    digest = origin["sha256"]
    file_tags = {FILE_TAG: origin["file"], FILE_SHA256_TAG: digest}
    libraries = [f"{library} {version}" for library, version in origin["libraries"].items()]
    if libraries:
        file_tags[FILE_LIBRARIES_TAG] = ", ".join(libraries)
    known = [] if force or registry.find_model(name) is None else registry.list_versions(name)
    existing = next((one for one in known if one.tags.get(FILE_SHA256_TAG) == digest), None)
    if existing is not None:
        _annotate(registry, name, existing.version, description, tags)
        return Registration(
            name=name,
            version=existing.version,
            source=existing.source,
            run_id=existing.run_id,
            metrics={},
            created=False,
        )
    with tempfile.TemporaryDirectory(prefix="mlctl-file-") as scratch:
        folder = import_file(path, Path(scratch))
        answer_example(registry.store, str(folder))
        load.set_default_store(registry.store)
        run_id, model_id = log_copy(registry.store, folder, name, None, f"file {origin['file']}")
    registration = Registration(
        name=name, version="", source=f"models:/{model_id}", run_id=run_id, metrics={}
    )
    if description is None:
        made_with = f", written by {', '.join(libraries)}" if libraries else ""
        description = generated_note(f"The file {origin['file']}, SHA-256 `{digest[:12]}`{made_with}")
    version = _create_version(registry, registration, None, description, {**file_tags, **tags})
    return replace(registration, version=version)


def annotate_model(
    settings: Settings,
    name: str,
    *,
    version: str | None = None,
    description: str | None = None,
    tags: Mapping[str, str],
) -> None:
    """Set the description and tags of a registered model, or of one version. Raises NotFoundError."""
    if description is None and not tags:
        raise UsageError("there is nothing to set", "give --description, or --tag KEY=VALUE")
    check_tags(tags)
    registry = Registry(TrackingStore(settings.tracking_uri))
    if version is None:
        registry.get_model(name)
    else:
        registry.get_version(name, version)
    _annotate(registry, name, version, description, tags)


def _create_version(
    registry: Registry,
    registration: Registration,
    run: Run | None,
    description: str | None,
    tags: Mapping[str, str],
) -> str:
    load.set_default_store(registry.store)  # MLflow searches a logged model in its default store
    data_tags = {DATA_SHA256_TAG: run.data.sha256} if run and run.data and run.data.sha256 else {}
    name, source = registration.name, registration.source
    model_created = registry.create_model(name)
    try:
        return registry.create_version(
            name,
            source=source,
            run_id=registration.run_id,
            model_id=source.removeprefix("models:/") if source.startswith(LOGGED_MODEL_URI) else None,
            tags={**data_tags, **tags},
            description=description,
        )
    except BaseException:
        if model_created and not registry.list_versions(name):
            registry.delete(name, None)
        raise


def _source(registry: Registry, reference: ModelReference) -> str:
    """Return the URI that MLflow registers: for a version, the source that it was registered from."""
    if reference.name and reference.version:
        return registry.get_version(reference.name, reference.version).source
    return reference.uri


def _find_version(registry: Registry, name: str, source: str) -> str | None:
    """Return the newest version with this source, or None."""
    if registry.find_model(name) is None:
        return None
    versions = registry.list_versions(name)
    return next((version.version for version in versions if version.source == source), None)


def _annotate(
    registry: Registry, name: str, version: str | None, description: str | None, tags: Mapping[str, str]
) -> None:
    for key, value in tags.items():
        if version is None:
            registry.set_model_tag(name, key, value)
        else:
            registry.set_version_tag(name, version, key, value)
    if description is not None:
        registry.set_description(name, version, description)
