"""The digest of what `load` returned: equal data gives an equal digest, any change another one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlctl.data.content_digest import ContentDigest, digest_dataset
from mlctl.data.dataset import Dataset
from mlctl.data.normalize import normalize_dataset
from mlctl.data.sources.opened_files import OpenedFiles

pytestmark = pytest.mark.unit

X = np.arange(24, dtype=np.float32).reshape(8, 3)
Y = np.arange(8) % 2


def digest(train: Any, **parts: Any) -> ContentDigest:
    return digest_dataset(normalize_dataset(Dataset("data", train, **parts)), {})


def changed(values: Any) -> Any:
    values = values.copy()
    values.flat[-1] = 1 - values.flat[-1] if values.dtype.kind in "if" else "other"
    return values


def test_equal_arrays_have_the_same_digest_whatever_their_layout() -> None:
    expected = digest((X, Y)).sha256
    assert digest((X.copy(), Y.copy())).sha256 == expected
    assert digest((np.asfortranarray(X), Y)).sha256 == expected
    assert digest((np.repeat(X, 2, axis=0)[::2], Y)).sha256 == expected


@pytest.mark.parametrize(
    "other",
    [
        {"train": (changed(X), Y)},
        {"train": (X, changed(Y))},
        {"train": (X, Y, np.ones(8))},
        {"train": (X.astype(np.float64), Y)},
        {"train": ({"a": X}, Y)},
        {"train": (X, Y), "validation": (X, Y)},
        {"train": (X, Y), "classes": ("b", "a")},
        {"train": (X, Y), "extra": {"words": ["a"]}},
    ],
)
def test_every_part_counts(other: dict[str, Any]) -> None:
    train = other.pop("train")
    assert digest(train, **other).sha256 != digest((X, Y)).sha256


def test_texts_and_tables_count() -> None:
    texts = np.array(["ab", "c"], object)
    assert digest((texts, Y[:2])).sha256 != digest((np.array(["a", "bc"], object), Y[:2])).sha256
    assert digest((texts, Y[:2])).sha256 == digest((["ab", "c"], Y[:2])).sha256
    table = pd.DataFrame({"n": [1, 2], "word": ["a", "b"]})
    assert digest((table, Y[:2])).sha256 == digest((table.copy(), Y[:2])).sha256
    assert digest((table, Y[:2])).sha256 != digest((table.rename(columns={"n": "m"}), Y[:2])).sha256
    assert digest((table, Y[:2])).sha256 != digest((table.replace("b", "c"), Y[:2])).sha256


def test_a_memory_mapped_file_counts_by_its_content(tmp_path: Path) -> None:
    digests = []
    for values in (X, X, changed(X)):
        np.save(tmp_path / "x.npy", values)
        mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
        digests.append(digest((mapped[:4], Y[:4]), validation=(mapped[4:], Y[4:])).sha256)
    assert digests[0] == digests[1] != digests[2]
    assert digest((mapped[:4], Y[:4])).sha256 != digest((mapped[4:], Y[:4])).sha256


@dataclass
class Batches:
    """Batches of arrays or of files."""

    data: Any
    size: int = 4

    def __len__(self) -> int:
        return 2

    def __getitem__(self, number: int) -> tuple[Any, Any]:
        rows = slice(number * self.size, (number + 1) * self.size)
        return X[rows], Y[rows]


def test_batches_count_by_the_arrays_and_files_that_they_hold(tmp_path: Path) -> None:
    file = tmp_path / "part.bin"
    file.write_bytes(b"1")
    with_array, with_files = Batches(X), Batches([str(file)])
    assert digest(with_array).sha256 == digest(Batches(X.copy())).sha256
    assert digest(with_array).sha256 != digest(Batches(changed(X))).sha256
    before = digest(with_files)
    assert not before.is_partial
    file.write_bytes(b"2")
    assert digest(replace(with_files)).sha256 != before.sha256


def test_batches_that_hold_no_data_count_by_the_first_one() -> None:
    assert digest(Batches(None)).is_partial
    assert not digest(Batches(X)).is_partial


def test_files_that_are_read_are_recorded(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    (folder / "pictures").mkdir(parents=True)
    outside = tmp_path / "outside.txt"
    for file in (
        folder / "a.csv",
        folder / "code.py",
        folder / ".hidden",
        folder / "pictures/1.png",
        outside,
    ):
        file.write_text("x")
    with OpenedFiles([folder]) as opened:
        for file in (folder / "a.csv", folder / "code.py", folder / ".hidden", outside):
            file.read_text()
        (folder / "new.txt").write_text("made now")
        list((folder / "pictures").iterdir())
        list(folder.iterdir())
    (folder / "later.txt").write_text("x")
    (folder / "later.txt").read_text()
    assert list(opened.files) == ["a.csv"]
    assert list(opened.listed_files) == ["pictures/1.png"]


def test_the_digest_of_many_files_fits_into_a_tag(tmp_path: Path) -> None:
    files = {}
    for number in range(100):
        files[f"{number}.txt"] = tmp_path / f"{number}.txt"
        files[f"{number}.txt"].write_text(str(number))
    data = normalize_dataset(Dataset("data", (X, Y)))
    assert list(digest_dataset(data, files).files) == ["100 files"]
    few = dict(list(files.items())[:2])
    assert {len(value) for value in digest_dataset(data, few).files.values()} == {16}
