"""The endpoint inside a container: `python -m mlctl.serving.container`, configured by environment variables.

MLCTL_MODEL          folder of the model (default /model)
MLCTL_MODEL_NAME     name of the model (default "model")
MLCTL_MODEL_VERSION  its version
MLCTL_HOST           address to listen on (default 0.0.0.0)
MLCTL_PORT           port to listen on (default 8000)
MLCTL_WORKERS        number of worker processes (default 1)
MLCTL_CORS           origins whose web pages may use the endpoint, separated by blanks
MLCTL_API_KEY_FILE   API key file; without it, MLCTL_INSECURE=1 must confirm that every client may connect
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import tempfile
from pathlib import Path

from mlctl.serving.endpoint_spec import EndpointSpec, ServedVersion
from mlctl.serving.keys import parse_keys
from mlctl.serving.supervision.events import log_event
from mlctl.serving.supervisor import run_endpoint


def main() -> int:
    """Serve until SIGTERM; return the exit code."""
    variable = os.environ.get
    key_file = variable("MLCTL_API_KEY_FILE")
    if not key_file and variable("MLCTL_INSECURE") != "1":
        log_event(
            "error: no API keys are configured; set MLCTL_API_KEY_FILE, or MLCTL_INSECURE=1 to let every client in"
        )
        return 4
    if key_file:
        try:
            parse_keys(Path(key_file).read_text(encoding="utf-8"))
        except (OSError, ValueError) as exc:
            log_event(f"error: the API key file cannot be read: {exc}")
            return 5
    folder = variable("MLCTL_MODEL", "/model")
    port = int(variable("MLCTL_PORT", "8000"))
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((variable("MLCTL_HOST", "0.0.0.0"), port))  # noqa: S104 - a container has its own network
    listener.listen(2048)
    name = variable("MLCTL_MODEL_NAME", "model")
    spec = EndpointSpec(
        serving=ServedVersion(
            name=name, version=variable("MLCTL_MODEL_VERSION", ""), uri=folder, folder=folder
        ),
        endpoint=name,
        url=f"http://0.0.0.0:{port}",
        socket_fd=listener.fileno(),
        workers=int(variable("MLCTL_WORKERS", "1")),
        scratch=tempfile.mkdtemp(prefix="mlctl-endpoint-"),
        key_file=key_file,
        cors=tuple(variable("MLCTL_CORS", "").split()),
    )
    return asyncio.run(run_endpoint(spec))


if __name__ == "__main__":
    sys.exit(main())
