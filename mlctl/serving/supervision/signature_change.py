"""Whether clients of one version can use another: a comparison of the signatures in the MLmodel files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
WIDER_TYPES: dict[Any, tuple[str, ...]] = {
    "integer": ("long", "double"),
    "long": ("double",),
    "float": ("double",),
}
Schema = dict[str, dict[str, Any]]


def signature_change(folder: Path, other: Path) -> str | None:
    """Return what another version takes or answers differently; None if its clients would notice nothing.

    The other version may take more: further optional columns, rows of any length, parameters.

    Args:
        folder: The model that is served.
        other: The model that may be served next.
    """
    ours, theirs = _read_signature(folder), _read_signature(other)
    if (ours is None) != (theirs is None):
        return "it has no signature" if theirs is None else "it has a signature, and the one before has none"
    if ours is None or theirs is None:
        return None
    return (
        _input_change(_schema(ours, "inputs"), _schema(theirs, "inputs"))
        or _output_change(_schema(ours, "outputs"), _schema(theirs, "outputs"))
        or _parameter_change(_schema(ours, "params"), _schema(theirs, "params"))
    )


def _read_signature(folder: Path) -> dict[str, Any] | None:
    document = yaml.load((folder / "MLmodel").read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - safe
    signature = document.get("signature")
    return signature if isinstance(signature, dict) else None


def _schema(signature: dict[str, Any], key: str) -> Schema:
    """Return the entries of a part by name; a single tensor or column without a name has the name ""."""
    entries = json.loads(signature.get(key) or "null") or []
    if entries and all("name" not in entry for entry in entries):
        return {"" if len(entries) == 1 else str(number): entry for number, entry in enumerate(entries)}
    return {str(entry.get("name", "")): entry for entry in entries}


def _input_change(ours: Schema, theirs: Schema) -> str | None:
    if ("" in ours) != ("" in theirs):
        return f"it takes {_describe_all(theirs)} instead of {_describe_all(ours)}"
    for name, entry in ours.items():
        if name not in theirs:
            return f"it does not take {_named('the input', name)}"
        other = theirs[name]
        if not _takes(other, entry):
            return f"{_named('the input', name)} is {_describe(other)} instead of {_describe(entry)}"
        if other.get("required", True) and not entry.get("required", True):
            return f"{_named('the input', name)} may not be missing any more"
    for name, entry in theirs.items():
        if name not in ours and entry.get("required", True):
            return f"it needs {_named('the input', name)} too"
    return None


def _output_change(ours: Schema, theirs: Schema) -> str | None:
    if not ours or not theirs:  # many models do not say what they answer
        return None
    for name in {**ours, **theirs}:
        if name not in theirs:
            return f"it does not answer {_named('the output', name)}"
        if name not in ours:
            return f"it answers {_named('the output', name)} too"
        if _kind(ours[name]) != _kind(theirs[name]):
            return f"{_named('the output', name)} is {_describe(theirs[name])} instead of {_describe(ours[name])}"
    return None


def _parameter_change(ours: Schema, theirs: Schema) -> str | None:
    for name, entry in ours.items():
        if name not in theirs:
            return f"it does not take {_named('the parameter', name)}"
        if entry.get("type") != theirs[name].get("type"):
            return f"{_named('the parameter', name)} is {theirs[name].get('type')} instead of {entry.get('type')}"
    return None


def _kind(entry: dict[str, Any]) -> Any:
    """Return what a value of this entry is, without its name."""
    ignored = ("name", "required", "optional")
    return {key: value for key, value in entry.items() if key not in ignored}


def _takes(other: dict[str, Any], entry: dict[str, Any]) -> bool:
    """Return whether an input takes every value that another one takes."""
    ours, theirs = _kind(entry), _kind(other)
    if ours == theirs:
        return True
    if not _is_tensor(ours) or not _is_tensor(theirs):
        return theirs.get("type") in WIDER_TYPES.get(ours.get("type"), ())
    spec, other_spec = ours["tensor-spec"], theirs["tensor-spec"]
    shape, other_shape = spec["shape"], other_spec["shape"]
    return (
        spec["dtype"] == other_spec["dtype"]
        and len(shape) == len(other_shape)
        and all(theirs in (-1, ours) for ours, theirs in zip(shape, other_shape, strict=True))
    )


def _describe_all(schema: Schema) -> str:
    if "" in schema:
        return _describe(schema[""])
    names = ", ".join(list(schema)[:5]) + (", …" if len(schema) > 5 else "")
    return f"the {'tensors' if _is_tensor(next(iter(schema.values()), {})) else 'columns'} {names}"


def _is_tensor(entry: dict[str, Any]) -> bool:
    return bool(entry.get("type") == "tensor")


def _named(what: str, name: str) -> str:
    return f"{what} {name}" if name else what


def _describe(entry: dict[str, Any]) -> str:
    if _is_tensor(entry):
        spec = entry["tensor-spec"]
        lengths = ", ".join("n" if length < 0 else str(length) for length in spec["shape"])
        return f"a tensor ({lengths}) of {spec['dtype']}"
    return str(entry.get("type"))
