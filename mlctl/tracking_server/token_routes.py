"""The routes /mlctl/tokens of a server with authentication: list, create and revoke access tokens.

They are routes of MLflow's own application, whose authentication guards them. Users see and change their own tokens,
administrators those of everybody.
"""

from __future__ import annotations

import re
from typing import Any

from flask import Flask, jsonify, make_response, request
from mlflow.exceptions import MlflowException
from mlflow.server import auth

from mlctl.tracking_server.access_tokens import AccessTokens, TokenExistsError

PATH = "/mlctl/tokens"
NAME = re.compile(r"[\w.-]{1,64}")
LONGEST_S = 366 * 86400


def install(app: Flask, tokens: AccessTokens) -> None:
    """Add the routes, and let the tokens of a user end with the user."""

    def answer() -> Any:
        sender = auth.authenticate_request().username
        is_admin = auth.store.get_user(sender).is_admin
        if request.method == "GET":
            found = tokens.list(None if is_admin else sender)
            return jsonify({"tokens": [vars(token) for token in found]})
        body = request.get_json(silent=True) or {}
        name = str(body.get("name", ""))
        if request.method == "POST":
            return _create(tokens, name, body, sender=sender, is_admin=is_admin)
        owner = next((token.username for token in tokens.list() if token.name == name), None)
        if owner is None or (owner != sender and not is_admin):
            return _refusal(404, "RESOURCE_DOES_NOT_EXIST", f"there is no token {name!r}")
        tokens.revoke(name)
        return jsonify({})

    app.add_url_rule(PATH, "mlctl_tokens", answer, methods=["GET", "POST", "DELETE"])
    for method in ("GET", "POST", "DELETE"):
        auth.BEFORE_REQUEST_VALIDATORS[PATH, method] = lambda: (
            True
        )  # `answer` itself checks whose tokens they are
    delete_user = auth.store.delete_user

    def delete_user_and_tokens(username: str) -> None:
        tokens.revoke_all(username)  # another user may get this name later
        delete_user(username)

    auth.store.delete_user = delete_user_and_tokens


def _create(tokens: AccessTokens, name: str, body: dict[str, Any], *, sender: str, is_admin: bool) -> Any:
    username, lifetime_s = str(body.get("username") or sender), body.get("lifetime_s")
    if username != sender and not is_admin:
        return _refusal(403, "PERMISSION_DENIED", "only administrators create tokens of other users")
    if not NAME.fullmatch(name):
        return _refusal(
            400,
            "INVALID_PARAMETER_VALUE",
            "a token's name has at most 64 letters, digits, hyphens, underscores and dots",
        )
    if not isinstance(lifetime_s, (int, float)) or not 0 < lifetime_s <= LONGEST_S:
        return _refusal(400, "INVALID_PARAMETER_VALUE", "a token lives for at most 366 days")
    try:
        auth.store.get_user(username)
        secret = tokens.create(name, username, lifetime_s)
    except MlflowException:
        return _refusal(404, "RESOURCE_DOES_NOT_EXIST", f"there is no user {username!r}")
    except TokenExistsError:
        return _refusal(400, "RESOURCE_ALREADY_EXISTS", f"there is a token {name!r} already")
    return jsonify({"token": secret, "username": username})


def _refusal(status: int, code: str, message: str) -> Any:
    return make_response({"error_code": code, "message": message}, status)
