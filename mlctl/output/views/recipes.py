"""How recipes are shown."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from mlctl.domain.recipes import HyperparameterInfo, RecipeDetail, RecipeList
from mlctl.output.render import PAIR, Column, Table
from mlctl.output.views.base import document, tables


@tables.register
def _(answer: RecipeList) -> list[Table]:
    columns = (Column("recipe", keep=9), Column("what it trains", keep=9), Column("from"))
    return [Table(columns, [(one.name, one.summary, one.origin) for one in answer.recipes])]


@document.register
def _(answer: RecipeList) -> Any:
    return [asdict(one) for one in answer.recipes]


@tables.register
def _(answer: RecipeDetail) -> list[Table]:
    about = Table(
        PAIR,
        [
            ("recipe", answer.name),
            ("trains", answer.summary),
            ("objective", answer.objective),
            ("file", answer.source),
        ],
    )
    return [
        _settable("Hyperparameters (--set NAME=VALUE)", answer.hyperparameters),
        *([_settable("Data options (--set NAME=VALUE)", answer.options)] if answer.options else []),
        about,
    ]


def _settable(title: str, values: tuple[HyperparameterInfo, ...]) -> Table:
    columns = (
        Column("name", keep=9), Column("default", keep=9), Column("allowed", keep=9), Column("what it is", keep=8)
    )  # fmt: skip
    return Table(columns, [(one.name, str(one.default), one.allowed, one.help) for one in values], title)


@document.register
def _(answer: RecipeDetail) -> Any:
    return asdict(answer)
