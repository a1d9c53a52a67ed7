"""Create, list and revoke access tokens of a tracking server with authentication."""

from __future__ import annotations

from datetime import UTC, datetime

from mlctl.adapters.tracking.server_users import ServerUsers
from mlctl.domain.users import AccessTokenInfo, AccessTokenList, ChangedUser, NewAccessToken


def create_token(
    tracking_uri: str, name: str, *, lifetime_s: float, username: str | None = None
) -> NewAccessToken:
    """Create a token of a user, or of the sender. Raises RefusedError if the name is taken."""
    answer = ServerUsers(tracking_uri).create_token(name, username, lifetime_s)
    return NewAccessToken(name, answer["username"], answer["token"])


def list_tokens(tracking_uri: str) -> AccessTokenList:
    """Return the sender's tokens, or those of all users for an administrator."""
    now = datetime.now(UTC).timestamp()
    return AccessTokenList(
        tuple(
            AccessTokenInfo(
                name=token["name"],
                username=token["username"],
                created=_date(token["created_at"]),
                expires=_date(token["expires_at"]),
                is_expired=token["expires_at"] <= now,
            )
            for token in ServerUsers(tracking_uri).tokens()
        )
    )


def revoke_token(tracking_uri: str, name: str) -> ChangedUser:
    """Revoke a token. Raises NotFoundError if there is none of this name."""
    ServerUsers(tracking_uri).revoke_token(name)
    return ChangedUser(name, ("revoked",))


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
