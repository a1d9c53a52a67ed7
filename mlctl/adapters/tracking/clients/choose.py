"""Choose the client of a tracking store: one without MLflow where that is possible, else MLflow's own."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from mlctl.adapters.tracking.clients.connection import Database, can_open

# what only MLflow's own client does
REST_EXTRAS = ("MLFLOW_TRACKING_AUTH", "MLFLOW_TRACKING_AWS_SIGV4", "MLFLOW_TRACKING_CLIENT_CERT_PATH")
WORKSPACES = ("MLFLOW_ENABLE_WORKSPACES", "MLFLOW_WORKSPACE")


def make_client(tracking_uri: str, make_mlflow_client: Callable[[], Any]) -> Any:
    """Return a client of a store that answers; `make_mlflow_client` makes MLflow's own, which takes seconds."""
    if tracking_uri.startswith(("http://", "https://")):
        if any(os.environ.get(name) for name in REST_EXTRAS):
            return make_mlflow_client()
        from mlctl.adapters.tracking.clients.rest_client import RestClient

        return RestClient(tracking_uri, make_mlflow_client)
    if can_open(tracking_uri) and not any(os.environ.get(name) for name in WORKSPACES):
        from mlctl.adapters.tracking.clients.database_client import DatabaseClient

        database = Database(tracking_uri)
        if DatabaseClient.knows(database):
            return DatabaseClient(tracking_uri, make_mlflow_client, database)
    return make_mlflow_client()
