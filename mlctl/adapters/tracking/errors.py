"""What MLflow, its database or its server raise, as errors of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import requests
import sqlalchemy
from mlflow.exceptions import MlflowException

from mlctl.adapters.tracking.health import unreachable
from mlctl.errors import (
    ConfigurationError,
    MlctlError,
    NotFoundError,
    RefusedError,
    UnreachableError,
    UsageError,
)
from mlctl.settings import masked


@contextmanager
def asking(tracking_uri: str) -> Iterator[None]:
    """Turn what a question to this store raises into errors of ours."""
    try:
        yield
    except MlctlError:
        raise
    except MlflowException as exc:
        raise _translated(exc, tracking_uri) from exc
    except sqlalchemy.exc.SQLAlchemyError as exc:
        raise UnreachableError(
            f"the tracking database {masked(tracking_uri)} fails: {_first_line(exc)}", "try again"
        ) from exc
    except requests.exceptions.RequestException as exc:
        raise unreachable(tracking_uri) from exc


def _translated(exc: MlflowException, tracking_uri: str) -> MlctlError:
    place = masked(tracking_uri)
    said = _first_line(exc)
    if "out-of-date database schema" in said:
        return ConfigurationError(
            f"{place} was written by another MLflow version",
            f"make a copy, then: mlflow db upgrade {place}",
        )
    if exc.error_code == "RESOURCE_DOES_NOT_EXIST":
        return NotFoundError(said.rstrip("."), "mlctl runs list shows what is there")
    if "Invalid Host header" in str(exc):
        return ConfigurationError(
            f"the tracking server {place} does not answer to this name",
            f"start it with the name: mlctl server-up --allowed-hosts {urlsplit(tracking_uri).hostname}",
        )
    if exc.error_code in {"UNAUTHENTICATED", "PERMISSION_DENIED", "CUSTOMER_UNAUTHORIZED"}:
        return ConfigurationError(
            f"the tracking server {place} wants other credentials",
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
        )
    if "valid JSON format" in said or exc.error_code == "ENDPOINT_NOT_FOUND":
        return ConfigurationError(f"what answers at {place} is no MLflow server", "check --tracking-uri")
    if "proxy mlflow-artifact scheme" in said:
        return RefusedError(
            f"the artifacts are behind a server, which {place} goes past",
            "name that server: --tracking-uri http://…, or in MLFLOW_TRACKING_URI",
        )
    if exc.error_code == "INVALID_PARAMETER_VALUE":
        return UsageError(said, "mlctl runs list --help")
    if exc.error_code == "INVALID_STATE":
        return RefusedError(said, "mlctl runs show tells its state")
    if isinstance(exc.__cause__ or exc.__context__, requests.exceptions.RequestException):
        return unreachable(tracking_uri)
    return UnreachableError(f"the tracking store {place} fails: {said}", "look at its log, then try again")


def _first_line(exc: Exception) -> str:
    text = str(getattr(exc, "message", None) or exc)
    line = " ".join(text.splitlines()[:1])
    return line if len(line) <= 200 else line[:199] + "…"
