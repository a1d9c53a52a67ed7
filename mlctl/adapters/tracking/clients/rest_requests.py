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

if TYPE_CHECKING:
    from requests import Response

API = "/api/2.0/mlflow/"
CONNECT_TIMEOUT_S = 3.0
BUSY_STATUSES = {429, 500, 502, 503, 504}
RETRY_PAUSE_S = 0.3
STATUS_CODES = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED"}
Json = dict[str, Any]


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

    @cached_property
    def http(self) -> HttpClient:
        """The connection to the server, with the user's credentials."""
        parts = urlsplit(self.tracking_uri)
        user, token = find_credentials(parts.username, parts.password)
        address = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        timeout_s = float(os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT", "60"))
        return tracking_server_client(
            address, timeout_s=(CONNECT_TIMEOUT_S, timeout_s), user=user, token=token
        )

    def send(self, method: str, path: str, *, writes: bool = False, **content: Any) -> Json:
        """Return the JSON answer; raises StoreError for a refusal, HttpError if there is none."""
        repeats = 0 if writes else int(os.environ.get("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1"))
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
        return _to_json(answer)


def find_credentials(username: str | None, password: str | None) -> tuple[tuple[str, str] | None, str]:
    """Return (user, token) as MLflow's client takes them from the URI, the environment or its file."""
    saved = _saved_credentials() if not (username and password) else {}
    name, word = (
        unquote(given)
        if given
        else os.environ.get(f"MLFLOW_TRACKING_{key}") or saved.get(f"mlflow_tracking_{key.lower()}")
        for given, key in ((username, "USERNAME"), (password, "PASSWORD"))
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
    except configparser.Error:
        return {}
    return dict(parser["mlflow"]) if "mlflow" in parser else {}


def _without_none(content: Json) -> Json:
    return {name: value for name, value in content.items() if value is not None}


def _to_json(answer: Response) -> Json:
    """Return the answer's content; raises StoreError for a refusal and for another program's answer."""
    try:
        content = answer.json()
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
        raise StoreError("the answer is not in a valid JSON format", "ENDPOINT_NOT_FOUND")
    raise StoreError(f"it answers with status {answer.status_code}")
