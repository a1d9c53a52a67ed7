"""Trains in worker processes of another backend, between two states of the model in this process."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from mlctl.adapters.keras import batches
from mlctl.adapters.keras.batches import Parts
from mlctl.adapters.keras.train_step import TrainStep
from mlctl.adapters.keras.training_state import model_variables
from mlctl.adapters.keras.worker_group import (
    WorkerFailedError,
    WorkerGroup,
    WorkerLostError,
    put_pickle,
)
from mlctl.adapters.keras.worker_job import JOB, PARTS, WorkerJob
from mlctl.adapters.system import code_pickle
from mlctl.data.dataset import Dataset
from mlctl.data.files.images import ImageFiles
from mlctl.data.trees import count_rows, is_nested, map_tree
from mlctl.domain.progress import ProgressListener
from mlctl.domain.short_texts import one_line
from mlctl.errors import ChildFailedError, UsageError

EXAMPLE_ROWS = 2
TENSORFLOW_HINT = "train it on TensorFlow: unset KERAS_BACKEND, and omit --workers"
ROOM_HINT = "wait until the cluster is free, or lower --workers, --cpu, --gpu or --memory"
MAX_STARTS = 5  # of the workers in one epoch

Array = np.ndarray[Any, Any]


class WorkerProgram:
    """Trains on arrays in workers, which get the model's state at the beginning of each epoch.

    At its end, this process gets the new state. If a worker dies, all are started again, and repeat the epoch.
    """

    def __init__(
        self,
        model: keras.Model,
        parts: Parts,
        batch_size: int,
        *,
        group: WorkerGroup,
        listener: ProgressListener,
    ) -> None:
        """Build the model here, and send the data to the workers.

        Args:
            model: a compiled model.
            parts: inputs, targets and weights, as arrays; targets and weights may be None. Workers read images on disk
                themselves, when a batch needs them.
            batch_size: rows of a batch, of which each worker takes its share.
            group: the workers; they have built the model.
            listener: is told about lost workers.
        """
        self.model, self._group, self._listener = model, group, listener
        self._batch_size = batch_size
        self.rows = count_rows(parts[0])
        self.steps = -(-self.rows // batch_size)
        plain = batches.map_parts(_for_workers, parts)
        TrainStep(model, batches.map_parts(_example, plain))
        inputs, targets, weights = plain
        if weights is not None and is_nested(targets) and not is_nested(weights):
            weights = map_tree(lambda _: weights, targets)
        put_pickle(group.storage, PARTS, pickle.dumps((inputs, targets, weights), protocol=5))
        self._state: list[Array] = []
        self._order: Array = np.arange(self.rows)
        self._metrics: Mapping[str, float] = {}
        try:
            self._call("load", group.storage, batch_size)
        except WorkerLostError as error:
            raise ChildFailedError(f"a worker cannot load the data: {error}", "check their memory") from error

    def begin_epoch(self, order: Array, epoch: int = 1) -> None:
        """Send the model's state and the order of the rows."""
        self._state = [np.array(variable) for variable in model_variables(self.model)]
        self._order, self._metrics = order, {}
        self._repeat(0)

    def train(self, start: int, stop: int) -> None:
        """Train on the batches from `start` up to, and without, `stop`; get the state after the last one."""
        try:
            self._advance(start, stop)
        except WorkerLostError as error:
            self._repeat(stop, error)

    def metrics(self) -> Mapping[str, float]:
        """Return the metrics of the epoch so far."""
        return self._metrics

    def _advance(self, start: int, stop: int) -> None:
        self._metrics = self._call("train", start, stop)[0]
        if stop == self.steps:
            state = self._call("state")[0]
            for variable, value in zip(model_variables(self.model), state, strict=True):
                variable.assign(value)

    def _repeat(self, stop: int, lost: WorkerLostError | None = None) -> None:
        """Train the present epoch from its beginning up to batch `stop`; if a worker is lost, start all again."""
        for _ in range(MAX_STARTS):
            try:
                if lost is not None:
                    self._restart(lost)
                self._call("begin_epoch", self._state, self._order)
                if stop:
                    self._advance(0, stop)
            except WorkerLostError as error:
                lost = error
            else:
                return
        raise ChildFailedError(
            f"the workers died {MAX_STARTS} times in one epoch: {lost}", "check their memory"
        )

    def _restart(self, lost: WorkerLostError) -> None:
        self._listener.message(f"{lost}; the workers start again from the last checkpoint")
        before = self._group.size
        with _translated():
            start_workers(self._group)
        _report_fewer(self._group, before, self._listener)
        self._call("load", self._group.storage, self._batch_size)

    def _call(self, method: str, *arguments: Any) -> list[Any]:
        with _translated():
            return self._group.call(method, *arguments)


def prepare_workers(
    group: WorkerGroup,
    *,
    values: Any,
    data: Dataset,
    seed: int,
    precision: str,
    name: str,
    listener: ProgressListener,
) -> None:
    """Start the workers, and build the recipe's model in them; raise UsageError if their backend cannot build it."""
    job = WorkerJob(values=values, data=data, seed=seed, precision=precision)
    put_pickle(group.storage, JOB, code_pickle.dump(job, by_value=True))
    wanted = group.size
    try:
        start_workers(group)
    except WorkerFailedError as exc:
        raise UsageError(
            f"the model of {name} cannot be built on this backend: {one_line(exc, 300)}",
            TENSORFLOW_HINT,
        ) from exc
    except WorkerLostError as exc:
        raise ChildFailedError(f"the workers do not start: {exc}", ROOM_HINT) from exc
    _report_fewer(group, wanted, listener)


def _report_fewer(group: WorkerGroup, wanted: int, listener: ProgressListener) -> None:
    if group.size < wanted:
        listener.message(f"{group.size} of {wanted} workers found room on the cluster: these train the model")


def start_workers(group: WorkerGroup) -> None:
    """Start the workers, and build the model in them."""
    group.start()
    group.call("build", group.storage, group.source)


def _for_workers(leaf: Any) -> Any:
    """Return what workers take: an array, or images on disk by paths that do not depend on the working directory."""
    if isinstance(leaf, ImageFiles):
        return replace(leaf, files=tuple(file.absolute() for file in leaf.files))
    return batches.as_plain_array(leaf)


def _example(leaf: Any) -> Any:
    rows = leaf.take(np.arange(EXAMPLE_ROWS)) if isinstance(leaf, ImageFiles) else leaf[:EXAMPLE_ROWS]
    return batches.as_tensor(rows)


@contextmanager
def _translated() -> Iterator[None]:
    """Raise a worker's exception as an error of ours."""
    try:
        yield
    except WorkerFailedError as error:
        raise ChildFailedError(
            f"a worker cannot train the model: {one_line(error, 300)}", TENSORFLOW_HINT
        ) from error
