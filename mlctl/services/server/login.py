"""Check a user's password against a server, and store it."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from mlctl import credentials
from mlctl.adapters.system.http import CertificateError, HttpClient, HttpError
from mlctl.domain.server import Login
from mlctl.errors import BadDataError, ConfigurationError, NotFoundError, UnreachableError, UsageError

TIMEOUT_S = 10.0
INVALID_HOST = "Invalid Host header"  # begins MLflow's answer to a host name that is not allowed


def login(url: str, username: str, password: str, *, ca_file: Path | None = None) -> Login:
    """Store credentials if the server accepts them; raises ConfigurationError if not, or UnreachableError."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageError(f"{url!r} is not a server's address", "write https://HOST")
    if parts.username or parts.password:
        raise UsageError(
            "the address holds a password",
            "leave the password out: mlctl asks for it, or reads it from --password-file",
        )
    if ca_file and not ca_file.is_file():
        raise NotFoundError(
            f"there is no file {ca_file}", "name the server's certificate, or that of its authority"
        )
    if not password:
        raise BadDataError("the password is empty", "type it, or name a file: --password-file FILE")
    _check_credentials(url.rstrip("/"), username, password, ca_file=ca_file)
    credentials.save(url, username, password, str(ca_file.resolve()) if ca_file else None)
    return Login(url, username, str(credentials.path()))


def _check_credentials(url: str, username: str, password: str, *, ca_file: Path | None) -> None:
    client = HttpClient(
        url, timeout_s=TIMEOUT_S, verify=str(ca_file) if ca_file else True, user=(username, password)
    )
    try:
        answer = client.request("POST", "/api/2.0/mlflow/experiments/search", json={"max_results": 1})
    except CertificateError as exc:
        raise ConfigurationError(
            f"the certificate of {url} is not trusted",
            "name the server's certificate, or that of its authority: --ca-cert PEM",
        ) from exc
    except HttpError as exc:
        raise UnreachableError(
            f"{url} does not answer", "check the address, and that the server runs"
        ) from exc
    if answer.status_code == 403 and answer.text.startswith(INVALID_HOST):
        host = urlsplit(url).hostname
        raise ConfigurationError(
            f"the server at {url} does not accept the host name {host}",
            f"start the server with: mlctl server-up --allowed-host {host}",
        )
    if answer.status_code in {401, 403}:
        raise ConfigurationError(f"{url} does not accept this user and password", "check both, and try again")
    if answer.status_code >= 300:
        raise UnreachableError(
            f"{url} answered {answer.status_code}: is it a tracking server?", "check the address"
        )
    try:
        answer.json()
    except ValueError as exc:
        raise UnreachableError(f"{url} is not a tracking server", "check the address") from exc
