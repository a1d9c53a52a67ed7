"""What a logged model's MLmodel file records, read without MLflow and without loading the model."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    import yaml  # not every look at a version has a model to read

    with tempfile.TemporaryDirectory(prefix="mlctl-model-") as temporary:
        file = load.fetch_files(store, f"{uri}/MLmodel", Path(temporary))
        content = yaml.load(file.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  # both are safe
    signature = content.get("signature") or {}
    return ModelMetadata(
        inputs=_describe(signature.get("inputs")),
        outputs=_describe(signature.get("outputs")),
        flavors={
            name: _flavor_version(name, flavor) for name, flavor in (content.get("flavors") or {}).items()
        },
        size_bytes=content.get("model_size_bytes") or _sum_file_sizes(store, uri),
    )


def _describe(schema: str | None) -> tuple[str, ...]:
    """Return each column or tensor of a signature as MLflow writes it: 'age': long (required)."""
    return tuple(_describe_field(field) for field in json.loads(schema or "[]"))


def _describe_field(field: Mapping[str, Any]) -> str:
    name = field.get("name")
    prefix = "" if name is None else f"{name!r}: "
    if field.get("type") == "tensor":
        tensor = field["tensor-spec"]
        return f"{prefix}Tensor({tensor['dtype']!r}, {tuple(tensor['shape'])!r})"
    required = "required" if field.get("required", True) else "optional"
    return f"{prefix}{_describe_type(field)} ({required})"


def _describe_type(field: Mapping[str, Any]) -> str:
    kind = str(field["type"])
    if kind == "array":
        return f"Array({_describe_type(field['items'])})"
    if kind == "map":
        return f"Map(str -> {_describe_type(field['values'])})"
    if kind == "object":
        inner = (
            f"{name}: {_describe_type(value)} ({'required' if value.get('required', True) else 'optional'})"
            for name, value in field["properties"].items()
        )
        return "{" + ", ".join(inner) + "}"
    return kind


def _flavor_version(name: str, flavor: Mapping[str, object]) -> str:
    return str(flavor.get(f"{name}_version") or flavor.get("python_version") or "")


def _sum_file_sizes(store: TrackingStore, uri: str) -> int | None:
    """Return the sum of the sizes that the artifact store lists; None if it lists none."""
    import mlflow  # of models that an old MLflow logged

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
