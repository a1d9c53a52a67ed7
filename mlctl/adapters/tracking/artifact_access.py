"""Whether a client can write where an experiment keeps its artifacts, before it trains for an hour."""

from __future__ import annotations

import contextlib
import json
import ssl
import urllib.request
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlctl.adapters.system import local_servers
from mlctl.errors import RefusedError
from mlctl.machine import identity
from mlctl.settings import masked

ANSWER_WITHIN_S = 3.0


def demand_reachable(tracking_uri: str, experiment: str, location: str, state_dir: Path) -> None:
    """Return where artifacts written by this machine end up where the experiment keeps them.

    An experiment that a local client made names a folder of its machine; over HTTP, a client elsewhere would
    write to a folder of that name on its own disk, and nobody would ever see it. An experiment that a client
    of a server made names the server, which a client of the database alone does not ask, so that nothing could
    be sent. Raises RefusedError for both; `state_dir` is where this machine's servers are noted.
    """
    scheme = urlsplit(location).scheme
    local, over_http = scheme in {"", "file"}, tracking_uri.startswith(("http://", "https://"))
    if scheme == "mlflow-artifacts" and not over_http:
        raise RefusedError(
            f"experiment {experiment!r} keeps its artifacts behind a server, which {masked(tracking_uri)} goes past",
            _way_to_server(tracking_uri, state_dir),
        )
    if not local or not over_http:
        return
    folder = Path(unquote(urlsplit(location).path) if scheme else location)
    server = _machine_of(tracking_uri)
    if folder.is_absolute() and folder.parent.is_dir() and server in {identity(), None}:
        return
    raise RefusedError(
        f"experiment {experiment!r} keeps its artifacts in {folder} of the server's machine, not behind the server: "
        "what this machine wrote would be lost",
        "on the server's machine: mlctl server-up --adopt-artifacts; or name another experiment: -e NAME",
    )


def _way_to_server(tracking_uri: str, state_dir: Path) -> str:
    here = [note["url"] for note in local_servers.live_on(state_dir, tracking_uri)]
    if here:
        return f"export MLFLOW_TRACKING_URI={here[0]}"
    return "export MLFLOW_TRACKING_URI=http://… of that server, or start it: mlctl server-up"


def _machine_of(tracking_uri: str) -> str | None:
    """Return which machine a server of ours runs on; None for one that does not say."""
    context = ssl.create_default_context()
    context.check_hostname = False  # nothing secret is sent, and a wrong answer only refuses
    context.verify_mode = ssl.CERT_NONE
    with contextlib.suppress(OSError, ValueError):
        url = tracking_uri.rstrip("/") + "/ready"
        with urllib.request.urlopen(url, timeout=ANSWER_WITHIN_S, context=context) as reply:  # noqa: S310
            said = json.load(reply)
            return said.get("machine") if isinstance(said, dict) else None
    return None
