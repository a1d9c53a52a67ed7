"""List and change users, groups and permissions of a tracking server with authentication.

A group is a role of MLflow. MLflow keeps a user's own permissions in a role too, whose name begins with "__user_".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlctl import credentials
from mlctl.adapters.tracking.server_users import PERMISSIONS, RESOURCE_TYPES, ServerUsers
from mlctl.domain.users import ChangedUser, Grant, UserAccount, UserGroup, UserList
from mlctl.errors import BadDataError, NotFoundError, UsageError, did_you_mean

OWN_ROLE_PREFIX = "__user_"
ADMIN = "admin"
GROUP_MARK = "@"


def list_users(tracking_uri: str) -> UserList:
    """Return all users and groups with their permissions."""
    server = ServerUsers(tracking_uri)
    experiments, users, roles = server.experiment_names(), server.users(), server.roles()
    accounts = [
        UserAccount(
            name=user["username"],
            is_admin=user["is_admin"],
            groups=tuple(sorted(role["name"] for role in user["roles"] if _is_group(role))),
            grants=tuple(
                grant
                for role in user["roles"]
                if not _is_group(role)
                for grant in _grants_of(role, experiments)
            ),
        )
        for user in users
    ]
    groups = [
        UserGroup(
            name=role["name"],
            members=tuple(account.name for account in accounts if role["name"] in account.groups),
            grants=_grants_of(role, experiments),
        )
        for role in roles
        if _is_group(role)
    ]
    return UserList(
        tuple(sorted(accounts, key=lambda account: account.name)),
        tuple(sorted(groups, key=lambda group: group.name)),
    )


def add_user(tracking_uri: str, name: str, password: str, *, is_admin: bool = False) -> ChangedUser:
    """Create a user. Raises RefusedError if there is one of this name, BadDataError if the password is too short."""
    if name.startswith(GROUP_MARK) or not name.strip() or ":" in name:
        raise UsageError(f"invalid user name {name!r}", "it must not begin with @, and not contain a colon")
    server = ServerUsers(tracking_uri)
    _require_password(password)
    server.create_user(name, password)
    if is_admin:
        server.set_admin(name, is_admin=True)
    return ChangedUser(name, ("added as an administrator" if is_admin else "added",))


def change_password(tracking_uri: str, name: str, password: str) -> ChangedUser:
    """Change a user's password, or the sender's own, which is then also changed where mlctl login stored it."""
    server = ServerUsers(tracking_uri)
    _require_password(password)
    old = server.credentials
    server.set_password(name, password)
    is_stored = old is not None and old[0] == name and credentials.replace(tracking_uri, old, password)
    return ChangedUser(name, ("password changed", *(["and stored for this machine"] if is_stored else [])))


def delete(tracking_uri: str, name: str) -> ChangedUser:
    """Delete a user, or a group (@NAME), with all permissions."""
    server = ServerUsers(tracking_uri)
    if name.startswith(GROUP_MARK):
        server.delete_role(_group(server, name))
    else:
        server.delete_user(name)
    return ChangedUser(name, ("deleted",))


def grant(
    tracking_uri: str, name: str, what: str, *, experiments: Sequence[str] = (), models: Sequence[str] = ()
) -> ChangedUser:
    """Give a user or a group (@NAME) a permission, or a user the membership of a group or an administrator's rights.

    A group that does not exist is created with its first permission.
    """
    server = ServerUsers(tracking_uri)
    if _changes_user_only(what, name, experiments, models):
        if what == ADMIN:
            server.set_admin(name, is_admin=True)
            return ChangedUser(name, ("is an administrator",))
        server.assign_role(_group(server, what), name)
        return ChangedUser(name, (f"is a member of {what}",))
    if what not in PERMISSIONS:
        raise UsageError(
            f"there is no permission {what!r}",
            did_you_mean(what, PERMISSIONS) or f"choose {', '.join(PERMISSIONS)}, admin or @GROUP",
        )
    grants = _targets(what, experiments, models)
    if name.startswith(GROUP_MARK):
        role = _group(server, name, create=True)
        for one in grants:
            server.grant_role(role, one)
    else:
        for one in grants:
            server.grant(name, one)
    return ChangedUser(name, tuple(f"may {one}" for one in grants))


def revoke(
    tracking_uri: str,
    name: str,
    what: str = "",
    *,
    experiments: Sequence[str] = (),
    models: Sequence[str] = (),
) -> ChangedUser:
    """Take back what `grant` gave."""
    server = ServerUsers(tracking_uri)
    if what and _changes_user_only(what, name, experiments, models):
        if what == ADMIN:
            server.set_admin(name, is_admin=False)
            return ChangedUser(name, ("is no administrator",))
        server.unassign_role(_group(server, what), name)
        return ChangedUser(name, (f"is no member of {what}",))
    grants = _targets("", experiments, models)
    if name.startswith(GROUP_MARK):
        role = _group(server, name)
        for one in grants:
            server.revoke_role(role, one)
    else:
        for one in grants:
            server.revoke(name, one)
    return ChangedUser(name, tuple(f"has no permission of its own for {one}" for one in grants))


def _changes_user_only(what: str, name: str, experiments: Sequence[str], models: Sequence[str]) -> bool:
    """Return whether it is about a membership or administrators. Raises UsageError if more was typed."""
    if what != ADMIN and not what.startswith(GROUP_MARK):
        return False
    if experiments or models:
        raise UsageError(f"{what} is for no single experiment or model", "leave --experiment and --model out")
    if name.startswith(GROUP_MARK):
        raise UsageError(f"{name} is a group, which cannot be {what}", "name a user")
    return True


def _targets(permission: str, experiments: Sequence[str], models: Sequence[str]) -> list[Grant]:
    grants = [Grant("experiment", name, permission) for name in experiments]
    grants += [Grant("model", name, permission) for name in models]
    if not grants:
        raise UsageError(
            "for which experiment or model?", "add --experiment NAME or --model NAME ('*' is every one)"
        )
    return grants


def _group(server: ServerUsers, marked_name: str, *, create: bool = False) -> dict[str, Any]:
    """Return the role of a group. Raises NotFoundError if there is none."""
    name = marked_name.removeprefix(GROUP_MARK)
    groups = {role["name"]: role for role in server.roles() if _is_group(role)}
    if name in groups:
        return dict(groups[name])
    if create:
        return server.create_role(name)
    raise NotFoundError(
        f"there is no group {marked_name}",
        did_you_mean(marked_name, [GROUP_MARK + group for group in groups])
        or f"create it with its first permission: mlctl users grant {marked_name} read --experiment NAME",
    )


def _is_group(role: Mapping[str, Any]) -> bool:
    return not str(role["name"]).startswith(OWN_ROLE_PREFIX)


def _grants_of(role: Mapping[str, Any], experiments: Mapping[str, str]) -> tuple[Grant, ...]:
    kinds = {resource_type: kind for kind, resource_type in RESOURCE_TYPES.items()}
    permissions = {stored: typed for typed, stored in PERMISSIONS.items()}
    grants = []
    for row in role["permissions"]:
        kind = kinds.get(row["resource_type"], row["resource_type"])
        name = row["resource_pattern"]
        name = experiments.get(name, name) if kind == "experiment" else name
        grants.append(Grant(kind, name, permissions.get(row["permission"], row["permission"].lower())))
    return tuple(sorted(grants, key=lambda grant: (grant.kind, grant.name)))


def _require_password(password: str) -> None:
    if not password:
        raise BadDataError("the password is empty", "type it, or name a file: --password-file FILE")
