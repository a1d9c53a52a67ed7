"""What a logged model's MLmodel file records, read without loading the model."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlctl.adapters.models import load
from mlctl.adapters.tracking.store import TrackingStore


@dataclass(frozen=True, kw_only=True)
class ModelMetadata:
    """Inputs and outputs of the signature as text, flavors with their versions, and the size of all files."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    flavors: Mapping[str, str]
    size_bytes: int | None


def read_metadata(store: TrackingStore, uri: str) -> ModelMetadata:
    """Read a model's MLmodel file; only this file is downloaded. Raises as `load.fetch_files` does."""
    from mlflow.models import Model

    with tempfile.TemporaryDirectory(prefix="mlctl-model-") as temporary:
        mlmodel = Model.load(str(load.fetch_files(store, f"{uri}/MLmodel", Path(temporary))))
    signature = mlmodel.signature
    return ModelMetadata(
        inputs=tuple(str(column) for column in (signature.inputs or ())) if signature else (),
        outputs=tuple(str(column) for column in (signature.outputs or ())) if signature else (),
        flavors={name: _flavor_version(name, flavor) for name, flavor in mlmodel.flavors.items()},
        size_bytes=mlmodel.model_size_bytes or _sum_file_sizes(store, uri),
    )


def _flavor_version(name: str, flavor: Mapping[str, object]) -> str:
    return str(flavor.get(f"{name}_version") or flavor.get("python_version") or "")


def _sum_file_sizes(store: TrackingStore, uri: str) -> int | None:
    """Return the sum of the sizes that the artifact store lists; None if it lists none."""
    import mlflow

    folders, total = [""], 0
    with store.translate_errors():
        while folders:
            path = folders.pop()
            for file in mlflow.artifacts.list_artifacts(f"{uri}/{path}" if path else uri) or ():
                if file.is_dir:
                    folders.append(file.path)
                else:
                    total += file.file_size or 0
    return total or None
