"""Check that a client can write to an experiment's artifacts, before a training of hours starts."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlctl.adapters.system import local_servers
from mlctl.adapters.system.http import tracking_server_client
from mlctl.errors import RefusedError
from mlctl.machine import identity
from mlctl.settings import mask_passwords

TIMEOUT_S = 3.0


def require_artifact_access(
    tracking_uri: str, *, experiment: str, artifact_location: str, state_dir: Path
) -> None:
    """Raise RefusedError if artifacts that this machine writes would not reach the experiment's artifact location.

    An experiment that a local client created names a folder of that machine. Over HTTP, a client on another machine
    would write to a folder of the same name on its own disk, and nobody would find the artifacts.
    An experiment that a client of a server created names the server. A client that uses the database directly cannot
    send artifacts there.

    Args:
        tracking_uri: Tracking store of the run.
        experiment: Name of the experiment.
        artifact_location: The experiment's artifact location.
        state_dir: Folder with the state files of this machine's servers.
    """
    scheme = urlsplit(artifact_location).scheme
    is_http = tracking_uri.startswith(("http://", "https://"))
    if scheme == "mlflow-artifacts" and not is_http:
        raise RefusedError(
            f"experiment {experiment!r} keeps its artifacts behind a tracking server, "
            f"but {mask_passwords(tracking_uri)} bypasses the server",
            _server_hint(tracking_uri, state_dir),
        )
    if scheme not in {"", "file"} or not is_http:
        return
    folder = Path(unquote(urlsplit(artifact_location).path) if scheme else artifact_location)
    if (
        folder.is_absolute()
        and folder.parent.is_dir()
        and _machine_of_server(tracking_uri) in {identity(), None}
    ):
        return
    raise RefusedError(
        f"experiment {experiment!r} keeps its artifacts in {folder} on the server's machine, not behind the server; "
        "artifacts that this machine writes would be lost",
        "run mlctl server-up --adopt-artifacts on the server's machine, or choose another experiment: -e NAME",
    )


def _server_hint(tracking_uri: str, state_dir: Path) -> str:
    if servers := local_servers.running_servers(state_dir, tracking_uri):
        return f"run: export MLFLOW_TRACKING_URI={servers[0]['url']}"
    return "set MLFLOW_TRACKING_URI to the server's URL, or start the server: mlctl server-up"


def _machine_of_server(tracking_uri: str) -> str | None:
    """Return the identity of the machine of an mlctl server; None for a server that does not tell it."""
    readiness = tracking_server_client(tracking_uri, timeout_s=TIMEOUT_S).get_json("/ready")
    return readiness.get("machine") if readiness else None
