"""View of a drift report."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from mlctl.domain.drift import DriftReport, FeatureDrift, LiveScore
from mlctl.output.tables import AnswerTable, TableCell, TableColumn
from mlctl.output.views.base import tables


@tables.register
def _(answer: DriftReport) -> list[AnswerTable]:
    return [_features(answer), *([_scores(answer)] if answer.scores else [])]


def _features(answer: DriftReport) -> AnswerTable:
    columns = (
        TableColumn("feature"),
        TableColumn("of", keep=4),
        TableColumn("drifted", keep=8),
        TableColumn("what moved"),
        TableColumn("PSI", right=True, keep=7),
        TableColumn("shift", right=True, keep=5),
        TableColumn("p-value", right=True, keep=6),
        TableColumn("rows", right=True, keep=3),
    )
    version = f" version {answer.version}" if answer.version else ""
    drifted, of = len(answer.drifted), len(answer.features)
    summary = f"{drifted} of {of} features drifted" if drifted else f"none of {of} features drifted"
    return AnswerTable(
        columns=columns,
        rows=[_row(feature) for feature in answer.features],
        title=f"{answer.endpoint}: {answer.model}{version}, {answer.rows:,} rows of {answer.requests:,} requests",
        caption=summary if of else "",
        notes=answer.notes,
        empty=f"too few rows to compare: {answer.rows}",
    )


def _row(feature: FeatureDrift) -> tuple[Any, ...]:
    drifted = TableCell("yes" if feature.has_drifted else "no", Text("yes", style="bold red"))
    return (
        feature.name,
        feature.of,
        drifted if feature.has_drifted else "no",
        feature.words,
        TableCell(feature.psi, f"{feature.psi:.3f}"),
        TableCell(feature.shift, "" if feature.shift is None else f"{feature.shift:+.2f} SD"),
        TableCell(feature.p_value, f"{feature.p_value:.2g}" if feature.p_value >= 1e-4 else "<0.0001"),
        feature.rows,
    )


def _scores(answer: DriftReport) -> AnswerTable:
    columns = (
        TableColumn("live score"),
        TableColumn("value", right=True),
        TableColumn("95 % interval"),
        TableColumn("at training", right=True),
        TableColumn("rows", right=True, keep=5),
        TableColumn("verdict"),
    )
    return AnswerTable(columns=columns, rows=[_score_row(score) for score in answer.scores])


def _score_row(score: LiveScore) -> tuple[Any, ...]:
    trained = TableCell(score.trained, "" if score.trained is None else f"{score.trained:.4g}")
    return (
        score.metric,
        TableCell(score.value, f"{score.value:.4g}"),
        f"{score.low:.4g} to {score.high:.4g}",
        trained,
        score.rows,
        "" if score.trained is None else "worse than at training" if score.has_dropped else "as at training",
    )
