"""Reverse proxies that the server trusts: they say which user, and which client's address, a request comes from."""

from __future__ import annotations

import ipaddress
import os
import secrets
import time
from collections.abc import Sequence
from typing import Any

from mlflow.exceptions import MlflowException
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from mlctl.tracking_server.health_middleware import Application, Receive, Scope, Send

BUILT_IN_USER = "admin"  # nobody becomes an administrator by choosing a name
MAX_NAME_LENGTH = 255
KNOWN_FOR_S = 5.0


class InvalidUserNameError(Exception):
    """A proxy names a user that cannot be one of the server's."""


class TrustedProxies:
    """Finds the user that a trusted proxy names, and creates users when they come for the first time.

    Args:
        addresses: Addresses and networks of the proxies.
        header: The header in which they send the name.
        store: MLflow's store of users.
    """

    def __init__(self, addresses: Sequence[str], header: str, store: Any) -> None:
        self._store = store
        self._networks = [ipaddress.ip_network(address, strict=False) for address in addresses]
        self._header = header.lower().encode()
        self._known: dict[str, float] = {}

    def user_of(self, scope: Scope) -> str | None:
        """Return the user that the proxy names; None if it names none, or if the request is not from a trusted proxy.

        Raises InvalidUserNameError.
        """
        if not self._networks or not self._trusts(scope.get("mlctl.peer")):
            return None
        names = [value for header, value in scope["headers"] if header == self._header and value.strip()]
        if not names:
            return None
        name: str = names[0].decode("latin-1").strip()
        usable = name.isascii() and name.isprintable() and len(name) <= MAX_NAME_LENGTH
        if len(names) > 1 or not usable or name.lower() == BUILT_IN_USER or name[0] == "@" or ":" in name:
            raise InvalidUserNameError(name)
        return name

    def ensure_user(self, name: str) -> None:
        """Create the user, with a random password and no permissions, if there is none of this name."""
        now = time.monotonic()
        if now - self._known.get(name, float("-inf")) < KNOWN_FOR_S:
            return
        if not self._store.has_user(name):
            try:
                self._store.create_user(name, secrets.token_urlsafe(32))
            except MlflowException:
                self._store.get_user(name)  # another worker has created the user at this moment
        self._known[name] = now

    def _trusts(self, peer: str | None) -> bool:
        if peer is None:
            return False
        address = ipaddress.ip_address(peer.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._networks)


def with_client_addresses(app: Application, addresses: Sequence[str]) -> Application:
    """Return the application with each client's own address, also behind proxies, and the sender's as `mlctl.peer`."""
    trusted = list(addresses) or os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1")
    forwarded = ProxyHeadersMiddleware(app, trusted_hosts=trusted)  # type: ignore[arg-type]

    async def remember_peer(scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        scope["mlctl.peer"] = client[0] if client else None
        await forwarded(scope, receive, send)  # type: ignore[arg-type]

    return remember_peer
