"""The audit log of a tracking server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class AuditEntry:
    """A request that changed something, or that was refused.

    Attributes:
        at: When, as an ISO date and time in UTC.
        user: Whose password the server has checked; None on a server without --auth.
        source: Address of the client.
        path: What was asked for, such as runs/create.
        what: The names and ids in the request.
        status: The HTTP status of the answer.
        token: Name of the access token that was used instead of a password.
        via: Address of the proxy that named the client's.
    """

    at: str
    user: str | None
    source: str | None
    method: str
    path: str
    what: Mapping[str, Any]
    status: int
    token: str | None = None
    via: str | None = None


@dataclass(frozen=True)
class AuditEntries:
    """Entries of a server's audit log, the newest last."""

    server: str
    entries: tuple[AuditEntry, ...]
