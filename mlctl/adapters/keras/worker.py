"""A process that trains a recipe's model on another backend than TensorFlow, alone or as one of several.

    python -m mlctl.adapters.keras.worker FD PARENT

It ends with its parent. It has the model, and the training data as arrays. What to do comes through the pipe FD, as
(method of `Worker`, arguments); the answer is ("ok", value) or ("error", text). Each epoch begins with a state that the
caller sends and ends with one that the caller gets, so that the caller can start another worker if this one dies.

Several workers train one model on JAX: each computes its share of every batch, and JAX averages the gradients.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from mlctl.adapters.keras.worker_job import JOB, PARTS, WorkerJob, overridden_step
from mlctl.adapters.storage.shared_storage import SharedStorage
from mlctl.errors import UsageError
from mlctl.machine import die_with_parent
from mlctl.recipes import find
from mlctl.recipes.keras_import import import_keras

Array = np.ndarray[Any, Any]
JOIN_TIMEOUT_S = 60  # of workers that have all been started
EXAMPLE_ROWS = 2  # with which a model is built that is not built yet


class Worker:
    """The model and its data in this process."""

    def __init__(self) -> None:
        self._rank, self._workers = 0, 1
        self._model: Any = None
        self._parts: Any = None
        self._order: Array = np.zeros(0, np.int64)
        self._batch_size = 1
        self._sharding: Any = None

    def join(self, coordinator: str, workers: int, rank: int) -> None:
        """Connect to the other workers; the first one coordinates them at this address."""
        import jax

        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(coordinator, workers, rank, initialization_timeout=JOIN_TIMEOUT_S)
        import_keras()
        from mlctl.adapters.keras.sharding import Sharding

        self._rank, self._workers = rank, workers
        self._sharding = Sharding(jax.devices())

    def build(self, storage: SharedStorage, source: str) -> None:
        """Build the recipe's model."""
        import_keras()
        import keras

        recipe = find(source)
        job: WorkerJob = pickle.loads(storage.fetch(JOB).read_bytes())  # noqa: S301 - our own
        keras.utils.set_random_seed(job.seed)
        keras.config.set_dtype_policy(job.precision)
        self._model = recipe.build(job.values, job.data)
        if reason := overridden_step(self._model):
            raise UsageError(reason, "train it on TensorFlow")

    def load(self, storage: SharedStorage, batch_size: int) -> None:
        """Read the encoded training data, and create every variable of the model and its optimizer."""
        from mlctl.adapters.keras.worker_batches import take_batch

        self._parts = pickle.loads(storage.fetch(PARTS).read_bytes())  # noqa: S301 - our own
        self._batch_size = batch_size
        model = self._model
        if not model.built:
            self._share_batches(False)
            model.train_on_batch(*take_batch(self._parts, np.arange(EXAMPLE_ROWS)))
        elif not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)

    def begin_epoch(self, state: Sequence[Array], order: Array) -> None:
        """Set the state of model and optimizer, and the order of the rows."""
        for variable, value in zip(self._variables(), state, strict=True):
            variable.assign(value)
        self._order = order
        self._model.reset_metrics()

    def train(self, start: int, stop: int) -> Mapping[str, float]:
        """Train on the batches from `start` up to, and without, `stop`; return the epoch's metrics so far."""
        import keras

        last = len(self._order) // self._batch_size  # number of the batch that is incomplete
        if start < min(stop, last):
            self._fit(start, min(stop, last), is_shared=not self._batch_size % self._workers)
        if stop > max(start, last):
            rest = len(self._order) % self._batch_size
            self._fit(max(start, last), stop, is_shared=not rest % self._workers)
        results = keras.tree.map_structure(keras.ops.convert_to_numpy, self._model.get_metrics_result())
        return {name: float(np.mean(value)) for name, value in results.items()}

    def state(self) -> list[Array] | None:
        """Return the state of model and optimizer; None from all workers but the first."""
        return None if self._rank else [np.array(variable) for variable in self._variables()]

    def _variables(self) -> list[Any]:
        return [*self._model.variables, *self._model.optimizer.variables]

    def _fit(self, start: int, stop: int, *, is_shared: bool) -> None:
        """Train with `Model.fit`; without `is_shared`, every worker computes the whole of each batch."""
        from mlctl.adapters.keras.worker_batches import WorkerBatches

        share = (self._rank, self._workers) if is_shared else (0, 1)
        size = self._batch_size
        rows = [self._order[step * size : (step + 1) * size] for step in range(start, stop)]
        self._share_batches(is_shared)
        with _as_part_of_epoch(self._model):
            self._model.fit(WorkerBatches(self._parts, rows, share), shuffle=False, verbose=0)

    def _share_batches(self, is_shared: bool) -> None:
        if self._sharding is not None:
            self._sharding.is_shared = is_shared


@contextlib.contextmanager
def _as_part_of_epoch(model: Any) -> Iterator[None]:
    """Let a `fit` keep the metrics of the epoch so far, and leave averaged weights (use_ema) to the end of training."""
    kept = {model: "reset_metrics", model.optimizer: "finalize_variable_values"}
    originals = {owner: getattr(owner, name) for owner, name in kept.items()}
    for owner, name in kept.items():
        setattr(owner, name, lambda *_: None)
    try:
        yield
    finally:
        for owner, name in kept.items():
            setattr(owner, name, originals[owner])


def serve(pipe: Connection) -> None:
    """Answer calls until the caller is gone."""
    worker = Worker()
    while True:
        try:
            method, arguments = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            answer: tuple[str, Any] = ("ok", getattr(worker, method)(*arguments))
        except UsageError as error:
            answer = ("error", error.message)
        except Exception as error:  # of the recipe, of Keras or of the backend
            answer = ("error", f"{type(error).__name__}: {error}")
        try:
            pipe.send(answer)
        except OSError:
            return


if __name__ == "__main__":
    die_with_parent(int(sys.argv[2]))
    serve(Connection(int(sys.argv[1])))
    os._exit(0)  # JAX would wait for the other workers
