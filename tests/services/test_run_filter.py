"""The filter language of `mlctl runs list --where`."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.run import Run
from mlctl.domain.run_queries import RunField
from mlctl.errors import UsageError
from mlctl.services.runs.fields import ATTRIBUTES, FieldResolver
from mlctl.services.runs.run_filter import parse_filter

pytestmark = pytest.mark.unit

RUN = Run(
    run_id="ab" * 16,
    run_name="imdb-7",
    experiment="imdb",
    status="FINISHED",
    tracking_uri="",
    recipe="imdb",
    params={"epochs": "10", "learning_rate": "1e-2", "optimizer": "Adam"},
    metrics={"best_val_f1": 0.9, "lost": math.nan, "val-acc": 0.5},
    tags={"owner": "ann o'hara"},
    started_at=datetime.now(UTC) - timedelta(hours=3),
    duration_s=95.0,
)


def resolve(name: str, context: str) -> RunField:
    prefix, _, rest = name.partition(".")
    kinds = {"params": "param", "tags": "tag", "metrics": "metric"}
    if prefix in kinds:
        return RunField(kinds[prefix], rest.strip("`"))
    return RunField("attribute" if name in ATTRIBUTES else "metric", name.strip("`"))


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("best_val_f1 > 0.88 and params.epochs = 10 and status = FINISHED", True),
        ("params.epochs = 10.0", True),
        ("params.epochs > 9", True),  # "10" > "9" fails as text
        ("params.learning_rate = 0.01", True),
        ("params.learning_rate < 0.01", False),
        ("params.optimizer = adam", True),
        ("params.optimizer != adam", False),
        ("params.optimizer != 3", True),
        ("params.optimizer like 'a%m'", True),
        ("params.optimizer like a_m", False),
        ('tags.owner contains "O\'HARA"', True),
        ("tags.owner contains '%'", False),
        ("absent > 1", False),
        ("absent < 1 or best_val_f1 >= 0.9", True),
        ("not absent > 1", True),
        ("not (status = finished or best_val_f1 > 1)", False),
        ("best_val_f1 > 1 and status = FINISHED or params.epochs = 10", True),
        ("best_val_f1 > 1 and (status = FINISHED or params.epochs = 10)", False),
        ("lost = 1 or lost < 1 or lost > 1", False),
        ("lost != 1", True),
        ("val-acc == .5", True),
        ("metrics.`val-acc` <= 5e-1", True),
        ("started > 4h", True),
        ("started > 2h", False),
        ("started > 2000-01-01", True),
        ("duration > 90s and duration < 2m", True),
    ],
)
def test_a_run_matches_or_not(text: str, matches: bool) -> None:
    assert parse_filter(text, resolve).matches(RUN) is matches


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("best_val_f1 >> 3", "character 14"),
        ("best_val_f1 > abc", "needs a number, found 'abc'"),
        ("params.optimizer < adam", "needs a number"),
        ("(status = FAILED", "never closed"),
        ("status = FAILED)", "expected 'and' or 'or'"),
        ("status = 'FAILED", "quote that is never closed"),
        ("status FAILED x", "expected one of"),
        ("status =", "the filter ends"),
        ("status = FAILED and", "the filter ends"),
        ("started > soon", "2026-11-21"),
    ],
)
def test_an_error_shows_the_position(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=r"--where, character \d+") as caught:
        parse_filter(text, resolve)
    assert message in caught.value.message
    assert "▸" in caught.value.hint


def test_a_name_alone_gets_a_comparison_as_an_example() -> None:
    with pytest.raises(UsageError, match="best_val_f1 is compared with nothing") as caught:
        parse_filter("status = FINISHED and best_val_f1", resolve)
    assert caught.value.hint == "write a comparison, such as --where 'best_val_f1 > 0.9'"


@pytest.mark.parametrize(
    "text",
    [
        "val_f1 > 0.65", "val_f1 != 0.7", "not val_f1 > 0.65", "params.epochs = 10",
        "params.learning_rate = 0.01",
        "params.learning_rate >= 0.01", "optimizer = ADAM", "tags.owner like 'a%'", "tags.owner contains NN",
        "status = finished", "status != FINISHED", "started > 5h", "started < 5h", "run_name like 't%'",
        "recipe = TOY", "data = synthetic", "best_val_f1 < 1e-3", "val_loss > -0.5",
        "run = 'stand-in'",
        "experiment = toy", "val_f1 = 0.85 or params.epochs = 20",
    ],
)  # fmt: skip
def test_the_store_leaves_out_only_runs_that_do_not_match(store: str, text: str) -> None:
    tracking = TrackingStore(store)
    run_filter = parse_filter(text, FieldResolver(tracking, None).resolve)
    found = tracking.search_runs(run_filter.conditions)
    matching = {run.run_id for run in tracking.search_runs() if run_filter.matches(run)}
    assert {run.run_id for run in found if run_filter.matches(run)} == matching


def test_an_unknown_name_gets_a_suggestion(store: str) -> None:
    with pytest.raises(UsageError, match="no run has 'best_valf1'") as caught:
        FieldResolver(TrackingStore(store), None).resolve("best_valf1")
    assert caught.value.hint == "did you mean best_val_f1?"
