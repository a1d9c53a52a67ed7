"""Train what a recipe of docs/gallery builds by `Model.fit`, as its users would without mlctl.

`python tests/programs/plain.py docs/gallery/fraud.py` prints the history and the CPU seconds of `fit`. A second argument
chooses another side:

- `mlctl`: mlctl's training loop, with all of its scores, a copy of the state after every epoch, and no run.
- `script`: `fit` under MLflow's autologging, as in a plain script that also logs its model. Measure the whole process.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from mlctl import settings
from mlctl.data.streams import Stream
from mlctl.domain.progress import NullProgress
from mlctl.recipes import resolve
from mlctl.services.recipes.prepare import PreparedData, check_values, prepare


def prepared_data(file: Path, **overrides: Any) -> PreparedData:
    """Return the data of a recipe file, loaded and encoded as mlctl does."""
    resolved = resolve(str(file))
    return prepare(settings.load({}), resolved, check_values(resolved, overrides), listener=NullProgress())


def fit(prepared: PreparedData, seed: int = 0) -> dict[str, Any]:
    """Return the history of `Model.fit` by metric, and the CPU seconds that it took."""
    import keras

    recipe, data, hp = prepared.recipe, prepared.data, prepared.values
    keras.utils.set_random_seed(seed)
    model = recipe.build(hp, data)
    train, validation = (_as_user(model, prepared, split) for split in (data.train, data.validation))
    history: dict[str, list[float]] = {}
    started = cpu_seconds()
    for phase in recipe.phases(hp, data) or [None]:
        if phase and phase.start:
            phase.start(model, hp, data)
        fitted = model.fit(
            *_arguments(train),
            validation_data=_arguments(validation)[0] if validation.is_stream else _tuple(validation),
            batch_size=None if train.is_stream else hp.batch_size,
            epochs=phase.epochs if phase else hp.epochs,
            sample_weight=train.weights,
            class_weight=data.class_weight,
            callbacks=list(recipe.callbacks(hp, data)),
            verbose=0,
        )
        for name, values in fitted.history.items():
            history.setdefault(name, []).extend(map(float, values))
    return {"history": history, "cpu_s": cpu_seconds() - started, "rows": len(train)}


def _as_user(model: Any, prepared: PreparedData, split: Any) -> Any:
    """Return a split with the inputs and targets that `fit` needs, in the form in which a user prepares them."""
    from mlctl.adapters.keras.losses import encode_targets
    from mlctl.adapters.keras.outputs import infer_outputs

    split = prepared.encoded_split(split)
    if split.is_stream:
        return split
    outputs = infer_outputs(model, prepared.data, split.inputs)
    return dataclasses.replace(split, targets=encode_targets(model, split.targets, outputs))


def fit_and_log(prepared: PreparedData) -> dict[str, Any]:
    """Return the same as `fit`, which MLflow's autologging records with the model."""
    import mlflow

    mlflow.tensorflow.autolog()
    with mlflow.start_run():
        return fit(prepared)


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of its children."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _arguments(split: Any) -> tuple[Any, ...]:
    if isinstance(split.inputs, Stream):
        return (split.inputs.source,)
    return (_as_keras(split.inputs), split.targets)


def _tuple(split: Any) -> tuple[Any, ...]:
    parts = (_as_keras(split.inputs), split.targets, split.weights)
    return tuple(part for part in parts if part is not None)


def _as_keras(inputs: Any) -> Any:
    """Return inputs in a form that Keras takes: it refuses NumPy arrays of strings."""
    import tensorflow as tf

    from mlctl.data.trees import map_tree

    def convert(leaf: Any) -> Any:
        return tf.constant(leaf.astype(str)) if np.asarray(leaf).dtype.kind == "O" else leaf

    return map_tree(convert, inputs)


def fit_with_mlctl(prepared: PreparedData, seed: int = 0) -> dict[str, Any]:
    """Return the same as `fit` for the training loop of `mlctl train`, without a run."""
    from mlctl.adapters.keras import runtime
    from mlctl.services.training.request import TrainRequest
    from mlctl.services.training.run_setup import RunSetup
    from mlctl.services.training.training import Training

    store: Any = None
    training = Training(
        RunSetup(
            settings=settings.load({}),
            store=store,
            request=TrainRequest(source="", seed=seed),
            prepared=prepared,
            objective=prepared.objective,
        ),
        NullProgress(),
    )
    runtime.start_session(seed, runtime.FLOAT32)
    model = training._build()
    started = cpu_seconds()
    training._run_phases(model, lambda epoch, loop: loop.read_state(training.progress))
    names = training.progress.epochs[0].metrics
    history = {name: [epoch.metrics[name] for epoch in training.progress.epochs] for name in names}
    return {"history": history, "cpu_s": cpu_seconds() - started, "rows": len(prepared.data.train)}


if __name__ == "__main__":
    from mlctl.adapters.keras.runtime import import_keras

    import_keras()
    data = prepared_data(Path(sys.argv[1]))
    sides = {"fit": fit, "mlctl": fit_with_mlctl, "script": fit_and_log}
    print(json.dumps(sides[(sys.argv[2:] or ["fit"])[0]](data)))
