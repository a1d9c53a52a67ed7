"""How a search is shown: its plan, its best ten trials, and all of them as a document."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from rich.text import Text

from mlctl.domain.tune import Search, SearchPlan, Trial
from mlctl.output.render import Cell, Column, Table, number
from mlctl.output.views.base import document, tables
from mlctl.output.views.runs import model_table, run_document
from mlctl.output.words import span

SHOWN = 10
STATES = {"done": "green", "stopped": "yellow", "failed": "red", "running": "cyan"}


@tables.register
def _(answer: Search) -> list[Table]:
    names = list(answer.trials[0].params) if answer.trials else []
    names = [name for name in names if not name.startswith("tuner/")]
    columns = (
        Column("trial", keep=9), Column(answer.objective.metric, right=True, keep=9),
        *(Column(name, right=True, keep=7) for name in names),
        Column("epochs", right=True, keep=4), Column("took", right=True, keep=3), Column("state", keep=8), Column("why", keep=2),
    )  # fmt: skip
    rows = [[_named(one, answer.best), Cell(one.score, number(one.score)), *(one.params.get(name) for name in names),
             one.epochs, Cell(one.duration_s, span(one.duration_s)), Text(one.state, STATES.get(one.state, "")), one.why]
            for one in answer.trials[:SHOWN]]  # fmt: skip
    caption = f"{answer.ended}, objective {answer.objective}; * the final model's values"
    if len(answer.trials) > SHOWN:
        caption += f"; the best {SHOWN} of {len(answer.trials)}, -o json has all"
    return [Table(columns, rows, caption=caption), model_table(answer.run, "The final model")]


def _named(one: Trial, best: str | None) -> Cell:
    return Cell(one.trial, one.trial + ("*" if one.trial == best else " "))


@document.register
def _(answer: Search) -> Any:
    return {
        **run_document(answer.run),
        "objective": str(answer.objective),
        "best_trial": answer.best,
        "ended": answer.ended,
        "trials": [
            {
                "trial": one.trial, "run_id": one.run_id, "state": one.state, "score": one.score,
                "params": dict(one.params), "epochs": one.epochs, "duration_s": one.duration_s, "why": one.why,
            }
            for one in answer.trials
        ],
    }  # fmt: skip


@tables.register
def _(answer: SearchPlan) -> list[Table]:
    size = (
        f"{math.floor(answer.size):,} combinations"
        if math.isfinite(answer.size)
        else "no end of combinations"
    )
    space = Table(
        (Column("searched", keep=9), Column("values", keep=9), Column("how many", right=True, keep=8)),
        [(one.name, one.words, f"{one.size:g}" if math.isfinite(one.size) else "no end") for one in answer.dimensions],
        caption=f"{size}; {answer.algorithm}, {answer.trials} trials, at most {answer.epochs:,} epochs",
        notes=answer.notes,
    )  # fmt: skip
    fixed = Table(
        (Column("fixed", keep=9), Column("value", keep=9)),
        [(name, str(value)) for name, value in answer.fixed.items()],
    )
    names = [one.name for one in answer.dimensions]
    first = Table(
        [Column(name, right=True, keep=8) for name in names],
        [[values.get(name) for name in names] for values in answer.first],
        "The first trials",
    )
    return [space, fixed, *_brackets(answer), first]


def _brackets(answer: SearchPlan) -> list[Table]:
    rows = [
        (str(number), rung.trials, f"{rung.after + 1} to {rung.epochs}", rung.trained)
        for number, bracket in enumerate(answer.brackets, 1) for rung in bracket
    ]  # fmt: skip
    columns = (
        Column("bracket", keep=9), Column("trials", right=True, keep=9), Column("epochs", right=True, keep=8),
        Column("epochs in all", right=True, keep=7),
    )  # fmt: skip
    caption = "each row goes on with the best trials of the row before, in its bracket"
    return [Table(columns, rows, "Hyperband's brackets", caption=caption)] if rows else []


@document.register
def _(answer: SearchPlan) -> Any:
    return {
        "recipe": answer.recipe,
        "algorithm": answer.algorithm,
        "objective": str(answer.objective),
        "space": {one.name: one.words for one in answer.dimensions},
        "fixed": dict(answer.fixed),
        "size": answer.size if math.isfinite(answer.size) else None,
        "trials": answer.trials,
        "epochs": answer.epochs,
        "first": [dict(values) for values in answer.first],
        "brackets": [[asdict(rung) for rung in bracket] for bracket in answer.brackets],
    }
