"""Translate the errors of MLflow, its database and its server into mlctl's errors."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from mlctl.adapters.tracking.clients.connection import database_errors
from mlctl.adapters.tracking.clients.entities import StoreError
from mlctl.adapters.tracking.health import driver_error, locked_error, unreachable_error
from mlctl.domain.short_texts import first_line
from mlctl.errors import (
    ConfigurationError,
    MlctlError,
    NotFoundError,
    RefusedError,
    UnreachableError,
    UsageError,
)
from mlctl.settings import mask_passwords

DRIVERS = {"psycopg", "psycopg2", "MySQLdb", "pymysql", "pyodbc", "pymssql"}


@contextmanager
def translate_errors(tracking_uri: str) -> Iterator[None]:
    """Raise mlctl's errors for those that a request to this store raises in the block."""
    try:
        yield
    except MlctlError:
        raise
    except Exception as exc:
        if error_code(exc) is not None:
            raise _to_mlctl_error(exc, tracking_uri) from exc
        if isinstance(exc, (*database_errors(), *_loaded("sqlalchemy.exc", "SQLAlchemyError"))):
            raise _database_error(exc, mask_passwords(tracking_uri)) from exc
        if isinstance(exc, (*_loaded("mlctl.adapters.system.http", "HttpError"), *_request_errors())):
            raise unreachable_error(tracking_uri) from exc
        if isinstance(exc, ModuleNotFoundError) and exc.name in DRIVERS:
            raise driver_error(tracking_uri, exc) from exc
        raise


def error_code(exc: BaseException) -> str | None:
    """Return the code of an error of a store, of a light client's or of MLflow's; None for any other error."""
    if isinstance(exc, (StoreError, *_loaded("mlflow.exceptions", "MlflowException"))):
        return str(getattr(exc, "error_code"))  # noqa: B009  # mypy knows one of the two classes
    return None


def _database_error(exc: Exception, uri: str) -> MlctlError:
    if any(text in str(exc) for text in ("unable to open database file", "readonly database")):
        return RefusedError(
            f"the tracking database {uri} cannot be written",
            "check the permissions of its folder, or choose another store with --tracking-uri",
        )
    if "database is locked" in str(exc):
        return locked_error(uri)
    return UnreachableError(f"the tracking database {uri} fails: {first_line(exc)}", "try again")


def _request_errors() -> tuple[type[Any], ...]:
    return _loaded("requests.exceptions", "RequestException")


def _loaded(module: str, name: str) -> tuple[type[Any], ...]:
    """Return a class of a module, if that is loaded: otherwise nothing can be an instance of it."""
    found = getattr(sys.modules.get(module), name, None)
    return (found,) if found else ()


def _to_mlctl_error(exc: Any, tracking_uri: str) -> MlctlError:
    uri = mask_passwords(tracking_uri)
    message = first_line(exc)
    if "out-of-date database schema" in message:
        return ConfigurationError(
            f"{uri} has the schema of another MLflow version",
            f"make a copy, then run: mlflow db upgrade {uri}",
        )
    if exc.error_code == "RESOURCE_DOES_NOT_EXIST":
        return NotFoundError(message.rstrip("."), "see what exists: mlctl runs list")
    if "Invalid Host header" in str(exc):
        return ConfigurationError(
            f"the tracking server {uri} does not accept this host name",
            f"start it with the name: mlctl server-up --allowed-host {urlsplit(tracking_uri).hostname}",
        )
    if exc.error_code == "PERMISSION_DENIED":
        reason = f": {message}" if "MANAGE" in message else ""
        return ConfigurationError(
            f"the tracking server {uri} does not permit this user to do that{reason}",
            "ask who may: mlctl users list; mlctl users grant USER edit --experiment NAME gives a permission",
        )
    if exc.error_code in {"UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED"}:
        return ConfigurationError(
            f"the tracking server {uri} refuses these credentials",
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
        )
    if "valid JSON format" in message or exc.error_code == "ENDPOINT_NOT_FOUND":
        return ConfigurationError(f"the server at {uri} is no MLflow server", "check --tracking-uri")
    if "proxy mlflow-artifact scheme" in message:
        return RefusedError(
            f"the artifacts are behind a tracking server, but {uri} bypasses the server",
            "name that server: --tracking-uri http://…, or in MLFLOW_TRACKING_URI",
        )
    if exc.error_code == "INVALID_PARAMETER_VALUE":
        return UsageError(message, "see the allowed values: mlctl runs list --help")
    if exc.error_code == "INVALID_STATE":
        return RefusedError(message, "see its state: mlctl runs show")
    if isinstance(exc.__cause__ or exc.__context__, _request_errors()):
        return unreachable_error(tracking_uri)
    return UnreachableError(f"the tracking store {uri} fails: {message}", "check its log, then try again")
