"""One training from first weight to logged model: everything that needs Keras and MLflow at hand."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from mlctl.adapters.keras import checkpoints, multi_gpu, programs, runtime
from mlctl.adapters.keras.training_loop import Epoch, Loop, TrainingProgress
from mlctl.adapters.models import save
from mlctl.adapters.runlog.recorder import Recorder
from mlctl.adapters.system import provenance
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.data.dataset import Split
from mlctl.data.files.images import ImageFiles
from mlctl.data.sources.locate import sha256
from mlctl.domain.objective import Objective
from mlctl.domain.progress import ProgressListener
from mlctl.domain.run import Run
from mlctl.errors import ConfigurationError
from mlctl.scores import scores
from mlctl.services.recipes.prepare import PreparedData, recipe_errors
from mlctl.services.runs import select
from mlctl.services.training import importance, logged_model, report
from mlctl.services.training.run_status import finished, recording
from mlctl.settings import Settings

if TYPE_CHECKING:
    from mlctl.services.training.request import Request, ResumePoint

SMALL_TABLE = 2_000_000  # cells of training rows, up to which a network on a table trains in one thread

Array = np.ndarray[Any, Any]


class Training:
    """One training run."""

    def __init__(
        self,
        settings: Settings,
        request: Request,
        prepared: PreparedData,
        listener: ProgressListener,
        resumed: ResumePoint | None,
        objective: Objective | None = None,
    ) -> None:
        """`objective` is what the kept epoch is chosen by, where it is not the recipe's own."""
        self.settings = settings
        self.request = request
        self.prepared = prepared
        self.listener = listener
        self.resumed = resumed
        self.recipe, self.data = prepared.recipe, prepared.data
        self.hardware = runtime.hardware()
        self.precision = runtime.precision_for(request.precision, self.recipe.bfloat16, self.hardware)
        self.objective = objective or self.recipe.objective
        self.progress = TrainingProgress(self.objective)
        self.started = time.monotonic()

    def run(self) -> Run:
        """Train, log, check; return the run as the store has it, or as its record does where that is away."""
        recorder = self.recorder()  # before seeding: MLflow draws the run's name from the same generator
        with recording(recorder, self._interrupted):
            self._train_and_log(recorder)
        return finished(recorder, self.listener)

    def _interrupted(self) -> str:
        done, of = len(self.progress.epochs), self.prepared.values.epochs
        return f"stopped after epoch {done} of {of}; what is done is kept"

    def train_into(self, recorder: Recorder) -> None:
        """Train from the first weight, and log model and metrics to a run that is described already."""
        runtime.begin(self.request.seed, self.precision)
        model = self._built()
        self._train(model, recorder, None)
        self._conclude(recorder, self._kept(model))

    def _train_and_log(self, recorder: Recorder) -> None:
        found = checkpoints.newest(recorder.journal.checkpoints) if self.resumed else None
        if found is None:
            self.describe(recorder)
            recorder.params(self._params)
        if self.data.is_table and self.data.train.inputs.size <= SMALL_TABLE:
            runtime.keep_to_one_thread()
        runtime.begin(self.request.seed, self.precision)
        model = self._built()
        self._train(model, recorder, found)
        try:
            self._conclude(recorder, self._kept(model))
        except OSError as exc:
            full = "no space is left" if "Errno 28" in str(exc) else str(exc)[:200]
            raise ConfigurationError(
                f"the model cannot be saved in {recorder.journal.folder}: {full}",
                f"free some space, then: mlctl resume {recorder.run_id[:8]}",
            ) from exc

    # -- the model ----------------------------------------------------------------------------------------

    def _built(self) -> keras.Model:
        """Return the model to train, on every GPU that its batches keep busy."""
        with multi_gpu.scope_for(self.data, self.prepared.values.batch_size):
            model = self._built_alone()
        if (devices := multi_gpu.count(model)) > 1:
            self.listener.message(f"training on {devices} GPUs, each with its share of every batch")
        return model

    def _built_alone(self) -> keras.Model:
        with recipe_errors(self.recipe, "building its model"):
            return self.recipe.build(self.prepared.values, self.data)

    @cached_property
    def _validation_inputs(self) -> Any:
        return self.prepared.encoded(self.data.validation)

    def _train(self, model: keras.Model, recorder: Recorder, found: checkpoints.Checkpoint | None) -> None:
        classes, validation = len(self.data.classes), self.data.validation
        targets = programs.targets_for(model, self.data.train.targets, classes)
        wanted = programs.targets_for(model, validation.targets, classes)
        values, progress = self.prepared.values, self.progress
        with recipe_errors(self.recipe, "training its model"):
            program = programs.program_for(  # the program has all of the inputs that is kept
                model, self.prepared.encoded(self.data.train), targets, values.batch_size
            )
            predictor = programs.predictor_for(model, self._validation_inputs)
            loop = Loop(
                model, program, predictor, (self._validation_inputs, wanted),
                lambda predictions: scores(validation.targets, predictions, classes),
                self.request.seed, self.listener,
            )  # fmt: skip
            if found is not None:
                progress.restore(found, model)
                self.listener.message(f"going on after epoch {found.epoch}")
            self.listener.training_started(self.recipe.name, values.epochs, program.steps, self.objective)
            keeper = checkpoints.CheckpointWriter(
                recorder.journal.checkpoints,
                lambda files: recorder.share(files, checkpoints.SHARED),
                self.request.checkpoint_every_s,
            )
            for epoch in progress.epochs:  # a kill may have come between the checkpoint and the record
                self._record(recorder, epoch)

            failure: Exception | None = None

            def ended(epoch: Epoch) -> None:
                nonlocal failure
                if keeper.failure and not failure:
                    failure = keeper.failure
                    self.listener.message(
                        f"checkpoints cannot be written, and training goes on without: {failure}"
                    )
                keeper.write(progress.state(model))
                self._record(recorder, epoch)

            try:
                loop.run(progress, values.epochs, self.request.patience, ended)
            finally:
                keeper.close()
        if keeper.failure and not failure:
            self.listener.message(f"the last checkpoint could not be written: {keeper.failure}")

    def _record(self, recorder: Recorder, epoch: Epoch) -> None:
        """Record an epoch as it ends."""
        recorder.metrics(epoch.metrics, step=epoch.number)

    def _settle(self, recorder: Recorder) -> None:
        """Record what only a model that is saved makes certain; of a training that is its own run, nothing."""

    def _kept(self, model: keras.Model) -> keras.Model:
        """Return the model of the best epoch, in float32 and on one device whatever it was trained in and on."""
        weights = self.progress.best_weights
        if self.precision == runtime.FLOAT32 and multi_gpu.count(model) == 1:
            model.set_weights(weights)
            return model
        return save.rebuilt_in_float32(self._built_alone, weights)

    # -- the record ---------------------------------------------------------------------------------------

    def recorder(self, more_tags: Mapping[str, str] | None = None) -> Recorder:
        """Make the run that this training is recorded in, or open it again."""
        if self.resumed:
            recorder = Recorder.reopen(
                self.resumed.folder,
                self.listener,
                self.resumed.about,
                self.settings.tracking_uri,
                self.resumed.known,
            )
            recorder.tags(self.resumed.tags)
            return recorder
        tags = {
            "mlflow.user": provenance.user(),
            "mlflow.source.name": " ".join(["mlctl", *sys.argv[1:]]) or self.recipe.name,
            "mlflow.source.type": "LOCAL",
            "mlctl.recipe": self.recipe.name,
            "mlctl.objective": str(self.objective),
            "mlctl.request": report.as_json(dataclasses.asdict(self.request)),
            "mlctl.recipe_sha256": sha256([self.recipe.source_file()]),
            **(more_tags or {}),
            **self.request.tags,
        }
        if self.request.parent:
            parent = select.find(TrackingStore(self.settings.tracking_uri), self.request.parent)
            tags["mlflow.parentRunId"] = parent.run_id
        return Recorder.begin(
            self.settings.tracking_uri,
            self.settings.experiment or self.recipe.name,
            self.request.run_name,
            tags,
            self.settings.state_dir,
            self.listener,
            self.request.offline,
        )

    @property
    def _params(self) -> dict[str, Any]:
        params = {
            **self.prepared.values,
            **self.data.extra.get("params", {}),
            "seed": self.request.seed,
            "precision": self.precision,
        }
        if self.request.patience:
            params["patience"] = self.request.patience
        return params

    def describe(self, recorder: Recorder) -> None:
        """Record what the run is made from: data, code, machine, versions."""
        source = self.recipe.source_file()
        git, diff = provenance.code(source.parent if self._own_recipe else Path())
        data = self.prepared.reference
        recorder.tags({
            "mlctl.recipe_source": str(source) if self._own_recipe else f"mlctl.recipes:{self.recipe.name}",
            **report.data_tags(data),
            "mlctl.precision": self.precision,
            "mlctl.machine.cpu": self.hardware.cpu,
            "mlctl.machine.cores": provenance.cores(),
            "mlctl.machine.gpus": ", ".join(self.hardware.gpus) or "none",
            "mlctl.machine.os": f"{sys.platform}",
            **git,
            **provenance.versions(),
        })  # fmt: skip
        recorder.data(data)
        for name, text in (
            ("recipe.py", source.read_text(encoding="utf-8")),
            ("code.diff", diff),
            ("requirements.txt", provenance.requirements()),
        ):
            if text:
                recorder.artifact(name).write_text(text, encoding="utf-8")
                recorder.keep(name)

    @property
    def _own_recipe(self) -> bool:
        return not type(self.recipe).__module__.startswith("mlctl.recipes.")

    # -- the end ------------------------------------------------------------------------------------------

    def _conclude(self, recorder: Recorder, model: keras.Model) -> None:
        """Save the kept model, load it back, and log what it reaches; raises BadDataError where it differs."""
        progress = self.progress
        assert progress.best is not None
        self.listener.stage("saving and checking the model")
        split_name, split = (
            ("test", self.data.test) if self.data.test else ("validation", self.data.validation)
        )
        answers = self._saved_and_checked(recorder, model, split)
        reached = scores(split.targets, answers, len(self.data.classes))
        self._settle(recorder)
        recorder.model(self._params, step=progress.best.number)
        recorder.metrics(
            self._summary(progress.best, split_name, reached), step=progress.best.number, of_model=True
        )
        report.write(recorder, self.data, model, progress, answers, split_name, split, reached)
        if self.data.is_table:
            importance.write(recorder, self.prepared, model, split, self.listener)
        recorder.tags({
            "mlctl.duration_s": round(time.monotonic() - self.started, 2),
            "mlctl.peak_memory_mb": round(provenance.peak_memory_mb()),
        })  # fmt: skip
        if (recorder.journal.files / checkpoints.SHARED).exists():
            recorder.remove(checkpoints.SHARED)

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
        data, inputs = self.data, self.prepared.encoded(split)
        classes = len(data.classes)
        predictor = programs.predictor_for(model, inputs)
        wanted, _ = programs.predict(predictor, inputs, programs.targets_for(model, split.targets, classes))
        few = logged_model.few(split)
        return logged_model.saved_and_checked(
            recorder,
            lambda folder: save.save(
                folder, model, self.prepared.encoder, self._raw(few), programs.dense(self.prepared.encoded(few)),
                logged_model.about(self.recipe, data), logged_model.gaps_of(data),
            ),
            lambda loaded: self._answers(loaded, split),
            wanted,
            lambda answers: scores(split.targets, answers, classes),
        )  # fmt: skip

    def _answers(self, loaded: Any, split: Split) -> Array:
        """Return a loaded model's answers to a split's raw inputs; of pictures, few are in memory at a time."""
        at_once = programs.PICTURES_AT_ONCE if isinstance(split.inputs, ImageFiles) else len(split)
        starts = range(0, len(split), at_once)
        pieces = (split.take(np.arange(start, min(start + at_once, len(split)))) for start in starts)
        return np.concatenate([save.answer(loaded, self._raw(piece)) for piece in pieces])

    def _raw(self, split: Split) -> Any:
        return save.client_input(self.data.raw(split.inputs), self.prepared.encoder)
