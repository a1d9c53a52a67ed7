"""Views of the differences between runs, of metric curves and of downloaded artifacts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from itertools import takewhile
from typing import Any

from rich.text import Text

from mlctl.domain.run_queries import Curves, DownloadedArtifact, RunDiff
from mlctl.domain.short_texts import one_line
from mlctl.output.charts import draw_chart
from mlctl.output.tables import AnswerTable, TableCell, TableColumn
from mlctl.output.text import format_number
from mlctl.output.views.base import document, tables
from mlctl.output.views.scores import interval_row

VERDICT_COLORS = {"better": "green", "worse": "red"}
MAX_VALUE_LENGTH = 24
MIN_COMMON_LENGTH = 8  # of two texts, to leave their common beginning out
MIN_VALUE_WIDTH = 15


@document.register
def _(answer: RunDiff) -> Any:
    return {
        "runs": [{"run_id": run.run_id, "run_name": run.run_name} for run in (answer.a, answer.b)],
        **{
            part: {name: list(pair) for name, pair in getattr(answer, part).items()}
            for part in ("params", "metrics", "intervals", "data", "code", "environment")
        },
        "verdicts": dict(answer.verdicts),
    }


@tables.register
def _(answer: RunDiff) -> list[AnswerTable]:
    columns = (
        TableColumn("kind", keep=7),
        TableColumn("name"),
        *(TableColumn(title, right=True, narrow_to=MIN_VALUE_WIDTH) for title in _titles(answer)),
        TableColumn("change", narrow_to=MIN_VALUE_WIDTH),
    )
    rows: list[tuple[Any, ...]] = []
    metrics = sorted(answer.metrics, key=lambda name: (not name.startswith(("best_", "test_")), name))
    for name in metrics:
        a, b = answer.metrics[name]
        verdict = answer.verdicts.get(name, "")
        change = _signed(b - a) if a is not None and b is not None else ""
        text = Text(f"{verdict} {change}".strip(), VERDICT_COLORS.get(verdict, ""))
        rows.append(("metric", name, a, b, text))
        if name in answer.intervals:
            rows.append(("metric", *interval_row(name, answer.intervals[name]), ""))
    for part in ("params", "data", "code", "environment"):
        values: Mapping[str, tuple[Any, Any]] = getattr(answer, part)
        kind = part.removesuffix("s")
        rows += [
            (kind, name.removeprefix("mlflow."), *_shorten_pair(*values[name]), "") for name in sorted(values)
        ]
    is_same = answer.a.run_id == answer.b.run_id
    empty = (
        f"both are the same run: {answer.a.run_name} ({answer.a.run_id[:8]})" if is_same else "no differences"
    )
    return [AnswerTable(columns=columns, rows=rows, empty=empty)]


def _titles(answer: RunDiff) -> list[str]:
    """Return the names of both runs, with their ids if both have the same name."""
    runs = (answer.a, answer.b)
    is_unique = answer.a.run_name != answer.b.run_name
    return [run.run_name if is_unique else f"{run.run_name} ({run.run_id[:8]})" for run in runs]


def _signed(difference: float) -> str:
    return ("+" if difference >= 0 else "") + format_number(float(f"{difference:.3g}"))


def _shorten_pair(a: Any, b: Any) -> tuple[Any, Any]:
    """Return the cells of two values; long texts begin where they differ."""
    texts = ["" if value is None else " ".join(str(value).split()) for value in (a, b)]
    if all(texts) and max(map(len, texts)) > MAX_VALUE_LENGTH:
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(*texts, strict=False)))
        common = re.split(r"[^ /]*$", texts[0][:same])[0]
        if len(common) > MIN_COMMON_LENGTH:
            rest_a, rest_b = (
                TableCell(value, "…" + text[len(common) :]) for value, text in zip((a, b), texts, strict=True)
            )
            return rest_a, rest_b
    return shorten(a), shorten(b)


def shorten(value: Any) -> Any:
    """Return the cell of a value: cut if it is long, such as a digest."""
    if value is None:
        return TableCell(None, Text("none", style="dim"))
    return TableCell(value, one_line(value, MAX_VALUE_LENGTH))


@document.register
def _(answer: Curves) -> Any:
    return {
        "metric": answer.metric,
        "saved": answer.saved,
        "runs": [asdict(curve) for curve in answer.curves],
    }


@tables.register
def _(answer: Curves) -> list[AnswerTable]:
    columns = (
        TableColumn("run"),
        TableColumn("id", keep=5),
        TableColumn("step", right=True, keep=5),
        TableColumn(answer.metric, right=True, keep=5),
    )
    rows = [
        (curve.run_name, curve.run_id, step, value)
        for curve in answer.curves
        for step, value in zip(curve.steps, curve.values, strict=True)
    ]

    def drawing(width: int, colored: bool) -> Text:
        return draw_chart(answer.metric, answer.curves, width=width, colored=colored)

    return [AnswerTable(columns=columns, rows=rows, drawing=drawing)]


@document.register
def _(answer: DownloadedArtifact) -> Any:
    return {"run_id": answer.run.run_id, "path": answer.path, "file": answer.file}


@tables.register
def _(answer: DownloadedArtifact) -> list[AnswerTable]:
    columns = (TableColumn("artifact"), TableColumn("downloaded to"))
    return [AnswerTable(columns=columns, rows=[(answer.path, answer.file)])]
