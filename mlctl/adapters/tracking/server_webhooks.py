"""Webhooks of a tracking server, over MLflow's REST API."""

from __future__ import annotations

from typing import Any

from mlctl.adapters.system.http import HttpError
from mlctl.adapters.tracking.clients.entities import StoreError
from mlctl.adapters.tracking.clients.rest_requests import RestRequests
from mlctl.adapters.tracking.health import unreachable_error
from mlctl.domain.webhooks import EVENTS, Webhook
from mlctl.errors import BadDataError, ConfigurationError, NotFoundError, RefusedError, UsageError
from mlctl.settings import mask_passwords

PATH = "/api/2.0/mlflow/webhooks"
Json = dict[str, Any]


class ServerWebhooks:
    """The webhooks of one server."""

    def __init__(self, tracking_uri: str) -> None:
        """Raise UsageError if the store is not a server: only a server sends webhooks."""
        if not tracking_uri.startswith(("http://", "https://")):
            raise UsageError(
                "the tracking store is not a server, and only a server sends webhooks",
                "start one with mlctl server-up, then: --tracking-uri http://HOST:PORT",
            )
        self._uri = mask_passwords(tracking_uri)
        self._requests = RestRequests(tracking_uri, lambda: None)

    def list(self) -> tuple[Webhook, ...]:
        """Return all webhooks."""
        found: list[Webhook] = []
        query: Json = {}
        while True:
            page = self._send("GET", PATH, params=query)
            found += [_to_webhook(entry) for entry in page.get("webhooks", [])]
            if not page.get("next_page_token"):
                return tuple(found)
            query = {"page_token": page["next_page_token"]}

    def add(self, name: str, url: str, events: tuple[str, ...], secret: str) -> Webhook:
        """Create a webhook; raises BadDataError if the server refuses its address."""
        body: Json = {"name": name, "url": url, "events": [_from_event(event) for event in events]}
        if secret:
            body["secret"] = secret
        return _to_webhook(self._send("POST", PATH, writes=True, json=body)["webhook"])

    def delete(self, webhook: Webhook) -> None:
        """Delete a webhook."""
        self._send("DELETE", f"{PATH}/{webhook.webhook_id}", writes=True)

    def test(self, webhook: Webhook, event: str) -> tuple[bool, int | None, str]:
        """Let the server send an example; return whether it was taken, the status, and the error."""
        body = {"event": _from_event(event)}
        result = self._send("POST", f"{PATH}/{webhook.webhook_id}/test", writes=True, json=body)["result"]
        status = result.get("response_status") or None
        return result.get("success", False), status, result.get("error_message", "")

    def _send(self, method: str, path: str, *, writes: bool = False, **content: Any) -> Json:
        try:
            return self._requests.send(method, path, writes=writes, **content)
        except HttpError as exc:
            raise unreachable_error(self._uri) from exc
        except StoreError as exc:
            message = exc.message.partition("\n")[0].rstrip(".")
            if exc.error_code == "UNAUTHENTICATED":
                raise ConfigurationError(
                    f"the tracking server {self._uri} refuses these credentials",
                    f"store others: mlctl login {self._uri}",
                ) from exc
            if exc.error_code == "PERMISSION_DENIED":
                raise RefusedError("you may not do this on the server", "ask an administrator") from exc
            if exc.error_code == "RESOURCE_DOES_NOT_EXIST":
                raise NotFoundError(message, "see what exists: mlctl webhooks list") from exc
            if exc.error_code == "ENDPOINT_NOT_FOUND":
                raise ConfigurationError(
                    f"{self._uri} has no webhooks", "it needs MLflow 3.3 or later: mlctl server-up"
                ) from exc
            raise BadDataError(
                f"the server refuses this webhook: {message}",
                "use an https address that is not private, or set what the server accepts: see docs/notify.md",
            ) from exc


def _to_webhook(entry: Json) -> Webhook:
    events = [f"{event['entity']}.{event['action']}".lower() for event in entry.get("events", [])]
    events.sort(key=lambda event: EVENTS.index(event) if event in EVENTS else len(EVENTS))
    return Webhook(
        webhook_id=entry["webhook_id"],
        name=entry["name"],
        url=entry["url"],
        events=tuple(events),
        status=entry.get("status", "ACTIVE"),
    )


def _from_event(event: str) -> Json:
    entity, _, action = event.upper().partition(".")
    return {"entity": entity, "action": action}
