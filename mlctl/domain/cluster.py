"""A cluster that trials are trained on."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mlctl.errors import UsageError


@dataclass(frozen=True)
class Cluster:
    """Where trials run, and what each is given there.

    `address` is ray://HOST:PORT, HOST:PORT, or local:N for N nodes of this machine's own; `storage` is a place
    that all nodes reach, s3://BUCKET/FOLDER or a shared folder; `memory` is in bytes, None for no demand.
    """

    address: str
    storage: str | None = None
    cpu: float = 1.0
    gpu: float = 0.0
    memory: int | None = None

    def __post_init__(self) -> None:
        """Raise UsageError for an address that is none, and where a shared place is missing."""
        if not re.fullmatch(r"local:[1-9]\d?|(ray://)?[\w.\-\[\]:]+:\d{1,5}", self.address):
            raise UsageError(
                f"--cluster {self.address} is no address", "write ray://HOST:PORT, HOST:PORT or local:2"
            )
        if self.storage is None and not self.own_nodes:
            raise UsageError(
                f"the nodes of {self.address} need a place that all of them and this machine reach",
                "--storage s3://BUCKET/FOLDER, or a folder that is shared: --storage /mnt/shared",
            )

    @property
    def own_nodes(self) -> int:
        """How many nodes are to be started on this machine; 0 for a cluster that exists."""
        return int(self.address.removeprefix("local:")) if self.address.startswith("local:") else 0
