"""One training from first weight to logged model: everything that needs Keras and MLflow at hand."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from mlctl.adapters import environment, framework, model_folder, programs
from mlctl.adapters.loop import Epoch, Loop, Progress
from mlctl.adapters.recorder import Recorder
from mlctl.adapters.tracking import Store
from mlctl.data.dataset import Split
from mlctl.domain import Run, Watcher
from mlctl.errors import BadDataError
from mlctl.scores import scores
from mlctl.services import report, select
from mlctl.services.prepare import Prepared, blamed
from mlctl.settings import Settings

if TYPE_CHECKING:
    from mlctl.services.train import Request

METRIC_TOLERANCE, ANSWER_TOLERANCE = 1e-3, 1e-4  # logged against in-memory; answers relative to their scale
CHECKED_ROWS = 64

Array = np.ndarray[Any, Any]


class Training:
    """One training run."""

    def __init__(self, settings: Settings, request: Request, prepared: Prepared, watcher: Watcher) -> None:
        self.settings = settings
        self.request = request
        self.prepared = prepared
        self.watcher = watcher
        self.recipe, self.data = prepared.recipe, prepared.data
        self.hardware = framework.hardware()
        self.precision = framework.precision_for(request.precision, self.recipe.bfloat16, self.hardware)
        self.began = time.time()

    def run(self) -> Run:
        """Train, log, check; return the run as the store has it."""
        recorder = self.recorder()  # before seeding: MLflow draws the run's name from the same generator
        try:
            self.describe(recorder)
            self.train_into(recorder)
        except KeyboardInterrupt:
            recorder.finish("KILLED")
            raise
        except BaseException as error:
            recorder.tags({"mlctl.error": f"{type(error).__name__}: {error}"[:500]})
            recorder.finish("FAILED")
            raise
        if unsent := recorder.finish("FINISHED"):
            self.watcher.say(f"{unsent} records are unsent and kept in {recorder.journal.folder}")
        return Store(self.settings.tracking_uri).run(recorder.run_id)

    def train_into(self, recorder: Recorder) -> None:
        """Train, and log model and metrics to a run that is described already."""
        recorder.params(self._params)
        framework.begin(self.request.seed, self.precision)
        model = self._built()
        progress = self._trained(model, recorder)
        self._conclude(recorder, self._kept(model, progress), progress)

    # -- the model ----------------------------------------------------------------------------------------

    def _built(self) -> keras.Model:
        with blamed(self.recipe, "building its model"):
            return self.recipe.build(self.prepared.values, self.data)

    @cached_property
    def _validation_inputs(self) -> Any:
        return self.prepared.encoded(self.data.validation)

    def _trained(self, model: keras.Model, recorder: Recorder) -> Progress:
        classes, validation = len(self.data.classes), self.data.validation
        inputs = self.prepared.encoded(self.data.train)
        targets = programs.targets_for(model, self.data.train.targets, classes)
        wanted = programs.targets_for(model, validation.targets, classes)
        values = self.prepared.values
        with blamed(self.recipe, "training its model"):
            program = programs.program_for(model, inputs, targets, values.batch_size)
            predictor = programs.predictor_for(model, self._validation_inputs)
            loop = Loop(
                model, program, predictor, (self._validation_inputs, wanted),
                lambda predictions: scores(validation.targets, predictions, classes),
                self.request.seed, self.watcher,
            )  # fmt: skip
            progress = Progress(self.recipe.objective)
            self.watcher.began(self.recipe.name, values.epochs, program.steps, self.recipe.objective)

            def ended(epoch: Epoch) -> None:
                recorder.metrics(epoch.metrics, step=epoch.number)

            return loop.run(progress, values.epochs, self.request.patience, ended)

    def _kept(self, model: keras.Model, progress: Progress) -> keras.Model:
        """Return the model of the best epoch, in float32 whatever it was trained in."""
        if self.precision == framework.FLOAT32:
            model.set_weights(progress.best_weights)
            return model
        return model_folder.rebuilt_in_float32(self._built, progress.best_weights)

    # -- the record ---------------------------------------------------------------------------------------

    def recorder(self, more_tags: Mapping[str, str] | None = None) -> Recorder:
        """Make the run that this training is recorded in."""
        tags = {
            "mlflow.user": environment.user(),
            "mlflow.source.name": " ".join(["mlctl", *sys.argv[1:]]) or self.recipe.name,
            "mlflow.source.type": "LOCAL",
            "mlctl.recipe": self.recipe.name,
            "mlctl.objective": str(self.recipe.objective),
            **(more_tags or {}),
            **self.request.tags,
        }
        if self.request.parent:
            parent = select.find(Store(self.settings.tracking_uri), self.request.parent)
            tags["mlflow.parentRunId"] = parent.run_id
        return Recorder.begin(
            self.settings.tracking_uri,
            self.settings.experiment or self.recipe.name,
            self.request.run_name,
            tags,
            self.settings.state_dir,
            self.watcher,
        )

    @property
    def _params(self) -> dict[str, Any]:
        params = {**self.prepared.values, "seed": self.request.seed, "precision": self.precision}
        if self.request.patience:
            params["patience"] = self.request.patience
        return params

    def describe(self, recorder: Recorder) -> None:
        """Record what the run is made from: data, code, machine, versions."""
        source = self.recipe.source_file()
        git, diff = environment.code(source.parent if self._own_recipe else Path())
        data = self.prepared.reference
        recorder.tags({
            "mlctl.recipe_source": str(source) if self._own_recipe else f"mlctl.recipes:{self.recipe.name}",
            **report.data_tags(data),
            "mlctl.precision": self.precision,
            "mlctl.machine.cpu": self.hardware.cpu,
            "mlctl.machine.cores": environment.cores(),
            "mlctl.machine.gpus": ", ".join(self.hardware.gpus) or "none",
            "mlctl.machine.os": f"{sys.platform}",
            **git,
            **environment.versions(),
        })  # fmt: skip
        recorder.data(data)
        for name, text in (
            ("recipe.py", source.read_text(encoding="utf-8")),
            ("code.diff", diff),
            ("requirements.txt", environment.requirements()),
        ):
            if text:
                recorder.artifact(name).write_text(text, encoding="utf-8")
                recorder.keep(name)

    @property
    def _own_recipe(self) -> bool:
        return not type(self.recipe).__module__.startswith("mlctl.recipes.")

    # -- the end ------------------------------------------------------------------------------------------

    def _conclude(self, recorder: Recorder, model: keras.Model, progress: Progress) -> None:
        """Save the kept model, load it back, and log what it reaches; raises BadDataError where it differs."""
        assert progress.best is not None
        self.watcher.stage("saving and checking the model")
        split_name, split = (
            ("test", self.data.test) if self.data.test else ("validation", self.data.validation)
        )
        answers = self._saved_and_checked(recorder, model, split)
        reached = scores(split.targets, answers, len(self.data.classes))
        recorder.model(self._params, step=progress.best.number)
        recorder.metrics(
            self._summary(progress.best, split_name, reached), step=progress.best.number, of_model=True
        )
        report.write(recorder, self.data, model, progress, answers, split_name, split, reached)
        recorder.tags({
            "mlctl.duration_s": round(time.time() - self.began, 2),
            "mlctl.peak_memory_mb": round(environment.peak_memory_mb()),
        })  # fmt: skip

    def _summary(self, best: Epoch, split_name: str, reached: Mapping[str, float]) -> dict[str, float]:
        summary: dict[str, float] = {"best_epoch": best.number}
        summary.update({f"best_{k}": v for k, v in best.metrics.items() if k.startswith("val_")})
        if split_name == "test":
            summary.update({f"test_{name}": value for name, value in reached.items()})
        else:  # no test split: what the logged model reaches on validation is what it was chosen by
            summary.update({f"best_val_{name}": value for name, value in reached.items()})
        return summary

    def _saved_and_checked(self, recorder: Recorder, model: keras.Model, split: Split) -> Array:
        """Write the model folder, and return the answers of the model loaded back from it."""
        data = self.data
        inputs = self.prepared.encoded(split)
        classes = len(data.classes)
        predictor = programs.predictor_for(model, inputs)
        wanted, _ = programs.predict(predictor, inputs, programs.targets_for(model, split.targets, classes))
        few = split.take(np.arange(min(CHECKED_ROWS, len(split))))
        gaps = tuple(data.train.inputs.columns[data.train.inputs.isna().any()]) if data.is_table else ()
        model_folder.save(
            recorder.journal.model, model, self.prepared.encoder, self._raw(few),
            programs.dense(self.prepared.encoded(few)),
            {"recipe": self.recipe.name, "task": data.task, "classes": list(data.classes), "unit": data.unit},
            gaps,
        )  # fmt: skip
        found = model_folder.answer(model_folder.load(recorder.journal.model), self._raw(split))
        _agree(scores(split.targets, wanted, classes), scores(split.targets, found, classes), wanted, found)
        return found

    def _raw(self, split: Split) -> Any:
        return model_folder.client_input(self.data.raw(split.inputs), self.prepared.encoder)


def _agree(wanted: Mapping[str, float], found: Mapping[str, float], answers: Array, again: Array) -> None:
    """Raise BadDataError unless the logged model answers as the one in memory does."""
    apart = float(np.abs(answers - again).max() / max(1.0, float(np.abs(answers).max())))
    for name, value in wanted.items():
        if abs(value - found[name]) > METRIC_TOLERANCE * max(1.0, abs(value)):
            raise BadDataError(
                f"the logged model has {name} {found[name]:.6g} where the trained one has {value:.6g}",
                "the encoder may depend on something that is not saved; mlctl recipes check FILE looks closer",
            )
    if apart > ANSWER_TOLERANCE:
        raise BadDataError(
            f"the logged model's answers differ by {apart:.2g} from the trained one's",
            "the encoder may depend on something that is not saved; mlctl recipes check FILE looks closer",
        )
