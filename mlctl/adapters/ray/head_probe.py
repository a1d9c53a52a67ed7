"""Whether the head of a Ray cluster accepts connections."""

from __future__ import annotations

import socket
import time

from mlctl.errors import UnreachableError

# a head may come back; Ray itself would end this process after a minute, without a word
LOST_AFTER_S = 30.0


def probe_head(address: str, timeout_s: float) -> None:
    """Connect to the head's port. Raises OSError or OverflowError if nothing listens there."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), timeout=timeout_s).close()


class HeadWatch:
    """Finds out that the head of a cluster is lost.

    Args:
        address: Where it listens.
        name: The cluster, as the user named it.
    """

    def __init__(self, address: str, name: str) -> None:
        self._address, self._name = address, name
        self._silent_since: float | None = None

    def is_there(self) -> bool:
        """Return whether the head answers now; raise UnreachableError if it has been silent for too long."""
        try:
            probe_head(self._address, timeout_s=2)
        except (OSError, OverflowError) as exc:
            self._silent_since = self._silent_since or time.monotonic()
            if time.monotonic() - self._silent_since > LOST_AFTER_S:
                raise UnreachableError(
                    f"the head of the Ray cluster {self._name} does not answer",
                    "continue here: mlctl resume RUN",
                ) from exc
            return False
        self._silent_since = None
        return True
