"""Training on what does not fit into memory: the next batches are read while one is trained on."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mlctl.adapters.keras import multi_gpu
from mlctl.data.files.images import ImageFiles

AHEAD = 2  # batches being read while another is trained on

Array = np.ndarray[Any, Any]


class FedProgram:
    """Training on pictures that stay on disk: what is held is a few batches, whatever the number of files."""

    def __init__(self, model: keras.Model, inputs: ImageFiles, targets: Array, batch_size: int) -> None:
        """Prepare; the model's variables must have been built (see `programs.program_for`)."""
        self.model, self.batch_size = model, batch_size
        self.rows = len(targets)
        self.steps = -(-self.rows // batch_size)
        self._inputs, self._targets = inputs, targets
        self._order = np.arange(self.rows)
        self._train_step = tf.function(self._train_step_traced, reduce_retracing=True)

    def begin_epoch(self, order: Array) -> None:
        """Lay out the files in this order."""
        self._order = order

    def train(self, start: int, stop: int) -> None:
        """Train on the batches from `start` up to `stop`."""
        waiting: deque[tuple[Future[Array], Array]] = deque()
        with ThreadPoolExecutor(1) as reader:  # the files of a batch are read by threads of its own
            for step in range(start, stop):
                rows = self._order[step * self.batch_size : (step + 1) * self.batch_size]
                waiting.append((reader.submit(self._inputs.take(rows).dense), self._targets[rows]))
                if len(waiting) > AHEAD:
                    self._step(*waiting.popleft())
            while waiting:
                self._step(*waiting.popleft())

    def _step(self, inputs: Future[Array], targets: Array) -> None:
        self._train_step(tf.constant(inputs.result()), tf.constant(targets))

    def _train_step_traced(self, inputs: tf.Tensor, targets: tf.Tensor) -> None:
        multi_gpu.train_step(self.model, inputs, targets)
