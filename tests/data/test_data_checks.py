"""Checks of data before training: outliers, duplicates, wrong targets, and splits that differ."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mlctl.data.checks.columns import find_outliers, number_bins, profile_columns
from mlctl.data.checks.duplicates import find_duplicates
from mlctl.data.checks.labels import find_suspects
from mlctl.data.checks.shift import find_shifts
from mlctl.data.dataset import Dataset, Split

pytestmark = pytest.mark.unit

ROWS = 200


def table(seed: int = 0, rows: int = ROWS, low: float = 18) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame({"age": rng.uniform(low, 80, rows), "plan": rng.choice(["free", "pro"], rows)})


def dataset(train: pd.DataFrame, test: pd.DataFrame, classes: tuple[str, ...] = ("no", "yes")) -> Dataset:
    def targets(frame: pd.DataFrame) -> np.ndarray:
        return (frame["age"] > 50).to_numpy(int) if classes else frame["age"].to_numpy()

    return Dataset(
        "t",
        Split(train, targets(train)),
        None,
        Split(test, targets(test)),
        classes=classes,
        extra={"columns": {"age": "number", "plan": "category"}, "formats": {}},
    )


@pytest.mark.parametrize(
    ("values", "outliers"),
    [
        ([*range(100), 5000.0], [5000.0]),
        ([*range(100), 5000.0, -9000.0], [-9000.0, 5000.0]),
        (list(range(100)), []),
        (np.random.default_rng(0).lognormal(8, 2, 500), []),  # incomes
        ([0.0] * 90 + [1.0] * 10, []),
    ],
)
def test_outliers(values: list[float], outliers: list[float]) -> None:
    assert find_outliers(np.array(values, float)).tolist() == outliers


def test_bins_hold_all_rows_and_extreme_values_do_not_stretch_them() -> None:
    bins = number_bins(np.array([*range(1000), 1e9]), np.arange(10.0))
    assert sum(entry.trained for entry in bins) == pytest.approx(1)
    assert bins[0].live == 1
    assert len([entry for entry in bins if entry.trained > 0.03]) > 15


def test_few_different_numbers_have_a_bin_each() -> None:
    bins = number_bins(np.array([0.0, 1, 1, 3]), np.array([1.0, 2.9]))
    assert [(entry.name, entry.trained, entry.live) for entry in bins] == [
        ("0", 0.25, 0.0),
        ("1", 0.5, 0.5),
        ("3", 0.25, 0.5),
    ]


def test_columns_are_profiled() -> None:
    train = table()
    train.loc[:19, "plan"] = None
    age, plan = profile_columns(dataset(train, table(1)))
    assert (age.type, plan.type) == ("number", "category")
    assert (age.missing, plan.missing) == (0, 20 / (2 * ROWS))
    assert plan.distinct == 2
    assert {entry.name for entry in plan.bins} == {"free", "pro"}


def test_duplicates_are_counted() -> None:
    train, test = table(), table(1)
    train = pd.concat([train, train[:3]], ignore_index=True)
    test.loc[:4] = train.loc[:4]
    data = dataset(train, test)
    data.test.targets[0] = 1 - data.test.targets[0]
    found = find_duplicates(data)
    assert found is not None
    assert found.shared == {"test": 5}
    assert found.repeated == 3 + 4
    assert found.contradicting == 3  # row 0, its copy, and the row of the test
    assert len(found.examples) == 1


def test_a_wrong_label_is_found() -> None:
    frame = table(rows=400)
    data = dataset(frame, frame)
    targets = (frame["age"] > 50).to_numpy(int)
    wrong = [int(frame["age"].argmin()), int(frame["age"].argmax())]
    targets[wrong] = 1 - targets[wrong]
    found = find_suspects(frame, targets, data)
    assert set(found.rows.tolist()) == set(wrong)
    assert found.accuracy is not None
    assert found.accuracy > 0.95
    assert find_suspects(frame[:20], targets[:20], data).skipped


def test_noise_is_no_wrong_label() -> None:
    frame = table(rows=400)
    targets = np.random.default_rng(3).integers(0, 2, 400)
    assert len(find_suspects(frame, targets, dataset(frame, frame)).rows) <= 2


def test_a_wrong_value_is_found() -> None:
    frame = table(rows=300)
    targets = frame["age"].to_numpy() * 10
    targets[7] *= 100
    assert find_suspects(frame, targets, dataset(frame, frame, ())).rows.tolist() == [7]


def test_a_wrong_label_of_a_text_is_found() -> None:
    rng = np.random.default_rng(0)
    words = {0: ["bad", "poor", "cold", "dull"], 1: ["good", "fine", "warm", "kind"]}
    targets = np.arange(120) % 2
    texts = [" ".join(rng.choice(words[label], 6)) for label in targets]
    wrong = targets.copy()
    wrong[11] = 0
    assert find_suspects(texts, wrong, dataset(table(), table())).rows.tolist() == [11]


def test_splits_that_differ() -> None:
    train, test = table(), table(1, low=60)
    test["plan"] = "max"
    data = dataset(train, test)
    found = {shift.column: shift.words for shift in find_shifts(data, data.test)}
    assert found["plan"].startswith(
        "100% of the rows have a category that training does not have, such as max"
    )
    assert "in training" in found["age"]
    alike = dataset(train, table(2))
    assert find_shifts(alike, alike.test) == []
