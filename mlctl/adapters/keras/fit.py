"""The training loop for a compiled model and its data, with validation or without."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import keras
import numpy as np

from mlctl.adapters.keras import programs
from mlctl.adapters.keras.training_loop import TrainingLoop
from mlctl.domain.progress import ProgressListener
from mlctl.scores import compute_scores

Array = np.ndarray[Any, Any]
Model: TypeAlias = keras.Model  # for annotations in services, which do not import Keras


def make_training_loop(
    model: Model,
    inputs: Any,
    targets: Array,
    *,
    validation: tuple[Any, Array] | None,
    classes: int,
    batch_size: int,
    seed: int,
    listener: ProgressListener,
) -> TrainingLoop:
    """Return the loop that trains a model.

    Args:
        model: a compiled model.
        inputs: encoded training inputs: an array, a tensor, bags of words or image files.
        targets: (n,) class numbers or values.
        validation: encoded inputs and targets of the validation rows; None: train without validation.
        classes: number of classes; 0 for a regression.
        batch_size: examples per step.
        seed: sets the order of the training rows in each epoch.
        listener: receives progress.
    """

    def score(predictions: Array) -> Mapping[str, float]:
        return compute_scores(validation[1], predictions, classes) if validation else {}

    encoded_targets = programs.encode_targets(model, targets, classes)
    return TrainingLoop(
        model=model,
        program=programs.make_program(model, inputs, encoded_targets, batch_size),
        predictor=programs.make_predictor(model, validation[0] if validation else inputs),
        validation=validation and (validation[0], programs.encode_targets(model, validation[1], classes)),
        score=score,
        seed=seed,
        listener=listener,
    )
