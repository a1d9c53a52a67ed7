"""The user name and password for each tracking server, in a file that only its owner can read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import platformdirs

from mlctl.errors import ConfigurationError
from mlctl.files import write_atomically


def path() -> Path:
    """Return the credentials file."""
    return Path(platformdirs.user_config_dir("mlctl")) / "credentials.json"


def save(url: str, username: str, password: str, ca_file: str | None) -> None:
    """Save the credentials for a server; replace earlier ones."""
    credentials = _load()
    credentials[_server(url)] = {"username": username, "password": password, "ca_file": ca_file}
    path().parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomically(path(), json.dumps(credentials).encode(), durable=False, mode=0o600)


def replace(url: str, old: tuple[str, str], password: str) -> bool:
    """Store a user's new password where the old one is stored; return whether it was."""
    entry = _load().get(_server(url))
    if not entry or (entry["username"], entry["password"]) != old:
        return False
    save(url, old[0], password, entry.get("ca_file"))
    return True


def apply_to_environment(tracking_uri: str) -> None:
    """Set the environment variables of MLflow's client from the saved credentials for this server.

    Variables that are set already stay.
    """
    if not tracking_uri.startswith(("http://", "https://")) or not path().is_file():
        return
    saved = _load().get(_server(tracking_uri))
    if not saved:
        return
    if not {"MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_TOKEN"} & set(os.environ):
        os.environ["MLFLOW_TRACKING_USERNAME"] = saved["username"]
        os.environ["MLFLOW_TRACKING_PASSWORD"] = saved["password"]
    if saved.get("ca_file"):
        os.environ.setdefault("MLFLOW_TRACKING_SERVER_CERT_PATH", saved["ca_file"])


def find(url: str) -> tuple[str, str] | None:
    """Return (user name, password) for requests to a server; None if there are none.

    The saved credentials win over the environment. The environment does not count if it holds the saved credentials
    of another server, because `apply_to_environment` may have set them.
    """
    saved = {server: (entry["username"], entry["password"]) for server, entry in _load().items()}
    if _server(url) in saved:
        return saved[_server(url)]
    username = os.environ.get("MLFLOW_TRACKING_USERNAME", "")
    password = os.environ.get("MLFLOW_TRACKING_PASSWORD", "")
    is_usable = username and password and (username, password) not in saved.values()
    return (username, password) if is_usable else None


def _load() -> dict[str, Any]:
    try:
        content = json.loads(path().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as exc:
        raise ConfigurationError(f"cannot read {path()}", "delete it, then run mlctl login again") from exc
    return content if isinstance(content, dict) else {}


def _server(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}".lower()
