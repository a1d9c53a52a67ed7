"""Bringing a database's schema up and nothing else: for an init container, before any server starts."""

from __future__ import annotations

import os

from mlctl.adapters.database import connection
from mlctl.adapters.database import schema as schema_files
from mlctl.domain.server import Migrated, ServerLocation
from mlctl.errors import ChildFailedError
from mlctl.tracking_server import schema
from mlctl.tracking_server.server_config import ServerConfig


def migrate(place: ServerLocation) -> Migrated:
    """Create or migrate the schema, under the lock that all servers share; return its revision."""
    connection.verify(place.backend, upgrade=True)
    if place.backend.password:
        os.environ["PGPASSWORD"] = place.backend.password  # where libpq looks; MLflow takes only a URI
    root = place.destination if place.direct else "mlflow-artifacts:/"
    plan = ServerConfig("migrate", "", "", 0, place.backend.uri, root, None, upgrade=True)
    if schema.bring_up(plan) != 0:
        raise ChildFailedError("the schema could not be migrated", "the line above says why")
    return Migrated(place.backend.shown, schema_files.newest_revision())
