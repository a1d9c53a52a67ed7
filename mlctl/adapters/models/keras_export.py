"""Export of Keras models to ONNX: an inference copy that answers as Keras does, or the reason why there is none."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import tensorflow as tf
from keras.src.export.tf2onnx_lib import patch_tf2onnx

from mlctl.adapters.keras.answers import bytes_per_row
from mlctl.adapters.models import onnx_operators
from mlctl.adapters.models.export_error import ExportError
from mlctl.adapters.models.keras_trace import (
    InputSpec,
    Traced,
    call_model,
    input_specs,
    layer_of,
    pack,
    trace,
)
from mlctl.adapters.models.silence import suppress_output
from mlctl.data.trees import leaves
from mlctl.domain.outputs import Output
from mlctl.domain.short_texts import shorten

OPSET, IR_VERSION = 18, 10  # supported by ONNX Runtime 1.20, the oldest version that mlctl requires
TOLERANCE = 1e-4
CHECKED_BATCH_SIZES = (1, 7, 64)  # an exported model can be right for one batch size and wrong for another
MAX_CHECK_BYTES = 64 << 20  # of all layers' outputs for the rows that are checked together
_MAX_REASON = 160

Array = np.ndarray[Any, Any]
Tree = Any


def export_keras(model: keras.Model, encoded: Tree, path: Path, outputs: Sequence[Output] = ()) -> str:
    """Export a Keras model to ONNX; return "" if the file answers as Keras does, else the reason in a few words.

    The graph has the inference alone: layers that only train, such as augmentation, leave no trace. It takes the
    dtypes of the Keras model's inputs (`input_specs`), any number of rows and, if the model does, any length.
    It answers with each output's activation applied, by the name of the output; "answer" is the only one.

    Args:
        model: a model in float32.
        encoded: up to 64 rows of its input, to compare the answers: an array, or a dict or tuple of them.
        path: the file to write; if there is a reason, there is no file.
        outputs: what the model's outputs mean.
    """
    try:
        with suppress_output(), _quiet_converter():
            specs = input_specs(model, encoded)
            call_model(
                model, _as_tensors(encoded, specs, rows=1), outputs
            )  # builds a model that was never called
            graph = convert(trace(model, encoded, specs, outputs), model)
            path.write_bytes(graph)
            reason = _difference(path, model, encoded, specs, outputs)
    except Exception as exc:
        reason = _describe(exc, model)
    if reason:
        path.unlink(missing_ok=True)
    return reason


def convert(traced: Traced, model: keras.Model) -> bytes:
    """Return a traced model as an ONNX graph; raise ExportError if ONNX lacks an operator."""
    try:
        return _convert(traced, model)
    except ExportError:
        raise
    except Exception:  # an optimization failed
        return _convert(traced, model, keep_copies=True)


def _convert(traced: Traced, model: keras.Model, keep_copies: bool = False) -> bytes:
    """Convert a traced model. `keep_copies`: leave out optimizations that fail, which takes a quarter more time."""
    import tf2onnx

    patch_tf2onnx()  # NumPy 2
    operations = dict(traced.operations)
    inputs, outputs = list(traced.inputs), list(traced.outputs)
    with tf.Graph().as_default():
        tf.import_graph_def(traced.graph_def, name="")
        optimized = tf2onnx.tf_loader.tf_optimize(inputs, outputs, traced.graph_def)
    with tf.device("/cpu:0"), tf.Graph().as_default() as graph:
        tf.import_graph_def(optimized, name="")
        converted = tf2onnx.tfonnx.process_tf_graph(
            graph,
            continue_on_error=True,
            opset=OPSET,
            custom_op_handlers=onnx_operators.op_handlers(operations),
            extra_opset=[onnx.helper.make_opsetid(onnx_operators.DOMAIN, 1)],
            input_names=inputs,
            output_names=outputs,
            tensors_to_rename=_distinct_names(traced),
        )
    exported = tf2onnx.optimizer.optimize_graph(converted, catch_errors=keep_copies).make_model("mlctl")
    _require_known_operators(exported, model)
    onnx_operators.expand(exported, operations)
    fold_shapes(exported.graph)
    exported.ir_version = IR_VERSION
    return bytes(exported.SerializeToString())


def fold_shapes(graph: onnx.GraphProto) -> None:
    """Replace each shape of a constant by its value, and remove constants of which only the shape was taken.

    tf2onnx takes the shape of a second copy of a weight if the product with it is an einsum.
    """
    constants = {one.name: one for one in graph.initializer}
    shapes = [node for node in graph.node if node.op_type == "Shape" and not node.attribute]
    for node in [node for node in shapes if node.input[0] in constants]:
        value = np.array(constants[node.input[0]].dims, np.int64)
        graph.initializer.append(onnx.numpy_helper.from_array(value, node.output[0]))
        graph.node.remove(node)
    taken = {name for node in _nodes(graph) for name in node.input} | {one.name for one in graph.output}
    for name in ({node.input[0] for node in shapes} & constants.keys()) - taken:
        graph.initializer.remove(constants[name])


def _distinct_names(traced: Traced) -> dict[str, str]:
    """Return the graph's names of inputs and outputs; an output that is named as an input gets a prefix."""
    taken = set(traced.inputs.values())
    outputs = {tensor: f"answer_{name}" if name in taken else name for tensor, name in traced.outputs.items()}
    return {**traced.inputs, **outputs}


def _as_arrays(encoded: Tree, specs: Sequence[InputSpec]) -> list[Array]:
    """Return the leaves in the dtypes that the graph takes."""
    arrays = []
    for leaf, spec in zip(leaves(encoded), specs, strict=True):
        array = np.asarray(leaf)
        if spec.dtype == "string":
            texts = [cell.decode() if isinstance(cell, bytes) else str(cell) for cell in array.ravel()]
            arrays.append(np.array(texts, object).reshape(array.shape))
        else:
            arrays.append(np.ascontiguousarray(array, spec.numpy_dtype))
    return arrays


def _as_tensors(encoded: Tree, specs: Sequence[InputSpec], rows: int) -> Tree:
    return _to_tensors(encoded, [array[:rows] for array in _as_arrays(encoded, specs)])


def _to_tensors(encoded: Tree, arrays: Sequence[Array]) -> Tree:
    # Keras takes texts as tensors only
    return pack(encoded, [tf.constant(array) for array in arrays])


def _difference(
    path: Path, model: keras.Model, encoded: Tree, specs: Sequence[InputSpec], outputs: Sequence[Output]
) -> str:
    """Return how the file's answers differ from Keras's; "" if they do not."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what it refuses is the reason
    options.enable_cpu_mem_arena = False  # an arena would keep the memory of the largest check
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [spec.name for spec in specs]
    arrays = _as_arrays(encoded, specs)
    sizes = checked_batch_sizes(bytes_per_row(model, _to_tensors(encoded, [array[:1] for array in arrays])))
    checks = [[_repeat(array, rows) for array in arrays] for rows in sizes]
    shorter = [_shorten(array, spec) for array, spec in zip(checks[1], specs, strict=True)]
    is_open = any(short.shape != array.shape for short, array in zip(shorter, checks[1], strict=True))
    for inputs in [*checks, *([shorter] if is_open else [])]:
        try:
            expected = call_model(model, _to_tensors(encoded, inputs), outputs)
        except Exception:
            if inputs is shorter:  # Keras needs this length, too
                continue
            raise
        found = session.run(None, dict(zip(names, inputs, strict=True)))
        for name, answer, wanted in zip(expected, found, expected.values(), strict=True):
            gap = _gap(np.asarray(answer), np.asarray(wanted))
            if gap:
                where = f" in {name}" if len(expected) > 1 else ""
                return f"the exported model's answers differ{where} by {gap} for {len(inputs[0])} rows"
    return ""


def checked_batch_sizes(row_bytes: int) -> list[int]:
    """Return the numbers of rows to compare: fewer, but never 1 alone, if a row's layers take much memory."""
    most = max(2, MAX_CHECK_BYTES // max(1, row_bytes))
    return [min(rows, most) for rows in CHECKED_BATCH_SIZES]


def _repeat(array: Array, rows: int) -> Array:
    return np.ascontiguousarray(array[np.arange(rows) % len(array)])


def _shorten(array: Array, spec: InputSpec) -> Array:
    """Return the array with half of each free length."""
    cut = tuple(
        slice(None if size is not None else max(1, length // 2))
        for size, length in zip(spec.shape, array.shape[1:], strict=True)
    )
    return np.ascontiguousarray(array[(slice(None), *cut)])


def _gap(found: Array, expected: Array) -> str:
    """Return by how much two answers differ, in words; "" if they are the same to the tolerance."""
    if found.shape != expected.shape:
        return f"their shape ({found.shape} and {expected.shape})"
    if expected.dtype.kind not in "fiub":
        texts = [cell.decode() if isinstance(cell, bytes) else cell for cell in expected.ravel()]
        return "" if texts == list(found.ravel()) else "their texts"
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    finite = np.isfinite(expected)
    if not np.array_equal(found[~finite], expected[~finite], equal_nan=True):
        return "values that are no numbers"
    if not finite.any():
        return ""
    scale = max(1.0, float(np.abs(expected[finite]).max()))
    gap = float(np.abs(found[finite] - expected[finite]).max())
    return "" if gap <= TOLERANCE * scale else f"{gap:.2g}"


def _require_known_operators(exported: onnx.ModelProto, model: keras.Model) -> None:
    """Raise ExportError for the first operator that tf2onnx left as it was."""
    for node in _nodes(exported.graph):
        if onnx_operators.is_ours(node) or node.domain in ("ai.onnx.ml", "com.microsoft"):
            continue
        if onnx.defs.has(node.op_type, max_inclusive_version=OPSET, domain=""):
            continue
        layer = layer_of(node.name, model)
        if "Random" in node.op_type or node.op_type == "Multinomial":
            raise ExportError(f"the model draws random numbers at inference{layer}")
        is_python = node.op_type.startswith(("PyFunc", "EagerPyFunc"))
        what = "Python code inside the model" if is_python else node.op_type
        raise ExportError(f"ONNX has no operator for {what}{layer}")


def _nodes(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _nodes(attribute.g)


def _describe(exc: Exception, model: keras.Model) -> str:
    """Return the reason that an exception tells, in a few words."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(exc))
    # Keras wraps what a layer raises
    wrapped = re.search(
        r"Exception encountered when calling .*?\n\n(.*?)\n\nArguments received", text, re.DOTALL
    )
    text = wrapped[1] if wrapped else text
    first = " ".join(next((line for line in text.splitlines() if line.strip()), "").split())
    if isinstance(exc, ExportError):
        return first
    missing = re.search(r"(?:implementation for|No Op registered for) (\w+)", text)
    if missing:
        node = re.search(r"node with name '([^']+)'", text)
        layer = layer_of(node[1], model) if node else ""
        return f"ONNX Runtime has no operator {missing[1]} for these inputs{layer}"
    if text.startswith("[ONNXRuntimeError]"):
        short = next((layer for layer in model._flatten_layers() if "16" in layer.compute_dtype), None)
        if short is not None:
            return f"the model computes in {short.compute_dtype} (layer {short.name})"
        first = re.sub(r"^.*(?:failed|initialization): ?", "", first)
        reason = f"ONNX Runtime refuses the graph: {first}"
    else:
        reason = f"{type(exc).__name__}: {first}" if first else type(exc).__name__
    return shorten(reason, _MAX_REASON)


@contextmanager
def _quiet_converter() -> Iterator[None]:
    """Silence tf2onnx's log for a time."""
    loggers = [logging.getLogger(name) for name in ("tf2onnx", "tensorflow")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
