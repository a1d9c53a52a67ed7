"""The sections of a registered model: its versions, its history and the gates of its promotions."""

from __future__ import annotations

from collections.abc import Iterator

from mlctl.domain.registry import History, RegisteredModel
from mlctl.domain.report import ReportBlock, ReportSection, ReportTable, ReportText
from mlctl.services.reports.texts import IN_BRACKETS, facts_table, moment, number, with_interval

MAX_VERSIONS = 50


def model_sections(model: RegisteredModel, history: History) -> Iterator[ReportSection]:
    """Yield the versions and the history of a model."""
    names = sorted({name for version in model.versions for name in version.metrics if name != "best_epoch"})
    names.sort(key=lambda name: not name.startswith("test_"))
    table = ReportTable(
        title=IN_BRACKETS if any(version.intervals for version in model.versions) else "",
        columns=("version", "stage", "aliases", "registered", *(name.replace("_", " ") for name in names)),
        rows=[
            (
                version.version,
                "" if version.stage == "None" else version.stage,
                ", ".join(version.alias),
                moment(version.created),
                *(with_interval(version.metrics.get(name), version.intervals.get(name)) for name in names),
            )
            for version in model.versions[:MAX_VERSIONS]
        ],
    )
    about: list[ReportBlock] = [ReportText(text=model.description)] if model.description else []
    tags = [facts_table(sorted(model.tags.items()), "Tags")] if model.tags else []
    yield ReportSection(title="Versions", blocks=[*about, table, *tags])
    yield history_section(history)


def history_section(history: History) -> ReportSection:
    """Return the moves of a model's versions, with the gates that were checked."""
    moves = ReportTable(
        columns=("time", "by", "action", "version", "stage", "replaced", "reason"),
        rows=[
            (
                moment(entry.at),
                entry.by,
                entry.action,
                entry.version,
                entry.stage,
                entry.replaced or "",
                entry.reason,
            )
            for entry in reversed(history.entries)
        ],
    )
    gates = [
        ReportTable(
            columns=("gate", "required", "found", "result"),
            rows=[
                (
                    check.check,
                    check.wanted,
                    number(check.found) if isinstance(check.found, (int, float)) else check.found or "none",
                    "passed" if check.holds else "failed",
                )
                for check in entry.checks
            ],
            title=f"Gates of version {entry.version} for {entry.stage}, {moment(entry.at)}",
        )
        for entry in reversed(history.entries)
        if entry.checks
    ]
    return ReportSection(
        title="History",
        blocks=[moves, *gates] if history.entries else [],
        missing="no version has been moved to a stage",
    )
