"""Only who may manage a model may move its stages: a rule of the server, so that it holds for every client.

MLflow lets every user who may edit a model set its aliases, change its classic stage and rename it. The tags in which
mlctl keeps the history of a model are also guarded, and the tag that turns a model into a prompt, for which other
permissions count.

MLflow's checks take the parameters of a DELETE request from its URL unless the body is declared as JSON, and its
handlers take them from the body in any case. So such a request could name a model of the user's own to the checks and
another one to the handler. It is refused.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

from flask import Flask, Response, make_response, request
from mlflow.exceptions import MlflowException
from mlflow.prompt.constants import IS_PROMPT_TAG_KEY
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED
from mlflow.server import auth

from mlctl.domain.tags import HISTORY_PREFIX, LOCK_PREFIX, ROLLOUT_PREFIX, VOID_PREFIX

GUARDED_ROUTES = {  # (end of the path, method)
    ("/registered-models/alias", "POST"),
    ("/registered-models/alias", "DELETE"),
    ("/registered-models/rename", "POST"),
    ("/model-versions/transition-stage", "POST"),
}
TAG_ROUTES = {("/registered-models/set-tag", "POST"), ("/registered-models/delete-tag", "DELETE")}
GUARDED_TAGS = (HISTORY_PREFIX, LOCK_PREFIX, ROLLOUT_PREFIX, VOID_PREFIX, IS_PROMPT_TAG_KEY)
METHODS_WITH_BODY = {"DELETE", "PATCH"}  # POST and PUT without this type are refused by MLflow
UNDECLARED_BODY = "The body of this request must have the content type application/json"
MESSAGE = "Only users who may MANAGE this model may move its stages, set its aliases or rename it"


def install(app: Flask) -> None:
    """Add the rules, before MLflow adds its checks; raises RuntimeError if this MLflow has other routes."""
    app.before_request(_refuse_undeclared_body)
    missing = GUARDED_ROUTES | TAG_ROUTES
    for (path, method), validator in list(auth.BEFORE_REQUEST_VALIDATORS.items()):
        for route in GUARDED_ROUTES | TAG_ROUTES:
            if path.endswith(route[0]) and method == route[1]:
                guarded = _guarded(validator, by_tag=route in TAG_ROUTES)
                auth.BEFORE_REQUEST_VALIDATORS[path, method] = guarded
                missing.discard(route)
    if missing:
        raise RuntimeError(f"this MLflow has no route {min(missing)}, so promotions cannot be guarded")


def _refuse_undeclared_body() -> Response | None:
    if request.method not in METHODS_WITH_BODY or request.is_json or not request.get_data():
        return None
    return make_response({"error_code": "INVALID_PARAMETER_VALUE", "message": UNDECLARED_BODY}, 400)


def _guarded(validator: Callable[[], bool], *, by_tag: bool) -> Callable[[], bool]:
    """Return a check that requires what MLflow requires, and MANAGE."""

    def check() -> bool:
        if not validator():
            return False
        if by_tag and not _plain(str(auth._get_request_param("key"))).startswith(GUARDED_TAGS):
            return True
        target = auth._registered_model_or_prompt_target()
        if not by_tag and target is not None and target[0] == auth.RESOURCE_TYPE_PROMPT:
            return True
        if not auth._get_permission_from_registered_model_or_prompt_name().can_manage:
            raise MlflowException(MESSAGE, PERMISSION_DENIED)
        return True

    return check


def _plain(key: str) -> str:
    """Return a key as MySQL may compare it: many of its collations ignore case and accents."""
    return unicodedata.normalize("NFKD", key).encode("ascii", "ignore").decode().lower()
