"""The steps of mlctl recipes check that need Keras and MLflow: build, train an epoch, save, load, serve."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from mlctl.adapters.keras import runtime
from mlctl.adapters.keras.fit import Model, make_training_loop
from mlctl.adapters.keras.outputs import infer_outputs
from mlctl.adapters.keras.training_loop import TrainingProgress
from mlctl.adapters.runlog.recorder import Recorder
from mlctl.domain.progress import NullProgress
from mlctl.services.recipes.prepare import PreparedData, recipe_errors
from mlctl.services.training.check_model import check_model
from mlctl.services.training.logged_model import log_keras_model
from mlctl.services.training.phases import recipe_phases
from mlctl.units import format_size


def dry_run(prepared: PreparedData) -> Iterator[tuple[str, str]]:
    """Yield each step with its result; raises BadDataError that names what is wrong.

    The steps are those of a training: what fails here fails there, and the other way round.
    """
    recipe, data = prepared.recipe, prepared.data
    runtime.start_session(0, runtime.FLOAT32)
    with recipe_errors(recipe, "building its model"):
        model = recipe.build(prepared.values, data)
    check_model(prepared, model)
    size = f"{model.count_params():,} parameters" if model.built else "its first step creates the weights"
    yield "build", size
    with recipe_errors(recipe, "training its model"):
        loss = _train_one_epoch(prepared, model)
    yield "step", f"loss {loss:.4g} on {len(data.train)} rows"
    yield from _save_and_serve(prepared, model)


def _train_one_epoch(prepared: PreparedData, model: Model) -> float:
    """Train on the few rows as a training does, with its callbacks, its first phase and its objective."""
    recipe, data, values = prepared.recipe, prepared.data, prepared.values
    for phase in recipe_phases(recipe, values, data)[:1]:
        if phase.start is not None:
            phase.start(model)
    with recipe_errors(recipe, "making its callbacks"):
        callbacks = recipe.callbacks(values, data)
    progress = TrainingProgress(prepared.objective, keep_last=data.validation is None)
    train = prepared.encoded_split(data.train)
    loop = make_training_loop(
        model,
        train,
        validation=prepared.encoded_split(data.validation) if data.validation else None,
        outputs=infer_outputs(model, data, train.inputs),
        batch_size=min(values.batch_size, len(data.train)),
        seed=0,
        listener=NullProgress(),
        class_weight=data.class_weight,
        callbacks=callbacks,
        extra_scores=recipe.scores,
        epochs=1,
    )
    loop.run(progress, epochs=1, patience=None, on_epoch_end=lambda epoch: None)
    metrics = progress.epochs[-1].metrics if progress.epochs else {}
    return metrics.get("loss", float("nan"))


@dataclass
class _NoRun:
    """Takes the place of a run's record: a folder for the model, and nothing else."""

    journal: Any
    tags: dict[str, str] = field(default_factory=dict)

    def set_tags(self, values: Mapping[str, Any]) -> None:
        """Keep the tags."""
        self.tags.update({name: str(value) for name, value in values.items()})


def _save_and_serve(prepared: PreparedData, model: Model) -> Iterator[tuple[str, str]]:
    data, recipe = prepared.data, prepared.recipe
    with tempfile.TemporaryDirectory(prefix="mlctl-check-") as temporary:
        folder = Path(temporary) / "model"
        run = _NoRun(SimpleNamespace(model=folder))
        with recipe_errors(recipe, "saving its model"):
            logged = log_keras_model(
                cast(Recorder, run), prepared, model, data.train, listener=NullProgress()
            )
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    yield "save", f"{format_size(size)}, served by {logged.saved.served_by}"
    yield "load back", "MLflow loads it"
    yield "serve", f"{len(data.train)} rows, answers as trained"
