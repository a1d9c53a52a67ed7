"""Proving a user and a password to a server, and keeping them."""

from __future__ import annotations

import base64
import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from mlctl import credentials
from mlctl.domain.server import Login
from mlctl.errors import BadDataError, ConfigurationError, NotFoundError, UnreachableError, UsageError

ANSWER_WITHIN_S = 10.0
UNKNOWN_HOST = b"Invalid Host header"  # how MLflow's answer begins


def login(url: str, username: str, password: str, ca_file: Path | None) -> Login:
    """Keep credentials that the server takes; raises UnreachableError, ConfigurationError where not."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageError(f"{url!r} is no server's address", "write https://HOST")
    if parts.username or parts.password:
        raise UsageError(
            "the address holds a password", "leave it out: it is asked for, or read from --password-file"
        )
    if ca_file and not ca_file.is_file():
        raise NotFoundError(f"{ca_file} is not there", "name the server's certificate, or its authority's")
    if not password:
        raise BadDataError("there is no password", "type it, or name a file: --password-file")
    _prove(url.rstrip("/"), username, password, ca_file)
    credentials.keep(url, username, password, str(ca_file.resolve()) if ca_file else None)
    return Login(url, username, str(credentials.file()))


def _prove(url: str, username: str, password: str, ca_file: Path | None) -> None:
    secret = base64.b64encode(f"{username}:{password}".encode()).decode()
    request = urllib.request.Request(  # noqa: S310  # the scheme was looked at
        url + "/api/2.0/mlflow/experiments/search",
        json.dumps({"max_results": 1}).encode(),
        {"Authorization": f"Basic {secret}", "Content-Type": "application/json"},
    )
    try:
        context = ssl.create_default_context(cafile=ca_file) if url.startswith("https") else None
        with urllib.request.urlopen(request, timeout=ANSWER_WITHIN_S, context=context) as reply:  # noqa: S310
            json.load(reply)
    except urllib.error.HTTPError as exc:
        if exc.code == 403 and UNKNOWN_HOST in exc.read(1000):
            host = urlsplit(url).hostname
            raise ConfigurationError(
                f"the server at {url} does not answer to the name {host}",
                f"start it with that name: mlctl server-up --allowed-hosts {host}",
            ) from exc
        if exc.code in {401, 403}:
            raise ConfigurationError(f"{url} does not take this user and password", "try again") from exc
        raise UnreachableError(
            f"{url} answered {exc.code}: is it a tracking server?", "look at the address"
        ) from exc
    except ValueError as exc:
        raise UnreachableError(f"{url} is not a tracking server", "look at the address") from exc
    except OSError as exc:
        reason = getattr(exc, "reason", exc)
        if isinstance(reason, ssl.SSLError):
            hint = "name the server's certificate, or its authority's: --ca-cert PEM"
            raise ConfigurationError(f"{url} cannot be trusted: {reason.reason}", hint) from exc
        raise UnreachableError(
            f"{url} does not answer: {reason}", "is it up, and is the address right?"
        ) from exc
