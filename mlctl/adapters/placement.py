"""Whether a client can write where an experiment keeps its artifacts, before it trains for an hour."""

from __future__ import annotations

import contextlib
import json
import ssl
import urllib.request
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlctl.errors import RefusedError
from mlctl.machine import identity

ANSWER_WITHIN_S = 3.0


def demand_reachable(tracking_uri: str, experiment: str, location: str) -> None:
    """Return where artifacts written by this machine end up where the experiment keeps them.

    An experiment that a local client made names a folder of its machine; over HTTP, a client elsewhere would
    write to a folder of that name on its own disk, and nobody would ever see it. Raises RefusedError then.
    """
    scheme = urlsplit(location).scheme
    local = scheme in {"", "file"}
    if not local or not tracking_uri.startswith(("http://", "https://")):
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
