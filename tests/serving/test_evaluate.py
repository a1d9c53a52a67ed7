"""A model is scored by its own classes' names, and on every row of a file that it never saw."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlctl import settings
from mlctl.domain.serving import Comparison
from mlctl.errors import BadDataError, UsageError
from mlctl.services.evaluation.compare import compare
from mlctl.services.registry.gates import Gates
from mlctl.services.registry.promote import PromotionRequest, promote
from mlctl.settings import Settings
from tests.trained import Trained, train_here

WHERE = {"a": 0.0, "b": 5.0, "c": 10.0, "d": 15.0}


def table(kinds: str, rows: int, seed: int = 0) -> pd.DataFrame:
    """Made up: the kind of a row is plain to see in x."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(list(kinds), rows)
    x = np.array([WHERE[one] for one in kind]) + rng.normal(0, 0.3, rows)
    return pd.DataFrame({"x": x, "y": rng.normal(0, 1, rows).round(2), "kind": kind})


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A model of the kinds a, b, c, and one of b and c."""
    folder = tmp_path_factory.mktemp("kinds")
    table("abc", 240).to_csv(folder / "abc.csv", index=False)
    table("bc", 160).to_csv(folder / "bc.csv", index=False)
    given = {"target": "kind", "epochs": "12"}
    first = train_here(folder, "abc.csv", given=given, register="Abc")
    train_here(folder, "bc.csv", given=given, register="Bc")
    return first


def opened(folder: Path) -> Settings:
    return settings.load({"tracking_uri": f"sqlite:///{folder / 'mlflow.db'}"})


def scored(folder: Path, source: Path | str, *models: str, target: str | None = None) -> Comparison:
    model, against = (*models, None)[:2]
    with contextlib.chdir(folder):
        return compare(opened(folder), model or "", str(source), against, target=target)


def test_classes_are_compared_by_name(kinds: Trained, tmp_path: Path) -> None:
    table("bc", 60, 1).to_csv(tmp_path / "new.csv", index=False)
    found = scored(
        kinds.folder, tmp_path / "new.csv", "Abc/1", "Bc/1"
    )  # b is 1 to the one and 0 to the other
    assert (found.split, found.rows) == ("all", 60)
    assert min(found.metrics["accuracy"]) > 0.95
    assert min(found.metrics["f1"]) > 0.95


def test_the_split_is_that_of_whichever_model_was_trained_on_the_file(kinds: Trained) -> None:
    found = scored(kinds.folder, "bc.csv", "Abc/1", "Bc/1")
    assert (found.split, found.rows) == ("test", 32)
    assert min(found.metrics["accuracy"]) > 0.95


def test_a_class_that_the_model_does_not_know_is_named(kinds: Trained, tmp_path: Path) -> None:
    table("bcd", 30, 2).to_csv(tmp_path / "bcd.csv", index=False)
    with pytest.raises(BadDataError, match="Abc 1 does not know the class 'd'") as told:
        scored(kinds.folder, tmp_path / "bcd.csv", "Abc/1")
    assert told.value.hint == "its classes are a, b, c"
    with pytest.raises(BadDataError, match="Bc/1 does not know the class 'a'"):  # the test split of Abc's own
        scored(kinds.folder, "abc.csv", "Abc/1", "Bc/1")


def test_the_file_that_it_was_trained_on_is_scored_on_its_test_split(kinds: Trained, tmp_path: Path) -> None:
    same = tmp_path / "copy.csv"
    same.write_bytes((kinds.folder / "abc.csv").read_bytes())
    found = scored(kinds.folder, same, "Abc/1")
    assert (found.split, found.rows) == ("test", 48)
    assert found.metrics["accuracy"] == (kinds.answer["metrics"]["test_accuracy"],)


def test_few_rows_of_one_class_have_an_accuracy_alone(kinds: Trained, tmp_path: Path) -> None:
    rows = table("b", 4, 3)
    rows.loc[4] = [5.0, 0.0, None]  # not labelled: it does not count
    rows.rename(columns={"kind": "truth"}).to_csv(tmp_path / "one.csv", index=False, sep=";")
    with pytest.raises(UsageError, match="--target kind"):  # as the model's run has it
        scored(kinds.folder, tmp_path / "one.csv", "Abc/1")
    found = scored(kinds.folder, tmp_path / "one.csv", "Abc/1", target="truth")
    assert found.metrics == {"accuracy": (1.0,)}
    assert found.rows == 4
    assert found.data is not None
    assert found.data.rows == 4


def test_a_gate_scores_on_all_rows_by_name(kinds: Trained, tmp_path: Path) -> None:
    table("bc", 30, 4).to_csv(tmp_path / "bc.csv", index=False)
    gates = Gates(require=("test_accuracy>=0.95",), evaluate=str(tmp_path / "bc.csv"))
    with contextlib.chdir(kinds.folder):
        done = promote(opened(kinds.folder), "Abc", "1", "Production", PromotionRequest(gates=gates))
    assert not done.refused
    assert {one.check for one in done.checks} >= {"require test_accuracy"}


def test_values_are_scored_whole(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, 120)
    pd.DataFrame({"x": x, "price": 3 * x + 7}).to_csv(tmp_path / "prices.csv", index=False)
    pd.DataFrame({"x": [0.5], "price": [8.5]}).to_parquet(tmp_path / "one.parquet")
    train_here(tmp_path, "prices.csv", given={"target": "price", "epochs": "1"}, register="Price")
    found = scored(tmp_path, "one.parquet", "Price/1")
    assert found.metrics.keys() == {"mae", "rmse"}


def test_texts_are_scored_by_the_names_of_their_folders(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    words = {"bad": "poor cold dull", "good": "fine warm kind", "odd": "weird strange queer"}
    for folder, names, count in (("reviews", words, 12), ("later", ("good", "odd"), 3)):
        for name in names:
            (tmp_path / folder / name).mkdir(parents=True)
            for number in range(count):
                text = "a film " + " ".join(rng.choice(words[name].split(), 6))
                (tmp_path / folder / name / f"{number}.txt").write_text(text)
    given = {"epochs": "30", "units": "16", "learning_rate": "0.01", "dropout": "0"}
    train_here(tmp_path, "reviews", given=given, register="Reviews")
    found = scored(tmp_path, "later", "Reviews/1")
    assert (found.recipe, found.split, found.rows) == ("texts", "all", 6)
    assert found.metrics["accuracy"] == (1.0,)
    assert scored(tmp_path, "reviews", "Reviews/1").split == "test"


def test_pictures_are_scored_by_the_names_of_their_folders(tmp_path: Path) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    lit = {"blue": 2, "green": 1, "red": 0}
    for folder, names, count in (("album", lit, 8), ("later", ("green", "red"), 3)):
        for name in names:
            (tmp_path / folder / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 40, (20, 24, 3), np.uint8)
                pixels[..., lit[name]] += 200
                Image.fromarray(pixels).save(tmp_path / folder / name / f"{number}.png")
    given = {"image_size": "16x16", "epochs": "12", "filters": "8", "units": "16", "dropout": "0"}
    train_here(tmp_path, "album", given=given, precision="float32", register="Album")
    found = scored(tmp_path, "later", "Album/1")
    assert (found.recipe, found.split, found.rows) == ("images", "all", 6)
    assert found.metrics["accuracy"] == (1.0,)
    assert scored(tmp_path, "album", "Album/1").split == "test"
