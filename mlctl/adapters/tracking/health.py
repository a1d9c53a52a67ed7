"""Check that a tracking store answers, before MLflow is used, whose own retries take minutes to fail."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from urllib.parse import quote, urlsplit

from mlctl.adapters.tracking.clients.connection import Database, can_open
from mlctl.adapters.tracking.clients.database_uri import sqlite_path
from mlctl.errors import ConfigurationError, MlctlError, UnreachableError
from mlctl.mysql import is_mysql, use_environment
from mlctl.settings import mask_passwords

TIMEOUT_S = 3
REFUSALS = ("password", "authentication", "does not exist", "denied")  # in a database's error message


def sqlite_file(tracking_uri: str) -> Path | None:
    """Return the file of a SQLite URI, relative to the working directory; None for other URIs."""
    if not tracking_uri.startswith("sqlite"):
        return None
    return sqlite_path(tracking_uri)


def check_reachable(tracking_uri: str) -> None:
    """Check that the store answers.

    Raises UnreachableError if nothing answers within seconds, and ConfigurationError if the URI cannot be right: the
    file is not a database, the driver is not installed, the password is refused.
    """
    if urlsplit(tracking_uri).scheme in {"http", "https"}:
        _check_server(tracking_uri)
    elif tracking_uri.startswith("sqlite"):
        _check_sqlite(tracking_uri)
    elif "://" in tracking_uri:
        _check_database(tracking_uri)


def driver_error(uri: str, reason: Exception) -> ConfigurationError:
    """Return the error for a URI whose driver is not installed."""
    return ConfigurationError(
        f"the tracking URI {mask_passwords(uri)} needs a driver that is not installed: {reason}",
        "install it: psycopg2-binary for postgresql://, PyMySQL for mysql://",
    )


def locked_error(uri: str) -> UnreachableError:
    """Return the error for a database that another program keeps locked."""
    return UnreachableError(
        f"another program has locked the tracking database {uri}", "wait until it ends, or stop it"
    )


def unreachable_error(uri: str) -> UnreachableError:
    """Return the error for a store that does not answer."""
    kind = "server" if uri.startswith("http") else "database"
    return UnreachableError(
        f"the tracking {kind} {mask_passwords(uri)} does not answer",
        "start it (mlctl server-up), or choose another with --tracking-uri",
    )


def _check_server(uri: str) -> None:
    # a database need not wait for this import
    from mlctl.adapters.system.http import (
        CertificateError,
        HttpError,
        InvalidUrlError,
        tracking_server_client,
    )

    try:
        # any answer will do: the first real request shows whether it is an MLflow server
        tracking_server_client(uri, timeout_s=TIMEOUT_S).request("GET", "/health")
    except CertificateError as exc:
        raise ConfigurationError(
            f"the certificate of the tracking server {mask_passwords(uri)} is not trusted",
            "set MLFLOW_TRACKING_SERVER_CERT_PATH to the certificate of its authority",
        ) from exc
    except InvalidUrlError as exc:
        raise ConfigurationError(
            f"invalid tracking URI {mask_passwords(uri)}: {exc}",
            "correct MLFLOW_TRACKING_URI or --tracking-uri",
        ) from exc
    except HttpError as exc:
        raise unreachable_error(uri) from exc


def _check_sqlite(uri: str) -> None:
    file = sqlite_file(uri)
    if file is None or not file.exists():
        return
    try:
        # open for writing if that is allowed: SQLite must roll back what a killed writer left before it can read
        with sqlite3.connect(f"file:{quote(str(file))}?mode=rw", uri=True, timeout=TIMEOUT_S) as connection:
            connection.execute("select count(*) from sqlite_master")
    except sqlite3.DatabaseError as exc:
        if "locked" in str(exc):
            raise locked_error(uri) from exc
        raise ConfigurationError(
            f"cannot read {file} as a tracking database: {exc}", "choose another with --tracking-uri"
        ) from exc


def _check_database(uri: str) -> None:
    if can_open(uri):
        _check_postgres(uri)
        return
    if is_mysql(uri):
        use_environment()
    import sqlalchemy
    from sqlalchemy import exc as sql

    arguments = {"connect_timeout": TIMEOUT_S} if uri.startswith(("postgresql", "mysql")) else {}
    try:
        engine = sqlalchemy.create_engine(uri, connect_args=arguments, poolclass=sqlalchemy.NullPool)
        with engine.connect():
            pass
    except (ModuleNotFoundError, sql.ArgumentError) as exc:
        raise driver_error(uri, exc) from exc
    except sql.DBAPIError as exc:
        raise _refusal(uri, str(exc.orig)) from exc


def _check_postgres(uri: str) -> None:
    import psycopg2

    try:
        Database(uri).close()
    except psycopg2.Error as exc:
        raise _refusal(uri, str(exc)) from exc


def _refusal(uri: str, message: str) -> MlctlError:
    reason = " ".join(message.split())
    if any(word in reason.lower() for word in REFUSALS):
        return ConfigurationError(
            f"the database {mask_passwords(uri)} refuses the connection: {reason}",
            "check its user, password and name",
        )
    return unreachable_error(uri)
