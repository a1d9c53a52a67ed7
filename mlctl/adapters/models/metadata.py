"""What a logged model's own files say of it, read without loading the model."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow.models import Model

from mlctl.adapters.models import load
from mlctl.adapters.tracking.store import TrackingStore


@dataclass(frozen=True)
class ModelMetadata:
    """Signature as words, flavors with their versions, and the size of all files."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    flavors: Mapping[str, str]
    size_bytes: int | None


def facts(store: TrackingStore, uri: str) -> ModelMetadata:
    """Return what MLmodel says; only that file is fetched. Raises as `with_common_options.fetched` does."""
    with tempfile.TemporaryDirectory(prefix="mlctl-model-") as temporary:
        about = Model.load(str(load.fetched(store, f"{uri}/MLmodel", Path(temporary))))
    signature = about.signature
    flavors = {name: _release(name, said) for name, said in about.flavors.items()}
    size = about.model_size_bytes if about.model_size_bytes else _listed(store, uri)
    return ModelMetadata(
        tuple(str(one) for one in (signature.inputs or ())) if signature else (),
        tuple(str(one) for one in (signature.outputs or ())) if signature else (),
        flavors,
        size,
    )


def _release(name: str, said: Mapping[str, object]) -> str:
    return str(said.get(f"{name}_version") or said.get("python_version") or "")


def _listed(store: TrackingStore, uri: str) -> int | None:
    """Return the sum of the sizes that the artifact store tells; None where it tells none."""
    waiting, total = [""], 0
    with store.asking():
        while waiting:
            path = waiting.pop()
            for one in mlflow.artifacts.list_artifacts(f"{uri}/{path}" if path else uri) or ():
                if one.is_dir:
                    waiting.append(one.path)
                else:
                    total += one.file_size or 0
    return total or None
