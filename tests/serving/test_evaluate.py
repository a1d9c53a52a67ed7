"""`mlctl evaluate` matches classes by name, and scores every row of a file that the model was not trained on."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlctl import settings
from mlctl.domain.serving import ModelComparison
from mlctl.errors import BadDataError, UsageError
from mlctl.services.evaluation.compare import compare_models
from mlctl.services.registry.gates import Gates
from mlctl.services.registry.promote import PromotionRequest, promote
from mlctl.services.training import logged_model
from mlctl.services.training.training import Training
from mlctl.settings import Settings
from tests.trained import Trained, train_here

CENTERS = {"a": 0.0, "b": 5.0, "c": 10.0, "d": 15.0}


def table(kinds: str, rows: int, seed: int = 0) -> pd.DataFrame:
    """Return synthetic data in which x determines the kind of a row."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(list(kinds), rows)
    x = np.array([CENTERS[name] for name in kind]) + rng.normal(0, 0.3, rows)
    return pd.DataFrame({"x": x, "y": rng.normal(0, 1, rows).round(2), "kind": kind})


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A model of the kinds a, b and c, and another one of b and c."""
    folder = tmp_path_factory.mktemp("kinds")
    table("abc", 240).to_csv(folder / "abc.csv", index=False)
    table("bc", 160).to_csv(folder / "bc.csv", index=False)
    overrides = {"target": "kind", "epochs": "12"}
    first = train_here(folder, "abc.csv", overrides=overrides, register="Abc")
    train_here(folder, "bc.csv", overrides=overrides, register="Bc")
    return first


def settings_of(folder: Path) -> Settings:
    return settings.load({"tracking_uri": f"sqlite:///{folder / 'mlflow.db'}"})


def compare(folder: Path, source: Path | str, *models: str, target: str | None = None) -> ModelComparison:
    model, against = (*models, None)[:2]
    with contextlib.chdir(folder):
        return compare_models(settings_of(folder), model or "", str(source), against=against, target=target)


def test_classes_are_matched_by_name(kinds: Trained, tmp_path: Path) -> None:
    table("bc", 60, 1).to_csv(tmp_path / "new.csv", index=False)
    # class b has index 1 in the first model and 0 in the second
    comparison = compare(kinds.folder, tmp_path / "new.csv", "Abc/1", "Bc/1")
    assert (comparison.split, comparison.rows) == ("all", 60)
    assert min(comparison.metrics["accuracy"]) > 0.95
    assert min(comparison.metrics["f1"]) > 0.95


def test_the_split_is_that_of_the_model_that_was_trained_on_the_file(kinds: Trained) -> None:
    comparison = compare(kinds.folder, "bc.csv", "Abc/1", "Bc/1")
    assert (comparison.split, comparison.rows) == ("test", 32)
    assert min(comparison.metrics["accuracy"]) > 0.95


def test_an_unknown_class_is_an_error(kinds: Trained, tmp_path: Path) -> None:
    table("bcd", 30, 2).to_csv(tmp_path / "bcd.csv", index=False)
    with pytest.raises(BadDataError, match="Abc 1 does not know the class 'd'") as caught:
        compare(kinds.folder, tmp_path / "bcd.csv", "Abc/1")
    assert caught.value.hint == "its classes are a, b, c"
    with pytest.raises(BadDataError, match="Bc/1 does not know the class 'a'"):  # on the test split of Abc
        compare(kinds.folder, "abc.csv", "Abc/1", "Bc/1")


def test_the_training_file_is_evaluated_on_its_test_split(kinds: Trained, tmp_path: Path) -> None:
    same = tmp_path / "copy.csv"
    same.write_bytes((kinds.folder / "abc.csv").read_bytes())
    comparison = compare(kinds.folder, same, "Abc/1")
    assert (comparison.split, comparison.rows) == ("test", 48)
    assert comparison.metrics["accuracy"] == (kinds.answer["metrics"]["test_accuracy"],)


def test_rows_of_a_single_class_have_only_an_accuracy(kinds: Trained, tmp_path: Path) -> None:
    rows = table("b", 4, 3)
    rows.loc[4] = [5.0, 0.0, None]  # a row without a label does not count
    rows.rename(columns={"kind": "truth"}).to_csv(tmp_path / "one.csv", index=False, sep=";")
    with pytest.raises(UsageError, match="--target kind"):  # the label column of the training data
        compare(kinds.folder, tmp_path / "one.csv", "Abc/1")
    comparison = compare(kinds.folder, tmp_path / "one.csv", "Abc/1", target="truth")
    assert comparison.metrics == {"accuracy": (1.0,)}
    assert comparison.rows == 4
    assert comparison.data is not None
    assert comparison.data.rows == 4


def test_a_gate_evaluates_all_rows(kinds: Trained, tmp_path: Path) -> None:
    table("bc", 30, 4).to_csv(tmp_path / "bc.csv", index=False)
    gates = Gates(require=("test_accuracy>=0.95",), evaluate=str(tmp_path / "bc.csv"))
    with contextlib.chdir(kinds.folder):
        done = promote(settings_of(kinds.folder), "Abc", "1", "Production", PromotionRequest(gates=gates))
    assert not done.refused
    assert {check.check for check in done.checks} >= {"require test_accuracy"}


def test_a_regression_is_evaluated_on_all_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, 120)
    pd.DataFrame({"x": x, "price": 3 * x + 7}).to_csv(tmp_path / "prices.csv", index=False)
    pd.DataFrame({"x": [0.5], "price": [8.5]}).to_parquet(tmp_path / "one.parquet")
    train_here(tmp_path, "prices.csv", overrides={"target": "price", "epochs": "1"}, register="Price")
    comparison = compare(tmp_path, "one.parquet", "Price/1")
    assert comparison.metrics.keys() == {"mae", "rmse"}


def test_texts_are_labelled_by_their_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    trained: list[tuple[int, bool]] = []
    run_phases = Training._run_phases

    def note_rows(training: Training, *args: Any, **options: Any) -> None:
        trained.append((len(training.data.train), training.data.validation is None))
        run_phases(training, *args, **options)

    monkeypatch.setattr(Training, "_run_phases", note_rows)
    monkeypatch.setattr(logged_model, "MAX_CHECKED_TEXTS", 3)
    words = {"bad": "poor cold dull", "good": "fine warm kind", "odd": "weird strange queer"}
    for folder, names, count in (("reviews", words, 12), ("later", ("good", "odd"), 3)):
        for name in names:
            (tmp_path / folder / name).mkdir(parents=True)
            for number in range(count):
                text = "a film " + " ".join(rng.choice(words[name].split(), 6))
                (tmp_path / folder / name / f"{number}.txt").write_text(text)
    overrides = {"epochs": "30", "units": "16", "learning_rate": "0.01", "dropout": "0"}
    reviews = train_here(tmp_path, "reviews", overrides=overrides, register="Reviews")
    assert trained == [(24, False), (30, True)]  # the second time on the validation texts, too
    assert reviews.answer["metrics"]["test_accuracy"] == 1
    comparison = compare(tmp_path, "later", "Reviews/1")
    assert (comparison.recipe, comparison.split, comparison.rows) == ("texts", "all", 6)
    assert comparison.metrics["accuracy"] == (1.0,)
    assert compare(tmp_path, "reviews", "Reviews/1").split == "test"


def test_images_are_labelled_by_their_folders(tmp_path: Path) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    channels = {"blue": 2, "green": 1, "red": 0}
    for folder, names, count in (("album", channels, 8), ("later", ("green", "red"), 3)):
        for name in names:
            (tmp_path / folder / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 40, (20, 24, 3), np.uint8)
                pixels[..., channels[name]] += 200
                Image.fromarray(pixels).save(tmp_path / folder / name / f"{number}.png")
    overrides = {"image_size": "16x16", "epochs": "12", "filters": "8", "units": "16", "dropout": "0"}
    train_here(tmp_path, "album", overrides=overrides, precision="float32", register="Album")
    comparison = compare(tmp_path, "later", "Album/1")
    assert (comparison.recipe, comparison.split, comparison.rows) == ("images", "all", 6)
    assert comparison.metrics["accuracy"] == (1.0,)
    assert compare(tmp_path, "album", "Album/1").split == "test"
