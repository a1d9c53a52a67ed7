"""Registering a model: checked first, so that a failure leaves nothing behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mlctl.adapters.models import load
from mlctl.adapters.tracking.registry import Registry
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.progress import NullProgress, ProgressListener
from mlctl.domain.registry import ModelReference, Registration
from mlctl.domain.run import Run
from mlctl.errors import MlctlError, RefusedError, UsageError
from mlctl.services.models import select
from mlctl.services.models.names import check_name, check_tags
from mlctl.services.registry.gates import answers_example, kept_metrics
from mlctl.settings import Settings


def register(
    settings: Settings,
    model: str,
    name: str,
    description: str | None = None,
    tags: Mapping[str, str] | None = None,
    force: bool = False,
    listener: ProgressListener | None = None,
) -> Registration:
    """Make a model the next version of a registered model, which is created where there is none.

    The same model registered again answers with the version that exists, and so does a version's own source;
    `force` makes another, and takes the model of a run that has not finished.

    Raises RefusedError for an unfinished run, BadDataError for a model that does not load and answer its own
    input example, NotFoundError where there is no model.
    """
    check_name(name)
    check_tags(tags or {})
    store = TrackingStore(settings.tracking_uri)
    registry = Registry(store)
    reference = select.resolve(settings, model)
    run = store.run(reference.run_id) if reference.run_id else None
    if run and run.status != "FINISHED" and not force:
        raise RefusedError(
            f"run {run.run_name} is {run.status}, so its model may be half written",
            "wait for it, or say --force",
        )
    source, model_id = _source(store, reference)
    answer = Registration(name, "", source, reference.run_id, kept_metrics(run))
    if not force and (known := _known(registry, name, source)):
        _annotate(registry, name, known, description, tags or {})
        return replace(answer, version=known, created=False)
    (listener or NullProgress()).stage("checking that the model loads and answers")
    answers_example(store, reference.uri)
    return replace(answer, version=_create(registry, answer, model_id, run, description, tags or {}))


def _create(
    registry: Registry, answer: Registration, model_id: str | None, run: Run | None,
    description: str | None, tags: Mapping[str, str],
) -> str:  # fmt: skip
    load.as_default(registry.store)  # MLflow looks a logged model up in the default store
    noted = {"mlctl.data.sha256": run.data.sha256} if run and run.data and run.data.sha256 else {}
    created = registry.create(answer.name)
    try:
        return registry.create_version(
            answer.name, answer.source, answer.run_id, model_id, {**noted, **tags}, description
        )
    except BaseException:
        if created and not registry.versions(answer.name):
            registry.delete(answer.name, None)
        raise


def _source(store: TrackingStore, reference: ModelReference) -> tuple[str, str | None]:
    """Return what MLflow registers from, and the logged model's id where it is one."""
    uri = reference.uri
    if uri.startswith("models:/m-"):
        return uri, uri.removeprefix("models:/")
    if reference.name and reference.version:  # a version of a registered model: what it was made from
        made_from = Registry(store).version(reference.name, reference.version).source
        return made_from, made_from.removeprefix("models:/") if made_from.startswith("models:/m-") else None
    return uri, None


def _known(registry: Registry, name: str, source: str) -> str | None:
    """Return the newest version with this source, or None."""
    if registry.find(name) is None:
        return None
    return next((one.version for one in registry.versions(name) if one.source == source), None)


def _annotate(
    registry: Registry, name: str, version: str | None, description: str | None, tags: Mapping[str, str]
) -> None:
    for key, value in tags.items():
        if version is None:
            registry.tag(name, key, value)
        else:
            registry.tag_version(name, version, key, value)
    if description is not None:
        registry.describe(name, version, description)


def annotate(
    settings: Settings, name: str, version: str | None, description: str | None, tags: Mapping[str, str]
) -> None:
    """Set the description and tags of a registered model, or of one version; raises NotFoundError."""
    if description is None and not tags:
        raise UsageError("nothing is to be set", "give --description, or --tag KEY=VALUE")
    check_tags(tags)
    registry = Registry(TrackingStore(settings.tracking_uri))
    if version is None:
        registry.model(name)
    else:
        registry.version(name, version)
    _annotate(registry, name, version, description, tags)


def after_training(settings: Settings, run: Run, name: str, listener: ProgressListener) -> Registration:
    """Register the model of a run that has just finished; a failure says that the run is kept."""
    try:
        return register(settings, run.run_id, name, listener=listener)
    except MlctlError as exc:
        hint = f"{exc.hint}; then: mlctl register {run.run_id[:8]} {name}" if exc.hint else ""
        raise type(exc)(
            f"run {run.run_name} is finished and kept, but its model was not registered as {name}: {exc.message}",
            hint,
        ) from exc
