"""Users, groups and permissions of a tracking server, over MLflow's REST API for them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mlctl.adapters.system.http import HttpError
from mlctl.adapters.tracking.clients.entities import StoreError
from mlctl.adapters.tracking.clients.rest_requests import RestRequests, find_credentials
from mlctl.adapters.tracking.health import unreachable_error
from mlctl.domain.users import ALL, Grant
from mlctl.errors import BadDataError, ConfigurationError, NotFoundError, RefusedError, UsageError

V2, V3 = "/api/2.0/mlflow/", "/api/3.0/mlflow/"
TOKENS = "/mlctl/tokens"
DEFAULT_WORKSPACE = "default"
RESOURCE_TYPES = {"experiment": "experiment", "model": "registered_model"}
PERMISSIONS = {"none": "DENY", "read": "READ", "edit": "EDIT", "manage": "MANAGE"}
Json = dict[str, Any]


class ServerUsers:
    """The users of one server; each method raises RefusedError if the sender may not do it."""

    def __init__(self, tracking_uri: str) -> None:
        if not tracking_uri.startswith(("http://", "https://")):
            raise UsageError(
                "the tracking store is not a server, so it has no users",
                "name a server that was started with --auth: --tracking-uri http://HOST:PORT",
            )
        self.tracking_uri = tracking_uri
        self._requests = RestRequests(tracking_uri, lambda: None)

    @property
    def credentials(self) -> tuple[str, str] | None:
        """The user name and password that requests are sent with."""
        return find_credentials(None, None)[0]

    def users(self) -> list[Json]:
        """Return all users with their roles."""
        return list(self._send("GET", V2 + "users/list")["users"])

    def roles(self) -> list[Json]:
        """Return all roles with their permissions."""
        return list(self._send("GET", V3 + "roles/list")["roles"])

    def experiment_names(self) -> dict[str, str]:
        """Return the name of each experiment by its id."""
        names: dict[str, str] = {}
        query: Json = {"max_results": 1000, "view_type": "ALL"}
        while True:
            page = self._send("POST", V2 + "experiments/search", writes=False, json=query)
            names |= {found["experiment_id"]: found["name"] for found in page.get("experiments", [])}
            if not page.get("next_page_token"):
                return names
            query["page_token"] = page["next_page_token"]

    def create_user(self, name: str, password: str) -> None:
        """Create a user."""
        self._send("POST", V2 + "users/create", json={"username": name, "password": password})

    def set_password(self, name: str, password: str) -> None:
        """Change a password; the server wants to have the sender's own old one, too."""
        body = {"username": name, "password": password}
        if self.credentials and self.credentials[0] == name:
            body["current_password"] = self.credentials[1]
        self._send("PATCH", V2 + "users/update-password", json=body)

    def set_admin(self, name: str, *, is_admin: bool) -> None:
        """Make a user an administrator, or not."""
        self._send("PATCH", V2 + "users/update-admin", json={"username": name, "is_admin": is_admin})

    def delete_user(self, name: str) -> None:
        """Delete a user with their permissions."""
        self._send("DELETE", V2 + "users/delete", json={"username": name})

    def grant(self, name: str, grant: Grant) -> None:
        """Grant a user a permission; it replaces an earlier one for the same experiment or model."""
        target = {"username": name, **self._resource(grant, "resource_id")}
        body = {**target, "permission": PERMISSIONS[grant.permission]}
        try:
            self._send("POST", V3 + "users/permissions/grant", json=body)
        except RefusedError as exc:
            if getattr(exc.__cause__, "error_code", "") != "RESOURCE_ALREADY_EXISTS":
                raise
            self._send("POST", V3 + "users/permissions/revoke", json=target)
            self._send("POST", V3 + "users/permissions/grant", json=body)

    def revoke(self, name: str, grant: Grant) -> None:
        """Take back a permission of a user. Raises NotFoundError if the user has none of their own."""
        target = {"username": name, **self._resource(grant, "resource_id")}
        self._send("POST", V3 + "users/permissions/revoke", json=target)

    def create_role(self, name: str) -> Json:
        """Create a role without permissions."""
        body = {"name": name, "workspace": os.environ.get("MLFLOW_WORKSPACE") or DEFAULT_WORKSPACE}
        return dict(self._send("POST", V3 + "roles/create", json=body)["role"])

    def delete_role(self, role: Json) -> None:
        """Delete a role; its members stay."""
        self._send("DELETE", V3 + "roles/delete", json={"role_id": role["id"]})

    def assign_role(self, role: Json, username: str) -> None:
        """Add a user to a role."""
        self._send("POST", V3 + "roles/assign", json={"role_id": role["id"], "username": username})

    def unassign_role(self, role: Json, username: str) -> None:
        """Remove a user from a role."""
        self._send("DELETE", V3 + "roles/unassign", json={"role_id": role["id"], "username": username})

    def grant_role(self, role: Json, grant: Grant) -> None:
        """Grant a role a permission; it replaces an earlier one for the same experiment or model."""
        permission = PERMISSIONS[grant.permission]
        if existing := self._role_permission(role, grant):
            body = {"role_permission_id": existing["id"], "permission": permission}
            self._send("PATCH", V3 + "roles/permissions/update", json=body)
            return
        body = {"role_id": role["id"], "permission": permission, **self._resource(grant, "resource_pattern")}
        self._send("POST", V3 + "roles/permissions/add", json=body)

    def revoke_role(self, role: Json, grant: Grant) -> None:
        """Take back a permission of a role. Raises NotFoundError if it has none."""
        existing = self._role_permission(role, grant)
        if not existing:
            raise NotFoundError(
                f"@{role['name']} has no permission for {grant.kind} {grant.name}", "see: mlctl users list"
            )
        self._send("DELETE", V3 + "roles/permissions/remove", json={"role_permission_id": existing["id"]})

    def tokens(self) -> list[Json]:
        """Return the sender's access tokens, or those of all users for an administrator."""
        return list(self._send("GET", TOKENS)["tokens"])

    def create_token(self, name: str, username: str | None, lifetime_s: float) -> Json:
        """Create an access token of a user, or of the sender; the answer has the secret as `token`."""
        body = {"name": name, "username": username, "lifetime_s": lifetime_s}
        return dict(self._send("POST", TOKENS, json=body))

    def revoke_token(self, name: str) -> None:
        """Revoke an access token."""
        self._send("DELETE", TOKENS, json={"name": name})

    def _role_permission(self, role: Json, grant: Grant) -> Json | None:
        resource = self._resource(grant, "resource_pattern")
        found = (row for row in role["permissions"] if resource.items() <= row.items())
        return next(found, None)

    def _resource(self, grant: Grant, key: str) -> Json:
        """Return the fields that name an experiment or a model. Raises NotFoundError if there is none."""
        resource_id = grant.name
        if grant.kind == "experiment" and grant.name != ALL:
            found = self._send("GET", V2 + "experiments/get-by-name", params={"experiment_name": grant.name})
            resource_id = found["experiment"]["experiment_id"]
        elif grant.name != ALL:
            self._send("GET", V2 + "registered-models/get", params={"name": grant.name})
        return {"resource_type": RESOURCE_TYPES[grant.kind], key: resource_id}

    def _send(self, method: str, path: str, *, writes: bool = True, **content: Any) -> Json:
        with self._translate_errors(path):
            return self._requests.send(method, path, writes=writes and method != "GET", **content)

    @contextmanager
    def _translate_errors(self, path: str) -> Iterator[None]:
        try:
            yield
        except HttpError as exc:
            raise unreachable_error(self.tracking_uri) from exc
        except StoreError as exc:
            message = exc.message.partition("\n")[0].partition(" Error: ")[0].rstrip(".")
            if exc.error_code == "ENDPOINT_NOT_FOUND":
                raise RefusedError(
                    "the server has no users: it was not started with --auth",
                    "start it with: mlctl server-up --auth",
                ) from exc
            if exc.error_code == "UNAUTHENTICATED":
                raise ConfigurationError(
                    f"the tracking server {self.tracking_uri} refuses these credentials",
                    f"store others: mlctl login {self.tracking_uri} -u USER",
                ) from exc
            if exc.error_code == "PERMISSION_DENIED":
                raise RefusedError(
                    "you may not do this on the server", "ask an administrator, or somebody who may manage it"
                ) from exc
            hint = f"see what exists: {_list_command(path)}"
            if exc.error_code == "RESOURCE_DOES_NOT_EXIST":
                raise NotFoundError(message, hint) from exc
            if exc.error_code == "RESOURCE_ALREADY_EXISTS":
                raise RefusedError(message, hint) from exc
            raise BadDataError(message, "change it, and run the command again") from exc


def _list_command(path: str) -> str:
    """Return the command that lists what a request to this path is about."""
    commands = {
        TOKENS: "mlctl tokens list",
        V2 + "experiments/": "mlctl experiments list",
        V2 + "registered-models/": "mlctl models list",
    }
    return next(
        (command for start, command in commands.items() if path.startswith(start)), "mlctl users list"
    )
