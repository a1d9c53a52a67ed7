"""Views of a list of runs: one line per run on a terminal, a column per value elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import PurePath
from typing import Any

from rich.text import Text

from mlctl.domain.recipes import OWN_DATA_RECIPES
from mlctl.domain.run import Run
from mlctl.domain.run_queries import RunField, RunList
from mlctl.domain.tags import SCRIPT_TAG
from mlctl.output.tables import AnswerTable, TableCell, TableColumn
from mlctl.output.text import format_age, format_number
from mlctl.output.views.base import document, tables
from mlctl.output.views.runs import id_cell, metric_cell, run_document, status_text
from mlctl.output.views.scores import INTERVAL, interval_cell, score_cell, score_on_test_cell
from mlctl.units import count, format_duration

MIN_WHAT_WIDTH = 16

Part = tuple[TableColumn, Callable[[Run], Any]]  # a column, and its cell for a run


@document.register
def _(answer: RunList) -> Any:
    documents = []
    for run in answer.runs:
        keys = {key: value for key, value in run_document(run).items() if key != "data"}
        documents.append({**keys, "trials": answer.trials.get(run.run_id, 0)})
    return documents


@tables.register
def _(answer: RunList) -> list[AnswerTable]:
    notes = []
    if answer.best:
        notes.append("* best in this list among runs of the same recipe and data")
    if answer.has_more:
        notes.append(f"the first {count(len(answer.runs), 'run')}; use --limit 0 for all")
    caption = "; ".join(notes)
    full = _table(answer, _all_parts(answer), caption)
    if answer.layout != "summary":
        return [full]
    return [replace(full, terminal=_table(answer, _summary_parts(answer), caption))]


def _table(answer: RunList, parts: Sequence[Part], caption: str) -> AnswerTable:
    return AnswerTable(
        columns=[column for column, _ in parts],
        rows=[[cell(run) for _, cell in parts] for run in answer.runs],
        caption=caption,
        empty=answer.searched or "no runs",
        hidden_columns=_count_hidden(answer),
    )


def _count_hidden(answer: RunList) -> int:
    """Return how many metrics and parameters of the runs have no column."""
    if answer.layout != "summary":
        return 0
    recorded = {name for run in answer.runs for name in (*run.metrics, *run.params)}
    return len(recorded - {field.name for field in answer.columns})


def _summary_parts(answer: RunList) -> list[Part]:
    """Return the columns of a terminal: the score of each run has its name, so that all share a column."""
    score_names = {name for score in answer.scores.values() for name in (score.metric, score.test_metric)}
    own = [field for field in answer.requested if field.kind != "metric" or field.name not in score_names]
    parts: list[Part] = [
        (TableColumn("run", wrap=False), _name),
        (TableColumn("id", keep=2), id_cell),
        (TableColumn("recipe, data", wrap=False, narrow_to=MIN_WHAT_WIDTH), partial(_what, answer)),
        *((_field_column(field, keep=7), partial(_field_cell, answer, field)) for field in own),
    ]
    if answer.scores:
        parts.append((TableColumn("score", wrap=False), partial(_score, answer)))
    has_test = any(score.test_value is not None for score in answer.scores.values())
    if has_test or any(run.status != "FINISHED" for run in answer.runs):
        parts.append(
            (TableColumn("test" if has_test else "status", keep=8), partial(_test_or_status, answer))
        )
    if any(score.test_interval for score in answer.scores.values()):
        parts.append((TableColumn(INTERVAL, keep=1), partial(_test_interval, answer)))
    parts += [
        (TableColumn("took", right=True, keep=3), _duration),
        (TableColumn("age", right=True, keep=4), _age),
    ]
    if any(answer.differing.values()):
        parts.append((TableColumn("parameters that differ", keep=1), partial(_differing, answer)))
    return parts


def _all_parts(answer: RunList) -> list[Part]:
    """Return a column for each value, for a pipe and for programs, or those that the user chose."""
    intervals = {} if answer.layout == "chosen" else {run.run_id: run.intervals for run in answer.runs}
    fields: list[Part] = []
    for field in answer.columns:
        fields.append((_field_column(field, keep=8), partial(_field_cell, answer, field)))
        if field.kind == "metric" and any(field.name in of_run for of_run in intervals.values()):
            column = TableColumn(f"{field}: {INTERVAL}", keep=1)
            fields.append((column, partial(_metric_interval, intervals, field.name)))
    if answer.layout == "chosen":
        return [(TableColumn("run"), _name), (TableColumn("id", keep=8), id_cell), *fields]
    trials: list[Part] = [(TableColumn("trials", right=True), lambda run: answer.trials.get(run.run_id))]
    return [
        (TableColumn("run"), _name),
        (TableColumn("id"), id_cell),
        (TableColumn("experiment", keep=5), lambda run: run.experiment),
        (TableColumn("status"), status_text),
        (TableColumn("started", keep=7), _start_time),
        (TableColumn("duration", right=True, keep=6), _duration),
        (TableColumn("recipe", keep=7), lambda run: run.recipe),
        (TableColumn("data", keep=7), _data),
        *(trials if answer.trials else []),
        *fields,
    ]


def _name(run: Run) -> Any:
    """Return the name of a run; that of a nested run is indented."""
    return TableCell(run.run_name, f"  {run.run_name}") if run.parent_run_id else run.run_name


def _what(answer: RunList, run: Run) -> Any:
    """Return the recipe and the data, such as "wine red.csv" or "4 trials of digits"."""
    what = " ".join(dict.fromkeys(text for text in _recipe_and_data(run) if text))
    if trials := answer.trials.get(run.run_id):
        what = f"{count(trials, 'trial')} of {what}"
    is_synthetic = run.data is not None and run.data.synthetic
    return TableCell(what, Text.assemble(("synthetic " if is_synthetic else "", "yellow"), what))


def _recipe_and_data(run: Run) -> tuple[str, str]:
    """Return the names of a run's recipe and data; a script and a user's own table have those of their files."""
    source = PurePath(run.data.source).name if run.data else ""
    if SCRIPT_TAG in run.tags:
        return (_started(run.tags[SCRIPT_TAG]) or run.recipe, source if "." in source else "")
    if run.recipe in OWN_DATA_RECIPES:
        return ("" if "." in source else run.recipe, source)
    return (run.recipe, run.data.name or source if run.data else "")


def _started(script_tag: str) -> str:
    """Return the file or module of a script; "" if somebody has edited the tag."""
    try:
        script = json.loads(script_tag)
        return str(script["module"] or PurePath(script["script"]).name)
    except (ValueError, KeyError, TypeError):
        return ""


def _score(answer: RunList, run: Run) -> Any:
    score = answer.scores.get(run.run_id)
    return score_cell(score, is_best=score is not None and score.metric in answer.best.get(run.run_id, ()))


def _test_or_status(answer: RunList, run: Run) -> Any:
    """Return the value on the test split, which a run seldom has before it is finished, or the status."""
    score, best = answer.scores.get(run.run_id), answer.best.get(run.run_id, ())
    cell = score_on_test_cell(score, is_best=score is not None and score.test_metric in best)
    if run.status == "FINISHED":
        return cell
    return Text.assemble(cell.shown, " ", status_text(run)) if cell else status_text(run)


def _test_interval(answer: RunList, run: Run) -> Any:
    score = answer.scores.get(run.run_id)
    return interval_cell(score.test_interval if score else None)


def _metric_interval(
    intervals: Mapping[str, Mapping[str, tuple[float, float]]], metric: str, run: Run
) -> Any:
    return interval_cell(intervals[run.run_id].get(metric))


def _duration(run: Run) -> Any:
    return TableCell(run.duration_s, format_duration(run.duration_s))


def _start_time(run: Run) -> Any:
    return TableCell(run.started_at.isoformat() if run.started_at else None, format_age(run.started_at))


def _age(run: Run) -> Any:
    return format_age(run.started_at).removesuffix(" ago")


def _data(run: Run) -> Any:
    if run.data is None:
        return ""
    return Text("synthetic", style="yellow") if run.data.synthetic else run.data.name or run.data.source


def _differing(answer: RunList, run: Run) -> str:
    return " ".join(f"{name}={_short(value)}" for name, value in answer.differing[run.run_id].items())


def _short(value: str) -> str:
    """Return a parameter without the many digits of a random number."""
    try:
        return format_number(float(value)) if "." in value else value
    except ValueError:
        return value


def _field_column(field: RunField, keep: int) -> TableColumn:
    is_right = field.kind in {"metric", "param"} or field == RunField("attribute", "duration")
    return TableColumn(str(field), right=is_right, keep=keep)


def _field_cell(answer: RunList, field: RunField, run: Run) -> Any:
    if field.kind == "metric":
        is_marked = any(field.name in names for names in answer.best.values())
        is_best = field.name in answer.best.get(run.run_id, ())
        return metric_cell(
            {**run.metrics, **run.system_metrics}.get(field.name), is_best=is_best, marked=is_marked
        )
    if field.kind in {"param", "tag"}:
        return (run.params if field.kind == "param" else run.tags).get(field.name)
    return ATTRIBUTE_CELLS[field.name](run)


ATTRIBUTE_CELLS: dict[str, Callable[[Run], Any]] = {
    "run_name": lambda run: run.run_name,
    "run_id": lambda run: run.run_id,
    "experiment": lambda run: run.experiment,
    "recipe": lambda run: run.recipe,
    "status": status_text,
    "started": _start_time,
    "duration": _duration,
    "data": _data,
    "parent": lambda run: run.parent_run_id,
}
