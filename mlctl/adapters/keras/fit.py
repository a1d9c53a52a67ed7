"""The training loop for a compiled model and its data, with validation or without."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np

from mlctl.adapters.keras import programs
from mlctl.adapters.keras.training_loop import TrainingLoop
from mlctl.data.dataset import Split
from mlctl.domain.outputs import Outputs
from mlctl.domain.progress import ProgressListener
from mlctl.scores import compute_scores

Array = np.ndarray[Any, Any]
ScoreTargets: TypeAlias = Callable[[Any, Any], Mapping[str, float]]
Model: TypeAlias = keras.Model  # for annotations in services, which do not import Keras


def make_training_loop(
    model: Model,
    train: Split,
    *,
    validation: Split | None,
    outputs: Outputs,
    batch_size: int,
    seed: int,
    listener: ProgressListener,
    class_weight: Mapping[int, float] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    extra_scores: ScoreTargets | None = None,
    epochs: int = 1,
) -> TrainingLoop:
    """Return the loop that trains a model.

    Args:
        model: a compiled model.
        train: encoded training inputs, with the targets and weights as `load` returned them.
        validation: the same of the validation rows; None: train without validation.
        outputs: what the model's outputs mean, from `infer_outputs`.
        batch_size: examples per step; a stream has batches of its own.
        seed: sets the order of the training rows in each epoch.
        listener: receives progress.
        class_weight: weight of each class in the loss, as `Model.fit` takes it.
        callbacks: Keras callbacks.
        extra_scores: returns scores of the recipe's own for targets and predictions.
        epochs: the number of epochs, which callbacks can read.
    """
    classes = len(outputs[0].classes)

    def score(predictions: Array) -> Mapping[str, float]:
        return compute_scores(validation.targets, predictions, classes) if validation else {}

    targets = programs.encode_targets(model, train.targets, classes)
    encoded_validation: Any = validation and (
        validation.inputs,
        programs.encode_targets(model, validation.targets, classes),
    )
    return TrainingLoop(
        model=model,
        program=programs.make_program(model, train.inputs, targets, batch_size),
        predictor=programs.make_predictor(model, (validation or train).inputs),
        validation=encoded_validation,
        score=score,
        seed=seed,
        listener=listener,
    )
