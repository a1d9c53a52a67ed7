"""Webhooks: addresses that a tracking server posts to when its registry changes."""

from __future__ import annotations

from dataclasses import dataclass

EVENTS = (
    "registered_model.created",
    "model_version.created",
    "model_version_tag.set",
    "model_version_tag.deleted",
    "model_version_alias.created",
    "model_version_alias.deleted",
)


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """One webhook; `status` is ACTIVE or DISABLED. The server keeps its secret and shows it to nobody."""

    webhook_id: str
    name: str
    url: str
    events: tuple[str, ...]
    status: str = "ACTIVE"


@dataclass(frozen=True)
class WebhookList:
    """All webhooks of a server."""

    webhooks: tuple[Webhook, ...]


@dataclass(frozen=True)
class DeletedWebhook:
    """A webhook that was deleted."""

    webhook: Webhook


@dataclass(frozen=True, kw_only=True)
class WebhookTest:
    """What the receiver answered to an example; `status` is None if it did not answer."""

    name: str
    event: str
    delivered: bool
    status: int | None
    message: str
