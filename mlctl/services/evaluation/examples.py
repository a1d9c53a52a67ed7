"""Single inputs of a model in a form that a page can show: a picture, a text, a table's row, numbers."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mlctl.domain.short_texts import shorten

MAX_SIDE = 96  # pixels of a picture
MIN_SIDE = 6  # a smaller array is no picture
MAX_TEXT, MAX_CELL = 600, 80  # characters
MAX_COLUMNS, MAX_NUMBERS = 30, 16

Array = np.ndarray[Any, Any]
InputsOf = Callable[[Array], Any]  # the raw inputs of some rows


def describe_rows(inputs_of: InputsOf | None, rows: Array) -> list[dict[str, Any]]:
    """Return each row's input as JSON under "input"; nothing if the inputs cannot be shown."""
    if inputs_of is None or not len(rows):
        return [{} for _ in rows]
    inputs = inputs_of(rows)
    return [{"input": describe(_take(inputs, row))} for row in range(len(rows))]


def describe(value: Any) -> dict[str, Any]:
    """Return one input: {"picture": PNG in base64}, {"text"}, {"row": {column: value}}, {"numbers"} or {"parts"}."""
    if isinstance(value, Mapping):
        if all(np.ndim(part) == 0 for part in value.values()):
            cells = list(value.items())[:MAX_COLUMNS]
            return {"row": {str(name): _cell(cell) for name, cell in cells}, "columns": len(value)}
        return {"parts": {str(name): describe(part) for name, part in value.items()}}
    if isinstance(value, tuple):
        return {"parts": {str(number): describe(part) for number, part in enumerate(value, start=1)}}
    if isinstance(value, (str, bytes)):
        text = value.decode(errors="replace") if isinstance(value, bytes) else value
        half = MAX_TEXT // 2  # a long text often says at its end what it comes to
        return {"text": text if len(text) <= MAX_TEXT else f"{text[:half]} … {text[-half:]}"}
    array = np.asarray(value)
    if array.dtype.kind in "SUO":
        return {"text": " ".join(map(str, array.ravel()[:MAX_NUMBERS]))[:MAX_TEXT]}
    if _is_picture(array):
        return {"picture": _png(array)}
    numbers = [f"{number:.4g}" for number in array.ravel()[:MAX_NUMBERS].astype(np.float64)]
    return {"numbers": numbers, "shape": list(array.shape)}


def _take(inputs: Any, row: int) -> Any:
    if hasattr(inputs, "iloc"):
        return inputs.iloc[row].to_dict()
    if isinstance(inputs, Mapping):
        return {name: _take(part, row) for name, part in inputs.items()}
    if isinstance(inputs, tuple):
        return tuple(_take(part, row) for part in inputs)
    return inputs[row]


def _cell(value: Any) -> str:
    if isinstance(value, (float, np.floating)):
        return "" if value != value else f"{value:.6g}"
    text = "" if value is None else str(value)
    return shorten(text, MAX_CELL)


def _is_picture(array: Array) -> bool:
    is_2d = array.ndim == 2 or (array.ndim == 3 and array.shape[-1] in (1, 3, 4))
    return is_2d and min(array.shape[:2]) >= MIN_SIDE and array.dtype.kind in "biuf"


def _png(array: Array) -> str:
    """Return a picture as PNG in base64; it keeps its contrast, and is made smaller if it is large."""
    from PIL import Image

    pixels = np.nan_to_num(np.asarray(array, np.float64))
    pixels = (
        pixels[..., 0]
        if pixels.ndim == 3 and pixels.shape[-1] == 1
        else pixels[..., :3]
        if pixels.ndim == 3
        else pixels
    )
    low, high = (0.0, 255.0) if array.dtype == np.uint8 else (float(pixels.min()), float(pixels.max()))
    scaled = (pixels - low) / (high - low if high > low else 1.0) * 255
    image = Image.fromarray(scaled.astype(np.uint8))
    image.thumbnail((MAX_SIDE, MAX_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()
