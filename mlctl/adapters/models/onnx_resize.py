"""Resizing of images as ONNX operators.

Bicubic, area and antialiased resizing differ between TensorFlow and ONNX Runtime. Each is linear in the pixels of a
column and of a row, so that two constant matrices do the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from onnx import helper

from mlctl.adapters.models.onnx_nodes import NodeWriter

OPERATORS = ("ResizeBicubic", "ResizeArea", "ScaleAndTranslate")
Array = np.ndarray[Any, Any]


def describe_resize(context: Any, node: Any) -> dict[str, Any] | None:
    """Return what `write_resize` needs to know of a resizing node of tf2onnx's graph.

    Returns None if the size of the images or the new size is not constant.
    """
    shape, size = context.get_shape(node.input[0]), node.inputs[1]
    if shape is None or len(shape) != 4 or min(shape[1:3]) < 1 or not size.is_const():
        return None
    attributes = {
        name: value.decode() if isinstance(value, bytes) else value
        for name in ("align_corners", "half_pixel_centers", "kernel_type", "antialias")
        if (value := node.get_attr_value(name)) is not None
    }
    return {
        "kind": "resize",
        "operator": node.type,
        "shape": tuple(shape[1:3]),
        "size": size.get_tensor_value(as_list=False),
        "attributes": {
            name: bool(value) if isinstance(value, int) else value for name, value in attributes.items()
        },
    }


def write_resize(
    write: NodeWriter, inputs: Sequence[str], output: str, description: Mapping[str, Any]
) -> None:
    """Multiply images (n, height, width, channels) with a matrix for the columns and one for the rows."""
    columns, rows = (_resize_matrix(description, axis) for axis in (0, 1))
    by_channel = write.node("Transpose", [inputs[0]], perm=[0, 3, 1, 2])
    taller = write.node("MatMul", [write.constant(columns), by_channel])
    wider = write.node("MatMul", [taller, write.constant(np.ascontiguousarray(rows.T))])
    write.node("Transpose", [wider], output, perm=[0, 2, 3, 1])


def modernize(node: Any) -> None:
    """Replace a deprecated mode of nearest-neighbour resizing by the same in new words."""
    attributes = {attribute.name: attribute for attribute in node.attribute}
    mode, rounding = attributes.get("coordinate_transformation_mode"), attributes.get("nearest_mode")
    if mode is None or mode.s != b"tf_half_pixel_for_nn" or rounding is None or rounding.s != b"floor":
        return
    mode.CopyFrom(helper.make_attribute(mode.name, "half_pixel"))
    rounding.CopyFrom(helper.make_attribute(rounding.name, "round_prefer_ceil"))


def _resize_matrix(description: Mapping[str, Any], axis: int) -> Array:
    """Return the matrix (new length, length) for one axis: its columns are the resized unit vectors."""
    length, new_length = description["shape"][axis], int(description["size"][axis])
    pixels = np.eye(length, dtype=np.float32)
    images = pixels[:, :, None, None] if axis == 0 else pixels[:, None, :, None]
    size = np.ones(2, np.int32)
    size[axis] = new_length
    arguments: dict[str, Any] = {"images": images, "size": size}
    if description["operator"] == "ScaleAndTranslate":
        arguments["scale"] = size / np.array(images.shape[1:3], np.float32)
        arguments["translation"] = np.zeros(2, np.float32)
    resized = getattr(tf.raw_ops, description["operator"])(**arguments, **description["attributes"])
    return np.asarray(resized).reshape(length, new_length).T
