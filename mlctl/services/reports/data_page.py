"""The page about a check of data: findings, distributions of columns, classes, and targets that may be wrong."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import numpy as np

from mlctl.adapters.pages.drift_bars import draw_bars
from mlctl.adapters.pages.histogram import draw_histogram
from mlctl.data.checks.columns import number_bins
from mlctl.data.dataset import Dataset
from mlctl.domain.data_check import DataCheck, Severity
from mlctl.domain.report import Report, ReportBlock, ReportPlot, ReportSection, ReportTable, ReportText
from mlctl.services.reports.texts import moment
from mlctl.units import count

MAX_PLOTS, MAX_CLASSES = 60, 100


def data_page(check: DataCheck, data: Dataset) -> Report:
    """Return the page."""
    kind = "regression" if check.task == "regression" else f"{len(check.classes)} classes"
    facts = [
        ("rows", f"{sum(check.splits.values()):,}"),
        ("target", check.target),
        ("task", kind),
        *(
            (("columns used", str(sum(column.type != "drop" for column in check.columns))),)
            if check.columns
            else ()
        ),
        *(
            (f"{severity}s", str(found))
            for severity in (Severity.problem, Severity.warning)
            if (found := check.count(severity))
        ),
    ]
    return Report(
        title=f"Data check of {check.source.rstrip('/').rpartition('/')[2]}",
        subtitle=f"as mlctl train reads it, recipe {check.recipe}; nothing was trained",
        facts=[(name, value) for name, value in facts if value],
        sections=list(_sections(check, data)),
        made_by=f"Written by mlctl, {moment(datetime.now().astimezone())}",
    )


def _sections(check: DataCheck, data: Dataset) -> Iterator[ReportSection]:
    rows = [(finding.severity.value, finding.kind, finding.text) for finding in check.findings]
    yield ReportSection(
        title="Findings", blocks=[ReportTable(columns=("severity", "about", "what was found"), rows=rows)]
    )
    yield _target(check, data)
    if check.suspects:
        text = (
            "Models that had not seen these rows contradict their targets. Look at these rows first: the target may be"
            " wrong, or the row is of a kind that the others do not show."
        )
        probability = [] if check.suspects[0].probability is None else ["probability"]
        suspects = [
            (
                str(suspect.row),
                suspect.split,
                _shown(suspect.target),
                _shown(suspect.expected),
                *([f"{suspect.probability:.1%}"] if suspect.probability is not None else []),
            )
            for suspect in check.suspects
        ]
        columns = ("row", "split", "target", "expected", *probability)
        yield ReportSection(
            title="Targets that may be wrong",
            blocks=[ReportText(text=text), ReportTable(columns=columns, rows=suspects)],
        )
    if check.columns:
        table = [
            (
                column.name,
                "dropped" if column.type == "drop" else column.type,
                f"{column.missing:.1%}" if column.missing else "",
                "" if column.distinct is None else f"{column.distinct:,}",
                column.summary,
                column.reading,
            )
            for column in check.columns
        ]
        names = ("column", "type", "missing", "different values", "values", "reading")
        yield ReportSection(title="Columns", blocks=[ReportTable(columns=names, rows=table)])
        yield _distributions(check, data)


def _target(check: DataCheck, data: Dataset) -> ReportSection:
    title = f"Target {check.target}" if check.target else "Target"
    splits = list(check.splits)
    blocks: list[ReportBlock] = []
    if check.classes:
        totals = {name: max(1, check.splits[name]) for name in splits}
        rows = [
            (
                entry.name,
                *(
                    f"{entry.rows.get(name, 0):,} ({entry.rows.get(name, 0) / totals[name]:.1%})"
                    for name in splits
                ),
            )
            for entry in check.classes[:MAX_CLASSES]
        ]
        blocks = [ReportTable(columns=("class", *splits), rows=rows)]
        if len(check.classes) > MAX_CLASSES:
            blocks.append(ReportText(text=f"and {len(check.classes) - MAX_CLASSES} more classes"))
    elif np.ndim(data.train.targets) == 1:
        train = np.asarray(data.train.targets, np.float64)
        words = f"{train.min():.6g} to {train.max():.6g}, median {np.median(train):.6g} in training"
        svg = draw_histogram(check.target or "target", words, number_bins(train, train))
        sizes = [(name, f"{found:,}") for name, found in check.splits.items()]
        blocks = [ReportTable(columns=("split", "rows"), rows=sizes), ReportPlot(title="target", svg=svg)]
    return ReportSection(title=title, blocks=blocks, missing="it has several values per row")


def _distributions(check: DataCheck, data: Dataset) -> ReportSection:
    differing = {name for finding in check.findings if finding.kind == "shift" for name in finding.columns}
    drawn = [column for column in check.columns if column.bins]
    drawn.sort(key=lambda column: column.name not in differing)
    plots: list[Any] = []
    for column in drawn[:MAX_PLOTS]:
        gaps = f", {column.missing:.1%} missing" if column.missing else ""
        if column.name in differing:
            words = f"{column.summary}{gaps}; training grey, test blue"
            plots.append(ReportPlot(title=column.name, svg=draw_bars(column.name, words, column.bins)))
        else:
            svg = draw_histogram(column.name, f"{column.summary}{gaps}", column.bins)
            plots.append(ReportPlot(title=column.name, svg=svg))
    text = "Of the training rows. The outer bins of numbers hold the highest and the lowest percent."
    if len(drawn) > MAX_PLOTS:
        text += f" {count(len(drawn) - MAX_PLOTS, 'more column')} of {len(drawn)} are not drawn."
    blocks: list[ReportBlock] = [ReportText(text=text), *plots] if plots else []
    return ReportSection(title="Distributions", blocks=blocks, missing="no column can be drawn")


def _shown(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"
