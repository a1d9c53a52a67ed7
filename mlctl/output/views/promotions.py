"""Views of promotions, of their gate checks and of a model's history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.text import Text

from mlctl.domain.registry import CopiedVersion, GateCheck, History, HistoryEntry, Promotion, Reconciliation
from mlctl.output.tables import AnswerTable, TableCell, TableColumn, pair_table
from mlctl.output.text import format_moment
from mlctl.output.views.base import document, tables

PRODUCTION = "Production"  # the stage that a name alone stands for


@document.register
def _(answer: Promotion) -> Any:
    return {
        "name": answer.name,
        "version": answer.version,
        "stage": answer.stage,
        "replaced": answer.replaced,
        "changed": answer.changed,
        "released": list(answer.released),
        "checks": [asdict(check) for check in answer.checks],
        "dry_run": answer.dry_run,
    }


@tables.register
def _(answer: Promotion) -> list[AnswerTable]:
    if answer.refused:
        outcome = Text(f"not moved to {answer.stage}", style="red")
    elif not answer.changed:
        outcome = Text(f"already in {answer.stage}")
    else:
        outcome = Text(f"{'would be' if answer.dry_run else 'is now'} in {answer.stage}", style="green")
    rows: list[tuple[str, Any]] = [
        ("model", Text(f"{answer.name} version {answer.version}", style="bold")),
        ("outcome", outcome),
    ]
    if answer.replaced and answer.replaced != answer.version:
        rows.append(("held by" if answer.refused else "replaces", f"version {answer.replaced}"))
    verb = "would then be" if answer.dry_run else "is now"
    for stage in answer.released:
        served = f": nothing serves {answer.name} by its name" if stage == PRODUCTION else ""
        rows.append(("leaves", Text(f"{stage}, which {verb} empty{served}", style="yellow")))
    rows += [("note", Text(note, style="yellow")) for note in answer.notes]
    return [pair_table(rows), *([_checks_table(answer.checks)] if answer.checks else [])]


def _checks_table(checks: Sequence[GateCheck]) -> AnswerTable:
    columns = (TableColumn("check"), TableColumn("required"), TableColumn("found"), TableColumn("passed"))
    passed, failed = Text("yes", style="green"), Text("NO", style="bold red")
    rows = [(check.check, check.wanted, check.found, passed if check.holds else failed) for check in checks]
    return AnswerTable(columns=columns, rows=rows, title="Checks")


@document.register
def _(answer: History) -> Any:
    return [
        {
            "at": entry.at.isoformat(),
            "by": entry.by,
            "action": entry.action,
            "stage": entry.stage,
            "version": entry.version,
            "replaced": entry.replaced,
            "reason": entry.reason,
            "checks": [asdict(check) for check in entry.checks],
            "run_id": entry.run_id,
            "data_sha256": entry.data_sha256,
            "released": list(entry.released),
        }
        for entry in answer.entries
    ]


@tables.register
def _(answer: History) -> list[AnswerTable]:
    columns = (
        TableColumn("time"),
        TableColumn("user", keep=6),
        TableColumn("action", keep=7),
        TableColumn("stage"),
        TableColumn("version", right=True),
        TableColumn("replaced", right=True, keep=8),
        TableColumn("reason", narrow_to=12),
        TableColumn("checks", keep=5, narrow_to=16),
    )
    rows = [_entry_row(entry) for entry in answer.entries]
    stages = ", ".join(f"{stage} = {version or 'none'}" for stage, version in answer.holders.items())
    caption = f"stages after the last entry: {stages}" if stages else ""
    return [AnswerTable(columns=columns, rows=rows, caption=caption, empty=_no_entries(answer))]


@tables.register
def _(answer: CopiedVersion) -> list[AnswerTable]:
    copied = "" if answer.created else " (copied before)"
    rows = [
        ("model", f"{answer.name} version {answer.source_version}"),
        ("to", answer.tracking_uri),
        ("version there", f"{answer.version}{copied}"),
    ]
    return [pair_table(rows)]


@document.register
def _(answer: Reconciliation) -> Any:
    return {**asdict(answer), "changes": list(answer.changes)}


@tables.register
def _(answer: Reconciliation) -> list[AnswerTable]:
    if answer.done:
        outcome = "recorded and undone" if answer.restored else "recorded"
    else:
        outcome = "would be recorded and undone" if answer.restored else "would be recorded"
    return [
        AnswerTable(
            columns=(TableColumn("change"), TableColumn("outcome")),
            rows=[(change, outcome) for change in answer.changes],
            title=answer.name,
            empty=f"the stages of {answer.name} match its history",
        )
    ]


def _no_entries(answer: History) -> str:
    """Say why a history is empty."""
    if answer.at is None:
        return f"no version of {answer.name} was promoted yet"
    if answer.since and answer.at < answer.since:
        return (
            f"{answer.name} did not exist yet at {format_moment(answer.at)}: "
            f"its first version was registered at {format_moment(answer.since)}"
        )
    return f"no version of {answer.name} was promoted yet at {format_moment(answer.at)}"


def _entry_row(entry: HistoryEntry) -> tuple[Any, ...]:
    return (
        TableCell(entry.at.isoformat(), format_moment(entry.at)),
        entry.by,
        entry.action,
        entry.stage,
        entry.version,
        entry.replaced,
        entry.reason,
        ", ".join(f"{check.check}{'' if check.holds else ' (failed)'}" for check in entry.checks),
    )
