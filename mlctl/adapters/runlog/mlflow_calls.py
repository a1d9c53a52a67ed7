"""MLflow's own calls inside a recipe: they belong to the run that mlctl trains, and make no second one.

A recipe may call `mlflow.log_param`, `log_metric`, `set_tag`, `log_artifact` or `start_run` in any of its methods. While
its code runs, MLflow's tracking URI is one of mlctl's own, whose store (`mlflow_store`) collects the calls here. They
are written to the run's journal; calls before the run exists, as in `load`, are written when it is created.

This module imports no MLflow: `load` runs before mlctl imports it, and may import it itself.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from mlctl.adapters.system.import_hooks import after_import

Point = tuple[str, float, int, int]  # a metric's name, value, step, and time in milliseconds since 1970


class UserRecorder(Protocol):
    """The record of a run, as far as a recipe's own calls write to it."""

    run_id: str

    def log_user_params(self, values: dict[str, str]) -> None:
        """Record parameters."""

    def log_user_metrics(self, points: Sequence[Point]) -> None:
        """Record points of metrics."""

    def set_tags(self, values: dict[str, str]) -> None:
        """Record tags."""

    def log_user_artifact(self, file: Path, path: str) -> None:
        """Record a copy of a file."""


class MlflowCalls:
    """Collects a recipe's calls of MLflow, and writes them to the run as soon as there is one.

    Attributes:
        run_id: Id of the run that these calls see.
        tracking_uri: The store of everything that is not this run, such as models to load.
        params: Parameters that the recipe has logged.
        points: Points of metrics that are not written yet.
        tags: Tags that are not written yet.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        self._redirection: contextlib.ExitStack | None = None
        self._recorder: UserRecorder | None = None
        self._process = os.getpid()
        self.tracking_uri = ""
        self._reset()

    def _reset(self) -> None:
        self.run_id = uuid.uuid4().hex
        self.params: dict[str, str] = {}
        self.points: list[Point] = []
        self.tags: dict[str, str] = {}
        self._new_params: dict[str, str] = {}
        self._has_begun = False
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._logged: dict[str, tuple[int, int]] = {}  # size and time of the artifacts that are written

    @property
    def folder(self) -> Path:
        """The folder in which the run's artifacts are collected."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="mlctl-artifacts-")
        return Path(self._folder.name)

    def begin(self, tracking_uri: str) -> None:
        """Forget the calls of an earlier recipe that got no run; those of this recipe's file were made just now."""
        if self._recorder is None:
            if self._has_begun:
                self._reset()
            self.tracking_uri, self._has_begun = tracking_uri, True

    def attach(self, recorder: UserRecorder, tracking_uri: str) -> None:
        """Write all calls, those so far included, to this run, after its own parameters."""
        self._recorder, self._process = recorder, os.getpid()
        self.run_id, self.tracking_uri = recorder.run_id, tracking_uri

    def detach(self, recorder: UserRecorder) -> None:
        """Write what is left, and collect nothing more for this run."""
        if self._recorder is recorder:
            self.flush()
            self._recorder = None
            self._reset()

    def add_params(self, values: dict[str, str]) -> None:
        """Collect parameters."""
        with self._lock:
            self.params.update(values)
            self._new_params.update(values)

    def flush(self, *, metrics: bool = True) -> None:
        """Write what was collected to the run, if there is one in this process."""
        recorder = self._recorder
        if recorder is None or self._process != os.getpid():  # a forked worker must not write to the run
            return
        with self._lock:
            params, self._new_params = self._new_params, {}
            tags, self.tags = self.tags, {}
            points = self.points if metrics else []
            if metrics:
                self.points = []
            files = self._changed_files()
        if params:
            recorder.log_user_params(params)
        if tags:
            recorder.set_tags(tags)
        if points:
            recorder.log_user_metrics(points)
        for file in files:
            recorder.log_user_artifact(file, file.relative_to(self.folder).as_posix())

    @contextlib.contextmanager
    def collect(self) -> Iterator[None]:
        """Collect MLflow's calls while the block runs: in this process, whether it has imported MLflow or not."""
        with self._lock:
            self._depth += 1
            is_outermost = self._depth == 1
        try:
            if is_outermost:
                with after_import("mlflow", self._redirect):
                    yield
            else:
                yield
        finally:
            with self._lock:
                self._depth -= 1
            if is_outermost:
                redirection, self._redirection = self._redirection, None
                if redirection:
                    redirection.close()
                    self.flush(metrics=False)

    def _redirect(self) -> None:
        from mlctl.adapters.runlog import mlflow_store  # it needs MLflow, which the recipe has imported

        self._redirection = contextlib.ExitStack()
        self._redirection.enter_context(mlflow_store.redirected(self))

    def _changed_files(self) -> list[Path]:
        if self._folder is None:
            return []
        changed = []
        for file in sorted(path for path in self.folder.rglob("*") if path.is_file()):
            stat = file.stat()
            state = (stat.st_size, stat.st_mtime_ns)
            if self._logged.get(str(file)) != state:
                self._logged[str(file)] = state
                changed.append(file)
        return changed


calls = MlflowCalls()  # of this process: MLflow's active run is one per process, too
