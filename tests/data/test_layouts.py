"""Folders as people download them: nothing of them is left out without a word."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mlctl.adapters.predict import image_input as asked
from mlctl.data.dataset import Dataset, Split
from mlctl.data.files import images, labelled_files, texts
from mlctl.errors import BadDataError, UsageError
from mlctl.recipes.own import recipe_for
from mlctl.serving.scoring import words_of
from tests.data.test_folders import quiet

Dialect = Callable[..., Path]
TINY = Image.new("RGB", (8, 8), "red")


@pytest.fixture
def laid_out(tmp_path: Path) -> Dialect:
    """Pictures by folder: laid_out({"train/ants": 10})."""

    def write(counts: dict[str, int]) -> Path:
        for name, count in counts.items():
            folder = tmp_path / "set" / name
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                TINY.save(folder / f"{number}.png")
        return tmp_path / "set"

    return write


def read(folder: Path) -> Dataset:
    return images.read(folder, (8, 8), 7, quiet)


def parts(split: Split | None) -> set[str]:
    """Return the top folders that a split's files come from."""
    assert split is not None
    return {path.parts[-3] for path in split.inputs.files}


def test_train_and_val_as_pytorch_tutorials_have_them(laid_out: Dialect) -> None:
    folder = laid_out({"train/ants": 10, "train/bees": 20, "val/ants": 5, "val/bees": 7})
    assert recipe_for(str(folder)) == "images"
    data = read(folder)
    assert data.splits == {"train": 24, "validation": 12, "test": 6}
    assert (parts(data.train), parts(data.validation), parts(data.test)) == ({"train"}, {"val"}, {"train"})
    assert "val is the validation split; the test split is dealt out of train" in data.notes


@pytest.mark.parametrize("names", [("train", "valid", "test"), ("Training", "Validation", "Testing")])
def test_three_published_splits_are_kept(laid_out: Dialect, names: tuple[str, ...]) -> None:
    folder = laid_out({f"{name}/{one}": 6 for name in names for one in ("cats", "dogs")})
    assert recipe_for(str(folder)) == "images"
    data = read(folder)
    assert data.splits == {"train": 12, "validation": 12, "test": 12}
    assert [parts(one) for one in (data.train, data.validation, data.test)] == [{name} for name in names]


def test_a_class_that_the_test_lacks_is_trained_all_the_same(laid_out: Dialect) -> None:
    folder = laid_out({"train/a": 10, "train/b": 10, "train/c": 10, "test/a": 4, "test/b": 4, "test/z": 3})
    data = read(folder)
    assert data.classes == ("a", "b", "c")
    assert data.splits == {"train": 24, "validation": 6, "test": 8}
    assert "warning: test has nothing of class c" in data.notes
    assert "warning: left out: test/z (3 files)" in data.notes


def test_whatever_is_no_class_is_named(laid_out: Dialect) -> None:
    folder = laid_out({"train/a": 9, "train/b": 9, "train/unsup": 2, "train": 1, "extra/a": 4, ".": 2})
    data = read(folder)
    assert data.classes == ("a", "b")
    said = "warning: left out: the folder itself (2 files), extra/a (4 files), train (1 file), train/unsup (2 files)"
    assert said in data.notes


def test_a_class_may_be_called_train(laid_out: Dialect) -> None:
    assert read(laid_out({"car": 9, "train": 9})).classes == ("car", "train")


def test_a_test_without_classes_is_said_to_be_unused(laid_out: Dialect) -> None:
    data = read(laid_out({"train/a": 10, "train/b": 10, "test": 6}))
    assert data.splits == {"train": 12, "validation": 4, "test": 4}
    assert "warning: left out: test (6 files)" in data.notes


def test_what_a_mac_puts_into_an_archive_is_no_class(laid_out: Dialect) -> None:
    folder = laid_out({"a": 8, "b": 8, "__MACOSX/a": 3, ".cache": 3, "a/.ipynb_checkpoints": 2})
    (folder / "a" / "._0.png").write_bytes(b"\0\5\x16\7")
    data = read(folder)
    assert (data.classes, sum(data.splits.values())) == (("a", "b"), 16)
    assert len(data.notes) == 1
    with pytest.raises(BadDataError, match="no folders of pictures") as told:
        recipe_for(str(folder.parent))
    assert told.value.hint == f"did you mean {folder}?"


def test_texts_lie_as_pictures_do(tmp_path: Path) -> None:
    for name in ("train/neg", "train/pos", "train/unsup", "val/neg", "val/pos"):
        (tmp_path / name).mkdir(parents=True)
        for number in range(10):
            (tmp_path / name / f"{number}.txt").write_text(f"a film of {name}")
    data = texts.read(tmp_path, words_of, 100, 7)
    assert data.splits == {"train": 16, "validation": 20, "test": 4}
    assert "warning: left out: train/unsup (10 files)" in data.notes


def test_a_target_is_of_a_table(laid_out: Dialect) -> None:
    folder = laid_out({"a": 8, "b": 8})
    with pytest.raises(UsageError, match="--target breed"):
        labelled_files.found(folder, labelled_files.PICTURES, "breed")


def test_a_text_file_is_read_whatever_wrote_it(tmp_path: Path) -> None:
    file = tmp_path / "review.txt"
    for encoding in ("utf-8", "utf-8-sig", "cp1252", "utf-16"):
        file.write_bytes("un café\r\ntrès bon".encode(encoding))
        assert texts.text_of(file) == "un café\ntrès bon"


GREY = np.linspace(0, 65535, 8 * 8).reshape(8, 8)
DEEP = {
    "16.png": GREY.astype(np.uint16),
    "16.tif": GREY.astype(np.uint16),
    "big-endian.tif": GREY.astype(">u2"),
    "32.tif": GREY.astype(np.int32),
    "bytes.tif": (GREY / 257).astype(np.int32),
    "float.tif": GREY.astype(np.float32),
    "share.tif": (GREY / 65535).astype(np.float32),
    "wide.tif": (GREY * 1000).astype(np.int32),
}


@pytest.mark.parametrize("name", DEEP)
def test_deep_greys_are_scaled_in_training_and_predict_alike(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    if name == "big-endian.tif":
        Image.frombytes("I;16B", (8, 8), DEEP[name].tobytes()).save(file)
    else:
        Image.fromarray(DEEP[name]).save(file)
    trained = images.pixels_of(file, 8, 8)
    assert np.abs(trained - (GREY / 257)[..., None]).max() <= 1
    assert (asked.read(file, (8, 8, 3), 255.0, "uint8")[0] == trained).all()
    assert (asked.read(file, (8, 8), 255.0, "uint8")[0] == trained[..., 0]).all()
