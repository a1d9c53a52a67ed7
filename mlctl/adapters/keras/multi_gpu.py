"""Data-parallel training on several devices: each has the model's weights, and a shard of every batch.

The gradient of a batch is the mean over its shards. A step therefore equals that of one device, except for
rounding and for layers that compute statistics of their shard alone (BatchNormalization). Shards have equal
size: if a batch cannot be divided equally, its first rows count twice.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
import tensorflow as tf

from mlctl.adapters.keras import batches
from mlctl.adapters.keras.batches import Parts
from mlctl.data.dataset import Dataset
from mlctl.data.sparse_bags import SparseBags

MIN_ROWS_PER_DEVICE = 32  # of a batch: with fewer, devices wait for each other longer than they compute


def distribution_scope(data: Dataset, batch_size: int) -> AbstractContextManager[object]:
    """Return the scope to build a model in: all GPUs that a batch keeps busy, if that is more than one."""
    gpus = [device.name for device in tf.config.list_logical_devices("GPU")]
    is_sparse = isinstance(data.train.inputs, SparseBags)
    return mirrored_scope(gpus[: 1 if is_sparse else batch_size // MIN_ROWS_PER_DEVICE])


def mirrored_scope(devices: list[str]) -> AbstractContextManager[object]:
    """Return the scope to build a model in that trains on these devices."""
    if len(devices) < 2:
        return nullcontext()
    scope: AbstractContextManager[object] = tf.distribute.MirroredStrategy(devices).scope()
    return scope


def count_devices(model: keras.Model) -> int:
    """Return the number of devices that a model trains on."""
    return int(model.distribute_strategy.num_replicas_in_sync)


def train_step(model: keras.Model, parts: Parts) -> Any:
    """Train on one batch with the model's own `train_step`, and return what that returns; call this in a graph.

    `parts` are the inputs, targets and weights of the whole batch.
    """
    devices = count_devices(model)
    if devices == 1:
        return model.train_step(batches.pack(parts))
    rows = batches.count(parts)
    shard_size = -(-rows // devices)

    def train_shard(parts: Parts) -> Any:
        device = tf.distribute.get_replica_context().replica_id_in_sync_group
        shard = (device * shard_size + tf.range(shard_size)) % rows
        return model.train_step(batches.pack(batches.map_parts(lambda leaf: tf.gather(leaf, shard), parts)))

    logs = model.distribute_strategy.run(train_shard, args=(parts,))
    return tf.nest.map_structure(
        lambda value: tf.reduce_mean(
            tf.stack(model.distribute_strategy.experimental_local_results(value)), axis=0
        ),
        logs,
    )
