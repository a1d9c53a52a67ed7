"""Users, groups and permissions of a tracking server with authentication."""

from __future__ import annotations

from dataclasses import dataclass, field

ALL = "*"  # every experiment or model


@dataclass(frozen=True)
class Grant:
    """What somebody may do with an experiment or a model: `kind` says which, and `name` is ALL for every one."""

    kind: str
    name: str
    permission: str

    def __str__(self) -> str:
        """The grant in words."""
        target = f"every {self.kind}" if self.name == ALL else f"{self.kind} {self.name}"
        return f"{self.permission} {target}".strip()


@dataclass(frozen=True, kw_only=True)
class UserAccount:
    """A user of the server, with the groups and the permissions of the user alone."""

    name: str
    is_admin: bool
    groups: tuple[str, ...] = ()
    grants: tuple[Grant, ...] = ()


@dataclass(frozen=True, kw_only=True)
class UserGroup:
    """Permissions that all of its members have. MLflow calls it a role."""

    name: str
    members: tuple[str, ...] = ()
    grants: tuple[Grant, ...] = ()


@dataclass(frozen=True)
class UserList:
    """All users and groups of a server."""

    users: tuple[UserAccount, ...]
    groups: tuple[UserGroup, ...]


@dataclass(frozen=True)
class ChangedUser:
    """What was changed for a user or a group, each change in words."""

    name: str
    changes: tuple[str, ...]


@dataclass(frozen=True)
class NewAccessToken:
    """An access token that was created just now; its secret is shown only once."""

    name: str
    username: str
    secret: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class AccessTokenInfo:
    """An access token without its secret; the dates are ISO dates in UTC."""

    name: str
    username: str
    created: str
    expires: str
    is_expired: bool


@dataclass(frozen=True)
class AccessTokenList:
    """The access tokens of a user, or those of all users."""

    tokens: tuple[AccessTokenInfo, ...]
