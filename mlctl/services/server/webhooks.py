"""Webhooks of a tracking server: list, add, delete and test them."""

from __future__ import annotations

from collections.abc import Sequence

from mlctl.adapters.tracking.server_webhooks import ServerWebhooks
from mlctl.domain.webhooks import EVENTS, DeletedWebhook, Webhook, WebhookList, WebhookTest
from mlctl.errors import NotFoundError, RefusedError, UnreachableError, UsageError, did_you_mean


def list_webhooks(tracking_uri: str) -> WebhookList:
    """Return all webhooks of a server."""
    return WebhookList(ServerWebhooks(tracking_uri).list())


def add_webhook(
    tracking_uri: str, name: str, url: str, *, events: Sequence[str] = (), secret: str = ""
) -> Webhook:
    """Create a webhook for these events, or for all of the registry.

    Raises UsageError for an unknown event, and RefusedError if there is a webhook of this name.
    """
    for event in events:
        _check_event(event)
    server = ServerWebhooks(tracking_uri)
    if any(webhook.name == name for webhook in server.list()):
        raise RefusedError(f"there is a webhook {name!r} already", f"mlctl webhooks delete {name}")
    return server.add(name, url, tuple(events) or EVENTS, secret)


def delete_webhook(tracking_uri: str, name: str) -> DeletedWebhook:
    """Delete a webhook, which is named by its name or id."""
    server = ServerWebhooks(tracking_uri)
    webhook = _find(server, name)
    server.delete(webhook)
    return DeletedWebhook(webhook)


def try_webhook(tracking_uri: str, name: str) -> WebhookTest:
    """Let the server send an example of the webhook's first event."""
    server = ServerWebhooks(tracking_uri)
    webhook = _find(server, name)
    event = webhook.events[0]
    delivered, status, message = server.test(webhook, event)
    return WebhookTest(name=webhook.name, event=event, delivered=delivered, status=status, message=message)


def require_delivered(answer: WebhookTest) -> None:
    """Raise UnreachableError if the receiver did not take the example."""
    if not answer.delivered:
        reason = answer.message or f"it answers with status {answer.status}"
        raise UnreachableError(
            f"the receiver of {answer.name} did not take the example: {reason.rstrip('.')}", "see its own log"
        )


def _check_event(event: str) -> None:
    if event not in EVENTS:
        raise UsageError(
            f"unknown event {event!r}", did_you_mean(event, EVENTS) or f"valid events: {', '.join(EVENTS)}"
        )


def _find(server: ServerWebhooks, name: str) -> Webhook:
    webhooks = server.list()
    found = [webhook for webhook in webhooks if name in {webhook.name, webhook.webhook_id}]
    if not found:
        names = [webhook.name for webhook in webhooks]
        raise NotFoundError(
            f"there is no webhook {name!r}", did_you_mean(name, names) or "see all: mlctl webhooks list"
        )
    if len(found) > 1:
        ids = ", ".join(webhook.webhook_id for webhook in found)
        raise UsageError(f"several webhooks are named {name!r}", f"use the id of one: {ids}")
    return found[0]
