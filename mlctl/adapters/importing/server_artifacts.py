"""Where a tracking server of this machine keeps its artifacts, for commands that use its database directly."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlctl.adapters.system import local_servers
from mlctl.errors import RefusedError
from mlctl.settings import mask_passwords

PROXIED = "mlflow-artifacts:"


class ServerArtifacts:
    """The artifacts behind the server of a database.

    Attributes:
        root: Where artifact locations of new experiments begin; None if no server of this machine uses the database.
    """

    def __init__(self, tracking_uri: str, state_dir: Path | None) -> None:
        """Look for a running server of this database among those that this machine has started."""
        self._tracking_uri = tracking_uri
        is_database = "://" in tracking_uri and not tracking_uri.startswith(("http:", "https:"))
        servers = local_servers.running_servers(state_dir, tracking_uri) if state_dir and is_database else []
        self._destination: str | None = servers[0]["artifacts"] if servers else None
        self.root: str | None = None
        if servers:
            self.root = self._destination if servers[0]["place"].get("direct") else f"{PROXIED}/"
            if endpoint := servers[0]["place"].get("endpoint_url"):
                os.environ.setdefault("MLFLOW_S3_ENDPOINT_URL", endpoint)  # MLflow's client reads it

    def resolve(self, uri: str) -> str:
        """Return the address of artifacts without the server. Raises RefusedError if it is unknown."""
        if not uri.startswith(PROXIED):
            return uri
        if self._destination is None:
            raise RefusedError(
                f"the artifacts of {mask_passwords(self._tracking_uri)} are behind a tracking server, "
                "and none of this machine uses that database",
                "run the command where that server runs, name the server as the source, or add --no-artifacts",
            )
        return f"{self._destination.rstrip('/')}/{unquote(urlsplit(uri).path).strip('/')}"
