"""One training from the first weight to the logged model."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from mlctl.adapters.keras import checkpoints, multi_gpu, runtime
from mlctl.adapters.keras.fit import Model, make_training_loop
from mlctl.adapters.keras.outputs import infer_outputs
from mlctl.adapters.keras.phases import OnEpochEnd, TrainingPhase, run_phases
from mlctl.adapters.keras.predictors import Predictor
from mlctl.adapters.keras.training_loop import TrainingLoop, TrainingProgress
from mlctl.adapters.keras.worker_group import WorkerGroup
from mlctl.adapters.models import save
from mlctl.adapters.runlog.recorder import Recorder
from mlctl.adapters.system import provenance
from mlctl.data.dataset import HELD_OUT_ANSWERS, Dataset, Split
from mlctl.data.join_splits import can_join, join
from mlctl.data.targets import scoring_targets
from mlctl.domain.outputs import Outputs
from mlctl.domain.progress import Epoch, NullProgress, ProgressListener
from mlctl.domain.run import Run
from mlctl.domain.run_queries import CHECKPOINT_FOLDER
from mlctl.domain.selection import describe_near_tie
from mlctl.domain.tags import DURATION_TAG, PEAK_MEMORY_TAG
from mlctl.errors import ConfigurationError
from mlctl.recipes.declare import with_epochs
from mlctl.services.recipes.notes import TF_RANDOM_NOTE, uses_tf_random
from mlctl.services.recipes.prepare import PreparedData, recipe_errors, values_for, with_data
from mlctl.services.training import folds, importance, report
from mlctl.services.training.check_model import check_model
from mlctl.services.training.folds import FoldScores
from mlctl.services.training.logged_model import LoggedModel, log_keras_model
from mlctl.services.training.phases import first_epochs, in_phases, recipe_phases
from mlctl.services.training.resume_point import ResumePoint
from mlctl.services.training.run_setup import RunSetup
from mlctl.services.training.run_status import finish_run, recording
from mlctl.services.training.running_epoch import RunningEpochListener

SMALL_TABLE = 2_000_000  # up to this many cells of training rows, one thread trains a network on a table


class Training:
    """One training run, new or resumed."""

    def __init__(
        self,
        setup: RunSetup,
        listener: ProgressListener,
        resume_point: ResumePoint | None = None,
        phases: Sequence[TrainingPhase] = (),
        workers: WorkerGroup | None = None,
    ) -> None:
        """Take the phases of the recipe, unless others are given.

        `workers` are processes of another backend, which have built the model and train it.
        """
        self.workers = workers
        prepared = setup.prepared
        self.phases = phases or recipe_phases(prepared.recipe, prepared.values, prepared.data)
        setup = in_phases(setup, self.phases)
        self.setup = setup
        self.request = setup.request
        self.prepared = setup.prepared
        self.recipe, self.data = setup.prepared.recipe, setup.prepared.data
        self.listener = listener
        self.resume_point = resume_point
        self.progress = TrainingProgress(setup.objective, keep_last=self.data.validation is None)
        self.started = time.monotonic()
        self.is_cross_validating = False
        self.fold_scores: FoldScores | None = None  # of a model that is trained on all rows

    def run(self) -> Run:
        """Train, log and check; return the run as the store has it, or as its record does if the store is away."""
        # before seeding: MLflow draws the run's name from the same generator
        if self.resume_point:
            recorder = self.setup.resume_run(self.resume_point, self.listener)
        else:
            recorder = self.setup.create_run(self.listener)
        with recording(recorder, self._interruption, self.setup.settings.notify):
            self._train_and_log(recorder)
        return finish_run(recorder, self.setup.store, self.listener, notify=self.setup.settings.notify)

    def train_into(self, recorder: Recorder) -> None:
        """Train from the first weight, and log model and metrics to a run that is already described."""
        runtime.start_session(self.request.seed, self.setup.precision)
        model = self._build()
        self._train(model, recorder, None)
        self._log_results(recorder, self._final_model(model))

    def _train_and_log(self, recorder: Recorder) -> None:
        checkpoint = checkpoints.load_newest(recorder.journal.checkpoints) if self.resume_point else None
        if checkpoint is None:
            self.setup.describe(recorder)
            recorder.log_params(self.setup.params)
        is_small = self.data.is_table and self.data.train.inputs.size <= SMALL_TABLE
        if is_small and not self.recipe.long_steps:
            runtime.use_one_thread()
        final = self._cross_validate(recorder) if self.request.folds else self
        final._train_from(recorder, checkpoint)

    def _train_from(self, recorder: Recorder, checkpoint: checkpoints.Checkpoint | None) -> None:
        runtime.start_session(self.request.seed, self.setup.precision)
        model = self._build()
        try:
            self._train(model, recorder, checkpoint)
        except KeyboardInterrupt:
            if recorder.stop_request and self.progress.epochs:  # after Ctrl-C, the user waits
                self._log_results(recorder, self._best_model(model))
            raise
        try:
            self._log_results(recorder, self._final_model(model))
        except OSError as exc:
            reason = "no space is left" if "Errno 28" in str(exc) else str(exc)[:200]
            raise ConfigurationError(
                f"the model cannot be saved in {recorder.journal.folder}: {reason}",
                f"free some space, then: mlctl resume {recorder.run_id[:8]}",
            ) from exc

    def _cross_validate(self, recorder: Recorder) -> Training:
        """Train the models of all folds; return the training on all rows."""
        assert self.request.folds
        self.is_cross_validating = True
        found = folds.split_folds(self.data, self.request.folds)
        scores = folds.cross_validate(
            self.prepared,
            found,
            self._answer_test_split,
            folder=recorder.journal.folder / "folds",
            report=self.listener.message,
        )
        self.is_cross_validating = False
        prepared = with_data(self.prepared, folds.final_data(self.data, found, scores))
        epochs = scores.epochs
        prepared = dataclasses.replace(prepared, values=with_epochs(prepared.values, epochs))
        phases = first_epochs(self.phases, epochs)
        self.listener.message(
            f"training on all {len(prepared.data.train):,} rows for {epochs} epochs, the median of the folds"
        )
        final = Training(
            dataclasses.replace(self.setup, prepared=prepared), self.listener, self.resume_point, phases
        )
        final.started, final.fold_scores = self.started, scores
        recorder.set_tags(report.data_tags(prepared.reference))
        self.progress = final.progress
        return final

    def _answer_test_split(self, prepared: PreparedData) -> tuple[Outputs, Any, int]:
        """Train on other data; return the outputs, the answers to its test split, and the kept epoch."""
        setup = dataclasses.replace(self.setup, prepared=prepared)
        fold = Training(setup, NullProgress())
        runtime.start_session(self.request.seed, self.setup.precision)
        model = fold._build()
        with recipe_errors(self.recipe, "training its model"):
            fold._run_phases(model, lambda epoch, loop: None)
        model = fold._best_model(model)
        served = self.recipe.serving(model, prepared.data)
        assert prepared.data.test is not None
        assert fold.progress.best is not None
        test = prepared.encoded(prepared.data.test)
        outputs = infer_outputs(served, prepared.data, test)
        return outputs, Predictor(served, outputs).predict(test), fold.progress.best.number

    def _interruption(self) -> str:
        if self.is_cross_validating:
            return "stopped during cross-validation; completed folds are kept"
        done, total = len(self.progress.epochs), self.prepared.values.epochs
        return f"stopped after epoch {done} of {total}; completed epochs are kept"

    # -- the model ----------------------------------------------------------------------------------------

    def _build(self) -> Model:
        """Return the model to train, on as many GPUs as its batches keep busy."""
        with multi_gpu.distribution_scope(self.data, self.prepared.values.batch_size):
            model = self._build_on_one_device()
        if (devices := multi_gpu.count_devices(model)) > 1:
            self.listener.message(f"training on {devices} GPUs, each with its share of every batch")
        check_model(self.prepared, model)
        return model

    def _build_on_one_device(self) -> Model:
        with recipe_errors(self.recipe, "building its model"):
            return self.recipe.build(self.prepared.values, self.data)

    def _build_in_last_phase(self) -> Model:
        """Return the model as the last phase trains it."""
        model = self._build_on_one_device()
        for phase in self.phases[: self.progress.phase + 1]:
            if phase.start is not None:
                phase.start(model)
        return model

    @cached_property
    def _validation(self) -> Split | None:
        return self.prepared.encoded_split(self.data.validation) if self.data.validation else None

    @property
    def _data_of_callbacks(self) -> Dataset:
        """The data; its validation split is None if this training does not validate."""
        if self._validation is not None:
            return self.data
        return dataclasses.replace(self.data, validation=None)

    def _train(self, model: Model, recorder: Recorder, checkpoint: checkpoints.Checkpoint | None) -> None:
        progress = self.progress
        with recipe_errors(self.recipe, "training its model"):
            if checkpoint is not None:
                progress.restore(checkpoint)
                self.listener.message(f"resuming after epoch {checkpoint.epoch}")
                if uses_tf_random(self.recipe):
                    self.listener.message(TF_RANDOM_NOTE)
            writer = checkpoints.CheckpointWriter(
                recorder.journal.checkpoints,
                lambda files: recorder.replace_artifacts(files, CHECKPOINT_FOLDER),
                self.request.checkpoint_every_s,
            )
            for epoch in progress.epochs:  # a process may be killed between the checkpoint and the record
                self._record_epoch(recorder, epoch)

            failure: Exception | None = None

            def on_epoch_end(epoch: Epoch, loop: TrainingLoop) -> None:
                nonlocal failure
                if writer.failure and not failure:
                    failure = writer.failure
                    self.listener.message(f"training continues without checkpoints: {failure}")
                writer.write(progress.make_checkpoint(loop.read_state(progress)))
                self._record_epoch(recorder, epoch)

            try:
                listener = RunningEpochListener(self.listener, recorder)
                self._run_phases(model, on_epoch_end, checkpoint, listener=listener)
            finally:
                writer.close()
        if writer.failure and not failure:
            self.listener.message(f"the last checkpoint could not be written: {writer.failure}")

    def _run_phases(
        self,
        model: Model,
        on_epoch_end: OnEpochEnd,
        checkpoint: checkpoints.Checkpoint | None = None,
        *,
        listener: ProgressListener | None = None,
    ) -> None:
        """Train the model, in one phase or in those of the recipe."""
        listener = listener or self.listener
        values = self.prepared.values
        with recipe_errors(self.recipe, "making its callbacks"):
            callbacks = self.recipe.callbacks(values, self._data_of_callbacks)
        announced = False

        def make_loop() -> TrainingLoop:
            nonlocal announced
            # the encoded training inputs are held by the loop alone, to save memory
            train = self.prepared.encoded_split(self.data.train)
            loop = make_training_loop(
                model,
                train,
                validation=self._validation,
                outputs=infer_outputs(model, self.data, train.inputs),
                batch_size=values.batch_size,
                seed=self.request.seed,
                listener=listener,
                class_weight=self.data.class_weight,
                callbacks=callbacks,
                extra_scores=self.recipe.scores,
                epochs=values.epochs,
                workers=self.workers,
            )
            if not announced:
                listener.training_started(
                    self.recipe.name, values.epochs, loop.program.steps, self.progress.objective
                )
                announced = True
            return loop

        run_phases(
            self.phases,
            model,
            make_loop,
            progress=self.progress,
            epochs=values.epochs,
            patience=self.request.patience,
            on_epoch_end=on_epoch_end,
            listener=listener,
            state=checkpoint.state if checkpoint else None,
        )

    def _best_model(self, model: Model) -> Model:
        """Return the model of the best epoch, in float32 and on one device."""
        weights = self.progress.best_weights
        if self.setup.precision == runtime.FLOAT32 and multi_gpu.count_devices(model) == 1:
            model.set_weights(weights)
            return model
        return save.rebuild_in_float32(self._build_in_last_phase, weights)

    def _final_model(self, model: Model) -> Model:
        """Return the model to log: that of the best epoch, or one that has learned from the validation rows, too."""
        best, progress = self._best_model(model), self.progress
        train, validation = self.data.train, self.data.validation
        is_wanted = self.recipe.refits and not progress.keep_last and self.workers is None
        if not is_wanted or self._validation is None or not can_join(train, validation):
            return best
        assert progress.best is not None
        epochs = progress.best.number
        joined = dataclasses.replace(self.data, train=join(train, validation), validation=None)
        self.listener.stage(
            f"training again on all {len(joined.train):,} rows, to epoch {epochs}: it was the best one"
        )
        if self.prepared.threshold_rule is not None:
            outputs = infer_outputs(best, self.data, self._validation.inputs)
            answers = Predictor(best, outputs).predict(self._validation.inputs)
            held_out = scoring_targets(outputs, self._validation.targets), answers
            extra = {**self.data.extra, HELD_OUT_ANSWERS: held_out}
            self.data = dataclasses.replace(self.data, extra=extra)
            self.prepared = dataclasses.replace(self.prepared, data=self.data)
        values = with_epochs(values_for(joined, self.prepared.values), epochs)
        prepared = dataclasses.replace(self.prepared, data=joined, values=values)
        setup = dataclasses.replace(self.setup, prepared=prepared)
        refit = Training(setup, NullProgress(), phases=first_epochs(self.phases, epochs))
        runtime.start_session(self.request.seed, self.setup.precision)
        model = refit._build()
        with recipe_errors(self.recipe, "training its model"):
            refit._run_phases(model, lambda epoch, loop: None)
        return refit._best_model(model)

    # -- what is recorded ---------------------------------------------------------------------------------

    def _record_epoch(self, recorder: Recorder, epoch: Epoch) -> None:
        """Record an epoch when it ends."""
        recorder.log_metrics(epoch.metrics, step=epoch.number)

    def _record_training(self, recorder: Recorder) -> None:
        """Record what must wait until the model is saved: nothing, for a run of its own."""

    def _log_results(self, recorder: Recorder, model: Model) -> None:
        """Save the model, load it back, and log what it reaches; raises BadDataError if the answers differ."""
        progress, data = self.progress, self.data
        assert progress.best is not None
        near_tie = describe_near_tie(progress.epochs, progress.best, progress.objective)
        if near_tie and not progress.keep_last:
            self.listener.message(near_tie)
        self.listener.stage("saving and checking the model")
        split_name, split = ("test", data.test) if data.test else ("validation", data.validation)
        logged = log_keras_model(recorder, self.prepared, model, split, listener=self.listener)
        self._record_training(recorder)
        recorder.log_model(self.setup.params, step=progress.best.number)
        recorder.log_results(self._summary(progress.best, split_name, logged))
        if self.fold_scores is not None:
            report.record_folds(recorder, self.fold_scores)
        prefix = "test" if split_name == "test" else "best_val"
        intervals = {f"{prefix}_{name}": bounds for name, bounds in logged.intervals.items()}
        if self.fold_scores is not None:
            intervals |= {f"best_val_{name}": bounds for name, bounds in self.fold_scores.intervals.items()}
        report.record_intervals(recorder, intervals)
        report.write(
            recorder,
            self._tested(split_name, split, logged),
            data=data,
            model=model,
            progress=progress,
        )
        if data.is_table and split is not None:
            importance.write(
                recorder,
                self.prepared,
                model=model,
                outputs=logged.outputs,
                split=split,
                listener=self.listener,
            )
        recorder.set_tags(
            {
                DURATION_TAG: round(time.monotonic() - self.started, 2),
                PEAK_MEMORY_TAG: round(provenance.peak_memory_mb()),
            }
        )
        if (recorder.journal.files / CHECKPOINT_FOLDER).exists():
            recorder.delete_artifacts(CHECKPOINT_FOLDER)

    def _tested(
        self, split_name: str, split: Split | None, logged: LoggedModel
    ) -> report.SplitAnswers | None:
        """Return the answers that plots and report show: those to the test split, else those of the folds."""
        if split is not None:
            return report.answers_to(split_name, split, logged, self.data.raw)
        scores = self.fold_scores
        if scores is None:
            return None
        return report.SplitAnswers(
            name="held-out",
            rows=len(scores.answers),
            outputs=scores.outputs,  # their threshold suits these answers: the logged model's are calibrated
            targets=scores.targets,
            answers=scores.answers,
            metrics=scores.means,
            inputs_of=lambda rows: self.data.raw(self.data.train.take(scores.rows[rows]).inputs),
        )

    def _summary(self, best: Epoch, split_name: str, logged: LoggedModel) -> dict[str, float]:
        """Return what the kept model reached, under the names that lists and gates use."""
        summary: dict[str, float] = {"best_epoch": best.number}
        summary.update(
            {f"best_{name}": value for name, value in best.metrics.items() if name.startswith("val_")}
        )
        if logged.threshold is not None:
            self.listener.message(logged.threshold.note)
            summary["best_threshold"] = logged.threshold.value
            summary.update({f"best_val_{name}": value for name, value in logged.threshold.scores.items()})
        if self.fold_scores is not None:
            summary.update({f"best_val_{name}": value for name, value in self.fold_scores.means.items()})
            summary.update(self.fold_scores.metrics)
        # without a test split, the logged model is scored on validation
        prefix = "test" if split_name == "test" else "best_val"
        summary.update({f"{prefix}_{name}": value for name, value in logged.scores.items()})
        return summary
