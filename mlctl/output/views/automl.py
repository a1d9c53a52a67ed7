"""Views of a leaderboard and of an automl plan."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from mlctl.domain.automl import BLEND, AutomlPlan, AutomlResult, LeaderboardEntry
from mlctl.output.tables import AnswerTable, TableCell, TableColumn
from mlctl.output.text import format_number
from mlctl.output.views.base import document, tables, with_keys
from mlctl.output.views.runs import model_table, run_document
from mlctl.units import format_duration

REASON_WIDTH = 24  # a longer one continues on the next line, rather than that other columns are dropped
MAX_ROWS = 12
SHOWN_PHASE_S = 0.1
MAX_OTHER_METRICS = 3
STATE_COLORS = {"done": "green", "failed": "red"}


@tables.register
def _(answer: AutomlResult) -> list[AnswerTable]:
    metric = answer.objective.metric
    others = [name for name in answer.leaderboard[0].metrics if name != metric][:MAX_OTHER_METRICS]
    columns = (
        TableColumn("model"),
        TableColumn(metric, right=True),
        *(TableColumn(name, right=True, keep=5) for name in others),
        TableColumn("weight", right=True, keep=7),
        TableColumn("rounds", right=True, keep=4),
        TableColumn("duration", right=True, keep=6),
        TableColumn("state", keep=5),
        TableColumn("reason", narrow_to=REASON_WIDTH),
    )
    rows = [_leaderboard_row(entry, others) for entry in answer.leaderboard[:MAX_ROWS]]
    caption = f"{answer.end_reason}, objective {answer.objective} on the validation rows"
    if len(answer.leaderboard) > MAX_ROWS:
        caption += f"; the best {MAX_ROWS} of {len(answer.leaderboard)}, use -o json for all"
    leaderboard = AnswerTable(columns=columns, rows=rows, caption=caption, notes=_where_the_time_went(answer))
    return [leaderboard, model_table(answer.run, "Logged model")]


def _where_the_time_went(answer: AutomlResult) -> tuple[str, ...]:
    """Return one line: the durations of the models are only a part of the run's time."""
    phases = [(name, seconds) for name, seconds in answer.phases.items() if seconds >= SHOWN_PHASE_S]
    if not phases:
        return ()
    fits = sum(entry.duration_s for entry in answer.leaderboard)
    parts = [
        f"{name} {format_duration(seconds)}"
        + (f" (fits {format_duration(fits)})" if name == "models" and fits <= seconds else "")
        for name, seconds in phases
    ]
    return (f"{format_duration(sum(answer.phases.values()))} in all: {', '.join(parts)}",)


def _leaderboard_row(entry: LeaderboardEntry, others: list[str]) -> list[Any]:
    return [
        Text(entry.model, "bold") if entry.model == BLEND else entry.model,
        TableCell(entry.score, format_number(entry.score)),
        *(TableCell(entry.metrics.get(name), format_number(entry.metrics.get(name))) for name in others),
        TableCell(entry.weight, f"{entry.weight:.2f}" if entry.weight else ""),
        entry.rounds or "",
        TableCell(entry.duration_s, format_duration(entry.duration_s) if entry.duration_s else ""),
        Text(entry.state, STATE_COLORS.get(entry.state, "")),
        entry.reason,
    ]


@document.register
def _(answer: AutomlResult) -> Any:
    return {
        **run_document(answer.run),
        "objective": str(answer.objective),
        "ended": answer.end_reason,
        "phases": dict(answer.phases),
        "leaderboard": [with_keys(entry, reason="why") for entry in answer.leaderboard],
    }


@tables.register
def _(answer: AutomlPlan) -> list[AnswerTable]:
    columns = (TableColumn("model"), TableColumn("family", keep=7), TableColumn("parameters"))
    rows = [
        (model, family, " ".join(f"{name}={value}" for name, value in params.items()))
        for model, family, params in answer.models
    ]
    objective = answer.objective or "of the recipe"
    features = "with derived columns" if answer.featurize else "without derived columns"
    caption = f"{format_duration(answer.timeout_s)}, objective {objective}, {features}" + (
        "; then mlctl searches LightGBM's parameters" if answer.searches else ""
    )
    return [AnswerTable(columns=columns, rows=rows, caption=caption, notes=answer.notes)]


@document.register
def _(answer: AutomlPlan) -> Any:
    return {
        "recipe": answer.recipe,
        "objective": str(answer.objective) if answer.objective else None,
        "timeout_s": answer.timeout_s,
        "featurize": answer.featurize,
        "models": [
            {"model": model, "family": family, "params": dict(params)}
            for model, family, params in answer.models
        ],
    }
