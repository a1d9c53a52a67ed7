"""The ONNX forms of a model that may answer as the model does. The caller compares their answers."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from onnx import TensorProto, helper

from mlctl.adapters.conversion.graph_writer import (
    IR_VERSION,
    ML_DOMAIN,
    ML_OPSET,
    OPSET,
    SKLEARN_ML_OPSET,
    OwnGraph,
)
from mlctl.adapters.models.export_error import ExportError
from mlctl.serving.payloads.signature import ModelSignature

ROWS = "rows"  # name of the input that joins all columns


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An ONNX form.

    Attributes:
        inputs: The graph's inputs, as `ConvertedScorer` reads them.
        outputs: Names of the graph's outputs that are the answers, in the order of the answers; () for all.
        write: Writes the graph to a file; raises an exception if there is none.
    """

    inputs: list[dict[str, Any]]
    outputs: tuple[str, ...]
    write: Callable[[Path], None]


def candidates(
    family: str, model: Any, *, signature: ModelSignature, example: Any, predict_fn: str
) -> Iterator[Candidate]:
    """Yield the ONNX forms of a model, the fastest first.

    Args:
        family: "keras", "sklearn" or "lightgbm".
        model: The library's own model.
        signature: What the model takes.
        example: A few checked rows.
        predict_fn: The method that answers.

    Raises:
        ExportError: No form is known for this kind of model.
    """
    if family == "keras":
        yield _keras(model, signature, example)
    elif family == "lightgbm" and not hasattr(model, "booster_"):
        yield _booster(model, signature)
    else:
        yield from _sklearn(model, signature, predict_fn)


def _keras(model: Any, signature: ModelSignature, example: Any) -> Candidate:
    import keras

    if not isinstance(model, keras.Model):
        raise ExportError(f"it is a {type(model).__name__}, not a Keras model")
    if signature.columns:
        raise ExportError("a Keras model that takes a table is not converted")

    def write(path: Path) -> None:
        from mlctl.adapters.models.keras_export import export_keras

        if reason := export_keras(model, example, path):
            raise ExportError(reason)

    inputs = [
        {"name": spec.name or model.inputs[0].name, "dtype": "", "rank": 0, "columns": None}
        for spec in signature.all_tensors
    ]
    return Candidate(inputs=inputs, outputs=(), write=write)


def _booster(model: Any, signature: ModelSignature) -> Candidate:
    from mlctl.adapters.conversion.lightgbm_trees import write_booster

    def write(path: Path) -> None:
        graph = OwnGraph()
        answers = write_booster(graph, ROWS, model)
        if model.num_model_per_iteration() == 1:
            answers = graph.node("Squeeze", [answers, graph.constant([1])])
        graph.node("Identity", [answers], "answers")
        given = helper.make_tensor_value_info(ROWS, TensorProto.DOUBLE, ["n", model.num_feature()])
        path.write_bytes(
            graph.serialize([given], [helper.make_tensor_value_info("answers", TensorProto.DOUBLE, None)])
        )

    return Candidate(inputs=_joined(signature), outputs=("answers",), write=write)


def _sklearn(model: Any, signature: ModelSignature, predict_fn: str) -> Iterator[Candidate]:
    if find_spec("skl2onnx") is None:
        raise ExportError("skl2onnx is not installed: pip install 'mlctl-keras[convert]'")
    if predict_fn not in ("predict", "predict_proba"):
        raise ExportError(f"{predict_fn} is not converted")
    from skl2onnx.common import data_types

    def given(kind: str, as_integers: bool) -> Any:
        if kind == "string":
            return data_types.StringTensorType([None, 1])
        is_whole = as_integers and kind in ("long", "integer", "boolean")
        return (data_types.Int64TensorType if is_whole else data_types.DoubleTensorType)([None, 1])

    number = 1 if predict_fn == "predict_proba" else 0
    if signature.tensor is not None or all(column.kind != "string" for column in signature.columns):
        width = len(signature.columns) if signature.tensor is None else signature.tensor.shape[-1]
        types = [(ROWS, data_types.DoubleTensorType([None, width]))]
        yield Candidate(
            inputs=_joined(signature), outputs=(f"#{number}",), write=_sklearn_writer(model, types)
        )
    for as_integers in (False, True) if signature.columns else ():
        types = [(column.name, given(column.kind, as_integers)) for column in signature.columns]
        inputs = [
            {"name": name, "dtype": _numpy_type(kind), "rank": 2, "columns": [name]} for name, kind in types
        ]
        yield Candidate(inputs=inputs, outputs=(f"#{number}",), write=_sklearn_writer(model, types))


def _sklearn_writer(model: Any, types: Any) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        from skl2onnx import convert_sklearn
        from sklearn.base import is_classifier

        from mlctl.adapters.conversion import sklearn_gaps, sklearn_trees

        sklearn_trees.register()
        sklearn_gaps.register()
        _allow_voting(model)
        with _quiet():
            converted = convert_sklearn(
                model,
                initial_types=types,
                target_opset={"": OPSET, ML_DOMAIN: SKLEARN_ML_OPSET},
                options={"zipmap": False} if is_classifier(model) else None,
            )
        if any(node.op_type == "TreeEnsemble" for node in converted.graph.node):
            for opset in converted.opset_import:
                if opset.domain == ML_DOMAIN:
                    opset.version = ML_OPSET
        for node in converted.graph.node:
            if node.op_type == "StringNormalizer":  # skl2onnx writes en_US, which small images do not have
                _set_locale(node)
        converted.ir_version = IR_VERSION
        path.write_bytes(converted.SerializeToString())

    return write


def _allow_voting(model: Any) -> None:
    """Set what skl2onnx asks of a VotingClassifier; it matters to `transform` alone."""
    for part in (model, *(step[1] for step in getattr(model, "steps", ()))):
        if hasattr(part, "flatten_transform"):
            part.flatten_transform = False


def _set_locale(node: Any) -> None:
    kept = [attribute for attribute in node.attribute if attribute.name != "locale"]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute("locale", "C.UTF-8")])


def _joined(signature: ModelSignature) -> list[dict[str, Any]]:
    """Return the only input that takes all columns, or the tensor, as float64."""
    names = [column.name for column in signature.columns] or None
    return [{"name": ROWS, "dtype": "float64", "rank": 2, "columns": names}]


def _numpy_type(kind: Any) -> str:
    names: Mapping[str, str] = {"StringTensorType": "object", "Int64TensorType": "int64"}
    return names.get(type(kind).__name__, "float64")


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the converter's warnings, which are about what the caller checks."""
    logger = logging.getLogger("skl2onnx")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
