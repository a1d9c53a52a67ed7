"""Views of recipes."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from mlctl.domain.recipes import HyperparameterInfo, RecipeDetail, RecipeList
from mlctl.output.tables import AnswerTable, TableColumn, pair_table
from mlctl.output.views.base import document, tables


@tables.register
def _(answer: RecipeList) -> list[AnswerTable]:
    columns = (TableColumn("recipe"), TableColumn("trains", narrow_to=32), TableColumn("origin", keep=5))
    rows = [(recipe.name, recipe.summary, recipe.origin) for recipe in answer.recipes]
    return [AnswerTable(columns=columns, rows=rows)]


@document.register
def _(answer: RecipeList) -> Any:
    return [asdict(recipe) for recipe in answer.recipes]


@tables.register
def _(answer: RecipeDetail) -> list[AnswerTable]:
    rows = [
        ("recipe", answer.name),
        ("trains", answer.summary),
        ("objective", answer.objective),
        ("file", answer.source),
    ]
    return [
        _values_table("Hyperparameters (--set NAME=VALUE)", answer.hyperparameters),
        *([_values_table("Data options (--set NAME=VALUE)", answer.options)] if answer.options else []),
        pair_table(rows),
    ]


def _values_table(title: str, values: tuple[HyperparameterInfo, ...]) -> AnswerTable:
    columns = (
        TableColumn("name"),
        TableColumn("default"),
        TableColumn("allowed", narrow_to=16),
        TableColumn("what it is"),
    )
    rows = [(value.name, str(value.default), _allowed(value), value.help) for value in values]
    return AnswerTable(columns=columns, rows=rows, title=title)


def _allowed(value: HyperparameterInfo) -> str:
    return f"{value.allowed} (if {value.when})" if value.when else value.allowed
