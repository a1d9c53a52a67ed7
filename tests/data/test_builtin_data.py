"""The data of the built-in recipes: real files, generated data, and invalid files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlctl.data import splits
from mlctl.data.builtin import housing, synthetic
from mlctl.data.builtin.digits import load_digits
from mlctl.data.builtin.housing import load_housing
from mlctl.data.builtin.imdb import load_imdb
from mlctl.data.builtin.mnist import load_mnist
from mlctl.data.dataset import Dataset
from mlctl.data.sources.locate import Source
from mlctl.errors import BadDataError, UsageError

LOADERS = {"digits": load_digits, "mnist": load_mnist, "imdb": load_imdb, "housing": load_housing}


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(data_dir=Path(os.environ.get("MLCTL_DATA_DIR", "data")), cache_dir=tmp_path / "cache")


def tokenize(text: str) -> list[str]:
    """Split a text into words as serving does, in a simple implementation."""
    punctuation = '!"#$%&()*+,-./:;<=>?@[\\]^_{|}~`\t\n'
    return text.lower().translate({ord(sign): " " for sign in punctuation}).split()


@pytest.mark.unit
def test_digits(source: Source) -> None:
    data = load_digits(source)
    assert data.splits == {"train": 1149, "validation": 289, "test": 359}
    assert data.train.inputs.shape == (1149, 8, 8)
    assert (data.train.inputs.min(), data.train.inputs.max()) == (0, 16)
    assert (data.source, data.task, len(data.classes)) == ("bundled", "multiclass", 10)
    for split in (data.train, data.validation, data.test):
        assert split is not None
        shares = np.bincount(split.targets) / len(split)
        assert shares.min() > 0.08
    assert data.raw(data.train.inputs) is data.train.inputs
    other = load_digits(Source(options=SimpleNamespace(split_seed=8)))
    assert other.sha256 == data.sha256
    assert not np.array_equal(other.train.targets, data.train.targets)


@pytest.mark.needs("mnist")
def test_mnist(source: Source) -> None:
    data = load_mnist(source)
    assert data.splits == {"train": 55_000, "validation": 5_000, "test": 10_000}
    assert data.train.inputs.shape == (55_000, 28, 28)
    assert data.train.inputs.dtype == np.uint8
    assert data.test is not None
    assert data.test.targets[:5].tolist() == [7, 2, 1, 0, 4]  # the publisher's own order


@pytest.mark.needs("housing.csv")
def test_housing(source: Source) -> None:
    data = load_housing(source)
    assert data.splits == {"train": 13_210, "validation": 3_302, "test": 4_128}
    assert (data.unit, data.task, data.sha256) == ("USD", "regression", housing.FILE.sha256)
    for split in (data.train, data.validation, data.test):
        assert split is not None
        assert housing.TARGET not in split.inputs
        assert split.inputs["total_bedrooms"].isna().mean() == pytest.approx(0.01, abs=0.004)


@pytest.mark.needs("imdb")
def test_imdb_and_its_cache(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    data = load_imdb(source)
    assert data.splits == {"train": 40_000, "validation": 10_000}
    assert data.test is None
    assert (data.train.inputs.width, data.task) == (30_000, "binary")
    assert data.train.targets.mean() + data.validation.targets.mean() / 4 == pytest.approx(0.625)
    words = data.extra["words"]
    assert list(words[:3]) == ["the", "and", "a"]
    assert len(words) == len(set(words)) == 30_000

    rows = data.validation.inputs.take(np.arange(50))
    column_of = {word: column for column, word in enumerate(words)}
    for row, text in enumerate(data.raw(rows)):
        assert sorted({column_of[word] for word in tokenize(text)}) == rows[row].tolist()
    for rank, word in enumerate(words):  # unusual words, too, are not split
        assert tokenize(word) == [word], rank

    monkeypatch.setattr("mlctl.data.sources.npz.NpzReader.read_lists", None)  # the second run reads the cache
    again = load_imdb(source)
    np.testing.assert_array_equal(again.train.inputs.ids, data.train.inputs.ids)
    np.testing.assert_array_equal(again.validation.targets, data.validation.targets)
    assert again.sha256 == data.sha256


def write_tiny_imdb(folder: Path, **arrays: Any) -> Source:
    rows = np.empty(4, object)
    rows[:] = [[1, 2], [3, 3, 9], [], [2, 1]]
    valid = {"x_train": rows, "y_train": [0, 1, 0, 1], "x_test": rows, "y_test": [0, 1, 1, 1]}
    np.savez(folder / "imdb.npz", **(valid | arrays))
    (folder / "imdb_word_index.json").write_text(json.dumps({"good": 2, "bad": 1, "so": 3, "rare": 9}))
    return Source(location=str(folder), cache_dir=folder / "cache", options=SimpleNamespace(vocabulary=3))


@pytest.mark.unit
def test_a_review_has_only_the_most_frequent_words(tmp_path: Path) -> None:
    data = load_imdb(write_tiny_imdb(tmp_path))
    texts = data.raw(data.train.inputs) + data.raw(data.validation.inputs)
    assert sorted(texts) == ["", "", "bad good", "bad good", "bad good", "bad good", "so", "so"]
    assert data.source == str(tmp_path / "imdb.npz")


@pytest.mark.unit
def test_an_unwritable_or_damaged_cache_does_not_stop_a_run(tmp_path: Path) -> None:
    source = write_tiny_imdb(tmp_path)
    (tmp_path / "cache").write_text("in the way")
    first = load_imdb(source)
    (tmp_path / "cache").unlink()
    load_imdb(source)
    (prepared,) = (tmp_path / "cache" / "prepared").iterdir()
    prepared.write_bytes(prepared.read_bytes()[:100])
    again = load_imdb(source)
    np.testing.assert_array_equal(again.train.inputs.dense(), first.train.inputs.dense())


@pytest.mark.unit
def test_an_error_names_what_is_wrong_with_reviews(tmp_path: Path) -> None:
    rows = np.empty(4, object)
    rows[:] = [[1], [0], [2], [3]]
    for arrays, message in (
        ({"x_train": rows}, "x_train: found 0 in row 1, expected the ranks"),
        ({"y_test": [0, 1, 2, 1]}, r"y_test: found 2 at \[2\], expected 0 to 1"),
        ({"y_train": [0, 1]}, r"y_train: found shape \(2,\), expected shape \(4,\)"),
        ({"x_test": np.zeros((4, 3), int)}, "x_test: found type int64"),
    ):
        with pytest.raises(BadDataError, match=message):
            load_imdb(write_tiny_imdb(tmp_path, **arrays))


@pytest.mark.unit
def test_an_error_names_what_is_wrong_with_a_word_index(tmp_path: Path) -> None:
    source = write_tiny_imdb(tmp_path)
    for text, message in (
        ("{", "not a JSON file"),
        ("[]", "holds a list"),
        ('{"a": 1, "b": 3}', "no word of rank 2"),
    ):
        (tmp_path / "imdb_word_index.json").write_text(text)
        data = load_imdb(source)
        with pytest.raises(BadDataError, match=message):
            data.raw(data.train.inputs)


@pytest.mark.unit
def test_rows_are_in_one_split_which_depends_on_the_seed() -> None:
    classes = np.arange(1003) % 7
    for split_rows in (
        lambda seed: splits.split_rows(1003, seed, (0.8, 0.2)),
        lambda seed: splits.split_rows_by_class(classes, seed, (0.8, 0.2)),
    ):
        first, second = split_rows(1)
        assert sorted([*first, *second]) == list(range(1003))
        assert len(first) == pytest.approx(802, abs=4)
        np.testing.assert_array_equal(split_rows(1)[0], first)
        assert not np.array_equal(split_rows(2)[0], first)


@pytest.mark.unit
@pytest.mark.parametrize("name", LOADERS)
def test_generated_data_has_the_requested_size_and_is_always_the_same(name: str) -> None:
    data = LOADERS[name](Source(synthetic=True, rows=700))
    assert sum(data.splits.values()) == 700
    assert data.synthetic
    assert LOADERS[name](Source(synthetic=True, rows=700)).sha256 == data.sha256
    assert LOADERS[name](Source(synthetic=True, rows=701)).sha256 != data.sha256
    with pytest.raises(UsageError, match="--rows 5 "):
        LOADERS[name](Source(synthetic=True, rows=5))


def validation_score(data: Dataset, model: Any) -> float:
    """Fit a simple model and return its score on the validation split."""

    def flatten(inputs: Any) -> Any:
        if isinstance(inputs, pd.DataFrame):
            return pd.get_dummies(inputs).fillna(0).to_numpy(float)
        return inputs.reshape(len(inputs), -1) if isinstance(inputs, np.ndarray) else inputs.dense()

    model.fit(flatten(data.train.inputs), data.train.targets)
    return float(model.score(flatten(data.validation.inputs), data.validation.targets))


@pytest.mark.unit
def test_a_model_learns_from_generated_data() -> None:
    from sklearn.linear_model import LinearRegression
    from sklearn.naive_bayes import BernoulliNB, GaussianNB

    def load(name: str) -> Dataset:
        options = SimpleNamespace(vocabulary=2000)
        return LOADERS[name](Source(synthetic=True, rows=2000, options=options))

    assert validation_score(load("digits"), GaussianNB()) > 0.6
    assert validation_score(load("mnist"), GaussianNB()) > 0.6
    assert validation_score(load("imdb"), BernoulliNB()) > 0.75
    assert validation_score(load("housing"), LinearRegression()) > 0.6


@pytest.mark.unit
def test_generated_data_looks_like_the_real_data() -> None:
    reviews, _ = synthetic.make_reviews(500, 3000)
    words = synthetic.make_words(3000)
    assert len(set(words)) == 3000
    assert all(tokenize(word) == [word] for word in words)
    assert reviews.ids.max() < 3000
    frame = synthetic.make_housing(5000)
    assert set(frame) == set(housing.COLUMNS)
    assert 0 < frame["total_bedrooms"].isna().mean() < 0.03
    assert frame.drop(columns="total_bedrooms").notna().all().all()
    assert frame["ocean_proximity"].nunique() == 4
