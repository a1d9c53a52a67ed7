"""The digest of a tf.data pipeline: of the arrays and the files that it reads from, whatever the order of its rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from mlctl.data.content_digest import ContentDigest, digest_dataset
from mlctl.data.dataset import Dataset
from mlctl.data.normalize import normalize_dataset

X, Y = np.arange(40, dtype=np.float32).reshape(20, 2), np.arange(20) % 2


def digest(pipeline: Any) -> ContentDigest:
    return digest_dataset(normalize_dataset(Dataset("data", pipeline)), {})


def shuffled(values: Any) -> Any:
    return tf.data.Dataset.from_tensor_slices((values, Y)).shuffle(20).batch(4)


def test_arrays_count_in_any_order() -> None:
    assert digest(shuffled(X)) == digest(shuffled(X.copy()))
    assert digest(shuffled(X)).sha256 != digest(shuffled(X + 1)).sha256
    assert not digest(shuffled(X)).is_partial


@pytest.mark.parametrize("nested", [False, True])
def test_files_count(tmp_path: Path, nested: bool) -> None:
    digests = []
    for text in ("a\nb\n", "a\nb\n", "a\nc\n"):
        (tmp_path / "rows.txt").write_text(text)
        names = tf.data.Dataset.from_tensor_slices([str(tmp_path / "rows.txt")] * 2)
        lines = (
            names.interleave(tf.data.TextLineDataset)
            if nested
            else tf.data.TextLineDataset([str(tmp_path / "rows.txt")])
        )
        digests.append(digest(lines.map(tf.strings.length).shuffle(4).batch(2)))
    assert digests[0] == digests[1]
    assert digests[0].sha256 != digests[2].sha256
    assert not digests[0].is_partial


def test_a_generator_counts_by_its_first_batch() -> None:
    def rows(first: float) -> Any:
        yield from ((np.float32(first), 0), (np.float32(2), 1))

    signature = (tf.TensorSpec((), tf.float32), tf.TensorSpec((), tf.int32))
    digests = [
        digest(tf.data.Dataset.from_generator(rows, args=(first,), output_signature=signature).batch(2))
        for first in (1.0, 1.0, 3.0)
    ]
    assert digests[0] == digests[1]
    assert digests[0].sha256 != digests[2].sha256
    assert digests[0].is_partial
