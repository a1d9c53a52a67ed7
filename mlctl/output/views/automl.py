"""How a leaderboard, and the plan of one, are shown."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from mlctl.domain.automl import BLEND, Automl, AutomlPlan
from mlctl.output.render import Cell, Column, Table, number
from mlctl.output.views.base import document, tables
from mlctl.output.views.runs import model_table, run_document
from mlctl.output.words import span

SHOWN = 12
STATES = {"done": "green", "failed": "red"}


@tables.register
def _(answer: Automl) -> list[Table]:
    goal = answer.objective.metric
    others = [name for name in answer.leaderboard[0].metrics if name != goal][:3]
    columns = (
        Column("model", keep=9), Column(goal, right=True, keep=9),
        *(Column(name, right=True, keep=5) for name in others),
        Column("share", right=True, keep=7), Column("rounds", right=True, keep=4), Column("took", right=True, keep=4),
        Column("state", keep=6), Column("why", keep=3),
    )  # fmt: skip
    rows = [
        [Text(one.model, "bold") if one.model == BLEND else one.model, Cell(one.score, number(one.score)),
         *(Cell(one.metrics.get(name), number(one.metrics.get(name))) for name in others),
         Cell(one.weight, f"{one.weight:.2f}" if one.weight else ""), one.rounds or "",
         Cell(one.duration_s, span(one.duration_s) if one.duration_s else ""),
         Text(one.state, STATES.get(one.state, "")), one.why]
        for one in answer.leaderboard[:SHOWN]
    ]  # fmt: skip
    caption = f"{answer.ended}, objective {answer.objective} on the validation rows"
    if len(answer.leaderboard) > SHOWN:
        caption += f"; the best {SHOWN} of {len(answer.leaderboard)}, -o json has all"
    return [Table(columns, rows, caption=caption), model_table(answer.run, "The logged model")]


@document.register
def _(answer: Automl) -> Any:
    return {
        **run_document(answer.run),
        "objective": str(answer.objective),
        "ended": answer.ended,
        "leaderboard": [
            {
                "model": one.model, "score": one.score, "metrics": dict(one.metrics), "run_id": one.run_id,
                "family": one.family, "params": dict(one.params), "weight": one.weight, "rounds": one.rounds,
                "state": one.state, "duration_s": one.duration_s, "why": one.why,
            }
            for one in answer.leaderboard
        ],
    }  # fmt: skip


@tables.register
def _(answer: AutomlPlan) -> list[Table]:
    rows = [
        (model, family, " ".join(f"{name}={value}" for name, value in told.items()))
        for model, family, told in answer.models
    ]
    goal = answer.objective or "the recipe's"
    made = "ratios and places are made" if answer.featurize else "columns are taken as they are"
    return [
        Table(
            (Column("model", keep=9), Column("family", keep=7), Column("told", keep=8)),
            rows,
            caption=f"{span(answer.timeout_s)}, objective {goal}, {made}; then LightGBM's parameters are searched",
            notes=answer.notes,
        )
    ]


@document.register
def _(answer: AutomlPlan) -> Any:
    return {
        "recipe": answer.recipe,
        "objective": str(answer.objective) if answer.objective else None,
        "timeout_s": answer.timeout_s,
        "featurize": answer.featurize,
        "models": [
            {"model": model, "family": family, "params": dict(told)} for model, family, told in answer.models
        ],
    }
