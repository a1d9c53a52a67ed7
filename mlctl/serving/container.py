"""The endpoint inside a container: `python -m mlctl.serving.container`, told by environment variables.

MLCTL_MODEL          the model's folder (/model)
MLCTL_MODEL_NAME     what it is called, and MLCTL_MODEL_VERSION
MLCTL_PORT           8000
MLCTL_WORKERS        1
MLCTL_API_KEY_FILE   the keys that are asked for; without it MLCTL_INSECURE=1 must say that everybody may ask
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import tempfile
from pathlib import Path

from mlctl.serving.endpoint_spec import Serving, Spec
from mlctl.serving.keys import parse
from mlctl.serving.supervisor import Endpoint, say


def main() -> int:
    """Serve until SIGTERM; return the exit code."""
    told = os.environ.get
    key_file = told("MLCTL_API_KEY_FILE")
    if not key_file and told("MLCTL_INSECURE") != "1":
        say("error: no key is asked for; set MLCTL_API_KEY_FILE, or MLCTL_INSECURE=1 to let everybody in")
        return 4
    if key_file:
        try:
            parse(Path(key_file).read_text(encoding="utf-8"))
        except (OSError, ValueError) as exc:
            say(f"error: the key file cannot be read: {exc}")
            return 5
    folder = told("MLCTL_MODEL", "/model")
    port = int(told("MLCTL_PORT", "8000"))
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((told("MLCTL_HOST", "0.0.0.0"), port))  # noqa: S104 - a container's own network
    listener.listen(2048)
    name = told("MLCTL_MODEL_NAME", "model")
    spec = Spec(
        serving=Serving(name, told("MLCTL_MODEL_VERSION", ""), folder, folder),
        endpoint=name,
        url=f"http://0.0.0.0:{port}",
        socket_fd=listener.fileno(),
        workers=int(told("MLCTL_WORKERS", "1")),
        scratch=tempfile.mkdtemp(prefix="mlctl-endpoint-"),
        key_file=key_file,
    )
    return asyncio.run(_run(spec))


async def _run(spec: Spec) -> int:
    return await Endpoint(spec).run()


if __name__ == "__main__":
    sys.exit(main())
