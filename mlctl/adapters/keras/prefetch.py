"""Training on image files that do not fit into memory: the next batches are read during a training step."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mlctl.adapters.keras import multi_gpu
from mlctl.data.files.images import ImageFiles

PREFETCHED_BATCHES = 2

Array = np.ndarray[Any, Any]


class StreamedProgram:
    """Epochs on image files: only a few batches are in memory, whatever the number of files.

    The model's variables must be built before (see `programs.make_program`).
    """

    def __init__(self, model: keras.Model, inputs: ImageFiles, targets: Array, batch_size: int) -> None:
        self.model, self.batch_size = model, batch_size
        self.rows = len(targets)
        self.steps = -(-self.rows // batch_size)
        self._inputs, self._targets = inputs, targets
        self._order = np.arange(self.rows)
        self._train_step = tf.function(self._train_step_graph, reduce_retracing=True)

    def begin_epoch(self, order: Array) -> None:
        """Set the order of the files, (rows,) row numbers."""
        self._order = order

    def train(self, start: int, stop: int) -> None:
        """Train on the batches from `start` up to, and without, `stop`."""
        pending: deque[tuple[Future[Array], Array]] = deque()
        with ThreadPoolExecutor(1) as reader:  # the images of one batch are decoded in parallel by ImageFiles
            for step in range(start, stop):
                rows = self._order[step * self.batch_size : (step + 1) * self.batch_size]
                pending.append((reader.submit(self._inputs.take(rows).dense), self._targets[rows]))
                if len(pending) > PREFETCHED_BATCHES:
                    self._step(*pending.popleft())
            while pending:
                self._step(*pending.popleft())

    def _step(self, inputs: Future[Array], targets: Array) -> None:
        self._train_step(tf.constant(inputs.result()), tf.constant(targets))

    def _train_step_graph(self, inputs: tf.Tensor, targets: tf.Tensor) -> None:
        multi_gpu.train_step(self.model, inputs, targets)
