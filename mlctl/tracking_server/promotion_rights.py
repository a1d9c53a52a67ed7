"""Only who may manage a model may move its stages: a rule of the server, so that it holds for every client.

MLflow lets every user who may edit a model set its aliases, change its classic stage and rename it. The tags in which
mlctl keeps the history of a model are also guarded, and the tag that turns a model into a prompt, for which other
permissions count.
"""

from __future__ import annotations

from collections.abc import Callable

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
MESSAGE = "Only users who may MANAGE this model may move its stages, set its aliases or rename it"


def install() -> None:
    """Add the rule to the checks of MLflow's authentication; raises RuntimeError if this MLflow has other routes."""
    missing = GUARDED_ROUTES | TAG_ROUTES
    for (path, method), validator in list(auth.BEFORE_REQUEST_VALIDATORS.items()):
        for route in GUARDED_ROUTES | TAG_ROUTES:
            if path.endswith(route[0]) and method == route[1]:
                guarded = _guarded(validator, by_tag=route in TAG_ROUTES)
                auth.BEFORE_REQUEST_VALIDATORS[path, method] = guarded
                missing.discard(route)
    if missing:
        raise RuntimeError(f"this MLflow has no route {min(missing)}, so promotions cannot be guarded")


def _guarded(validator: Callable[[], bool], *, by_tag: bool) -> Callable[[], bool]:
    """Return a check that requires what MLflow requires, and MANAGE."""

    def check() -> bool:
        if not validator():
            return False
        if by_tag and not str(auth._get_request_param("key")).startswith(GUARDED_TAGS):
            return True
        target = auth._registered_model_or_prompt_target()
        if not by_tag and target is not None and target[0] == auth.RESOURCE_TYPE_PROMPT:
            return True
        if not auth._get_permission_from_registered_model_or_prompt_name().can_manage:
            raise MlflowException(MESSAGE, PERMISSION_DENIED)
        return True

    return check
