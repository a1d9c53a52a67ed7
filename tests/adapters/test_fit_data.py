"""The data that a script gives to `fit` and `evaluate`: its form and its content, without reading what is read once."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlctl.adapters.scripts import array_digests
from mlctl.adapters.scripts.fit_data import DataPart, DataReader, FitData, is_same
from mlctl.adapters.scripts.validated_rows import count_validated_rows
from mlctl.data.streams import Stream

X = np.arange(80, dtype="float32").reshape(20, 4).copy()
Y = np.arange(20)


def fit_data(x: Any, y: Any = None, **arguments: Any) -> FitData:
    return DataReader().of_fit({"x": x, "y": y, **arguments})


def evaluated(x: Any, y: Any = None) -> DataPart:
    return DataReader().of_evaluate({"x": x, "y": y})


def pipeline(*arrays: Any) -> Any:
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(arrays)


def test_the_digest_is_of_all_content() -> None:
    import pandas as pd
    import tensorflow as tf

    digests = [
        fit_data(X, Y).content,
        fit_data(X + 1, Y).content,
        fit_data(X, Y + 1).content,
        fit_data(X, Y, class_weight={0: 2.0}).content,
        fit_data(X, Y, sample_weight=np.ones(20)).content,
        fit_data(X, Y, validation_split=0.5).content,
        fit_data(X, Y, validation_data=(X, Y)).content,
        fit_data({"a": X}, Y).content,
        fit_data(pd.DataFrame(X), Y).content,
        fit_data(pipeline(X, Y).batch(5)).content,
        fit_data(pipeline(X + 1, Y).batch(5)).content,
    ]
    assert len(set(digests)) == len(digests) - 1  # the names of inputs are not content
    assert fit_data(X.copy(), Y.copy()).content == digests[0]
    assert fit_data((X,), Y).content == digests[0]
    assert fit_data(tf.constant(X), tf.constant(Y)).content == digests[0]
    assert fit_data(pipeline(X.copy(), Y).batch(5)).content == digests[-2]


def test_an_array_is_hashed_once_unless_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = []
    original = array_digests.digest_value
    monkeypatch.setattr(array_digests, "digest_value", lambda value: hashed.append(1) or original(value))
    reader, values = DataReader(), X.copy()
    first = reader.of_fit({"x": values[:10], "y": Y}).content
    again = reader.of_fit({"x": values[:10], "y": Y}).content
    assert (len(hashed), first) == (2, again)
    values[3] = 0
    assert reader.of_fit({"x": values[:10], "y": Y}).content != first
    assert len(hashed) == 3


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((X, Y), (X, Y), True),
        ((X, Y), (X.copy(), Y.copy()), True),
        ((X[:10], Y[:10]), (X[10:], Y[10:]), False),
        ((X[:10], Y[:10]), (X[5:], Y[5:]), True),
        ((X[::2], Y[::2]), (X[1::2], Y[1::2]), False),
        ((X[:, :2], Y), (X[:, 2:], Y), False),  # other columns
        ((X.reshape(20, 2, 2)[:5], Y[:5]), (X[:3], Y[:3]), True),
        (([X, X + 1], Y), ([X, X + 1], Y), True),
    ],
)
def test_data_is_compared_by_identity_and_by_content(one: Any, other: Any, expected: bool) -> None:
    assert is_same(evaluated(*one), evaluated(*other)) == expected


def test_pipelines_are_compared_by_what_they_read() -> None:
    one = pipeline(X, Y).batch(5)
    assert is_same(evaluated(one), evaluated(one))
    assert is_same(evaluated(one), evaluated(pipeline(X.copy(), Y).batch(5)))
    assert not is_same(evaluated(one), evaluated(pipeline(X + 1, Y).batch(5)))
    assert not is_same(evaluated(one), evaluated(X, Y))


def test_a_generator_is_not_read() -> None:
    read = []

    def batches() -> Any:
        for number in range(3):
            read.append(number)
            yield X + number, Y

    arguments = {"x": batches(), "validation_data": batches(), "steps_per_epoch": 3}
    data = DataReader().of_fit(arguments)
    assert read == []
    assert data.validation is not None
    assert [batch[0][0, 0] for batch in arguments["x"]] == [0, 1, 2]
    next(arguments["validation_data"])
    assert data.train.describe_batch() == "generator of x: float32 (batch, 4); y: int64 (batch)"
    np.testing.assert_array_equal(data.train.sample().inputs, X)
    np.testing.assert_array_equal(data.validation.sample().targets, Y)
    assert data.train.split is None


def test_other_streams_are_not_read_either() -> None:
    import keras

    class Rows(keras.utils.PyDataset):  # type: ignore[misc]
        read = 0

        def __len__(self) -> int:
            return 4

        def __getitem__(self, number: int) -> Any:
            self.read += 1
            return X[number * 5 :][:5], Y[number * 5 :][:5]

    rows = Rows()
    data = fit_data(rows)
    assert rows.read == 0
    assert data.train.spec == "Rows of 4 batches"
    assert len(data.train.sample().inputs) == 5
    endless = fit_data(pipeline(X, Y).repeat().batch(5), steps_per_epoch=2)
    assert "endless" in endless.train.spec
    assert endless.train.split is None
    assert endless.train.rows is None
    counted = fit_data(pipeline(X, Y).batch(8).prefetch(1))
    assert counted.train.rows == 20
    assert isinstance(counted.train.split.inputs, Stream)  # type: ignore[union-attr]


def test_training_rows_are_let_go() -> None:
    big = np.zeros((1000, 8))
    data = fit_data(big, np.ones(1000))
    reference = weakref.ref(big)
    data.train.release()
    del big
    gc.collect()
    assert reference() is None
    assert data.train.sample().inputs.shape == (64, 8)
    assert len(data.train.targets) == 1000


def test_files_in_a_pipeline_are_content(tmp_path: Path) -> None:
    import tensorflow as tf

    digests = []
    for text in ("1", "2", "1"):
        (tmp_path / "rows.txt").write_text(text)
        digests.append(fit_data(tf.data.TextLineDataset(str(tmp_path / "rows.txt")).batch(1)).content)
    assert digests[0] == digests[2] != digests[1]


def test_sparse_matrices_and_texts() -> None:
    from scipy import sparse

    data = fit_data(sparse.csr_matrix(X), Y)
    np.testing.assert_array_equal(data.train.sample().inputs, X)
    texts = fit_data(np.array(["a", "b"], object), Y[:2])
    assert texts.train.spec == "x: object (2); y: int64 (2)"
    assert texts.content != fit_data(np.array(["a", "c"], object), Y[:2]).content


def test_the_validation_rows_of_a_pipeline_are_known_from_its_form() -> None:
    rows = [
        count_validated_rows({"x": None, "validation_data": pipeline(X, targets).batch(8)})
        for targets in (Y, np.eye(20, dtype="float32"), np.stack([Y, Y], 1), np.zeros((20, 4, 4)))
    ]
    assert rows == [20, 20, 0, 0]
