"""Training on several devices at once: each has the model's weights and a share of every batch.

The gradient of a batch is the mean over its shares, so that a step is that of one device, up to rounding and to
what a layer learns from its share alone (BatchNormalization). Shares are equal: where a batch does not divide,
its first rows count twice.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import keras
import tensorflow as tf

from mlctl.data.dataset import Dataset
from mlctl.data.sparse_bags import SparseBags

LEAST_ROWS = 32  # of a batch, for each device: with fewer they wait for each other longer than they compute


def scope_for(data: Dataset, batch_size: int) -> AbstractContextManager[object]:
    """Return what a model is to be built in: on as many GPUs as a batch keeps busy, if that is more than one."""
    gpus = [one.name for one in tf.config.list_logical_devices("GPU")]
    return scope(gpus[: 1 if isinstance(data.train.inputs, SparseBags) else batch_size // LEAST_ROWS])


def scope(devices: list[str]) -> AbstractContextManager[object]:
    """Return what a model is to be built in, to be trained on these devices."""
    if len(devices) < 2:
        return nullcontext()
    found: AbstractContextManager[object] = tf.distribute.MirroredStrategy(devices).scope()
    return found


def count(model: keras.Model) -> int:
    """Return on how many devices a model trains."""
    return int(model.distribute_strategy.num_replicas_in_sync)


def train_step(model: keras.Model, inputs: tf.Tensor, targets: tf.Tensor) -> None:
    """Train on one batch, with the model's own `train_step`; to be called inside a graph."""
    shares = count(model)
    if shares == 1:
        model.train_step((inputs, targets))
        return
    rows = tf.shape(targets)[0]
    each = -(-rows // shares)

    def share(inputs: tf.Tensor, targets: tf.Tensor) -> None:
        number = tf.distribute.get_replica_context().replica_id_in_sync_group
        own = (number * each + tf.range(each)) % rows
        model.train_step((tf.gather(inputs, own), tf.gather(targets, own)))

    model.distribute_strategy.run(share, args=(inputs, targets))
