"""The Ray cluster that a training or the trials of a search run on."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mlctl.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A cluster, and the resources of each task on it.

    Attributes:
        address: ray://HOST:PORT, HOST:PORT, or local:N for N nodes that mlctl starts on this machine.
        storage: Storage that all nodes can reach: s3://BUCKET/FOLDER or a shared folder.
        cpu: CPU cores of each task.
        gpu: GPUs of each task.
        memory: Memory of each task in bytes; None: no requirement.
        workers: Number of tasks that train one model together; 1: the training is one task.
    """

    address: str
    storage: str | None = None
    cpu: float = 1.0
    gpu: float = 0.0
    memory: int | None = None
    workers: int = 1

    def __post_init__(self) -> None:
        """Raise UsageError if the address is invalid, or if an existing cluster has no shared storage."""
        if not re.fullmatch(r"local:[1-9]\d?|(ray://)?[\w.\-\[\]:]+:\d{1,5}", self.address):
            raise UsageError(
                f"--cluster {self.address} is not an address", "write ray://HOST:PORT, HOST:PORT or local:2"
            )
        if self.storage is None and not self.local_node_count:
            raise UsageError(
                f"the nodes of {self.address} and this machine need a storage that all of them can reach",
                "add --storage s3://BUCKET/FOLDER, or a shared folder: --storage /mnt/shared",
            )

    @property
    def local_node_count(self) -> int:
        """Number of nodes to start on this machine; 0 for an existing cluster."""
        return int(self.address.removeprefix("local:")) if self.address.startswith("local:") else 0
