"""Folders as people download them: the notes name everything that is left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mlctl.adapters.predict import image_input
from mlctl.data.dataset import Dataset, Split
from mlctl.data.files import images, labelled_files, texts
from mlctl.errors import BadDataError, UsageError
from mlctl.recipes import encoders
from mlctl.recipes.match_data import recipe_for
from tests.data.test_labelled_files import no_progress

pytestmark = pytest.mark.unit

WriteImages = Callable[..., Path]
TINY = Image.new("RGB", (8, 8), "red")


@pytest.fixture
def write_images(tmp_path: Path) -> WriteImages:
    """Write this number of images into each folder, such as write_images({"train/ants": 10})."""

    def write(counts: dict[str, int]) -> Path:
        for name, count in counts.items():
            folder = tmp_path / "set" / name
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                TINY.save(folder / f"{number}.png")
        return tmp_path / "set"

    return write


def load(folder: Path) -> Dataset:
    return images.load_images(folder, (8, 8), seed=7, progress=no_progress)


def top_folders(split: Split | None) -> set[str]:
    """Return the top folders that a split's files come from."""
    assert split is not None
    return {path.parts[-3] for path in split.inputs.files}


def test_train_and_val_of_pytorch_tutorials_are_splits(write_images: WriteImages) -> None:
    folder = write_images({"train/ants": 10, "train/bees": 20, "val/ants": 5, "val/bees": 7})
    assert recipe_for(str(folder)) == "images"
    data = load(folder)
    assert data.splits == {"train": 24, "validation": 12, "test": 6}
    assert (top_folders(data.train), top_folders(data.validation), top_folders(data.test)) == (
        {"train"},
        {"val"},
        {"train"},
    )
    assert "val is the validation split; the test split is chosen at random from train" in data.notes


@pytest.mark.parametrize("names", [("train", "valid", "test"), ("Training", "Validation", "Testing")])
def test_three_published_splits_are_kept(write_images: WriteImages, names: tuple[str, ...]) -> None:
    folder = write_images({f"{name}/{label}": 6 for name in names for label in ("cats", "dogs")})
    assert recipe_for(str(folder)) == "images"
    data = load(folder)
    assert data.splits == {"train": 12, "validation": 12, "test": 12}
    assert [top_folders(split) for split in (data.train, data.validation, data.test)] == [
        {name} for name in names
    ]


def test_a_class_without_test_files_is_trained(write_images: WriteImages) -> None:
    folder = write_images(
        {"train/a": 10, "train/b": 10, "train/c": 10, "test/a": 4, "test/b": 4, "test/z": 3}
    )
    data = load(folder)
    assert data.classes == ("a", "b", "c")
    assert data.splits == {"train": 24, "validation": 6, "test": 8}
    assert "warning: test has no files of class c" in data.notes
    assert "warning: left out: test/z (3 files)" in data.notes


def test_files_outside_of_classes_are_named(write_images: WriteImages) -> None:
    folder = write_images({"train/a": 9, "train/b": 9, "train/unsup": 2, "train": 1, "extra/a": 4, ".": 2})
    data = load(folder)
    assert data.classes == ("a", "b")
    note = "warning: left out: the folder itself (2 files), extra/a (4 files), train (1 file), train/unsup (2 files)"
    assert note in data.notes


def test_a_class_with_three_files_is_trained(write_images: WriteImages) -> None:
    data = load(write_images({"a": 10, "b": 10, "c": 3}))
    assert (np.bincount(data.train.targets)[2], data.splits["train"]) == (3, 15)
    note = "warning: class c has fewer than 5 files: 3 files put into training, none into validation and test"
    assert note in data.notes


def test_files_that_are_no_images_are_ignored_and_unknown_images_named(write_images: WriteImages) -> None:
    folder = write_images({"a": 8, "b": 8})
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "notes.txt", "1.heic", "2.HEIC", "3.svg"):
        (folder / "a" / name).write_bytes(b"?")
    data = load(folder)
    assert sum(data.splits.values()) == 16
    assert data.notes[1:] == (
        "warning: left out, as mlctl cannot read them: 2 .heic, 1 .svg; save them as .jpg or .png",
    )


def test_a_table_may_name_files_without_their_folder(write_images: WriteImages) -> None:
    folder = write_images({"images/train": 20})
    names = [f"{number}.png" for number in range(20)]
    for prefix in ("", "C:\\pictures\\", "/home/ann/pictures/"):
        rows = "".join(f"{prefix}{name},{number % 2},{number}\n" for number, name in enumerate(names))
        (folder / "labels.csv").write_text("file,label,width\n" + rows)
        assert recipe_for(str(folder / "labels.csv")) == "images"
        data = images.load_images(folder / "labels.csv", (8, 8), seed=7, progress=no_progress, target="label")
        assert data.train.inputs.files[0].parent == folder / "images" / "train"
    TINY.save(folder / "0.png")
    (folder / "other").mkdir()
    TINY.save(folder / "other" / "1.png")  # which of the two?
    found = labelled_files.locate_listed(folder / "labels.csv", names, labelled_files.IMAGE_SUFFIXES)
    assert found[0] == folder / "0.png"
    assert not found[1].is_file()
    assert found[2].is_file()


def test_a_class_may_be_called_train(write_images: WriteImages) -> None:
    assert load(write_images({"car": 9, "train": 9})).classes == ("car", "train")


def test_a_test_folder_without_classes_is_left_out(write_images: WriteImages) -> None:
    data = load(write_images({"train/a": 10, "train/b": 10, "test": 6}))
    assert data.splits == {"train": 12, "validation": 4, "test": 4}
    assert "warning: left out: test (6 files)" in data.notes


def test_hidden_folders_of_a_mac_are_not_classes(write_images: WriteImages) -> None:
    folder = write_images({"a": 8, "b": 8, "__MACOSX/a": 3, ".cache": 3, "a/.ipynb_checkpoints": 2})
    (folder / "a" / "._0.png").write_bytes(b"\0\5\x16\7")
    data = load(folder)
    assert (data.classes, sum(data.splits.values())) == (("a", "b"), 16)
    assert len(data.notes) == 1
    with pytest.raises(BadDataError, match="no folders of images") as caught:
        recipe_for(str(folder.parent))
    assert caught.value.hint == f"did you mean {folder}?"


def test_texts_have_the_same_layouts_as_images(tmp_path: Path) -> None:
    for name in ("train/neg", "train/pos", "train/unsup", "val/neg", "val/pos"):
        (tmp_path / name).mkdir(parents=True)
        for number in range(10):
            (tmp_path / name / f"{number}.txt").write_text(f"a film of {name}")
    data = texts.load_texts(tmp_path, encoders.ngrams_with_bags, seed=7)
    assert data.splits == {"train": 16, "validation": 20, "test": 4}
    assert "warning: left out: train/unsup (10 files)" in data.notes


def test_a_folder_has_no_target(write_images: WriteImages) -> None:
    folder = write_images({"a": 8, "b": 8})
    with pytest.raises(UsageError, match="--target breed"):
        labelled_files.find_labelled_files(folder, labelled_files.IMAGE_SUFFIXES, "breed")


def test_a_text_file_may_have_any_common_encoding(tmp_path: Path) -> None:
    file = tmp_path / "review.txt"
    for encoding in ("utf-8", "utf-8-sig", "cp1252", "utf-16"):
        file.write_bytes("un café\r\ntrès bon".encode(encoding))
        assert texts.read_text_file(file) == "un café\ntrès bon"


GREY = np.linspace(0, 65535, 8 * 8).reshape(8, 8)
GREYSCALE = {
    "16.png": GREY.astype(np.uint16),
    "16.tif": GREY.astype(np.uint16),
    "big-endian.tif": GREY.astype(">u2"),
    "32.tif": GREY.astype(np.int32),
    "bytes.tif": (GREY / 257).astype(np.int32),
    "float.tif": GREY.astype(np.float32),
    "share.tif": (GREY / 65535).astype(np.float32),
    "wide.tif": (GREY * 1000).astype(np.int32),
}


@pytest.mark.parametrize("name", GREYSCALE)
def test_training_and_prediction_scale_greyscale_images_alike(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    if name == "big-endian.tif":
        Image.frombytes("I;16B", (8, 8), GREYSCALE[name].tobytes()).save(file)
    else:
        Image.fromarray(GREYSCALE[name]).save(file)
    trained = images.read_pixels(file, 8, 8)
    assert np.abs(trained - (GREY / 257)[..., None]).max() <= 1
    assert (image_input.read_image(file, (8, 8, 3), 255.0, "uint8")[0] == trained).all()
    assert (image_input.read_image(file, (8, 8), 255.0, "uint8")[0] == trained[..., 0]).all()
