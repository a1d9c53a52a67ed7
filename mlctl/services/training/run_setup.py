"""What a run is made from: it creates the run's record and describes data, code, machine and versions in it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mlctl.adapters.keras import runtime
from mlctl.adapters.runlog.recorder import Recorder
from mlctl.adapters.system import provenance
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.data.sources.locate import sha256
from mlctl.domain.environment import CPU, GPUS
from mlctl.domain.note import NOTE_TAG, generated_note
from mlctl.domain.objective import Objective
from mlctl.domain.progress import ProgressListener
from mlctl.domain.tags import (
    CODE_FILES_TAG,
    OBJECTIVE_TAG,
    PRECISION_TAG,
    RECIPE_SHA256_TAG,
    RECIPE_SOURCE_TAG,
    RECIPE_TAG,
    REQUEST_TAG,
)
from mlctl.recipes.declare import recorded_values
from mlctl.recipes.keras_import import TENSORFLOW
from mlctl.services.recipes.prepare import PreparedData
from mlctl.services.runs import select
from mlctl.services.runs.description import describe_new_run
from mlctl.services.training import code_files, report
from mlctl.services.training.request import TrainRequest
from mlctl.services.training.resume_point import ResumePoint
from mlctl.services.training.run_environment import log_environment
from mlctl.settings import Settings


@dataclass(frozen=True, kw_only=True)
class RunSetup:
    """Settings, request, data and objective of one run, and the hardware and precision it uses."""

    settings: Settings
    store: TrackingStore
    request: TrainRequest
    prepared: PreparedData
    objective: Objective

    @cached_property
    def hardware(self) -> runtime.Hardware:
        """What this machine trains on."""
        return runtime.detect_hardware()

    @cached_property
    def precision(self) -> str:
        """The precision to train in."""
        return runtime.choose_precision(
            self.request.precision,
            prefer_bfloat16=self.prepared.recipe.bfloat16,
            hardware=self.hardware,
        )

    @property
    def params(self) -> dict[str, Any]:
        """The parameters that the run and its model record."""
        params = {
            **recorded_values(self.prepared.values),
            **self.prepared.data.extra.get("params", {}),
            "seed": self.request.seed,
            "precision": self.precision,
        }
        if self.request.backend != TENSORFLOW:
            params["backend"] = self.request.backend
        if self.request.folds:
            params["folds"] = self.request.folds
        if self.request.patience and "patience" not in self.prepared.values:
            params["patience"] = self.request.patience
        return params

    def create_run(self, listener: ProgressListener, tags: Mapping[str, str] | None = None) -> Recorder:
        """Create the run; return the recorder of its record."""
        recipe = self.prepared.recipe
        all_tags = {
            **self._source_tags(" ".join(["mlctl", *sys.argv[1:]])),
            REQUEST_TAG: report.as_json(self.request.to_tag()),
            RECIPE_SHA256_TAG: sha256([recipe.source_file()]),
            **self._code_tags(),
            **(tags or {}),
        }
        note = generated_note(describe_new_run(all_tags, self.prepared.reference))
        all_tags = {**all_tags, NOTE_TAG: note, **self.request.tags}
        if self.request.parent:
            all_tags["mlflow.parentRunId"] = select.find_run(self.store, self.request.parent).run_id
        return Recorder.create(
            self.store,
            experiment=self.settings.experiment or recipe.name,
            run_name=self.request.run_name,
            tags=all_tags,
            state_dir=self.settings.state_dir,
            listener=listener,
            offline=self.request.offline,
        )

    def nested_run_tags(self, command: str) -> dict[str, Any]:
        """Return the tags of the run of one trial, or of one model."""
        return {**self._source_tags(command), **report.data_tags(self.prepared.reference)}

    def resume_run(self, point: ResumePoint, listener: ProgressListener) -> Recorder:
        """Open the record of an earlier process's run again."""
        recorder = Recorder.reopen(
            point.folder, self.store, header=point.header, listener=listener, known=point.known_points
        )
        recorder.set_tags(point.tags)
        return recorder

    def describe(self, recorder: Recorder) -> None:
        """Record what the run is made from, and the machine that it runs on."""
        self.describe_source(recorder)
        self.describe_machine(recorder)

    def describe_machine(self, recorder: Recorder) -> None:
        """Record the hardware, the versions of libraries and the precision; imports TensorFlow."""
        recorder.set_tags({PRECISION_TAG: self.precision})
        log_environment(
            recorder,
            {CPU: self.hardware.cpu, GPUS: ", ".join(self.hardware.gpus) or "none"},
        )

    def describe_source(self, recorder: Recorder) -> None:
        """Record the recipe, the data and the state of the code."""
        recipe, data = self.prepared.recipe, self.prepared.reference
        source = recipe.source_file()
        is_builtin = type(recipe).__module__.startswith("mlctl.recipes.")
        git, diff = provenance.git_state(Path() if is_builtin else source.parent)
        recorder.set_tags(
            {
                RECIPE_SOURCE_TAG: f"mlctl.recipes:{recipe.name}" if is_builtin else str(source),
                **report.data_tags(data),
                **git,
            }
        )
        recorder.log_data(data)
        for name, text in (
            (code_files.RECIPE_FILE, source.read_text(encoding="utf-8")),
            *(
                (f"{code_files.CODE_FOLDER}/{name}", path.read_text(encoding="utf-8"))
                for name, path in code_files.modules_beside(recipe).items()
            ),
            ("code.diff", diff),
            ("requirements.txt", provenance.pinned_requirements()),
        ):
            if text:
                report.log_text(recorder, name, text)

    def _code_tags(self) -> dict[str, str]:
        digests = code_files.digests(self.prepared.recipe)
        return {CODE_FILES_TAG: report.as_json(digests)} if digests else {}

    def _source_tags(self, command: str) -> dict[str, str]:
        return {
            "mlflow.user": provenance.user_name(),
            "mlflow.source.name": command,
            "mlflow.source.type": "LOCAL",
            RECIPE_TAG: self.prepared.recipe.name,
            OBJECTIVE_TAG: str(self.objective),
        }
