"""Views of predictions and of compared models: a sentence for one row, a table for more, and small images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.text import Text

from mlctl.domain.serving import ModelComparison, Prediction, PredictionFile, Predictions
from mlctl.output.tables import AnswerTable, TableCell, TableColumn, pair_table
from mlctl.output.text import format_number, is_encodable
from mlctl.output.views.base import document, tables

SHADES, ASCII_SHADES = " ░▒▓█", " .:*#"
CURRENCIES = {"USD": "${}", "EUR": "€{}", "GBP": "£{}"}
MAX_FULL_HEIGHT = 16  # pixels of an image; higher ones are drawn with two pixel rows a line
MAX_PICTURES = 4
Picture = Sequence[Sequence[float]]


@tables.register
def _(answer: Predictions) -> list[AnswerTable]:
    if len(answer.predictions) == 1:
        pictures = [_pictures_table(answer.pictures[:1])] if answer.pictures else []
        return [*pictures, _sentence_table(answer)]
    pictures = [_pictures_table(answer.pictures)] if 1 < len(answer.pictures) <= MAX_PICTURES else []
    return [_rows_table(answer), *pictures]


@document.register
def _(answer: Predictions) -> Any:
    return {
        "model": answer.model,
        "version": answer.version,
        "predictions": [
            {key: value for key, value in vars(prediction).items() if value is not None}
            for prediction in answer.predictions
        ],
    }


def _sentence_table(answer: Predictions) -> AnswerTable:
    prediction = answer.predictions[0]
    cell = TableCell(prediction.label or prediction.value, Text(sentence(answer, prediction), "bold"))
    return AnswerTable(columns=(TableColumn(""),), rows=[(cell,)])


def sentence(answer: Predictions, prediction: Prediction) -> str:
    """Return one prediction as a sentence."""
    truth = (
        "" if prediction.true_label is None else f" (it is {_with_unit(prediction.true_label, answer.unit)})"
    )
    label = prediction.label
    if label is None:
        return f"{_with_unit(prediction.value, answer.unit)}{truth}"
    if answer.task == "binary":
        return f"{label}, {prediction.probability:.2f}{truth}"
    probability = f"probability {prediction.probability:.2f}"
    if label.isdigit() and len(label) == 1 and answer.pictures:
        return f"This number is a{'n' if label == '8' else ''} {label}, {probability}{truth}"
    return f"This is {label}, {probability}{truth}"


def _rows_table(answer: Predictions) -> AnswerTable:
    has_labels = any(prediction.label is not None for prediction in answer.predictions)
    has_truth = any(prediction.true_label is not None for prediction in answer.predictions)
    has_names = len(set(answer.input_names)) > 1
    columns = [TableColumn("row", right=True, keep=8)]
    if has_names:
        columns.append(TableColumn("input", keep=7))
    if has_labels:
        columns += [TableColumn("label"), TableColumn("probability", right=True, keep=8)]
    else:
        columns.append(TableColumn(f"value ({answer.unit})" if answer.unit else "value", right=True))
    if has_truth:
        columns.append(
            TableColumn("true label" if has_labels else "true value", right=not has_labels, keep=8)
        )
    rows: list[list[Any]] = []
    for index, prediction in enumerate(answer.predictions):
        row: list[Any] = [index]
        if has_names:
            row.append(answer.input_names[index])
        if has_labels:
            row += [prediction.label, prediction.probability]
        else:
            row.append(TableCell(prediction.value, _with_unit(prediction.value, answer.unit)))
        if has_truth:
            truth = prediction.true_label
            is_wrong = has_labels and prediction.label != truth
            shown = str(truth) if has_labels else _with_unit(truth, answer.unit)
            row.append(TableCell(truth, Text(shown, style="red" if is_wrong else "")))
        rows.append(row)
    return AnswerTable(columns=columns, rows=rows)


def _with_unit(value: Any, unit: str) -> str:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    if unit in CURRENCIES:
        return CURRENCIES[unit].format(f"{number:,.0f}")
    return f"{format_number(number)} {unit}".strip()


def _pictures_table(pictures: Sequence[Picture]) -> AnswerTable:
    """Return images side by side in shades, for any terminal."""
    drawings = [_draw(picture) for picture in pictures]
    columns = tuple(TableColumn("") for _ in drawings)
    return AnswerTable(columns=columns, rows=list(zip(*drawings, strict=True)))


def _draw(picture: Picture) -> list[str]:
    shades = SHADES if is_encodable(SHADES) else ASCII_SHADES
    top = len(shades) - 1
    if (
        len(picture) <= MAX_FULL_HEIGHT
    ):  # two characters a pixel, because a character is twice as high as wide
        return ["".join(shades[round(light * top)] * 2 for light in line) for line in picture]
    pairs = zip(picture[::2], [*picture[1::2], picture[-1]], strict=False)
    return [
        "".join(shades[round(max(a, b) * top)] for a, b in zip(upper, lower, strict=True))
        for upper, lower in pairs
    ]


@tables.register
def _(answer: PredictionFile) -> list[AnswerTable]:
    rows: list[tuple[str, Any]] = [("file", answer.file), ("rows", answer.rows)]
    if answer.resumed:
        rows.append(("rows from an earlier call", answer.resumed))
    return [pair_table(rows)]


@tables.register
def _(answer: ModelComparison) -> list[AnswerTable]:
    columns = [
        TableColumn("metric"),
        *(TableColumn(model, right=True) for model in answer.models),
    ]
    rows: list[list[Any]] = [[name, *values] for name, values in answer.metrics.items()]
    if len(answer.models) == 2:
        columns.append(TableColumn("difference", right=True, keep=7))
        for row in rows:
            row.append(f"{row[2] - row[1]:+.4g}")
    return [AnswerTable(columns=columns, rows=rows, caption=f"{answer.recipe}: {_describe_rows(answer)}")]


def _describe_rows(answer: ModelComparison) -> str:
    """Return which rows the models were evaluated on."""
    rows = f"{answer.rows:,} row{'s' * (answer.rows != 1)}"
    selection = f"all {rows}" if answer.split == "all" else f"{answer.split} split, {rows}"
    return selection + (f" of {answer.data.source}" if answer.data else "")


@document.register
def _(answer: ModelComparison) -> Any:
    data = answer.data
    return {
        "recipe": answer.recipe,
        "split": answer.split,
        "rows": answer.rows,
        "models": list(answer.models),
        "metrics": {name: list(values) for name, values in answer.metrics.items()},
        "run_id": answer.run_id,
        "data": {"source": data.source, "sha256": data.sha256, "rows": data.rows} if data else None,
    }
