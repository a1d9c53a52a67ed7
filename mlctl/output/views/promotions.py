"""How promotions, their gates and a model's history are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.text import Text

from mlctl.domain.registry import Check, History, Move, Promotion
from mlctl.output.render import PAIR, Cell, Column, Table
from mlctl.output.views.base import document, tables


@document.register
def _(answer: Promotion) -> Any:
    return {
        "name": answer.name,
        "version": answer.version,
        "stage": answer.stage,
        "replaced": answer.replaced,
        "changed": answer.changed,
        "checks": [asdict(one) for one in answer.checks],
        "dry_run": answer.dry_run,
    }


@tables.register
def _(answer: Promotion) -> list[Table]:
    if answer.refused:
        said = Text(f"not moved to {answer.stage}", style="red")
    elif not answer.changed:
        said = Text(f"is in {answer.stage} already")
    else:
        said = Text(f"{'would be' if answer.dry_run else 'is now'} in {answer.stage}", style="green")
    rows: list[tuple[str, Any]] = [("model", Text(f"{answer.name} version {answer.version}", style="bold"))]
    rows.append(("", said))
    if answer.replaced and answer.replaced != answer.version:
        rows.append(("held by" if answer.refused else "replaces", f"version {answer.replaced}"))
    rows += [("note", Text(one, style="yellow")) for one in answer.notes]
    return [Table(PAIR, rows), *([_checks(answer.checks)] if answer.checks else [])]


def _checks(checks: Sequence[Check]) -> Table:
    columns = (
        Column("check", keep=9), Column("wanted", keep=9), Column("found", keep=9), Column("holds", keep=9),
    )  # fmt: skip
    rows = [
        (
            one.check,
            one.wanted,
            one.found,
            Text("yes", style="green") if one.holds else Text("NO", style="bold red"),
        )
        for one in checks
    ]
    return Table(columns, rows, "Checks")


@document.register
def _(answer: History) -> Any:
    return [
        {
            "at": one.at.isoformat(),
            "by": one.by,
            "action": one.action,
            "stage": one.stage,
            "version": one.version,
            "replaced": one.replaced,
            "reason": one.reason,
            "checks": [asdict(check) for check in one.checks],
            "run_id": one.run_id,
            "data_sha256": one.data_sha256,
            "released": list(one.released),
        }
        for one in answer.moves
    ]


@tables.register
def _(answer: History) -> list[Table]:
    columns = (
        Column("at", keep=9), Column("by", keep=6), Column("action", keep=7), Column("stage", keep=9),
        Column("version", right=True, keep=9), Column("replaced", right=True, keep=8), Column("reason", keep=5),
        Column("checks", keep=3),
    )  # fmt: skip
    rows = [
        (
            Cell(one.at.isoformat(), f"{one.at.astimezone():%Y-%m-%d %H:%M:%S}"), one.by, one.action, one.stage,
            one.version, one.replaced, one.reason, _summary(one),
        )
        for one in answer.moves
    ]  # fmt: skip
    held = [f"{stage}: {version or 'nobody'}" for stage, version in answer.holders.items()]
    caption = f"then held: {', '.join(held)}" if held else ""
    return [Table(columns, rows, caption=caption, empty=f"{answer.name} was never moved")]


def _summary(move: Move) -> str:
    return ", ".join(f"{one.check}{'' if one.holds else ' (NO)'}" for one in move.checks)
