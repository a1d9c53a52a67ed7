"""Views of a tracking server's webhooks."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from mlctl.domain.notify import DeliveredExample
from mlctl.domain.webhooks import DeletedWebhook, Webhook, WebhookList, WebhookTest
from mlctl.output.tables import AnswerTable, TableColumn, pair_table
from mlctl.output.views.base import document, tables


@tables.register
def _(answer: WebhookList) -> list[AnswerTable]:
    columns = (
        TableColumn("webhook", keep=9),
        TableColumn("status", keep=5),
        TableColumn("url", keep=8),
        TableColumn("events"),
    )
    rows = [(hook.name, hook.status.lower(), hook.url, ", ".join(hook.events)) for hook in answer.webhooks]
    return [
        AnswerTable(columns=columns, rows=rows, empty="no webhooks; add one: mlctl webhooks add NAME URL")
    ]


@document.register
def _(answer: WebhookList) -> Any:
    return [asdict(hook) for hook in answer.webhooks]


@tables.register
def _(answer: Webhook) -> list[AnswerTable]:
    return [pair_table([("name", answer.name), ("url", answer.url), ("events", ", ".join(answer.events))])]


@tables.register
def _(answer: DeletedWebhook) -> list[AnswerTable]:
    columns = (TableColumn("webhook"), TableColumn("change"))
    return [AnswerTable(columns=columns, rows=[(answer.webhook.name, "deleted")])]


@document.register
def _(answer: DeletedWebhook) -> Any:
    return {**asdict(answer.webhook), "change": "deleted"}


@tables.register
def _(answer: WebhookTest) -> list[AnswerTable]:
    rows = [
        ("webhook", answer.name),
        ("event", answer.event),
        ("delivered", "yes" if answer.delivered else "no"),
        ("status", answer.status or ""),
    ]
    return [pair_table([row for row in rows if row[1] != ""])]


@tables.register
def _(answer: DeliveredExample) -> list[AnswerTable]:
    columns = (TableColumn("receiver"), TableColumn("example"))
    taken = "taken, signed" if answer.is_signed else "taken"
    return [AnswerTable(columns=columns, rows=[(receiver, taken) for receiver in answer.receivers])]
