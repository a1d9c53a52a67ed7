"""The built-in recipes' data: the real files, the stand-ins, and files that are not what they should be."""

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
from mlctl.data.builtin import housing as housing_data
from mlctl.data.builtin import keras_datasets, synthetic
from mlctl.data.builtin.housing import housing
from mlctl.data.dataset import Dataset
from mlctl.data.sources.locate import Source
from mlctl.errors import BadDataError, UsageError

ALL = {
    "digits": keras_datasets.digits,
    "mnist": keras_datasets.mnist,
    "imdb": keras_datasets.imdb,
    "housing": housing,
}


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(data_dir=Path(os.environ.get("MLCTL_DATA_DIR", "data")), cache_dir=tmp_path / "cache")


def tokens(text: str) -> list[str]:
    """Take a text apart as serving does, written out plainly."""
    signs = '!"#$%&()*+,-./:;<=>?@[\\]^_{|}~`\t\n'
    return text.lower().translate({ord(sign): " " for sign in signs}).split()


def test_digits(source: Source) -> None:
    data = keras_datasets.digits(source)
    assert data.splits == {"train": 1149, "validation": 289, "test": 359}
    assert data.train.inputs.shape == (1149, 8, 8)
    assert (data.train.inputs.min(), data.train.inputs.max()) == (0, 16)
    assert (data.source, data.task, len(data.classes)) == ("bundled", "multiclass", 10)
    for split in (data.train, data.validation, data.test):
        assert split is not None
        shares = np.bincount(split.targets) / len(split)
        assert shares.min() > 0.08
    assert data.raw(data.train.inputs) is data.train.inputs
    other = keras_datasets.digits(Source(options=SimpleNamespace(split_seed=8)))
    assert other.sha256 == data.sha256
    assert not np.array_equal(other.train.targets, data.train.targets)


@pytest.mark.needs("mnist")
def test_mnist(source: Source) -> None:
    data = keras_datasets.mnist(source)
    assert data.splits == {"train": 55_000, "validation": 5_000, "test": 10_000}
    assert data.train.inputs.shape == (55_000, 28, 28)
    assert data.train.inputs.dtype == np.uint8
    assert data.test is not None
    assert data.test.targets[:5].tolist() == [7, 2, 1, 0, 4]  # the publisher's own order


@pytest.mark.needs("housing.csv")
def test_housing(source: Source) -> None:
    data = housing(source)
    assert data.splits == {"train": 13_210, "validation": 3_302, "test": 4_128}
    assert (data.unit, data.task, data.sha256) == ("USD", "regression", housing_data.FILE.sha256)
    for split in (data.train, data.validation, data.test):
        assert split is not None
        assert housing_data.TARGET not in split.inputs
        assert split.inputs["total_bedrooms"].isna().mean() == pytest.approx(0.01, abs=0.004)


@pytest.mark.needs("imdb")
def test_imdb_and_its_prepared_copy(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    data = keras_datasets.imdb(source)
    assert data.splits == {"train": 40_000, "validation": 10_000}
    assert data.test is None
    assert (data.train.inputs.width, data.task) == (30_000, "binary")
    assert data.train.targets.mean() + data.validation.targets.mean() / 4 == pytest.approx(0.625)
    words = data.extra["words"]
    assert list(words[:3]) == ["the", "and", "a"]
    assert len(words) == len(set(words)) == 30_000

    rows = data.validation.inputs.take(np.arange(50))
    column = {word: place for place, word in enumerate(words)}
    for row, text in enumerate(data.raw(rows)):
        assert sorted({column[word] for word in tokens(text)}) == rows[row].tolist()
    for place, word in enumerate(words):  # every word comes back as itself, the odd ones too
        assert tokens(word) == [word], place

    monkeypatch.setattr("mlctl.data.sources.npz.Archive.lists", None)  # a second run unpickles nothing
    again = keras_datasets.imdb(source)
    np.testing.assert_array_equal(again.train.inputs.ids, data.train.inputs.ids)
    np.testing.assert_array_equal(again.validation.targets, data.validation.targets)
    assert again.sha256 == data.sha256


def tiny_imdb(folder: Path, **changed: Any) -> Source:
    rows = np.empty(4, object)
    rows[:] = [[1, 2], [3, 3, 9], [], [2, 1]]
    arrays = {"x_train": rows, "y_train": [0, 1, 0, 1], "x_test": rows, "y_test": [0, 1, 1, 1], **changed}
    np.savez(folder / "imdb.npz", **arrays)
    (folder / "imdb_word_index.json").write_text(json.dumps({"good": 2, "bad": 1, "so": 3, "rare": 9}))
    return Source(str(folder), cache_dir=folder / "cache", options=SimpleNamespace(vocabulary=3))


def test_a_review_is_over_the_most_frequent_words(tmp_path: Path) -> None:
    data = keras_datasets.imdb(tiny_imdb(tmp_path))
    texts = data.raw(data.train.inputs) + data.raw(data.validation.inputs)
    assert sorted(texts) == ["", "", "bad good", "bad good", "bad good", "bad good", "so", "so"]
    assert data.source == str(tmp_path / "imdb.npz")


def test_an_unwritable_or_torn_cache_does_not_stop_a_run(tmp_path: Path) -> None:
    source = tiny_imdb(tmp_path)
    (tmp_path / "cache").write_text("in the way")
    first = keras_datasets.imdb(source)
    (tmp_path / "cache").unlink()
    keras_datasets.imdb(source)
    (prepared,) = (tmp_path / "cache" / "prepared").iterdir()
    prepared.write_bytes(prepared.read_bytes()[:100])
    again = keras_datasets.imdb(source)
    np.testing.assert_array_equal(again.train.inputs.dense(), first.train.inputs.dense())


def test_reviews_that_are_none(tmp_path: Path) -> None:
    rows = np.empty(4, object)
    rows[:] = [[1], [0], [2], [3]]
    for changed, said in (
        ({"x_train": rows}, "x_train: found 0 in row 1, expected the ranks"),
        ({"y_test": [0, 1, 2, 1]}, r"y_test: found 2 at \[2\], expected 0 to 1"),
        ({"y_train": [0, 1]}, r"y_train: found shape \(2,\), expected shape \(4,\)"),
        ({"x_test": np.zeros((4, 3), int)}, "x_test: found type int64"),
    ):
        with pytest.raises(BadDataError, match=said):
            keras_datasets.imdb(tiny_imdb(tmp_path, **changed))


def test_a_word_index_that_is_none(tmp_path: Path) -> None:
    source = tiny_imdb(tmp_path)
    for text, said in (("{", "no JSON"), ("[]", "holds a list"), ('{"a": 1, "b": 3}', "no word of rank 2")):
        (tmp_path / "imdb_word_index.json").write_text(text)
        data = keras_datasets.imdb(source)
        with pytest.raises(BadDataError, match=said):
            data.raw(data.train.inputs)


def test_rows_are_dealt_once_and_the_same_for_the_same_seed() -> None:
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


@pytest.mark.parametrize("name", ALL)
def test_a_stand_in_is_seeded_and_of_the_size_asked_for(name: str) -> None:
    data = ALL[name](Source(synthetic=True, rows=700))
    assert sum(data.splits.values()) == 700
    assert data.synthetic
    assert ALL[name](Source(synthetic=True, rows=700)).sha256 == data.sha256
    assert ALL[name](Source(synthetic=True, rows=701)).sha256 != data.sha256
    with pytest.raises(UsageError, match="--rows 5 "):
        ALL[name](Source(synthetic=True, rows=5))


def learned(data: Dataset, model: Any) -> float:
    """Fit a plain model and return its score on validation."""

    def flat(inputs: Any) -> Any:
        if isinstance(inputs, pd.DataFrame):
            return pd.get_dummies(inputs).fillna(0).to_numpy(float)
        return inputs.reshape(len(inputs), -1) if isinstance(inputs, np.ndarray) else inputs.dense()

    model.fit(flat(data.train.inputs), data.train.targets)
    return float(model.score(flat(data.validation.inputs), data.validation.targets))


def test_a_stand_in_can_be_learned() -> None:
    from sklearn.linear_model import LinearRegression
    from sklearn.naive_bayes import BernoulliNB, GaussianNB

    def of(name: str) -> Dataset:
        options = SimpleNamespace(vocabulary=2000)
        return ALL[name](Source(synthetic=True, rows=2000, options=options))

    assert learned(of("digits"), GaussianNB()) > 0.6
    assert learned(of("mnist"), GaussianNB()) > 0.6
    assert learned(of("imdb"), BernoulliNB()) > 0.75
    assert learned(of("housing"), LinearRegression()) > 0.6


def test_a_stand_in_looks_like_the_real_data() -> None:
    reviews, _ = synthetic.reviews(500, 3000)
    made_up = synthetic.words(3000)
    assert len(set(made_up)) == 3000
    assert all(tokens(word) == [word] for word in made_up)
    assert reviews.ids.max() < 3000
    frame = synthetic.housing(5000)
    assert set(frame) == set(housing_data.COLUMNS)
    assert 0 < frame["total_bedrooms"].isna().mean() < 0.03
    assert frame.drop(columns="total_bedrooms").notna().all().all()
    assert frame["ocean_proximity"].nunique() == 4
