"""Views of one endpoint and of its rollouts."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from mlctl.domain.endpoint_detail import EndpointDetail, Rollout
from mlctl.output.tables import AnswerTable, TableCell, TableColumn, pair_table
from mlctl.output.views.base import document, tables
from mlctl.units import format_duration, format_size

STYLES = {"done": "green", "running": "", "starting": "", "promoting": "", "aborted": "yellow"}


@tables.register
def _(answer: Rollout) -> list[AnswerTable]:
    return [pair_table([("endpoint", answer.endpoint), *_rollout_rows(answer)])]


@tables.register
def _(answer: EndpointDetail) -> list[AnswerTable]:
    endpoint = answer.endpoint
    rows: list[tuple[str, Any]] = [
        ("endpoint", Text(endpoint.name, style="bold")),
        ("status", endpoint.status),
        ("url", endpoint.url),
        ("model", f"{endpoint.model} version {endpoint.version}" if endpoint.version else endpoint.model),
    ]
    if answer.shadow:
        rows.append(("shadow", f"version {answer.shadow}"))
    rows += [("refused", Text(f"version {one.version}: {one.reason}", style="red")) for one in answer.refused]
    if answer.note:
        rows.append(("note", Text(answer.note, style="yellow")))
    shown = [pair_table(rows)]
    if answer.traffic:
        shown.append(_traffic_table(answer))
    if answer.rollout:
        shown.append(pair_table(_rollout_rows(answer.rollout), title="Rollout"))
    if answer.workers:
        shown.append(_worker_table(answer))
    return shown


@document.register
def _(answer: EndpointDetail) -> Any:
    from dataclasses import asdict

    endpoint = {**asdict(answer.endpoint), **asdict(answer)}
    del endpoint["endpoint"]
    return endpoint


def _rollout_rows(rollout: Rollout) -> list[tuple[str, Any]]:
    status: str | Text = Text(rollout.status, style=STYLES.get(rollout.status, "red"))
    rows: list[tuple[str, Any]] = [
        ("version", f"{rollout.version} in place of {rollout.old_version}"),
        ("status", status),
    ]
    if not rollout.is_over:
        share = f"{100 * rollout.share:g}% of the requests, step {rollout.step} of {rollout.steps}"
        rows.append(("share", share))
        if rollout.step_ends_in_s:
            rows.append(("step ends in", format_duration(rollout.step_ends_in_s)))
        elif rollout.waiting_for:
            rows.append(("waiting for", f"{rollout.waiting_for} more requests"))
    rows.append(("requests", f"{rollout.requests:,}"))
    rows.append(("guards", ", ".join(rollout.guards)))
    if rollout.reason:
        rows.append(("reason", rollout.reason))
    if rollout.is_over and rollout.status != "done" and not rollout.recorded:
        rows.append(("history", Text("not written to the registry yet", style="yellow")))
    return rows


def _traffic_table(answer: EndpointDetail) -> AnswerTable:
    columns = (
        TableColumn("version"),
        TableColumn("role", keep=8),
        TableColumn("requests", right=True),
        TableColumn("errors", right=True),
        TableColumn("refused", right=True, keep=2),
        TableColumn("p50 ms", right=True, keep=6),
        TableColumn("p95 ms", right=True),
        TableColumn("p99 ms", right=True, keep=7),
        TableColumn("agreement", right=True, keep=5),
        TableColumn("dropped", right=True, keep=1),
    )
    rows = [
        (
            one.version,
            one.role,
            _count(one.requests),
            _count(one.errors),
            _count(one.refused),
            one.p50_ms,
            one.p95_ms,
            one.p99_ms,
            None if one.agreement is None else TableCell(one.agreement, f"{100 * one.agreement:.4g}%"),
            _count(one.dropped),
        )
        for one in answer.traffic
    ]
    return AnswerTable(columns=columns, rows=rows, title="Traffic since the start")


def _worker_table(answer: EndpointDetail) -> AnswerTable:
    columns = (
        TableColumn("pid", right=True),
        TableColumn("role"),
        TableColumn("version"),
        TableColumn("memory", right=True),
    )
    rows = [
        (
            worker.pid,
            worker.role,
            worker.version,
            TableCell(worker.memory_bytes, format_size(worker.memory_bytes)),
        )
        for worker in answer.workers
    ]
    return AnswerTable(columns=columns, rows=rows, title="Workers")


def _count(number: int) -> TableCell:
    return TableCell(number, f"{number:,}")
