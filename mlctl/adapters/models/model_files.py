"""Files of models that were trained elsewhere: how they are recognized. Nothing heavy is imported here."""

from __future__ import annotations

from pathlib import Path

KERAS, ONNX, LITERT, SAVED_MODEL = "keras", "onnx", "litert", "savedmodel"
SUFFIXES = {".keras": KERAS, ".h5": KERAS, ".onnx": ONNX, ".tflite": LITERT}


def file_kind(path: Path) -> str:
    """Return what kind of model a path is: keras, onnx, litert or savedmodel; "" if it is none of them."""
    if path.is_file():
        return SUFFIXES.get(path.suffix.lower(), "")
    return SAVED_MODEL if saved_model_folder(path) else ""


def saved_model_folder(path: Path) -> Path | None:
    """Return the folder of a SavedModel: the path, or its newest version as TensorFlow Serving keeps them."""
    if (path / "MLmodel").exists():
        return None
    if (path / "saved_model.pb").is_file():
        return path
    numbered = [one for one in path.glob("*/saved_model.pb") if one.parent.name.isdecimal()]
    return max(numbered, key=lambda one: int(one.parent.name)).parent if numbered else None
