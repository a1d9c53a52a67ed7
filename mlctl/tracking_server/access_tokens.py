"""Access tokens of users, for programs such as CI: they expire, and they can be revoked one by one.

The database holds only their SHA-256, in a table of mlctl's own beside MLflow's tables.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy
from sqlalchemy import Column, Float, MetaData, String, Table

TOKEN_PREFIX = "mlt_"  # noqa: S105  # a prefix
CHECK_INTERVAL_S = 0.5  # a revoked token is refused after at most this time
MAX_REMEMBERED = 1000
TABLE = Table(
    "mlctl_access_tokens",
    MetaData(),
    Column("name", String(64), primary_key=True),
    Column("username", String(255), nullable=False, index=True),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
)


@dataclass(frozen=True)
class AccessToken:
    """A token without its secret; the times are seconds since 1970."""

    name: str
    username: str
    created_at: float
    expires_at: float


class TokenExistsError(Exception):
    """There is a token of this name."""


def create_table(engine: Any) -> None:
    """Create the table if it is missing; two processes must not do so at the same time."""
    TABLE.metadata.create_all(engine)


class AccessTokens:
    """The tokens in a database."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._found: dict[str, tuple[float, AccessToken | None]] = {}

    def create(self, name: str, username: str, lifetime_s: float) -> str:
        """Create a token and return its secret. Raises TokenExistsError if the name is taken."""
        secret = TOKEN_PREFIX + secrets.token_urlsafe(32)
        now = time.time()
        times = {"created_at": now, "expires_at": now + lifetime_s}
        row = {"name": name, "username": username, "sha256": _digest(secret), **times}
        try:
            with self._engine.begin() as connection:
                connection.execute(TABLE.insert().values(row))
        except sqlalchemy.exc.IntegrityError:
            raise TokenExistsError(name) from None
        return secret

    def list(self, username: str | None = None) -> list[AccessToken]:
        """Return the tokens of a user, or of all users, also those that have expired."""
        query = TABLE.select().order_by(TABLE.c.name)
        if username is not None:
            query = query.where(TABLE.c.username == username)
        with self._engine.connect() as connection:
            return [_to_token(row) for row in connection.execute(query).mappings()]

    def revoke(self, name: str) -> None:
        """Delete a token."""
        with self._engine.begin() as connection:
            connection.execute(TABLE.delete().where(TABLE.c.name == name))

    def revoke_all(self, username: str) -> None:
        """Delete the tokens of a user."""
        with self._engine.begin() as connection:
            connection.execute(TABLE.delete().where(TABLE.c.username == username))

    def find(self, secret: str) -> AccessToken | None:
        """Return the token with this secret; None if there is none, or if it has expired."""
        digest = _digest(secret)
        checked_at, token = self._found.get(digest, (float("-inf"), None))
        if time.monotonic() - checked_at > CHECK_INTERVAL_S:
            with self._engine.connect() as connection:
                row = connection.execute(TABLE.select().where(TABLE.c.sha256 == digest)).mappings().first()
            token = _to_token(row) if row else None
            if len(self._found) > MAX_REMEMBERED:
                self._found.clear()
            self._found[digest] = time.monotonic(), token
        return token if token and token.expires_at > time.time() else None


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _to_token(row: Mapping[str, Any]) -> AccessToken:
    return AccessToken(row["name"], row["username"], row["created_at"], row["expires_at"])
