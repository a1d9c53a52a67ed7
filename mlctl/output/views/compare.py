"""Views of the differences between runs, of metric curves and of downloaded artifacts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.text import Text

from mlctl.domain.run_queries import Curves, DownloadedArtifact, RunDiff
from mlctl.output.charts import draw_chart
from mlctl.output.tables import AnswerTable, TableCell, TableColumn
from mlctl.output.views.base import document, tables

VERDICT_COLORS = {"better": "green", "worse": "red"}
MAX_VALUE_LENGTH = 26


@document.register
def _(answer: RunDiff) -> Any:
    return {
        "runs": [{"run_id": run.run_id, "run_name": run.run_name} for run in (answer.a, answer.b)],
        **{
            part: {name: list(pair) for name, pair in getattr(answer, part).items()}
            for part in ("params", "metrics", "data", "code", "environment")
        },
        "verdicts": dict(answer.verdicts),
    }


@tables.register
def _(answer: RunDiff) -> list[AnswerTable]:
    columns = (
        TableColumn("kind", keep=7),
        TableColumn("name"),
        *(TableColumn(f"{run.run_name} ({run.run_id[:8]})", right=True) for run in (answer.a, answer.b)),
        TableColumn("change"),
    )
    rows: list[tuple[Any, ...]] = []
    metrics = sorted(answer.metrics, key=lambda name: (not name.startswith(("best_", "test_")), name))
    for name in metrics:
        a, b = answer.metrics[name]
        verdict = answer.verdicts.get(name, "")
        change = f" ({b - a:+.4g})" if a is not None and b is not None else ""
        rows.append(("metric", name, a, b, Text((verdict + change).strip(), VERDICT_COLORS.get(verdict, ""))))
    for part in ("params", "data", "code", "environment"):
        values: Mapping[str, tuple[Any, Any]] = getattr(answer, part)
        rows += [(part.removesuffix("s"), name, *map(_shorten, values[name]), "") for name in sorted(values)]
    return [AnswerTable(columns=columns, rows=rows, empty="no differences")]


def _shorten(value: Any) -> Any:
    if value is None:
        return TableCell(None, Text("none", style="dim"))
    text = " ".join(str(value).split())
    return TableCell(value, text if len(text) <= MAX_VALUE_LENGTH else text[: MAX_VALUE_LENGTH - 1] + "…")


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
