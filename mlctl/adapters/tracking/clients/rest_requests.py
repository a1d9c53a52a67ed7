"""Requests to a tracking server's REST API, with the credentials that MLflow's client would send."""

from __future__ import annotations

import configparser
import os
import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from mlctl.adapters.system.http import HttpClient, HttpError, tracking_server_client
from mlctl.adapters.tracking.clients.entities import StoreError
from mlctl.adapters.tracking.clients.light_client import LightClient
from mlctl.errors import ConfigurationError
from mlctl.settings import mask_passwords

if TYPE_CHECKING:
    from requests import Response

API = "/api/2.0/mlflow/"
CONNECT_TIMEOUT_S = 3.0
BUSY_STATUSES = {429, 500, 502, 503, 504}
RETRY_PAUSE_S = 0.3
STATUS_CODES = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED"}
NO_ANSWER = "the answer is not in a valid JSON format"
Json = dict[str, Any]


class _Answer(dict[str, Any]):
    """An object in an answer; raises StoreError if it lacks what MLflow would send."""

    def __missing__(self, key: str) -> Any:
        raise StoreError(NO_ANSWER, "ENDPOINT_NOT_FOUND")


class RestRequests(LightClient):
    """Sends requests; what reads is repeated as often as MLFLOW_HTTP_REQUEST_MAX_RETRIES says, writes never."""

    def get(self, path: str, query: Json) -> Json:
        """Return the answer to a GET."""
        return self.send("GET", API + path, params=_without_none(query))

    def post(self, path: str, body: Json, *, writes: bool = False) -> Json:
        """Return the answer to a POST, which a search is, too."""
        return self.send("POST", API + path, writes=writes, json=_without_none(body))

    def call(self, method: str, path: str, body: Json, *, writes: bool) -> Json:
        """Return the answer to any other request."""
        return self.send(method, API + path, writes=writes, json=_without_none(body))

    @property
    def http(self) -> HttpClient:
        """The connection to the server, with the user's credentials; a forked process opens its own."""
        if os.getpid() not in self._connections:
            self._connections[os.getpid()] = self._connect()
        return self._connections[os.getpid()]

    @cached_property
    def _connections(self) -> dict[int, HttpClient]:
        return {}

    def _connect(self) -> HttpClient:
        parts = urlsplit(self.tracking_uri)
        user, token = find_credentials(parts.username, parts.password)
        return tracking_server_client(
            urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])),
            timeout_s=(CONNECT_TIMEOUT_S, _setting("MLFLOW_HTTP_REQUEST_TIMEOUT", 60)),
            user=user,
            token=token,
        )

    def send(self, method: str, path: str, *, writes: bool = False, **content: Any) -> Json:
        """Return the JSON answer; raises StoreError for a refusal, HttpError if there is none."""
        repeats = 0 if writes else int(_setting("MLFLOW_HTTP_REQUEST_MAX_RETRIES", 1))
        for left in range(repeats, -1, -1):
            try:
                answer = self.http.request(method, path, **content)
            except HttpError:
                if not left:
                    raise
            else:
                if answer.status_code not in BUSY_STATUSES or not left:
                    break
            time.sleep(RETRY_PAUSE_S)
        if "Location" in answer.headers:  # not followed: it would get the credentials
            address = mask_passwords(answer.headers["Location"])
            raise ConfigurationError(
                f"the tracking server {mask_passwords(self.tracking_uri)} redirects to {address}",
                "if that is the server, write its address in --tracking-uri",
            )
        return _to_json(answer)


def find_credentials(username: str | None, password: str | None) -> tuple[tuple[str, str] | None, str]:
    """Return (user, token) as MLflow's client takes them from the URI, the environment or its file."""
    if username and password:
        return (unquote(username), unquote(password)), ""
    saved = _saved_credentials()
    name, word = (
        os.environ.get(f"MLFLOW_TRACKING_{key}") or saved.get(f"mlflow_tracking_{key.lower()}")
        for key in ("USERNAME", "PASSWORD")
    )
    if name and word:
        return (name, word), ""
    return None, os.environ.get("MLFLOW_TRACKING_TOKEN", "")


def _saved_credentials() -> dict[str, str]:
    """Return what is in the [mlflow] section of MLflow's own file of credentials."""
    file = Path("~/.mlflow/credentials").expanduser()
    if not file.is_file():
        return {}
    parser = configparser.ConfigParser()
    try:
        parser.read(file)
        return dict(parser["mlflow"]) if "mlflow" in parser else {}
    except (configparser.Error, UnicodeDecodeError) as exc:
        reason = str(exc).partition("\n")[0]
        raise ConfigurationError(
            f"cannot read {file}: {reason}", "correct it, or set MLFLOW_TRACKING_USERNAME and …_PASSWORD"
        ) from exc


def _setting(name: str, default: float) -> float:
    """Return the value of one of MLflow's variables."""
    value = os.environ.get(name) or str(default)
    try:
        return float(value)
    except ValueError:
        raise ConfigurationError(f"{name} is no number: {value!r}", f"example: {name}={default}") from None


def _without_none(content: Json) -> Json:
    return {name: value for name, value in content.items() if value is not None}


def _to_json(answer: Response) -> Json:
    """Return the answer's content; raises StoreError for a refusal and for another program's answer."""
    try:
        content = answer.json(object_hook=_Answer)
    except ValueError:
        content = None
    if answer.status_code == 200 and isinstance(content, dict):
        return content
    if isinstance(content, dict) and "error_code" in content:
        raise StoreError(str(content.get("message", "")), str(content["error_code"]))
    code = STATUS_CODES.get(answer.status_code)
    if code:
        raise StoreError(answer.text[:200], code)
    if "Invalid Host header" in answer.text:
        raise StoreError("Invalid Host header")
    if answer.status_code == 404 or answer.status_code < 400:
        raise StoreError(NO_ANSWER, "ENDPOINT_NOT_FOUND")
    raise StoreError(f"it answers with status {answer.status_code}")
