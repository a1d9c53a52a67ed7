"""The configuration that the server's process reads when it starts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from mlctl.notifications import SERVER_DOWN, NotifyTarget, notify

CANNOT_LISTEN = "cannot listen on"  # begins the log line for a port that another program uses
# an older supervisor sends and reads these keys
_JSON_KEYS = {"state_file": "told", "deleted_at_exit": "note"}


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """The complete description of one server.

    Attributes:
        backend_uri: The database, always without a password. libpq finds the password in `secrets`.
        artifact_root: The location of a new experiment begins with this.
        artifacts_destination: Where the server stores what clients upload; None if clients write to
            `artifact_root` themselves.
        socket_fd: An inherited socket. Without one the process binds `host` and `port` itself.
        audit_log: The file that gets an entry for each write.
        audit_to_stdout: Whether stdout gets the entries, too, because a container's files end with it.
        trusted_proxies: Addresses and networks of proxies whose `user_header` names the user.
        state_file: The server's state file, into which server-down writes how long requests in flight may take.
        static_prefix: Path below which the server is reached, such as /mlflow.
        notify: Who is told when the server goes down, as `NotifyTarget.from_json` takes it.
        deleted_at_exit: The state file, for the one process that deletes it when it ends.
        secrets: Environment variables of the running process only. The environment that other processes can read
            stays as it was at the start.
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
    audit_log: str | None = None
    audit_to_stdout: bool = False
    trusted_proxies: Sequence[str] = ()
    user_header: str = ""
    supervise: bool = False
    upgrade: bool = False
    dies_with_parent: bool = False
    state_file: str | None = None
    deleted_at_exit: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    static_prefix: str = ""
    notify: Mapping[str, Any] | None = field(default=None, repr=False)

    def to_json(self) -> bytes:
        """Return the line that the process reads."""
        values = {_JSON_KEYS.get(name, name): value for name, value in asdict(self).items()}
        return json.dumps(values).encode() + b"\n"

    @classmethod
    def from_json(cls, line: bytes) -> ServerConfig:
        """Return the configuration in a line; raises ValueError or TypeError if there is none."""
        names = {key: name for name, key in _JSON_KEYS.items()}
        return cls(**{names.get(key, key): value for key, value in json.loads(line).items()})

    def notify_target(self) -> NotifyTarget | None:
        """Return who is told about this server and its runs; the secrets of this process stay in it."""
        target = NotifyTarget.from_json(self.notify)
        return replace(target, hidden_variables=tuple(self.secrets)) if target else None

    def tell_down(self, reason: str) -> None:
        """Tell about the end of the server."""
        notify(
            self.notify_target(),
            SERVER_DOWN,
            f"the tracking server {self.name} on port {self.port} is down: {reason}",
            {"server": self.name, "port": self.port, "reason": reason},
        )

    def delete_state_file(self) -> None:
        """Delete the state file if this process is the one that does so."""
        if self.deleted_at_exit:
            Path(self.deleted_at_exit).unlink(missing_ok=True)
