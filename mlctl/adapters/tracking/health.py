"""Is a tracking store there? Asked before MLflow is, whose own retries take minutes to say no."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from urllib.parse import urlsplit

import requests
import sqlalchemy
from sqlalchemy import exc as sql

from mlctl.errors import ConfigurationError, UnreachableError
from mlctl.settings import masked

ANSWER_WITHIN_S = 3


def sqlite_file(tracking_uri: str) -> Path | None:
    """Return the file of a sqlite URI, relative to the working directory; None for others."""
    if not tracking_uri.startswith("sqlite"):
        return None
    return Path(sqlalchemy.make_url(tracking_uri).database or ":memory:")


def check_reachable(tracking_uri: str) -> None:
    """Return only where the store answers.

    Raises UnreachableError where nothing answers within seconds, ConfigurationError where what answers
    cannot be the store that was meant: no database, a driver that is not installed, a refused password.
    """
    if urlsplit(tracking_uri).scheme in {"http", "https"}:
        _reach_server(tracking_uri)
    elif tracking_uri.startswith("sqlite"):
        _reach_sqlite(tracking_uri)
    elif "://" in tracking_uri:
        _reach_database(tracking_uri)


def _reach_server(uri: str) -> None:
    verify: bool | str = os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or True
    if os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in {"true", "1"}:
        verify = False
    try:
        # any answer will do: whether it is MLflow's is seen by the first real request
        requests.get(uri.rstrip("/") + "/health", timeout=ANSWER_WITHIN_S, verify=verify)
    except requests.exceptions.SSLError as exc:
        raise ConfigurationError(
            f"the tracking server {masked(uri)} shows a certificate that is not trusted here",
            "name its authority in MLFLOW_TRACKING_SERVER_CERT_PATH",
        ) from exc
    except (requests.exceptions.ConnectionError, requests.exceptions.Timeout) as exc:
        raise unreachable(uri) from exc
    except requests.exceptions.RequestException as exc:
        raise ConfigurationError(f"the tracking URI {masked(uri)} cannot be: {exc}", "mend it") from exc


def _reach_sqlite(uri: str) -> None:
    file = sqlite_file(uri)
    if file is None or not file.exists():
        return
    try:
        # for writing, where that is allowed: what a killed writer left half done must be rolled back before a look
        with sqlite3.connect(f"file:{file}?mode=rw", uri=True, timeout=ANSWER_WITHIN_S) as connection:
            connection.execute("select count(*) from sqlite_master")
    except sqlite3.DatabaseError as exc:
        raise ConfigurationError(
            f"{file} cannot be read as a tracking database: {exc}", "name another with --tracking-uri"
        ) from exc


def _reach_database(uri: str) -> None:
    arguments = {"connect_timeout": ANSWER_WITHIN_S} if uri.startswith(("postgresql", "mysql")) else {}
    try:
        engine = sqlalchemy.create_engine(uri, connect_args=arguments, poolclass=sqlalchemy.NullPool)
        with engine.connect():
            pass
    except (ModuleNotFoundError, sql.ArgumentError) as exc:
        raise ConfigurationError(
            f"the tracking URI {masked(uri)} needs a driver that is not installed: {exc}",
            "install it (psycopg for postgresql://), or name another driver in the URI",
        ) from exc
    except sql.DBAPIError as exc:
        said = " ".join(str(exc.orig).split())
        if any(word in said.lower() for word in ("password", "authentication", "does not exist", "denied")):
            raise ConfigurationError(
                f"the database {masked(uri)} refuses: {said}", "check its user, password and name"
            ) from exc
        raise unreachable(uri) from exc


def unreachable(uri: str) -> UnreachableError:
    """Return the error that says that nothing answers at `uri`."""
    what = "server" if uri.startswith("http") else "database"
    return UnreachableError(
        f"the tracking {what} {masked(uri)} does not answer",
        "start it (mlctl server-up), or name another with --tracking-uri",
    )
