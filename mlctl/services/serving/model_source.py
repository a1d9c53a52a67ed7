"""The model that MODEL names, found first and fetched later."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mlctl.adapters.models.model_files import file_kind
from mlctl.serving.endpoint_spec import ServedVersion
from mlctl.settings import Settings

UNVERSIONED_MODEL = re.compile(
    r"(runs|models|s3|file|https?):/|[./~]|.*\.(keras|h5|onnx|tflite)$"
)  # it cannot be followed with --watch


@dataclass(frozen=True)
class ModelSource:
    """A model that exists: its name, and the function that fetches its files into a folder."""

    name: str
    fetch: Callable[[Path], ServedVersion]


def find_model(settings: Settings, model: str) -> ModelSource:
    """Return the model that MODEL names, without fetching it. Raises NotFoundError."""
    path = Path(model).expanduser()
    if file_kind(path):
        return ModelSource(path.stem, partial(_import, path))
    if folder := _local_folder(model):
        served = ServedVersion(name=folder.name, version="", uri=str(folder), folder=str(folder))
        return ModelSource(folder.name, lambda _: served)
    # only here, because they import MLflow, which takes seconds
    from mlctl.adapters.tracking.store import TrackingStore
    from mlctl.services.models.fetch import fetch_reference, reference_name
    from mlctl.services.models.select import resolve_model

    store = TrackingStore(settings.tracking_uri)
    reference = resolve_model(store, model)
    return ModelSource(reference_name(reference, model), partial(fetch_reference, store, reference, model))


def _import(path: Path, folder: Path) -> ServedVersion:
    from mlctl.adapters.models.imported_file import import_file  # it imports the file's runtime

    imported = import_file(path, folder)
    return ServedVersion(name=path.stem, version="", uri=str(path.resolve()), folder=str(imported))


def _local_folder(model: str) -> Path | None:
    """Return the folder of a model on this machine; None if MODEL is something else."""
    folder = Path(model.removeprefix("file://")).expanduser()
    is_folder = (folder / "MLmodel").is_file() and UNVERSIONED_MODEL.match(model)
    return folder.resolve() if is_folder else None
