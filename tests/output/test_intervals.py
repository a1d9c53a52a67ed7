"""95 % intervals beside test scores in tables and documents."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mlctl import output  # registers the views
from mlctl.domain.registry import (
    ModelDetail,
    ModelDiff,
    ModelList,
    RegisteredModel,
    RegisteredVersion,
    Registration,
)
from mlctl.domain.run import Run
from mlctl.domain.run_queries import RunDiff, RunField, RunList
from mlctl.output.tables import AnswerTable, fit_columns
from mlctl.output.views.base import document, tables
from mlctl.output.views.scores import INTERVAL
from mlctl.services.runs.compare import interval_pairs
from mlctl.services.runs.metrics import score_of

pytestmark = pytest.mark.unit
assert output

TAGS = {"mlctl.objective": "max:val_accuracy", "mlctl.intervals": '{"test_accuracy": [0.812, 0.876]}'}
RUN = Run(
    run_id="a" * 32, run_name="digits-1", experiment="Default", status="FINISHED", tracking_uri="",
    metrics={"best_val_accuracy": 0.9, "test_accuracy": 0.85}, tags=TAGS,
)  # fmt: skip
OTHER = replace(RUN, run_id="b" * 32, run_name="digits-2", metrics={"test_accuracy": 0.8}, tags={})
VERSION = RegisteredVersion(
    name="Digits", version="1", stage="None", alias=(), run_id=RUN.run_id, source="", created=None,
    metrics=RUN.metrics, intervals=RUN.intervals, score=score_of(RUN),
)  # fmt: skip


def shown(cell: Any) -> str:
    return str(getattr(cell, "shown", cell))


def column(table: AnswerTable, title: str) -> list[str]:
    place = [column.title for column in table.columns].index(title)
    return [shown(row[place]) for row in table.rows]


def test_a_list_of_runs_has_them_where_there_is_room() -> None:
    score = score_of(RUN)
    assert score is not None
    (full,) = tables(
        RunList(runs=(RUN, OTHER), columns=(RunField("metric", "test_accuracy"),), scores={RUN.run_id: score})
    )
    assert column(full, f"test_accuracy: {INTERVAL}") == ["0.812 to 0.876", ""]
    assert full.terminal is not None
    assert column(full.terminal, INTERVAL) == ["0.812 to 0.876", ""]
    titles = {column.title: place for place, column in enumerate(full.terminal.columns)}
    for width, is_shown in ((120, True), (44, False)):
        places, _, widths = fit_columns(full.terminal, width)
        assert (titles[INTERVAL] in places) == is_shown
        assert titles["test"] in places
        assert sum(widths) + 2 * (len(widths) - 1) <= width
    (chosen,) = tables(RunList(runs=(RUN,), columns=(RunField("metric", "test_accuracy"),), layout="chosen"))
    assert [column.title for column in chosen.columns] == ["run", "id", "test_accuracy"]


def test_registered_versions_have_them() -> None:
    model = RegisteredModel(name="Digits", versions=(VERSION,))
    (listed,) = tables(ModelList((model,)))
    assert listed.terminal is not None
    assert column(listed.terminal, INTERVAL) == ["0.812 to 0.876"]
    assert column(listed, f"test_accuracy: {INTERVAL}") == ["0.812 to 0.876"]
    assert document(ModelDetail(model))[0]["versions"][0]["intervals"] == {"test_accuracy": [0.812, 0.876]}
    answer = Registration(
        name="Digits", version="1", source="", run_id=None, metrics=RUN.metrics, intervals=RUN.intervals
    )
    assert "0.85 (0.812 to 0.876)" in [shown(value) for _, value in tables(answer)[0].rows]


def test_differences_have_them() -> None:
    metrics: dict[str, tuple[float | None, float | None]] = {"test_accuracy": (0.85, 0.8)}
    pairs = interval_pairs(metrics, RUN.intervals, OTHER.intervals)
    of_runs = RunDiff(
        a=RUN, b=OTHER, params={}, metrics=metrics, intervals=pairs, verdicts={}, data={}, code={}, environment={}
    )  # fmt: skip
    of_versions = ModelDiff(
        name="Digits", a="1", b="2", params={}, metrics=metrics, intervals=pairs, data={}, model={}
    )
    for answer in (of_runs, of_versions):
        names = [shown(row[1]) for row in tables(answer)[0].rows]
        assert names == ["test_accuracy", f"  {INTERVAL}"]
        assert [shown(cell) for cell in tables(answer)[0].rows[1][2:4]] == ["0.812 to 0.876", ""]
        assert document(answer)["intervals"] == {"test_accuracy": [(0.812, 0.876), None]}
