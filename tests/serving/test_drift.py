"""The profile of training data, and drift against it: no false alarms, and no shift that is missed."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from mlctl.domain.outputs import Output
from mlctl.serving.traffic.drift import compare_with_profile, row_weight
from mlctl.serving.traffic.live_score import live_score
from mlctl.serving.traffic.profile import make_profile
from mlctl.serving.traffic.statistics import holm, missing_p_values

pytestmark = pytest.mark.unit

REPORTS, ROWS, COLUMNS = 200, 500, 20
Columns = dict[str, Any]


def draw_table(seed: int, rows: int) -> Columns:
    """Return columns of every kind, each with another distribution."""
    random = np.random.default_rng(seed)
    gaps = random.normal(size=rows)
    gaps[random.random(rows) < 0.2] = np.nan
    columns = {
        "normal": random.normal(40, 10, rows),
        "skewed": random.lognormal(0, 1, rows),
        "two hills": random.choice([-1, 1], rows) + random.normal(0, 0.1, rows),
        "count": random.poisson(3, rows),
        "rare": (random.random(rows) < 0.02).astype(float),
        "gaps": gaps,
        "city": random.choice(["Oslo", "Rome", "Kyiv"], rows, p=[0.7, 0.25, 0.05]),
        "street": [f"street {number}" for number in (10 * random.pareto(1, rows)).astype(int) % 900],
        "order": [f"no {number:07}" for number in random.integers(0, 10**7, rows)],
        "member": random.random(rows) < 0.3,
    }
    return {name: _as_column(values) for name, values in columns.items()}


def _as_column(values: Any) -> Any:
    return np.array(values, dtype=object) if isinstance(values, list) or values.dtype.kind == "U" else values


def draw_numbers(seed: int, rows: int) -> Columns:
    random = np.random.default_rng(seed)
    return {f"x{place}": random.normal(place, 1 + place, rows) for place in range(COLUMNS)}


def drifted(profile: dict[str, Any], rows: Any, answers: Any = None) -> set[str]:
    found = compare_with_profile(profile, rows, answers, with_bins=False)
    return {feature.name for feature in found if feature.has_drifted}


@pytest.mark.parametrize("trained_rows", [200, 5000])
def test_at_most_one_of_twenty_reports_without_drift_raises_an_alarm(trained_rows: int) -> None:
    alarms = 0
    for report in range(REPORTS // 2):
        if report % 10 == 0:
            profile = make_profile(draw_table(10_000 + report + trained_rows, trained_rows))
        alarms += bool(drifted(profile, draw_table(report + trained_rows, ROWS)))
    assert alarms <= 0.05 * REPORTS / 2


def test_a_shift_of_half_a_standard_deviation_in_one_of_twenty_columns_is_found() -> None:
    found, trials = 0, 40
    for trial in range(trials):
        if trial % 10 == 0:
            profile = make_profile(draw_numbers(20_000 + trial, 1000))
        rows, name = draw_numbers(trial, ROWS), f"x{trial % COLUMNS}"
        rows[name] += 0.5 * (1 + trial % COLUMNS)
        found += name in drifted(profile, rows)
    assert found >= 0.95 * trials


@pytest.mark.parametrize("name", ["skewed", "two hills", "count", "rare", "gaps"])
def test_a_shift_is_found_whatever_the_distribution(name: str) -> None:
    trained, rows = draw_table(1, 5000), draw_table(2, ROWS)
    if name == "rare":
        rows[name] = (np.random.default_rng(2).random(ROWS) < 0.09).astype(float)
    else:
        rows[name] = rows[name] + np.nanstd(trained[name]) / 2
    assert drifted(make_profile(trained), rows) == {name}


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("normal", lambda column: column + 7, r"median 4[67]\.\d, was 40\.\d"),
        ("gaps", lambda column: np.where(np.arange(ROWS) % 2, np.nan, column), r"6\d % missing, was (19|20) %"),
        ("city", lambda column: np.where(np.arange(ROWS) < 60, "Kyiv", column), r"Kyiv: 1\d % of rows, was .* %"),
        ("city", lambda column: np.where(np.arange(ROWS) < 60, "Bern", column), "Bern"),
        ("count", lambda column: np.where(np.arange(ROWS) < 90, 12, column), ""),
        ("normal", lambda column: 40 + 2 * (column - 40), r"middle half 2\d.* to 5\d.*, was 33.* to 4\d"),
        ("member", lambda column: ~column, "false: "),
    ],
)  # fmt: skip
def test_the_report_says_what_moved(name: str, change: Any, words: str) -> None:
    import re

    rows = draw_table(3, ROWS)
    rows[name] = _as_column(np.asarray(change(rows[name])))
    first = compare_with_profile(make_profile(draw_table(4, 5000)), rows, None)[0]
    assert (first.name, first.has_drifted) == (name, True)
    assert re.search(words, first.words), first.words
    assert sum(entry.live for entry in first.bins) == pytest.approx(1, abs=1e-3)
    assert sum(entry.trained for entry in first.bins) == pytest.approx(1, abs=1e-3)


def test_pictures_are_known_by_brightness_and_contrast() -> None:
    random = np.random.default_rng(0)
    profile = make_profile(random.integers(0, 200, (400, 8, 8)))
    assert list(profile["inputs"][0]["features"]) == ["brightness", "contrast"]
    rows = random.integers(0, 200, (ROWS, 8, 8))
    assert drifted(profile, rows) == set()
    assert drifted(profile, rows + 30) == {"brightness"}
    sizes = [np.ones((random.integers(10, 20), 30, 3)) for _ in range(60)]
    ragged = np.empty(60, object)
    ragged[:] = sizes
    assert {"height", "width"} <= set(make_profile(ragged)["inputs"][0]["features"])


def test_texts_are_known_by_their_length_and_their_unknown_words() -> None:
    random = np.random.default_rng(1)
    words = [f"word{number}" for number in range(300)]

    def draw(rows: int, known: int = 300, length: int = 40) -> Any:
        texts = [" ".join(random.choice(words[:known], random.integers(5, length))) for _ in range(rows)]
        return {"text": np.array(texts, dtype=object)}

    profile = make_profile(draw(600, known=250))
    assert drifted(profile, draw(ROWS, known=250)) == set()
    assert drifted(profile, draw(ROWS)) == {"text: unknown words"}
    assert "text: words" in drifted(profile, draw(ROWS, known=250, length=60))


def test_bags_of_words_have_lost_the_unknown_ones() -> None:
    texts = [f"a fine film number {number} that everybody likes" for number in range(300)]
    profile = make_profile({"text": np.array(texts, dtype=object)}, only_known_words=True)
    assert list(profile["inputs"][0]["features"]) == ["words"]
    with_new_words = {
        "text": np.array([f"{text} zzz{place}" for place, text in enumerate(texts)], dtype=object)
    }
    assert drifted(profile, with_new_words) == set()


def test_answers_are_compared_by_class_and_probability() -> None:
    random = np.random.default_rng(2)
    output = Output(kind="classes", classes=("cat", "dog", "owl"))
    answers, targets = random.dirichlet((5, 3, 1), 600), random.integers(0, 3, 600)
    profile = make_profile({"x": np.arange(600.0)}, answers=answers, outputs=(output,), targets={"": targets})
    assert profile["classes"][""] == dict(zip(output.classes, np.bincount(targets).tolist(), strict=True))
    live = random.dirichlet((1, 3, 5), ROWS)
    first = next(found for found in compare_with_profile(profile, None, live) if found.name == "answer")
    assert first.has_drifted
    assert "of answers, was" in first.words


def test_a_profile_stays_small() -> None:
    random = np.random.default_rng(3)
    wide = {f"column {place}": random.normal(size=500) for place in range(1000)}
    wide |= {f"text {place}": draw_table(place, 500)["order"] for place in range(5)}
    profile = make_profile(wide)
    assert len(json.dumps(profile)) < 250_000
    assert profile["left_out"] == 605


def test_rows_that_are_sent_again_and_again_count_once() -> None:
    profile, few = make_profile(draw_numbers(1, 1000)), draw_numbers(2, 120)
    chosen = np.random.default_rng(3).integers(0, 120, 5000)
    replayed = {name: column[chosen] for name, column in few.items()}
    assert row_weight(profile, replayed) == pytest.approx(120 / 5120, rel=0.05)
    assert drifted(profile, replayed) == set()
    stuck = {name: np.full(ROWS, column[0]) for name, column in few.items()}
    assert row_weight(profile, stuck) == 1
    assert len(drifted(profile, stuck)) == COLUMNS
    broken = draw_numbers(4, ROWS)
    for column in broken.values():
        column[:100] = column[0]
    assert row_weight(profile, broken) == 1
    assert drifted(profile, broken)


def test_the_interval_of_a_live_score() -> None:
    entry = {"name": "", "kind": "label", "classes": ["no", "yes"], "scores": {"accuracy": 0.99}}
    answers = np.full((50, 1), 0.9)
    score = live_score(entry, answers, ["yes"] * 40 + [0] * 5 + [None] * 5)  # numbers are places of classes
    assert score is not None
    assert (score.metric, score.rows, score.value) == ("accuracy", 45, 40 / 45)
    assert (score.low, score.high) == (pytest.approx(0.7605, abs=1e-4), pytest.approx(0.9561, abs=1e-4))
    assert score.has_dropped
    values = {"name": "price", "kind": "number", "scores": {"mae": 1.0}}
    error = live_score(values, np.arange(6.0)[:, None], [1, 2, 3, 4, 5, 7])
    assert error is not None
    assert (error.metric, error.value, error.has_dropped) == ("price_mae", pytest.approx(7 / 6), False)
    assert live_score(values, np.arange(3.0), ["a", "b", "c"]) is None


def test_corrections() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert missing_p_values(0, 100, 0, 100) == []
    assert missing_p_values(0, 5000, 50, 500)[0] < 1e-10
    assert missing_p_values(100, 1000, 52, 500)[0] > 0.5
