"""How JAX shares a batch between the workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras


class Sharding(keras.distribution.DataParallel):  # type: ignore[misc]
    """Data-parallel training on one device of each worker, with the weights on all of them.

    Attributes:
        is_shared: each worker has its share of the batch; else all have the whole of it, as of an epoch's last one
            that cannot be divided.
    """

    def __init__(self, devices: Sequence[Any]) -> None:
        """Use these devices for all models that are built from now on."""
        names = [f"{device.platform}:{device.id}" for device in devices]
        super().__init__(devices=names, auto_shard_dataset=False)
        self.is_shared = True
        keras.distribution.set_distribution(self)

    def get_data_layout(self, data_shape: Sequence[int]) -> Any:
        """Return how an array of a batch lies on the devices."""
        if self.is_shared:
            return super().get_data_layout(data_shape)
        return keras.distribution.TensorLayout([None] * len(data_shape), self.device_mesh)
