"""Trees of scikit-learn and LightGBM's estimators as ONNX nodes in float64, also as parts of a Pipeline for skl2onnx."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mlctl.adapters.conversion.graph_writer import GraphWriter, SklearnGraph
from mlctl.adapters.conversion.lightgbm_trees import write_booster
from mlctl.adapters.conversion.tree_graphs import ExactTree, write_trees
from mlctl.adapters.models.export_error import ExportError

FLOAT, DOUBLE = 1, 11  # types of ONNX

Array = np.ndarray[Any, Any]
Write = Callable[[GraphWriter, str, Any], str]  # returns the name of values (n, outputs), or of probabilities


def register() -> None:
    """Make skl2onnx use these conversions."""
    from skl2onnx import update_registered_converter
    from sklearn import ensemble, tree

    classifiers: dict[Any, Write] = {
        tree.DecisionTreeClassifier: _write_forest,
        tree.ExtraTreeClassifier: _write_forest,
        ensemble.RandomForestClassifier: _write_forest,
        ensemble.ExtraTreesClassifier: _write_forest,
        ensemble.GradientBoostingClassifier: _write_gradient_boosting,
        ensemble.HistGradientBoostingClassifier: _write_histogram_boosting,
    }
    regressors: dict[Any, Write] = {
        tree.DecisionTreeRegressor: _write_forest,
        tree.ExtraTreeRegressor: _write_forest,
        ensemble.RandomForestRegressor: _write_forest,
        ensemble.ExtraTreesRegressor: _write_forest,
        ensemble.GradientBoostingRegressor: _write_gradient_boosting,
        ensemble.HistGradientBoostingRegressor: _write_histogram_boosting,
    }
    try:
        import lightgbm
    except ImportError:
        pass
    else:
        classifiers[lightgbm.LGBMClassifier] = _write_lightgbm
        regressors[lightgbm.LGBMRegressor] = _write_lightgbm
    for model, write in classifiers.items():
        update_registered_converter(
            model,
            f"Mlctl{model.__name__}",
            _classifier_shapes,
            _converter(write, is_classifier=True),
            options={"zipmap": [True, False, "columns"], "nocl": [True, False]},
        )
    for model, write in regressors.items():
        update_registered_converter(
            model, f"Mlctl{model.__name__}", _regressor_shapes, _converter(write, is_classifier=False)
        )


def _classifier_shapes(operator: Any) -> None:
    from skl2onnx.common.data_types import DoubleTensorType, Int64TensorType, StringTensorType

    model = operator.raw_operator
    if np.ndim(model.classes_[0]):
        raise ExportError("the model answers several labels a row")
    label = StringTensorType if np.asarray(model.classes_).dtype.kind in "OU" else Int64TensorType
    operator.outputs[0].type = label([None])
    operator.outputs[1].type = DoubleTensorType([None, len(model.classes_)])


def _regressor_shapes(operator: Any) -> None:
    from skl2onnx.common.data_types import DoubleTensorType

    operator.outputs[0].type = DoubleTensorType([None, getattr(operator.raw_operator, "n_outputs_", 1)])


def _converter(write: Write, *, is_classifier: bool) -> Callable[[Any, Any, Any], None]:
    def convert(scope: Any, operator: Any, container: Any) -> None:
        writer = SklearnGraph(scope, container)
        parts = [writer.node("Cast", [given.full_name], to=DOUBLE) for given in operator.inputs]
        rows = parts[0] if len(parts) == 1 else writer.node("Concat", parts, axis=1)
        values = write(writer, rows, operator.raw_operator)
        outputs = [output.full_name for output in operator.outputs]
        if not is_classifier:
            writer.node("Identity", [values], outputs[0])
            return
        classes = np.asarray(operator.raw_operator.classes_)
        classes = classes if classes.dtype.kind in "OU" else classes.astype(np.int64)
        position = writer.node("ArgMax", [values], axis=1, keepdims=0)
        writer.node("Gather", [writer.constant(classes), position], outputs[0])
        writer.node("Identity", [values], outputs[1])

    return convert


def _write_forest(writer: GraphWriter, rows: str, model: Any) -> str:
    """A tree, or the mean of trees, which read their features as float32."""
    trees = [part.tree_ for part in getattr(model, "estimators_", [model])]
    rows = writer.node("Cast", [writer.node("Cast", [rows], to=FLOAT)], to=DOUBLE)
    if trees[0].value.shape[1] > 1 and hasattr(model, "classes_"):
        raise ExportError("the model answers several labels a row")
    axis = 0 if hasattr(model, "classes_") else 1
    values = [tree.value[:, 0, :] if axis == 0 else tree.value[:, :, 0] for tree in trees]
    if axis == 0:
        values = [table / table.sum(axis=1, keepdims=True) for table in values]
    exact = [_tree_of(tree, table / len(trees)) for tree, table in zip(trees, values, strict=True)]
    return write_trees(writer, rows, exact, values[0].shape[1])


def _tree_of(tree: Any, values: Array, output: int = 0) -> ExactTree:
    return ExactTree(
        feature=tree.feature,
        threshold=tree.threshold,
        left=tree.children_left,
        right=tree.children_right,
        gaps_left=tree.missing_go_to_left.astype(bool),
        values=values,
        output=output,
    )


def _write_gradient_boosting(writer: GraphWriter, rows: str, model: Any) -> str:
    rows = writer.node("Cast", [writer.node("Cast", [rows], to=FLOAT)], to=DOUBLE)
    outputs = model.estimators_.shape[1]
    if not (model.init_ == "zero" or type(model.init_).__name__.startswith("Dummy")):
        raise ExportError("boosting starts from another model")
    base = np.asarray(model._raw_predict_init(np.zeros((1, model.n_features_in_), np.float32)), np.float64)
    trees = [
        _tree_of(part.tree_, part.tree_.value[:, :, 0] * model.learning_rate, output)
        for stage in model.estimators_
        for output, part in enumerate(stage)
    ]
    raw = writer.node(
        "Add", [write_trees(writer, rows, trees, outputs), writer.constant(base.reshape(1, -1))]
    )
    if not hasattr(model, "classes_"):
        return raw
    if model.loss == "exponential":
        raw = writer.node("Mul", [raw, writer.constant(np.full(1, 2.0))])
    return _write_probabilities(writer, raw, outputs)


def _write_histogram_boosting(writer: GraphWriter, rows: str, model: Any) -> str:
    if getattr(model, "_preprocessor", None) is not None:
        raise ExportError("HistGradientBoosting with categories has no ONNX form here")
    base = np.asarray(model._baseline_prediction, np.float64).reshape(1, -1)
    trees = []
    for stage in model._predictors:
        for output, predictor in enumerate(stage):
            nodes = predictor.nodes
            is_leaf = nodes["is_leaf"].astype(bool)
            if nodes["is_categorical"].any():
                raise ExportError("HistGradientBoosting with categories has no ONNX form here")
            trees.append(
                ExactTree(
                    feature=nodes["feature_idx"].astype(np.int64),
                    threshold=np.where(is_leaf, 0.0, nodes["num_threshold"]),
                    left=np.where(is_leaf, -1, nodes["left"].astype(np.int64)),
                    right=np.where(is_leaf, -1, nodes["right"].astype(np.int64)),
                    gaps_left=nodes["missing_go_to_left"].astype(bool),
                    values=np.where(is_leaf, nodes["value"], 0.0)[:, np.newaxis],
                    output=output,
                )
            )
    raw = writer.node("Add", [write_trees(writer, rows, trees, base.shape[1]), writer.constant(base)])
    if hasattr(model, "classes_"):
        return _write_probabilities(writer, raw, base.shape[1])
    link = type(model._loss.link).__name__
    if link not in ("IdentityLink", "LogLink"):
        raise ExportError(f"the loss {model.loss} has no ONNX form here")
    return writer.node("Exp", [raw]) if link == "LogLink" else raw


def _write_lightgbm(writer: GraphWriter, rows: str, model: Any) -> str:
    from sklearn.base import is_classifier

    values = write_booster(writer, rows, model.booster_)
    if not is_classifier(model) or len(model.classes_) > 2:
        return values
    return _write_both(writer, values)


def _write_probabilities(writer: GraphWriter, raw: str, outputs: int) -> str:
    if outputs > 1:
        return writer.node("Softmax", [raw], axis=1)
    return _write_both(writer, writer.node("Sigmoid", [raw]))


def _write_both(writer: GraphWriter, positive: str) -> str:
    """Return the probabilities of both classes from that of the second."""
    negative = writer.node("Sub", [writer.constant(np.full(1, 1.0)), positive])
    return writer.node("Concat", [negative, positive], axis=1)
