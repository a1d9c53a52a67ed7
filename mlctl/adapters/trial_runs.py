"""The nested runs of a search: written by one thread in batches, and found again where a search is resumed."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from mlflow.entities import Metric, Param, RunTag

from mlctl.adapters.tracking import Store
from mlctl.domain.tune import TRIAL_TAG
from mlctl.errors import MlctlError

LONGEST_PAUSE_S = 10.0

Task = Callable[[], None]


class TrialRuns:
    """One nested run a trial, under one parent run. Nothing here waits for the store but `finish`.

    What is told twice counts once: a run is found again by its tag, and MLflow drops a point that it has.
    """

    def __init__(
        self, store: Store, experiment_id: str, parent: str, tags: Mapping[str, Any],
        trouble: Callable[[MlctlError], None], prefix: str = "trial-",
    ) -> None:  # fmt: skip
        """`tags` are what every trial's run carries; `trouble` is told, once, that the store is away.

        A run's name is `prefix` and the trial's.
        """
        self._store = store
        self._experiment_id = experiment_id
        self._parent = parent
        self._tags = tags
        self._trouble = trouble
        self._prefix = prefix
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self.ids: dict[str, str] = {}
        self.ended: set[str] = set()
        self._thread = threading.Thread(target=self._work, name="mlctl-trials", daemon=True)
        self._thread.start()

    def find(self) -> None:
        """Look up the runs that this search has made before it was resumed."""
        with self._store.asking():
            token = None
            while True:
                page = self._store.client.search_runs(
                    [self._experiment_id], f"tags.`mlflow.parentRunId` = '{self._parent}'", page_token=token
                )
                for run in page:
                    if trial := run.data.tags.get(TRIAL_TAG):
                        self.ids[trial] = run.info.run_id
                        if run.info.status in {"FINISHED", "FAILED"}:
                            self.ended.add(trial)
                token = page.token
                if not token:
                    return

    def begin(self, trial: str, params: Mapping[str, Any], at: int) -> None:
        """Have a trial's run made, unless it is there already."""

        def task() -> None:
            if trial not in self.ids and self._away:
                self.find()  # it may have been made, and the answer lost
            if trial in self.ids:
                self._store.client.update_run(self.ids[trial], status="RUNNING")
            else:
                tags = {**self._tags, "mlflow.parentRunId": self._parent, TRIAL_TAG: trial}
                run = self._store.client.create_run(
                    self._experiment_id,
                    at,
                    {name: str(value) for name, value in tags.items()},
                    self._prefix + trial,
                )
                self.ids[trial] = run.info.run_id
            self._store.client.log_batch(
                self.ids[trial], params=[Param(name, str(value)) for name, value in params.items()]
            )

        self._tasks.put(task)

    def epoch(self, trial: str, step: int, metrics: Mapping[str, float], at: int) -> None:
        """Have an epoch's metrics recorded."""
        points = [Metric(name, value, at, step) for name, value in metrics.items()]
        self._tasks.put(lambda: self._store.client.log_batch(self.ids[trial], metrics=points))

    def end(
        self, trial: str, status: str, metrics: Mapping[str, float], step: int, tags: Mapping[str, Any], at: int
    ) -> None:  # fmt: skip
        """Have a trial's run ended."""
        points = [Metric(name, value, at, step) for name, value in metrics.items()]
        said = [RunTag(name, str(value)) for name, value in tags.items()]

        def task() -> None:
            self._store.client.log_batch(self.ids[trial], metrics=points, tags=said)
            self._store.client.set_terminated(self.ids[trial], status, at)

        self._tasks.put(task)

    def finish(self, patience_s: float) -> bool:
        """Wait until all is written, or `patience_s` where the store is away; return whether it is."""
        self._closing.set()
        self._tasks.put(None)
        began = time.monotonic()
        while self._thread.is_alive():
            self._thread.join(0.05)
            if self._away and time.monotonic() - began > patience_s:
                return False
        return True

    _away = False

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            pause = 0.5
            while True:
                try:
                    with self._store.making():
                        task()
                except MlctlError as error:
                    if not self._away:
                        self._trouble(error)
                    self._away = True
                    time.sleep(0.5 if self._closing.is_set() else pause)
                    pause = min(2 * pause, LONGEST_PAUSE_S)
                    continue
                self._away = False
                break
