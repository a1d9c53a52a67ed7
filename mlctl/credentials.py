"""A client's user and password for each server, in a file that only its owner can read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import platformdirs

from mlctl.errors import ConfigurationError


def file() -> Path:
    """Return where they are kept."""
    return Path(platformdirs.user_config_dir("mlctl")) / "credentials.json"


def keep(url: str, username: str, password: str, ca_file: str | None) -> None:
    """Keep the credentials for a server, in place of what was kept for it."""
    known = _known()
    known[_server(url)] = {"username": username, "password": password, "ca_file": ca_file}
    whole = file()
    whole.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = whole.with_suffix(f".{os.getpid()}.part")
    with os.fdopen(os.open(part, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
        json.dump(known, out)
    part.replace(whole)


def use(tracking_uri: str) -> None:
    """Give MLflow's client what is kept for this server; what the environment says already counts more."""
    if not tracking_uri.startswith(("http://", "https://")) or not file().is_file():
        return
    kept = _known().get(_server(tracking_uri))
    if not kept:
        return
    if not {"MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_TOKEN"} & set(os.environ):
        os.environ["MLFLOW_TRACKING_USERNAME"] = kept["username"]
        os.environ["MLFLOW_TRACKING_PASSWORD"] = kept["password"]
    if kept.get("ca_file"):
        os.environ.setdefault("MLFLOW_TRACKING_SERVER_CERT_PATH", kept["ca_file"])


def of(url: str) -> tuple[str, str] | None:
    """Return the user and the password for one request to this server; None where there are none.

    What is kept for it counts; else what the environment says, unless that is what is kept for another server,
    for which `use` may have put it there.
    """
    known = {server: (one["username"], one["password"]) for server, one in _known().items()}
    if _server(url) in known:
        return known[_server(url)]
    said = os.environ.get("MLFLOW_TRACKING_USERNAME", ""), os.environ.get("MLFLOW_TRACKING_PASSWORD", "")
    return said if all(said) and said not in known.values() else None


def _known() -> dict[str, Any]:
    try:
        known = json.loads(file().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as exc:
        raise ConfigurationError(f"{file()} cannot be read", "delete it and say mlctl login again") from exc
    return known if isinstance(known, dict) else {}


def _server(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}".lower()
