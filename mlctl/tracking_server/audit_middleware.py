"""The middleware that writes an audit entry for each request that changes something."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from mlctl.tracking_server.audit_log import AuditLog
from mlctl.tracking_server.health_middleware import Application, Message, Receive, Scope, Send

READING_METHODS = {"GET", "HEAD", "OPTIONS"}
READING_POST = re.compile(
    r"/graphql|/(ajax-)?api/\d\.\d/(?!mlflow-artifacts/)([\w-]+/)*(search|search-datasets|batchGet\w+"
    r"|get-latest-versions|ui-telemetry|traces/metrics|calculate-filter-correlation|presigned-download-url"
    r"|get-history-bulk)"
)
API_PREFIX = re.compile(r"^.*?/(ajax-)?api/\d\.\d/(mlflow/)?")
FILE = re.compile(r"/mlflow-artifacts/|/upload-artifact$")  # the body is no JSON, and it can be large
# frequent requests with long bodies
MANY_VALUES = re.compile(r"/(log-batch|log-inputs|log-model|traces)(/|$)")
MAX_BODY_BYTES, MAX_BYTES_OF_MANY_VALUES = 1024 * 1024, 64 * 1024
MAX_VALUE_LENGTH = 200
ID_IN_TEXT = re.compile(rb'"(run_id|experiment_id|model_id)"\s*:\s*"(\w{1,64})"')
# what names the changed thing; values, passwords and sources are never among these
NAMES = (
    *("experiment_id", "run_id", "run_uuid", "run_name", "model_id", "name", "new_name", "key", "status"),
    *("version", "alias", "stage", "archive_existing_versions", "username", "is_admin", "permission"),
    *("resource_type", "resource_id", "resource_pattern", "role_id", "role_permission_id", "webhook_id"),
)


class AuditMiddleware:
    """Passes every request to the application, and notes the writes: who, when, what, from where, and the outcome.

    Args:
        app: The application behind it.
        audit_log: What the entries are appended to.
        with_users: Whether the server has authentication; otherwise nobody has checked a user name.
    """

    def __init__(self, app: Application, audit_log: AuditLog, *, with_users: bool) -> None:
        self.app, self._audit_log, self._with_users = app, audit_log, with_users

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or not _writes(scope["method"], scope["path"]):
            await self.app(scope, receive, send)
            return
        limit, body, is_noted = _max_body_bytes(scope["path"]), bytearray(), False

        def note(status: int) -> None:
            nonlocal is_noted
            is_noted = True
            self._audit_log.append(self._entry(scope, bytes(body[: limit + 1]), limit, status))

        async def receive_and_keep_body() -> Message:
            message = await receive()
            if len(body) <= limit:
                body.extend(message.get("body", b""))
            return message

        async def note_and_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                note(message["status"])  # whoever has the answer finds the entry
            await send(message)

        try:
            await self.app(scope, receive_and_keep_body, note_and_send)
        finally:
            if not is_noted:
                note(500)

    def _entry(self, scope: Scope, body: bytes, limit: int, status: int) -> dict[str, Any]:
        client, peer = (scope.get("client") or [None])[0], scope.get("mlctl.peer")
        return {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "user": scope.get("mlctl.user") if self._with_users and status != 401 else None,
            "from": client,
            "method": scope["method"],
            "path": API_PREFIX.sub("", scope["path"])[:MAX_VALUE_LENGTH],
            "what": _named_things(scope, body, limit),
            "status": status,
            **({"via": peer} if peer != client else {}),
            **({"token": scope["mlctl.token"]} if "mlctl.token" in scope else {}),
        }


def _writes(method: str, path: str) -> bool:
    return method not in READING_METHODS and not (method == "POST" and READING_POST.fullmatch(path))


def _max_body_bytes(path: str) -> int:
    """Return the size up to which the body of a request is read to name what it changes."""
    if FILE.search(path):
        return 0
    return MAX_BYTES_OF_MANY_VALUES if MANY_VALUES.search(path) else MAX_BODY_BYTES


def _named_things(scope: Scope, body: bytes, limit: int) -> dict[str, Any]:
    """Return the fields of a request that name what it changes; a body over the limit names only ids."""
    content: dict[str, Any] = dict(parse_qsl(scope.get("query_string", b"").decode(errors="replace")))
    if len(body) > limit:
        content |= {name.decode(): value.decode() for name, value in ID_IN_TEXT.findall(body[:limit])}
    elif body:
        try:
            parsed = json.loads(body)
        except (ValueError, RecursionError):
            parsed = None
        content |= parsed if isinstance(parsed, dict) else {}
    found = {name: content[name] for name in NAMES if isinstance(content.get(name), (str, int, bool))}
    return {
        name: value[:MAX_VALUE_LENGTH] if isinstance(value, str) else value for name, value in found.items()
    }
