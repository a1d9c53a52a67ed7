"""Export to ONNX: the logged graph with its encoder in front, quantized if wanted."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx

from mlctl.adapters.exports.encoder_layers import EncoderLayers, NotHeldError
from mlctl.adapters.exports.model_parts import HeldEncoder, ModelParts, feed, take
from mlctl.adapters.exports.predict_script import BESIDE, INSIDE, NO_ENCODER
from mlctl.adapters.exports.written_file import Calibration, WrittenFile
from mlctl.adapters.models.export_error import ExportError
from mlctl.adapters.models.keras_export import export_keras
from mlctl.adapters.models.silence import suppress_output
from mlctl.domain.short_texts import first_line

FILE = "model.onnx"
ENCODER_ROWS = 64  # for which the encoder's graph is compared with its layers
PREFIX = "encoder/"


def write_onnx(parts: ModelParts, folder: Path, quantize: str, calibration: Calibration) -> WrittenFile:
    """Write model.onnx. Raises ExportError if the model has no ONNX form, or cannot be quantized."""
    model = parts.onnx_file
    with tempfile.TemporaryDirectory(prefix="mlctl-onnx-") as scratch:
        if quantize:
            quantized = Path(scratch) / "quantized.onnx"
            quantize_onnx(model, quantized, quantize, calibration)
            model = quantized
        graph, held = _with_encoder(parts, onnx.load(model), Path(scratch))
        _sort(graph.graph)
        onnx.checker.check_model(graph)
        onnx.save(graph, folder / FILE)
        float32_bytes = None
        if quantize:
            added = (folder / FILE).stat().st_size - model.stat().st_size
            float32_bytes = parts.onnx_file.stat().st_size + max(0, added)
    return WrittenFile(file=FILE, held=held, float32_bytes=float32_bytes)


def quantize_onnx(source: Path, target: Path, how: str, calibration: Calibration) -> None:
    """Write a graph with smaller numbers. Raises ExportError if ONNX Runtime cannot do it.

    Args:
        source: A graph in float32.
        target: The file to write.
        how: "float16", "int8" or "dynamic".
        calibration: Returns rows, from which the ranges of int8 are taken.
    """
    with _quiet():
        try:
            if how == "float16":
                _to_float16(source, target)
            elif how == "dynamic":
                _to_dynamic(source, target, calibration())
            else:
                _to_int8(source, target, calibration())
        except Exception as exc:
            raise ExportError(f"ONNX Runtime cannot quantize the graph: {first_line(exc)}") from exc


def _to_float16(source: Path, target: Path) -> None:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(onnx.load(source), keep_io_types=True), target)


def _to_dynamic(source: Path, target: Path, rows: Mapping[str, Any]) -> None:
    """Quantize the weights by channel, or as a whole if ONNX Runtime has no such operator for one of them."""
    from onnxruntime import InferenceSession, SessionOptions
    from onnxruntime.quantization import QuantType, quant_pre_process, quantize_dynamic

    options = SessionOptions()
    options.log_severity_level = 4  # it raises what it logs
    prepared = target.with_suffix(".prepared.onnx")
    quant_pre_process(source, prepared, skip_symbolic_shape=True)  # constants that are not needed are removed
    for per_channel in (True, False):
        quantize_dynamic(prepared, target, weight_type=QuantType.QInt8, per_channel=per_channel)
        try:
            session = InferenceSession(str(target), options, providers=["CPUExecutionProvider"])
            session.run(None, {name: array[:2] for name, array in rows.items()})
        except Exception:
            if not per_channel:
                raise
        else:
            return


def _to_int8(source: Path, target: Path, rows: Mapping[str, Any]) -> None:
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quant_pre_process,
        quantize_static,
    )

    length = len(next(iter(rows.values())))

    class Rows(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime ships no types
        def __init__(self) -> None:
            self._start = 0

        def get_next(self) -> dict[str, Any] | None:
            if self._start >= length:
                return None
            self._start += 1
            return {name: array[self._start - 1 : self._start] for name, array in rows.items()}

    prepared = target.with_suffix(".prepared.onnx")
    quant_pre_process(source, prepared, skip_symbolic_shape=True)
    quantize_static(
        prepared,
        target,
        Rows(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )


def _with_encoder(parts: ModelParts, graph: Any, scratch: Path) -> tuple[Any, HeldEncoder]:
    """Return the graph with the encoder's graph in front of it, or alone if there is none that it can hold."""
    alone = tuple(replace(given, input=given.name) for given in parts.model_inputs)
    if parts.scorer.encoder is None:
        return graph, HeldEncoder(parts.with_client_names(alone), NO_ENCODER)
    try:
        layers = parts.encoder_layers()
        encoder = _encoder_graph(layers, parts, scratch / "encoder.onnx")
        return _join(encoder, graph), HeldEncoder(layers.inputs, INSIDE)
    except NotHeldError as exc:
        return graph, HeldEncoder(alone, BESIDE, str(exc))


def _encoder_graph(layers: EncoderLayers, parts: ModelParts, file: Path) -> Any:
    rows = feed(layers.inputs, take(parts.samples, slice(0, ENCODER_ROWS)))
    if reason := export_keras(layers.model, rows, file):
        raise NotHeldError(f"its layers have no ONNX form: {reason}")
    return onnx.load(file)


def _join(encoder: Any, model: Any) -> Any:
    """Return one graph of an encoder and the model that takes its answers."""
    encoder = onnx.compose.add_prefix(encoder, PREFIX, rename_inputs=False, rename_outputs=True)
    found = [output.name for output in encoder.graph.output]
    wanted = [given.name for given in model.graph.input]
    if len(found) == 1:
        pairs = {wanted[0]: found[0]}
    else:
        pairs = {name: next(one for one in found if one == f"{PREFIX}{name}") for name in wanted}
    taken = {given.name for given in encoder.graph.input}
    model = onnx.compose.add_prefix(model, "model/", rename_inputs=True, rename_outputs=False)
    ties = [
        onnx.helper.make_node("Identity", [source], [f"model/{target}"]) for target, source in pairs.items()
    ]
    outputs = list(model.graph.output)
    for output in outputs:
        if output.name in taken:
            raise NotHeldError(f"an input and an output are both named {output.name!r}")
    graph = onnx.helper.make_graph(
        [*encoder.graph.node, *ties, *model.graph.node],
        "mlctl",
        list(encoder.graph.input),
        outputs,
        [*encoder.graph.initializer, *model.graph.initializer],
    )
    opsets: dict[str, int] = {}
    for entry in [*encoder.opset_import, *model.opset_import]:
        opsets[entry.domain] = max(entry.version, opsets.get(entry.domain, 0))
    return onnx.helper.make_model(
        graph,
        opset_imports=[onnx.helper.make_opsetid(domain, version) for domain, version in opsets.items()],
        ir_version=max(encoder.ir_version, model.ir_version),
        functions=[*encoder.functions, *model.functions],
    )


def _sort(graph: Any) -> None:
    """Put each node behind the nodes whose answers it takes; ONNX Runtime's conversion to float16 does not."""
    known = {"", *(one.name for one in (*graph.input, *graph.initializer))}
    waiting, ordered = list(graph.node), []
    while waiting:
        ready = [node for node in waiting if known.issuperset(_taken(node))]
        if not ready:
            return  # a subgraph takes what this cannot see; the order stays
        ordered += ready
        known.update(name for node in ready for name in node.output)
        waiting = [node for node in waiting if not known.issuperset(node.output)]
    del graph.node[:]
    graph.node.extend(ordered)


def _taken(node: Any) -> set[str]:
    """Return the names that a node and its subgraphs take from outside."""
    names = set(node.input)
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            inner = attribute.g
            own = {one.name for one in (*inner.input, *inner.initializer)}
            own.update(name for part in inner.node for name in part.output)
            names |= {name for part in inner.node for name in _taken(part)} - own
            names |= {output.name for output in inner.output} - own
    return names


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence ONNX Runtime's advice to the root logger."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with suppress_output():
            yield
    finally:
        logger.setLevel(level)
