"""mlctl data check with real commands: what it finds in a table and a folder, its page, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.trained import mlctl


@pytest.fixture(scope="module")
def customers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a table with an id, missing values, an outlier, a leak and a wrong label."""
    folder = tmp_path_factory.mktemp("data-check")
    rng, n = np.random.default_rng(4), 400
    age = rng.integers(18, 80, n).astype(float)
    left = np.where(age > 60, "yes", "no")
    bill = rng.normal(50, 5, n).round(1)
    bill[5] = 5000
    left[int(age.argmin())] = "yes"
    frame = pd.DataFrame(
        {
            "id": np.arange(n),
            "age": age,
            "bill": bill,
            "closed": np.where(left == "yes", "2023", ""),
            "left": left,
        }
    )
    frame.loc[frame.index[30:60], "bill"] = np.nan
    frame.to_csv(folder / "churn.csv", index=False)
    frame.drop(columns="closed").to_csv(folder / "plain.csv", index=False)
    return folder


def test_a_table_is_checked(customers: Path) -> None:
    done = mlctl(
        customers, "data", "check", "churn.csv", "--target", "left", "-o", "json", "--html", "c.html"
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    found = {(finding["severity"], finding["kind"]) for finding in answer["findings"]}
    assert {("problem", "leak"), ("warning", "outliers"), ("note", "missing"), ("ok", "shift")} <= found
    assert answer["severity"] == "problem"
    assert {column["name"]: column["type"] for column in answer["columns"]}["id"] == "drop"
    assert sum(entry["rows"]["train"] for entry in answer["classes"]) == answer["splits"]["train"]
    page = (customers / "c.html").read_text()
    assert page.count("<svg") >= 3
    assert "Targets that may be wrong" in page or not answer["suspects"]
    assert not (customers / "mlflow.db").exists()  # it logs nothing


def test_a_wrong_label_has_its_row_in_the_file(customers: Path) -> None:
    done = mlctl(customers, "data", "check", "plain.csv", "--target", "left", "-o", "json")
    frame = pd.read_csv(customers / "plain.csv")
    (suspect,) = json.loads(done.stdout)["suspects"]
    assert suspect["row"] == int(frame["age"].argmin()) + 1
    assert (suspect["target"], suspect["expected"]) == ("yes", "no")


def test_strict_exits_with_4(customers: Path) -> None:
    done = mlctl(customers, "data", "check", "plain.csv", "--target", "left", "--strict")
    assert done.returncode == 4
    assert "bill: 5000 far outside all others" in done.stdout
    assert "plain.csv has " in done.stderr


def test_a_folder_of_texts_is_checked(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for kind, words in (("pos", "good fine warm kind"), ("neg", "bad poor cold dull")):
        (tmp_path / "reviews" / kind).mkdir(parents=True)
        for number in range(30):
            text = "a film that is " + " ".join(rng.choice(words.split(), 6))
            (tmp_path / "reviews" / kind / f"{number}.txt").write_text(text if number else "the same in both")
    done = mlctl(tmp_path, "data", "check", "reviews", "-o", "json")
    assert done.returncode == 0, done.stderr
    found = {finding["kind"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert "neg/0.txt" in found["contradictions"]["text"]


def test_what_train_refuses_is_refused(customers: Path) -> None:
    done = mlctl(customers, "data", "check", "plain.csv")
    assert done.returncode == 2
    assert "--target" in done.stderr
