"""How a model's answers are shown: a sentence for one, a table for more, the picture that was asked about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.text import Text

from mlctl.domain.serving import Comparison, Prediction, PredictionFile, Predictions
from mlctl.output.render import PAIR, Cell, Column, Table, number
from mlctl.output.views.base import document, tables
from mlctl.output.words import encodable

SHADES, PLAIN = " ░▒▓█", " .:*#"
CURRENCIES = {"USD": "${}", "EUR": "€{}", "GBP": "£{}"}
HIGH = 16  # pictures up to this height take two characters a pixel, larger ones half a line


@tables.register
def _(answer: Predictions) -> list[Table]:
    if len(answer.predictions) == 1:
        drawn = [drawing(answer.pictures[0])] if answer.pictures else []
        return [_sentence(answer), *drawn][::-1]
    drawn = [_side_by_side(answer.pictures)] if 1 < len(answer.pictures) <= 4 else []
    return [_rows(answer), *drawn]


@document.register
def _(answer: Predictions) -> Any:
    return {
        "model": answer.model,
        "version": answer.version,
        "predictions": [
            {key: value for key, value in vars(one).items() if value is not None}
            for one in answer.predictions
        ],
    }


def _sentence(answer: Predictions) -> Table:
    one = answer.predictions[0]
    return Table(
        (Column("", keep=9),), [(Cell(one.label or one.value, Text(sentence(answer, one), "bold")),)]
    )


def sentence(answer: Predictions, one: Prediction) -> str:
    """Return one answer as somebody would say it."""
    truth = "" if one.true_label is None else f" (it is {_valued(one.true_label, answer.unit)})"
    if one.label is None:
        return f"{_valued(one.value, answer.unit)}{truth}"
    sure = f"probability {one.probability:.2f}"
    if answer.task == "binary":
        return f"{one.label}, {one.probability:.2f}{truth}"
    if one.label.isdigit() and len(one.label) == 1 and answer.pictures:
        return f"This number is a{'n' if one.label == '8' else ''} {one.label}, {sure}{truth}"
    return f"This is {one.label}, {sure}{truth}"


def _rows(answer: Predictions) -> Table:
    labelled = any(one.label is not None for one in answer.predictions)
    truths = any(one.true_label is not None for one in answer.predictions)
    columns = [Column("row", right=True, keep=8)]
    named = len(set(answer.names)) > 1
    columns += [Column("input", keep=7)] if named else []
    columns += [Column("label", keep=9), Column("probability", right=True, keep=8)] if labelled else []
    columns += (
        [] if labelled else [Column(f"value{f' ({answer.unit})' if answer.unit else ''}", right=True, keep=9)]
    )
    columns += (
        [Column("true label" if labelled else "true value", right=not labelled, keep=8)] if truths else []
    )
    rows: list[list[Any]] = []
    for index, one in enumerate(answer.predictions):
        row: list[Any] = [index]
        row += [answer.names[index]] if named else []
        row += (
            [one.label, one.probability] if labelled else [Cell(one.value, _valued(one.value, answer.unit))]
        )
        if truths:
            wrong = labelled and one.label != one.true_label
            shown = _valued(one.true_label, answer.unit) if not labelled else str(one.true_label)
            row.append(Cell(one.true_label, Text(shown, style="red" if wrong else "")))
        rows.append(row)
    return Table(columns, rows)


def _valued(value: Any, unit: str) -> str:
    try:
        figure = float(value)
    except (TypeError, ValueError):
        return str(value)
    if unit in CURRENCIES:
        return CURRENCIES[unit].format(f"{figure:,.0f}")
    return f"{number(figure)} {unit}".strip()


def drawing(picture: Sequence[Sequence[float]]) -> Table:
    """Return a picture in shades, for any terminal."""
    return Table((Column("", keep=9),), [(line,) for line in _lines(picture)])


def _side_by_side(pictures: Sequence[Sequence[Sequence[float]]]) -> Table:
    drawn = [_lines(one) for one in pictures]
    return Table(tuple(Column("", keep=9) for _ in drawn), list(zip(*drawn, strict=True)))


def _lines(picture: Sequence[Sequence[float]]) -> list[str]:
    shades = SHADES if encodable(SHADES) else PLAIN
    top = len(shades) - 1
    if len(picture) <= HIGH:
        return ["".join(shades[round(light * top)] * 2 for light in line) for line in picture]
    pairs = zip(picture[::2], [*picture[1::2], picture[-1]], strict=False)
    return [
        "".join(shades[round(max(a, b) * top)] for a, b in zip(upper, lower, strict=True))
        for upper, lower in pairs
    ]


@tables.register
def _(answer: PredictionFile) -> list[Table]:
    rows = [("file", answer.file), ("rows", answer.rows)]
    rows += [("of an earlier call", answer.resumed)] if answer.resumed else []
    return [Table(PAIR, rows)]


@document.register
def _(answer: PredictionFile) -> Any:
    return dict(vars(answer))


@tables.register
def _(answer: Comparison) -> list[Table]:
    columns = [Column("metric", keep=9), *(Column(one, right=True, keep=9) for one in answer.models)]
    two = len(answer.models) == 2
    columns += [Column("difference", right=True, keep=7)] if two else []
    rows = [
        [name, *values, *([f"{values[1] - values[0]:+.4g}"] if two else [])]
        for name, values in answer.metrics.items()
    ]
    return [Table(columns, rows, caption=f"{answer.recipe}: {_scored(answer)}")]


def _scored(answer: Comparison) -> str:
    """Return in words which rows the models were scored on."""
    rows = f"{answer.rows:,} row{'s' * (answer.rows != 1)}"
    which = f"all {rows}" if answer.split == "all" else f"{answer.split} split, {rows}"
    return which + (f" of {answer.data.source}" if answer.data else "")


@document.register
def _(answer: Comparison) -> Any:
    data = answer.data
    return {
        "recipe": answer.recipe, "split": answer.split, "rows": answer.rows, "models": list(answer.models),
        "metrics": {name: list(values) for name, values in answer.metrics.items()}, "run_id": answer.run_id,
        "data": {"source": data.source, "sha256": data.sha256, "rows": data.rows} if data else None,
    }  # fmt: skip
