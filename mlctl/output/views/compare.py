"""How differences and curves are shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.text import Text

from mlctl.domain.run_queries import Curves, DownloadedArtifact, RunDiff
from mlctl.output.chart import chart
from mlctl.output.render import Cell, Column, Table
from mlctl.output.views.base import document, tables

VERDICTS = {"better": "green", "worse": "red"}
LONGEST = 26


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
def _(answer: RunDiff) -> list[Table]:
    names = [f"{run.run_name} ({run.run_id[:8]})" for run in (answer.a, answer.b)]
    columns = (
        Column("what", keep=7),
        Column("differs", keep=9),
        Column(names[0], True, keep=9),
        Column(names[1], True, keep=9),
        Column("", keep=9),
    )
    rows: list[tuple[Any, ...]] = []
    metrics = sorted(answer.metrics, key=lambda name: (not name.startswith(("best_", "test_")), name))
    for name in metrics:
        a, b = answer.metrics[name]
        said = answer.verdicts.get(name, "")
        change = f" ({b - a:+.4g})" if a is not None and b is not None else ""
        rows.append(("metric", name, a, b, Text((said + change).strip(), style=VERDICTS.get(said, ""))))
    for part in ("params", "data", "code", "environment"):
        values: Mapping[str, tuple[Any, Any]] = getattr(answer, part)
        rows += [(part.removesuffix("s"), name, *map(_short, values[name]), "") for name in sorted(values)]
    return [Table(columns, rows, empty="they do not differ")]


def _short(value: Any) -> Any:
    if value is None:
        return Cell(None, Text("none", style="dim"))
    text = " ".join(str(value).split())
    return Cell(value, text if len(text) <= LONGEST else text[: LONGEST - 1] + "…")


@document.register
def _(answer: Curves) -> Any:
    return {"metric": answer.metric, "saved": answer.saved, "runs": [asdict(one) for one in answer.curves]}


@tables.register
def _(answer: Curves) -> list[Table]:
    columns = (Column("run", keep=9), Column("id"), Column("step", True), Column(answer.metric, True))
    rows = [
        (one.run_name, one.run_id, step, value)
        for one in answer.curves
        for step, value in zip(one.steps, one.values, strict=True)
    ]
    return [
        Table(
            columns, rows, drawing=lambda width, colored: chart(answer.metric, answer.curves, width, colored)
        )
    ]


@document.register
def _(answer: DownloadedArtifact) -> Any:
    return {"run_id": answer.run.run_id, "path": answer.path, "file": answer.file}


@tables.register
def _(answer: DownloadedArtifact) -> list[Table]:
    return [Table((Column("artifact", keep=9), Column("is now", keep=9)), [(answer.path, answer.file)])]
