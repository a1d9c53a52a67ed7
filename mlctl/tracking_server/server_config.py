"""What the server's process is told when it begins."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

CANNOT_LISTEN = "cannot listen on"  # how the log tells that the port is another program's


@dataclass(frozen=True)
class ServerConfig:
    """One server, completely described.

    `backend_uri` never holds a password: libpq finds it in `secrets`, which become environment variables of
    the running process only (the environment that other processes can read stays as it was at the start).
    `socket_fd` is an inherited socket; without one the process binds `host` and `port` itself.
    `artifact_root` is what a new experiment's location begins with; `artifacts_destination` is where the
    server keeps what clients send it, None where clients write to `artifact_root` themselves. `note` is the
    file to delete at the end, `told` the one in which server-down leaves how long requests in flight may take.
    """

    name: str
    instance: str
    host: str
    port: int
    backend_uri: str
    artifact_root: str
    artifacts_destination: str | None
    workers: int = 4
    socket_fd: int | None = None
    auth_config: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    metrics_dir: str | None = None
    supervise: bool = False
    upgrade: bool = False
    dies_with_parent: bool = False
    note: str | None = None
    told: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    def to_json(self) -> bytes:
        """Return the line that the process reads."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_json(cls, line: bytes) -> ServerConfig:
        """Return the plan that such a line holds; raises ValueError or TypeError where it holds none."""
        return cls(**json.loads(line))

    def changed(self, **values: object) -> ServerConfig:
        """Return this plan with some values replaced."""
        return replace(self, **values)  # type: ignore[arg-type]  # checked by the dataclass's own fields
