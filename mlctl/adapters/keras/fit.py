"""The training loop for a compiled model and its data, with validation or without."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np

from mlctl.adapters.keras import frozen_features, programs
from mlctl.adapters.keras.callbacks import TrainingCallbacks
from mlctl.adapters.keras.predictors import Evaluation
from mlctl.adapters.keras.training_loop import TrainingLoop
from mlctl.adapters.keras.worker_group import WorkerGroup
from mlctl.data.dataset import Split
from mlctl.domain.outputs import Outputs
from mlctl.domain.progress import ProgressListener
from mlctl.scores import score_split

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
    workers: WorkerGroup | None = None,
) -> TrainingLoop:
    """Return the loop that trains a model.

    A model with `bags`, each of which leaves rows out (see `mlctl.recipes.members`), trains on training and validation
    rows, and is validated on all of them. If a model begins with a frozen network, that runs once for each row, and the
    loop trains the layers after it.

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
        workers: train in these processes of another backend.
    """

    def score(evaluation: Evaluation) -> Mapping[str, float]:
        if evaluation.predictions is None or (evaluation.targets is None and extra_scores is None):
            return {}
        return score_split(
            outputs, evaluation.targets, evaluation.predictions, weights=evaluation.weights, own=extra_scores
        )

    if validation is not None and getattr(model, "bags", 1) > 1:
        train = validation = deal_into_bags(model, train, validation, outputs)
    whole = model
    # workers have the whole model
    can_split = workers is None and not callbacks
    if can_split and (start := frozen_features.split_off(model, train)) is not None:
        listener.message(
            "the frozen layers at the model's beginning run once for each row, not in every epoch"
        )
        train = start.compute(train)
        validation = start.compute(validation) if validation is not None else None
        model = start.rest
    program = programs.make_program(
        model,
        train,
        batch_size,
        outputs=outputs,
        seed=seed,
        class_weight=class_weight,
        listener=listener,
        workers=workers,
    )
    return TrainingLoop(
        model=model,
        program=program,
        predictor=programs.make_predictor(model, outputs, batch_size=batch_size),
        validation=validation,
        score=score,
        seed=seed,
        listener=listener,
        whole=whole,
        callbacks=TrainingCallbacks(
            callbacks, model=model, epochs=epochs, steps=program.steps, listener=listener
        ),
    )


def deal_into_bags(model: Any, train: Split, validation: Split, outputs: Outputs) -> Split:
    """Return encoded training and validation rows, with the bag that leaves each of them out as a second input.

    A model with bags answers such rows without what it has learned from them. The same rows get the same bags.
    """
    from mlctl.data.join_splits import join  # imports pandas, which most models do not need

    rows = join(train, validation)
    classes = np.asarray(rows.targets) if outputs and outputs[0].classes else None
    return dataclasses.replace(rows, inputs=(rows.inputs, model.deal_rows(len(rows), classes, seed=0)))
