"""Copy a registered version to another store, such as from a server for tests to the one for production."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from mlctl.adapters.models.load import download_model, set_default_store
from mlctl.adapters.tracking.registry import Registry
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.progress import NullProgress, ProgressListener
from mlctl.domain.registry import CopiedVersion, Promotion
from mlctl.domain.tags import COPIED_FROM_TAG
from mlctl.errors import UsageError
from mlctl.services.models.select import resolve_model
from mlctl.services.registry.gates import run_of_version
from mlctl.services.registry.promote import PromotionRequest, promote
from mlctl.settings import Settings, check_tracking_uri, mask_passwords, with_installed_driver


def copy_version(
    settings: Settings,
    model: str,
    to_uri: str,
    *,
    stage: str | None = None,
    reason: str = "",
    listener: ProgressListener | None = None,
) -> tuple[CopiedVersion, Promotion | None]:
    """Copy a version with its model and the facts of its run; return its number there.

    A version that was copied before is not copied again. With `stage`, it is then promoted there: the gates of
    mlctl.toml apply, against the versions and the history of that store.

    Raises UsageError if MODEL names no registered version.
    """
    listener = listener or NullProgress()
    target_uri = with_installed_driver(check_tracking_uri(to_uri, "--to-uri"))
    store = TrackingStore(settings.tracking_uri)
    reference = resolve_model(store, model)
    if reference.name is None or reference.version is None:
        raise UsageError(
            f"{model} is no registered version", "write NAME/3, or register it first: mlctl register"
        )
    version = Registry(store).get_version(reference.name, reference.version)
    run = run_of_version(store, version)
    origin = f"{version.uri} of {mask_passwords(settings.tracking_uri)}"
    target = TrackingStore(target_uri, create=True)
    registry = Registry(target)
    number = _copied_before(registry, version.name, origin)
    is_new = number is None
    if number is None:
        listener.stage(f"copying {version.name} version {version.version}")
        with tempfile.TemporaryDirectory(prefix="mlctl-copy-") as folder:
            files = Path(folder) / "model"
            download_model(store, version.uri, files)
            from mlctl.adapters.models.copy_model import log_copy  # it imports MLflow

            set_default_store(target)  # MLflow looks there for the model of a new version
            run_id, model_id = log_copy(target, files, version.name, run, origin)
        registry.create_model(version.name)
        number = registry.create_version(
            version.name,
            source=f"models:/{model_id}",
            run_id=run_id,
            model_id=model_id,
            tags={**version.tags, COPIED_FROM_TAG: origin},
            description=version.description or None,
        )
    copied = CopiedVersion(version.name, version.version, number, mask_passwords(target_uri), is_new)
    if stage is None:
        return copied, None
    there = replace(settings, tracking_uri=target_uri)
    request = PromotionRequest(reason=reason or f"copied from {origin}")
    return copied, promote(there, version.name, number, stage, request, listener=listener)


def _copied_before(registry: Registry, name: str, origin: str) -> str | None:
    if not registry.store.exists or registry.find_model(name) is None:
        return None
    for version in registry.list_versions(name):
        if version.tags.get(COPIED_FROM_TAG) == origin:
            return version.version
    return None
