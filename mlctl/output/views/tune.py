"""Views of a search: its plan, and its trials."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rich.text import Text

from mlctl.domain.tune import SearchPlan, SearchResult, Trial
from mlctl.output.tables import AnswerTable, TableCell, TableColumn
from mlctl.output.text import format_number
from mlctl.output.views.base import document, tables, with_keys
from mlctl.output.views.runs import model_table, run_document
from mlctl.units import format_duration

REASON_WIDTH = 24  # a longer one continues on the next line, rather than that other columns are dropped
MAX_ROWS = 10
STATE_COLORS = {"done": "green", "stopped": "yellow", "failed": "red", "running": "cyan"}


@tables.register
def _(answer: SearchResult) -> list[AnswerTable]:
    names = dict.fromkeys(name for trial in answer.trials for name in trial.params)
    params = [name for name in names if not name.startswith("tuner/")]
    columns = (
        TableColumn("trial"),
        TableColumn(answer.objective.metric, right=True),
        *(TableColumn(name, right=True, keep=7) for name in params),
        TableColumn("epochs", right=True, keep=4),
        TableColumn("duration", right=True, keep=3),
        TableColumn("state", keep=8),
        TableColumn("reason", narrow_to=REASON_WIDTH),
    )
    rows = [_trial_row(trial, params, answer.best_trial) for trial in answer.trials[:MAX_ROWS]]
    caption = f"{answer.end_reason}, objective {answer.objective}; * values of the final model"
    if len(answer.trials) > MAX_ROWS:
        caption += f"; the best {MAX_ROWS} of {len(answer.trials)}, use -o json for all"
    trials = AnswerTable(columns=columns, rows=rows, caption=caption)
    return [trials, model_table(answer.run, "Final model")]


def _trial_row(trial: Trial, params: Sequence[str], best_trial: str | None) -> list[Any]:
    return [
        TableCell(trial.trial, trial.trial + ("*" if trial.trial == best_trial else " ")),
        TableCell(trial.score, format_number(trial.score)),
        *(_value(trial, name) for name in params),
        trial.epochs,
        TableCell(trial.duration_s, format_duration(trial.duration_s)),
        Text(trial.state, STATE_COLORS.get(trial.state, "")),
        trial.reason,
    ]


def _value(trial: Trial, name: str) -> Any:
    """Return the cell of a value: empty if it does not count in this trial, which a choice of None does."""
    value = trial.params.get(name)
    return TableCell(value, "none") if value is None and name in trial.params else value


@document.register
def _(answer: SearchResult) -> Any:
    return {
        **run_document(answer.run),
        "objective": str(answer.objective),
        "best_trial": answer.best_trial,
        "ended": answer.end_reason,
        "trials": [with_keys(trial, reason="why") for trial in answer.trials],
    }


@tables.register
def _(answer: SearchPlan) -> list[AnswerTable]:
    size = f"{math.floor(answer.size):,} combinations" if math.isfinite(answer.size) else "a continuous space"
    space = AnswerTable(
        columns=(
            TableColumn("searched"),
            TableColumn("values"),
            TableColumn("number of values", right=True, keep=8),
        ),
        rows=[
            (
                dimension.name,
                dimension.text,
                f"{dimension.size:g}" if math.isfinite(dimension.size) else "continuous",
            )
            for dimension in answer.dimensions
        ],
        caption=(
            f"{size}; {answer.algorithm}, {answer.trials} trials"
            + (f", at most {answer.epochs:,} epochs" if answer.epochs else "")
        ),
        notes=answer.notes,
    )
    fixed = AnswerTable(
        columns=(TableColumn("fixed"), TableColumn("value")),
        rows=[(name, str(value)) for name, value in answer.fixed.items()],
    )
    names = [dimension.name for dimension in answer.dimensions]
    first = AnswerTable(
        columns=[TableColumn(name, right=True, keep=8) for name in names],
        rows=[[values.get(name) for name in names] for values in answer.first_trials],
        title="First trials",
    )
    return [space, fixed, *_brackets(answer), first, *_commands(answer)]


def _commands(answer: SearchPlan) -> list[AnswerTable]:
    rows = [(command,) for command in answer.commands]
    return [AnswerTable(columns=(TableColumn("command of the first trials"),), rows=rows)] if rows else []


def _brackets(answer: SearchPlan) -> list[AnswerTable]:
    columns = (
        TableColumn("bracket"),
        TableColumn("trials", right=True),
        TableColumn("epochs", right=True, keep=8),
        TableColumn("total epochs", right=True, keep=7),
    )
    rows = [
        (str(number), rung.trials, f"{rung.start_epoch + 1} to {rung.epochs}", rung.total_epochs)
        for number, bracket in enumerate(answer.brackets, start=1)
        for rung in bracket
    ]
    caption = "each row continues the best trials of the row before it in the same bracket"
    table = AnswerTable(columns=columns, rows=rows, title="Hyperband brackets", caption=caption)
    return [table] if rows else []


@document.register
def _(answer: SearchPlan) -> Any:
    return {
        "recipe": answer.recipe,
        "algorithm": answer.algorithm,
        "objective": str(answer.objective),
        "space": {dimension.name: dimension.text for dimension in answer.dimensions},
        "fixed": dict(answer.fixed),
        "size": answer.size if math.isfinite(answer.size) else None,
        "trials": answer.trials,
        "epochs": answer.epochs,
        "first": [dict(values) for values in answer.first_trials],
        "commands": list(answer.commands),
        "brackets": [
            [with_keys(rung, start_epoch="after") for rung in bracket] for bracket in answer.brackets
        ],
    }
