"""Errors of MySQL and MariaDB in mlctl's words."""

from __future__ import annotations

from typing import Any

from mlctl.adapters.system.extras import require_extra
from mlctl.domain.server import Backend
from mlctl.errors import ConfigurationError, MlctlError, NotFoundError, RefusedError, UnreachableError
from mlctl.mysql import PASSWORD_VARIABLE, connect

ACCESS_DENIED = {1045, 1698, 1251, 2059}
NO_DATABASE_RIGHTS, NO_DATABASE, TOO_MANY_CONNECTIONS = {1044, 1142}, 1049, 1040


def open_backend(backend: Backend) -> Any:
    """Return a connection; raises the errors of mlctl."""
    require_extra("pymysql", "mysql", "MySQL")
    import pymysql

    try:
        return connect(backend.uri, backend.password)
    except (pymysql.Error, RuntimeError) as exc:  # RuntimeError: a way to log in that needs another package
        raise connection_error(exc, backend.host) from exc


def require_all_characters(connection: Any, backend: Backend) -> None:
    """Raise RefusedError if new tables could not hold every character."""
    cursor = connection.cursor()
    cursor.execute("SELECT database(), @@character_set_database")
    ((name, characters),) = cursor.fetchall()
    if characters != "utf8mb4":
        raise RefusedError(
            f"the database {name} at {backend.host} stores texts as {characters}, which lacks many characters",
            f"run there: ALTER DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        )


def connection_error(error: Exception, host: str) -> MlctlError:
    """Return mlctl's error for an error of PyMySQL while it connects."""
    code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    reason = str(error.args[1] if len(error.args) > 1 else error).partition("\n")[0]
    if code in ACCESS_DENIED:
        return ConfigurationError(
            f"{host} refuses the database's user: {reason}",
            f"give the password in {PASSWORD_VARIABLE} or --backend-file",
        )
    if code in NO_DATABASE_RIGHTS:
        return ConfigurationError(f"{host}: {reason}", "let the user use it: GRANT ALL ON DATABASE.* TO USER")
    if code == NO_DATABASE:
        return NotFoundError(f"{host}: {reason}", "create it: CREATE DATABASE NAME")
    if code == TOO_MANY_CONNECTIONS:
        return UnreachableError(f"{host}: {reason}", "try again in a moment")
    if not code:
        return RefusedError(f"{host}: {reason}", "check the database's log")
    return UnreachableError(f"no database answers at {host}: {reason}", "check that it runs, and the port")
