"""Views of predictions and of compared models: a sentence for one row, a table for more, and small images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.text import Text

from mlctl.domain.serving import ModelComparison, Prediction, PredictionFile, Predictions
from mlctl.output.tables import AnswerTable, TableCell, TableColumn, pair_table
from mlctl.output.text import format_number, is_encodable
from mlctl.output.views.base import document, tables
from mlctl.output.views.scores import INTERVAL, interval_cell

SHADES, ASCII_SHADES = " ░▒▓█", " .:*#"
CURRENCIES = {"USD": "${}", "EUR": "€{}", "GBP": "£{}"}
MAX_FULL_HEIGHT = 16  # pixels of an image; higher ones are drawn with two pixel rows a line
MAX_PICTURES = 4
MAX_LISTED = 8  # numbers, labels or classes of one row
Picture = Sequence[Sequence[float]]


@tables.register
def _(answer: Predictions) -> list[AnswerTable]:
    if answer.outputs:
        return [_outputs_table(answer)]
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
        "predictions": {each.output.name: _entries(each.predictions) for each in answer.outputs}
        if answer.outputs
        else _entries(answer.predictions),
    }


def _entries(predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in vars(prediction).items() if value is not None}
        for prediction in predictions
    ]


def _sentence_table(answer: Predictions) -> AnswerTable:
    prediction = answer.predictions[0]
    cell = TableCell(prediction.label or prediction.value, Text(sentence(answer, prediction), "bold"))
    return AnswerTable(columns=(TableColumn(""),), rows=[(cell,)])


def sentence(answer: Predictions, prediction: Prediction) -> str:
    """Return one prediction as a sentence."""
    truth = "" if prediction.true_label is None else f" (it is {_truth(prediction, answer.unit)})"
    label = prediction.label
    if label is None:
        return f"{summary(prediction, answer.unit)}{truth}"
    if answer.task == "binary":
        return f"{label}, {prediction.probability:.2f}{truth}"
    probability = f"probability {prediction.probability:.2f}"
    if label.isdigit() and len(label) == 1 and answer.pictures:
        return f"This number is a{'n' if label == '8' else ''} {label}, {probability}{truth}"
    return f"This is {label}, {probability}{truth}"


def summary(prediction: Prediction, unit: str = "") -> str:
    """Return what a prediction says in a few words, whatever kind of output it is of."""
    if prediction.label is not None:
        return f"{prediction.label}, {prediction.probability:.2f}"
    if prediction.shares is not None:
        size = "x".join(map(str, prediction.shape or ()))
        shares = sorted(prediction.shares.items(), key=lambda share: -share[1])
        listed = ", ".join(f"{name} {share:.0%}" for name, share in shares[:MAX_LISTED] if share > 0)
        return f"{size}: {listed}"
    if prediction.labels is not None:
        if len(prediction.labels) > MAX_LISTED:
            shown = " ".join(prediction.labels[:MAX_LISTED])
            return f"{shown} … ({len(prediction.labels)} in all)"
        pairs = zip(prediction.labels, prediction.probabilities or (), strict=True)
        return ", ".join(f"{label} {probability:.2f}" for label, probability in pairs) or "no label applies"
    return _numbers(prediction.value, unit)


def _numbers(value: Any, unit: str) -> str:
    """Return a number, a few numbers, or the shape and the range of many."""
    if not isinstance(value, list):
        return _with_unit(value, unit)
    if len(value) <= MAX_LISTED and not any(isinstance(part, (list, dict)) for part in value):
        return ", ".join(_with_unit(part, "") for part in value) + (f" {unit}" if unit else "")
    numbers = [number for number in _flat(value) if isinstance(number, (int, float))]
    shape = "x".join(map(str, _shape(value)))
    if not numbers:
        return f"{shape} values"
    mean = format_number(sum(numbers) / len(numbers))
    span = f"{format_number(min(numbers))} to {format_number(max(numbers))}"
    return f"{shape} numbers from {span}, mean {mean}{f' {unit}' if unit else ''}"


def _flat(value: Any) -> Iterator[Any]:
    if not isinstance(value, list):
        yield value
        return
    for part in value:
        yield from _flat(part)


def _shape(value: Any) -> list[int]:
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return shape


def _truth(prediction: Prediction, unit: str) -> str:
    truth = prediction.true_label
    if not isinstance(truth, tuple):
        return _with_unit(truth, unit) if prediction.label is None else str(truth)
    shown = [_with_unit(part, "") if prediction.labels is None else part for part in truth[:MAX_LISTED]]
    more = " …" if len(truth) > MAX_LISTED else ""
    return (", ".join(shown) or "none") + more


def _row_number(index: int) -> TableCell:
    """Return a row's number: people count from 1, and programs from 0, as in files of answers."""
    return TableCell(index, str(index + 1))


def _rows_table(answer: Predictions) -> AnswerTable:
    has_names = len(set(answer.input_names)) > 1
    columns = [TableColumn("row", right=True, keep=8)]
    if has_names:
        columns.append(TableColumn("input", keep=7))
    cells, more = _output_columns(answer.predictions, unit=answer.unit)
    rows = [
        [_row_number(index), *([answer.input_names[index]] if has_names else []), *row]
        for index, row in enumerate(more)
    ]
    return AnswerTable(columns=[*columns, *cells], rows=rows)


def _outputs_table(answer: Predictions) -> AnswerTable:
    """Return the predictions of several outputs: a line for each output, or for each row if there are several."""
    first = answer.outputs[0].predictions
    if len(first) == 1:
        return _one_row_table(answer)
    has_names = len(set(answer.input_names)) > 1
    all_columns = [TableColumn("row", right=True, keep=8)]
    rows: list[list[Any]] = [[_row_number(index)] for index in range(len(first))]
    if has_names:
        all_columns.append(TableColumn("input", keep=7))
        for row, name in zip(rows, answer.input_names, strict=True):
            row.append(name)
    for each in answer.outputs:
        columns, cells = _output_columns(
            each.predictions, unit=each.output.unit, prefix=f"{each.output.name} "
        )
        all_columns += columns
        for row, more in zip(rows, cells, strict=True):
            row += more
    return AnswerTable(columns=all_columns, rows=rows)


def _one_row_table(answer: Predictions) -> AnswerTable:
    """Return a line for each output of the only row."""
    predictions = [(each.output, each.predictions[0]) for each in answer.outputs]
    has_labels = any(prediction.label is not None for _, prediction in predictions)
    has_truth = any(prediction.true_label is not None for _, prediction in predictions)
    columns = [TableColumn("output"), TableColumn("prediction")]
    columns += [TableColumn("probability", right=True, keep=8)] if has_labels else []
    columns += [TableColumn("true", keep=8)] if has_truth else []
    lines: list[list[Any]] = []
    for output, prediction in predictions:
        shown = prediction.label or summary(prediction, output.unit)
        line: list[Any] = [output.name, TableCell(prediction.label or _cell_value(prediction), shown)]
        if has_labels:
            line.append("" if prediction.probability is None else prediction.probability)
        if has_truth:
            line.append("" if prediction.true_label is None else _truth(prediction, output.unit))
        lines.append(line)
    return AnswerTable(columns=columns, rows=lines)


def _output_columns(
    predictions: Sequence[Prediction], *, unit: str, prefix: str = ""
) -> tuple[list[TableColumn], list[list[Any]]]:
    """Return the columns of one output, and each row's cells in them."""
    has_labels = any(prediction.label is not None for prediction in predictions)
    has_truth = any(prediction.true_label is not None for prediction in predictions)
    is_number = all(isinstance(prediction.value, (int, float)) for prediction in predictions)
    if has_labels:
        columns = [TableColumn(f"{prefix}label"), TableColumn(f"{prefix}probability", right=True, keep=8)]
    else:
        title = _title(predictions[0]) + (f" ({unit})" if unit else "") if predictions else "value"
        columns = [TableColumn(f"{prefix}{title}", right=is_number)]
    if has_truth:
        name = {"label": "true label", "labels": "true labels"}.get(
            "label" if has_labels else _title(predictions[0]), "true value"
        )
        columns.append(TableColumn(f"{prefix}{name}", right=is_number and not has_labels, keep=8))
    rows: list[list[Any]] = []
    for prediction in predictions:
        row: list[Any] = (
            [prediction.label, prediction.probability]
            if has_labels
            else [TableCell(_cell_value(prediction), summary(prediction, unit))]
        )
        if has_truth:
            truth = prediction.true_label
            is_wrong = has_labels and prediction.label != truth
            shown = "" if truth is None else _truth(prediction, unit)
            value = ", ".join(truth) if isinstance(truth, tuple) else truth
            row.append(TableCell(value, Text(shown, style="red" if is_wrong else "")))
        rows.append(row)
    return columns, rows


def _title(prediction: Prediction) -> str:
    if prediction.shares is not None:
        return "pixels"
    return "value" if prediction.labels is None else "labels"


def _cell_value(prediction: Prediction) -> Any:
    """Return what a program reads in a table's cell."""
    if prediction.labels is not None:
        return ", ".join(prediction.labels)
    return summary(prediction) if prediction.shares is not None else prediction.value


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
    if answer.intervals:
        titles = (
            [INTERVAL] if len(answer.models) == 1 else [f"{model}: {INTERVAL}" for model in answer.models]
        )
        columns += [TableColumn(title, keep=6) for title in titles]
        for row in rows:
            row += map(interval_cell, answer.intervals.get(row[0], (None,) * len(titles)))
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
        "intervals": {
            name: [list(bounds) if bounds else None for bounds in intervals]
            for name, intervals in answer.intervals.items()
        },
        "run_id": answer.run_id,
        "data": {"source": data.source, "sha256": data.sha256, "rows": data.rows} if data else None,
    }
