"""What an endpoint is to do, handed from `mlctl serve` to the process that does it, as one line of JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Serving:
    """The version that is served: `folder` holds its files on this machine."""

    name: str
    version: str
    uri: str
    folder: str


@dataclass(frozen=True)
class Spec:
    """An endpoint. Descriptors are inherited: `socket_fd` listens already, `ready_fd` is told of readiness.

    `follow` is a command that prints a line of JSON (a `Serving`) whenever another version is to be served;
    `scratch` is a folder of the endpoint's own. `state_file` notes the endpoint while it runs.
    """

    serving: Serving
    endpoint: str
    url: str
    socket_fd: int
    workers: int
    scratch: str
    log: str = ""
    state_file: str = ""
    ready_fd: int | None = None
    key_file: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    metrics: bool = True
    max_body: int = 10_000_000
    timeout_s: float = 30.0
    hosts: tuple[str, ...] | None = None
    follow: tuple[str, ...] = ()

    def line(self) -> bytes:
        """Return the spec as one line."""
        return json.dumps(asdict(self)).encode() + b"\n"


def read_spec(line: bytes | str) -> Spec:
    """Return the spec of a line."""
    fields = json.loads(line)
    fields["serving"] = Serving(**fields["serving"])
    fields["hosts"] = None if fields["hosts"] is None else tuple(fields["hosts"])
    fields["follow"] = tuple(fields["follow"])
    return Spec(**fields)
