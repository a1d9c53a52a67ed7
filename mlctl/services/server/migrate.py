"""Migrate a database's schema without starting a server, as an init container does."""

from __future__ import annotations

from mlctl.adapters.database import connection
from mlctl.adapters.database import schema as schema_files
from mlctl.adapters.database.connection import give_password
from mlctl.domain.server import MigratedDatabase, ServerLocation
from mlctl.errors import ChildFailedError
from mlctl.tracking_server import schema
from mlctl.tracking_server.server_config import ServerConfig


def migrate_schema(location: ServerLocation) -> MigratedDatabase:
    """Create or migrate the schema, under the lock that all servers share; return its revision."""
    connection.check_database(location.backend, upgrade=True)
    give_password(location.backend)
    config = ServerConfig(
        name="migrate",
        instance="",
        host="",
        port=0,
        backend_uri=location.backend.uri,
        artifact_root=location.destination if location.direct else "mlflow-artifacts:/",
        artifacts_destination=None,
        upgrade=True,
        settings={"MLFLOW_ENABLE_WORKSPACES": "true"},  # for databases with and without workspaces
    )
    if schema.migrate(config) != 0:
        raise ChildFailedError("the schema migration failed", "the log line above says why")
    return MigratedDatabase(location.backend.display_uri, schema_files.newest_revision())
