"""The middleware that writes an audit entry for each request that changes something."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from mlctl.tracking_server.audit_log import AuditLog
from mlctl.tracking_server.health_middleware import Application, Message, Receive, Scope, Send

READING_METHODS = {"GET", "HEAD", "OPTIONS"}
READING_POST = re.compile(
    r"/(search|search-datasets|batchGet\w+|get-latest-versions|graphql|ui-telemetry|traces/metrics"
    r"|calculate-filter-correlation|presigned-download-url|get-history-bulk)$"
)
API_PREFIX = re.compile(r"^.*?/(ajax-)?api/\d\.\d/(mlflow/)?")
MAX_BODY_BYTES = 64 * 1024
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
        headers = dict(scope["headers"])
        is_json = b"json" in headers.get(b"content-type", b"")
        body, is_noted = bytearray(), False

        def note(status: int) -> None:
            nonlocal is_noted
            is_noted = True
            self._audit_log.append(self._entry(scope, headers, bytes(body), status))

        async def receive_and_keep_body() -> Message:
            message = await receive()
            if is_json and len(body) < MAX_BODY_BYTES:
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

    def _entry(
        self, scope: Scope, headers: Mapping[bytes, bytes], body: bytes, status: int
    ) -> dict[str, Any]:
        client, peer = (scope.get("client") or [None])[0], scope.get("mlctl.peer")
        return {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "user": self._user(scope, headers) if status != 401 else None,
            "from": client,
            "method": scope["method"],
            "path": API_PREFIX.sub("", scope["path"])[:MAX_VALUE_LENGTH],
            "what": _named_things(scope, body),
            "status": status,
            **({"via": peer} if peer != client else {}),
            **({"token": scope["mlctl.token"]} if "mlctl.token" in scope else {}),
        }

    def _user(self, scope: Scope, headers: Mapping[bytes, bytes]) -> str | None:
        """Return the user whose password the application has checked."""
        if not self._with_users:
            return None
        return scope.get("mlctl.user") or user_name(headers.get(b"authorization", b""))


def user_name(authorization: bytes) -> str | None:
    """Return the user name in a header of basic authentication."""
    scheme, _, encoded = authorization.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        return base64.b64decode(encoded).decode().partition(":")[0][:MAX_VALUE_LENGTH]
    except (binascii.Error, UnicodeDecodeError):
        return None


def _writes(method: str, path: str) -> bool:
    return method not in READING_METHODS and not (method == "POST" and READING_POST.search(path))


def _named_things(scope: Scope, body: bytes) -> dict[str, Any]:
    """Return the fields of a request that name what it changes."""
    content: dict[str, Any] = dict(parse_qsl(scope.get("query_string", b"").decode(errors="replace")))
    if len(body) >= MAX_BODY_BYTES:
        content |= {
            name.decode(): value.decode() for name, value in ID_IN_TEXT.findall(body[:MAX_BODY_BYTES])
        }
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
