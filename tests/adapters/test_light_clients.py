"""What the clients without MLflow return is what MLflow's own client returns: SQLite, PostgreSQL and a server."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest

from mlctl.adapters.tracking.clients.database_client import DatabaseClient
from mlctl.adapters.tracking.clients.rest_client import RestClient
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.run_queries import Condition, RunField, SortKey
from mlctl.errors import MlctlError
from mlctl.services.runs.run_filter import _predicate
from tests.varied_store import ODD_MODEL, PROMPT, STARTED_MS, TEXTS, VALUES, Stored, assert_same

KINDS = ["sqlite", pytest.param("postgres", marks=pytest.mark.needs("postgres")), "served"]


@pytest.fixture(params=KINDS)
def stored(request: pytest.FixtureRequest) -> Stored:
    found: Stored = request.getfixturevalue(f"{request.param}_store")
    return found


def _same_answer(stored: Stored, call: Callable[[Any], Any]) -> None:
    """Check that both clients answer the same, or raise an error of the same code."""
    found, expected = (_answer(call, client) for client in (stored.light, stored.full))
    if isinstance(expected, str):
        assert found == expected, call.__defaults__
    else:
        assert_same(found, expected)


def _answer(call: Callable[[Any], Any], client: Any) -> Any:
    try:
        return call(client)
    except Exception as exc:
        return getattr(exc, "error_code", repr(exc))


def test_clients_are_the_light_ones(stored: Stored) -> None:
    assert isinstance(stored.light, RestClient if stored.store.is_remote else DatabaseClient)


def test_experiments(stored: Stored) -> None:
    _same_answer(stored, lambda client: client.search_experiments(max_results=1000))


def test_runs_and_their_histories(stored: Stored) -> None:
    runs = (*stored.ids["runs"][:12], stored.ids["deleted"], *stored.ids["in_deleted_experiment"])
    for key in (*runs, "0" * 32):
        _same_answer(stored, lambda client, key=key: client.get_run(key))
    for key, metric in itertools.product(runs[:12], ("loss", "val acc/top-1", "absent")):
        _same_answer(stored, lambda client, k=key, m=metric: client.get_metric_history(k, m))


def test_artifacts_and_logged_models(stored: Stored) -> None:
    run = stored.ids["runs"][1]
    for path in (None, "notes", "notes/", "notes/deep", "top.txt", "absent", "../.."):
        _same_answer(stored, lambda client, path=path: client.list_artifacts(run, path))
    _same_answer(stored, lambda client: client.list_artifacts("0" * 32))
    for model in (stored.ids["logged"], stored.ids["deleted_model"], "m-absent"):
        _same_answer(stored, lambda client, model=model: client.get_logged_model(model))
    _same_answer(stored, lambda client: client.list_logged_model_artifacts(stored.ids["logged"]))


def test_a_text_of_a_run_is_read(stored: Stored) -> None:
    run = stored.store.get_run(stored.ids["runs"][1])
    texts = [stored.store.read_artifact(run, path) for path in ("top.txt", "notes/deep/a b.txt")]
    assert texts == ["bc", "a"]
    assert stored.store.client.read_artifact(run.run_id, "top.txt") == "bc"
    with pytest.raises(MlctlError):
        stored.store.read_artifact(run, "absent.txt")


def test_registry(stored: Stored) -> None:
    _same_answer(stored, lambda client: client.search_registered_models())
    _same_answer(stored, lambda client: client.search_model_versions())
    for name in ("wine", ODD_MODEL, "empty", PROMPT, "absent", "a/b", "", "Wine"):
        _same_answer(stored, lambda client, name=name: client.get_registered_model(name))
        quote = '"' if "'" in name else "'"
        if '"' not in name:
            text = f"name = {quote}{name}{quote}"
            _same_answer(stored, lambda client, text=text: client.search_model_versions(text))
        for version in ("1", "2", "6", "99"):
            _same_answer(stored, lambda client, n=name, v=version: client.get_model_version(n, v))
    run = stored.ids["runs"][1]
    for text in (
        f"run_id = '{run}'", f'run_id="{run}"', f"source_path = 'runs:/{run}/x'",
        f"name = 'wine' and run_id = '{run}'", "name LIKE 'w%'", "name = 'back\\slash'", "name =",
    ):  # fmt: skip
        _same_answer(stored, lambda client, text=text: client.search_model_versions(text))


FIELDS = (
    RunField("metric", "loss"), RunField("metric", "val acc/top-1"), RunField("metric", "absent"),
    RunField("param", "p"), RunField("param", "learning rate"), RunField("tag", "owner"),
    RunField("tag", "mlctl.recipe"), RunField("tag", "mlflow.runName"),
    *(RunField("attribute", name) for name in ("run_name", "run_id", "status", "started", "recipe")),
)  # fmt: skip

EDGES = tuple(  # these hold for runs without a name or a recipe, too
    Condition(RunField("attribute", name), operator, text)
    for name in ("run_name", "recipe")
    for operator, text in (("=", ""), ("like", "%"), ("contains", ""))
)


def _condition(random_: random.Random) -> Condition:
    """Return a condition that the filter language can produce."""
    field = random_.choice(FIELDS)
    if field.kind == "metric":
        value: float | str = random_.choice((*(float(value) for value in VALUES), 0.25))
        return Condition(field, random_.choice(("=", "!=", "<", "<=", ">", ">=")), value)
    if field.name == "started":
        value = STARTED_MS / 1000 + random_.choice((0.0, 3.0, 3.0005, -1.0))
        return Condition(field, random_.choice(("=", "!=", "<", "<=", ">", ">=")), value)
    operator = random_.choice(("=", "!=", "like", "contains", "=", "<"))
    if operator == "<" and field.kind in {"param", "tag"}:
        return Condition(field, operator, random_.choice((0.5, 10.0)))
    texts = {
        "status": ("finished", "LOST", "Running", "nonsense"),
        "run_name": ("run_1", "Run_", "run%", "RUN_5"),
        "run_id": ("a", "%", "1"),
    }.get(field.name, TEXTS)
    text = random_.choice(texts)
    if operator == "=" and field.kind != "attribute" and random_.random() < 0.3:
        return Condition(field, operator, random_.choice((10.0, 0.01, 0.0)))
    return Condition(field, operator if operator != "<" else "=", text)


def _order(random_: random.Random) -> list[SortKey]:
    sortable = [
        field for field in FIELDS if field.kind != "attribute" or field.name in {"run_name", "status"}
    ]
    sortable.append(RunField("attribute", "started"))
    keys = random_.sample(sortable, random_.choice((0, 1, 1, 2)))
    return [SortKey(field, random_.random() < 0.5) for field in keys]


def test_searches_find_the_same_runs_in_the_same_order(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlctl.adapters.tracking.store.FIRST_PAGE_SIZE", 3)
    random_ = random.Random(17)
    by_mlflow = TrackingStore(stored.store.tracking_uri)
    by_mlflow.__dict__["client"] = stored.full
    for number in range(12 if stored.store.is_remote else 40):
        drawn = [_condition(random_) for _ in range(random_.choice((0, 1, 1, 2)))]
        conditions = [EDGES[number]] if number < len(EDGES) else drawn
        order = _order(random_)
        options: dict[str, Any] = {
            "order": order,
            "experiment": random_.choice((None, None, "digits", "empty")),
            "expected": random_.choice((None, 1, 5, 1000)),
        }
        predicates = [_predicate(condition) for condition in conditions]
        found, expected = (
            [
                run
                for run in store.search_runs(conditions, **options)
                if all(matches(run) for matches in predicates)
            ]
            for store in (stored.store, by_mlflow)
        )
        names = [run.run_id for run in found]
        assert names == [run.run_id for run in expected], (number, conditions, options)
        assert_same(found, expected)


def test_runs_by_id_and_counts(stored: Stored) -> None:
    by_mlflow = TrackingStore(stored.store.tracking_uri)
    by_mlflow.__dict__["client"] = stored.full
    ids = [*stored.ids["runs"], stored.ids["deleted"], *stored.ids["in_deleted_experiment"], "0" * 32]
    found, expected = (
        sorted(store.get_runs(ids), key=lambda run: run.run_id) for store in (stored.store, by_mlflow)
    )
    assert_same(found, expected)
    assert stored.store.list_experiments() == by_mlflow.list_experiments()
    run = stored.store.get_run(stored.ids["runs"][2])
    assert stored.store.list_registered_versions(run) == by_mlflow.list_registered_versions(run) != []
