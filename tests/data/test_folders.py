"""Labelled files of a user's own: pictures and texts, in folders or listed in a table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mlctl.data.files import images, texts
from mlctl.errors import BadDataError, NotFoundError, UsageError
from mlctl.recipes.own import recipe_for
from mlctl.serving.scoring import Words, words_of


def quiet(name: str, done: int, total: int | None) -> None:
    """Tell nobody."""


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Forty pictures of two classes, red ones and blue ones, of several sizes and formats."""
    for kind, channel in (("red ones", 0), ("blue ones", 2)):
        folder = tmp_path / "album" / kind
        folder.mkdir(parents=True)
        for number in range(20):
            pixels = np.zeros((30 + number, 50, 3), np.uint8)
            pixels[..., channel] = 250
            Image.fromarray(pixels).save(folder / f"{number}.{'png' if number % 2 else 'jpg'}")
        (folder / "notes.md").write_text("no picture")
    return tmp_path / "album"


def test_a_folder_a_class(album: Path) -> None:
    assert recipe_for(str(album)) == "images"
    data = images.read(album, (24, 32), 7, quiet)
    assert data.classes == ("blue ones", "red ones")
    assert data.splits == {"train": 26, "validation": 6, "test": 8}
    assert data.extra["params"] == {"image_height": 24, "image_width": 32}
    few = data.train.take(np.arange(5))
    raw, dense = data.raw(few.inputs), few.inputs.dense()
    assert raw.dtype == np.uint8
    assert raw.shape == dense.shape == few.inputs.shape == (5, 24, 32, 3)
    assert np.allclose(dense, raw / 255)
    assert ((raw[..., 0].mean(axis=(1, 2)) > 200) == (few.targets == 1)).all()


def test_pictures_and_labels_in_a_table(album: Path) -> None:
    files = sorted(album.rglob("*.png"))
    rows = "".join(f"{path.relative_to(album)},{path.parent.name.split()[0]}\n" for path in files)
    (album / "list.csv").write_text("path,label\n" + rows)
    assert recipe_for(str(album / "list.csv")) == "images"
    data = images.read(album / "list.csv", (8, 8), 7, quiet)
    assert data.classes == ("blue", "red")
    assert sum(data.splits.values()) == 20
    (album / "list.csv").write_text("path,label\n" + rows + "gone.png,red\n")
    with pytest.raises(NotFoundError, match=r"gone\.png"):
        images.read(album / "list.csv", (8, 8), 7, quiet)


def test_a_few_unreadable_pictures_are_named_and_left_out_and_many_are_refused(album: Path) -> None:
    (album / "red ones" / "cut.jpg").write_bytes((album / "red ones" / "0.jpg").read_bytes()[:200])
    data = images.read(album, (8, 8), 7, quiet)
    assert sum(data.splits.values()) == 40
    assert any("1 unreadable" in note and "cut.jpg" in note for note in data.notes)
    for number in range(5):
        (album / "red ones" / f"bad{number}.jpg").write_bytes(b"no picture")
    with pytest.raises(BadDataError, match="6 of 46 pictures cannot be read"):
        images.read(album, (8, 8), 7, quiet)


@pytest.mark.parametrize(
    ("typed", "size"), [("180x120", (180, 120)), ("64", (64, 64)), ("32 X 48", (32, 48))]
)
def test_sizes(typed: str, size: tuple[int, int]) -> None:
    assert images.size_of(typed) == size


@pytest.mark.parametrize("typed", ["", "big", "4x4", "100x", "9999x9999"])
def test_what_is_no_size(typed: str) -> None:
    with pytest.raises(UsageError, match="is no size"):
        images.size_of(typed)


@pytest.fixture
def reviews(tmp_path: Path) -> Callable[[bool], Path]:
    """Texts in pos and neg, with a published test or without, and a folder without labels beside them."""

    def write(published: bool) -> Path:
        root = tmp_path / ("published" if published else "plain")
        for part in ("train", "test") if published else ("",):
            for kind, word in (("pos", "great"), ("neg", "dull")):
                folder = root / part / kind
                folder.mkdir(parents=True)
                for number in range(10):
                    (folder / f"{number}_7.txt").write_text(f"A {word} film, {part}only! don't miss {number}")
        if published:
            (root / "train" / "unsup").mkdir()
            (root / "train" / "unsup" / "0.txt").write_text("nobody knows")
        return root

    return write


def test_a_published_test_stays_the_test(reviews: Callable[[bool], Path]) -> None:
    folder = reviews(True)
    assert recipe_for(str(folder)) == "texts"
    data = texts.read(folder, words_of, 100, 7)
    assert data.classes == ("neg", "pos")
    assert data.splits == {"train": 16, "validation": 4, "test": 20}
    assert data.test is not None
    assert data.test.targets.tolist() == [0] * 10 + [1] * 10


def test_the_vocabulary_is_that_of_the_training_texts(reviews: Callable[[bool], Path]) -> None:
    words = texts.read(reviews(True), words_of, 100, 7).extra["words"]
    assert {"great", "dull", "film", "don't", "trainonly"} <= set(words)
    assert "testonly" not in words
    assert "nobody" not in words


def test_bags_and_raw_texts_say_the_same(reviews: Callable[[bool], Path]) -> None:
    data = texts.read(reviews(False), words_of, 100, 7)
    assert data.splits == {"train": 12, "validation": 4, "test": 4}
    encoder = Words(data.extra["words"], data.extra["column"])
    assert np.array_equal(encoder(data.raw(data.train.inputs)), data.train.inputs.dense())


def test_texts_in_a_table(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    other = np.array(
        ["the", "film", "was", "a", "story", "about", "people", "who", "did", "things", "on", "a", "boat"]
    )
    rows = [
        f'"{" ".join(rng.choice(other, 10))} {word} {number}",{label}'
        for number in range(60)
        for word, label in (("great", "good"), ("dull", "bad"))
    ]
    path = tmp_path / "reviews.csv"
    path.write_text("review,mood\n" + "\n".join(rows) + "\n")
    assert recipe_for(str(path)) == "texts"
    data = texts.read(path, words_of, 50, 7)
    assert data.classes == ("bad", "good")
    assert data.extra["column"] == "review"
    assert sum(data.splits.values()) == 120


def test_other_data_and_none(tmp_path: Path, album: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b,c\n" + "1,2,x\n" * 30)
    assert recipe_for(str(tmp_path / "t.csv")) == "tabular"
    assert recipe_for("s3://bucket/t.parquet") == "tabular"
    assert recipe_for("digits") is None
    with pytest.raises(BadDataError, match="no folders of pictures"):
        recipe_for(str(album / "red ones"))


def test_a_folder_in_a_bucket_is_refused_with_the_way_to_it() -> None:
    assert recipe_for("s3://data/table.csv") == "tabular"
    with pytest.raises(UsageError, match="tables alone") as told:
        recipe_for("s3://data/album")
    assert "aws s3 sync s3://data/album DIR" in told.value.hint


def test_a_picture_is_asked_about_as_it_was_trained(album: Path) -> None:
    """Predict reads a file of any size as training does: upright, cut to the proportions, scaled."""
    from mlctl.adapters.predict.image_input import read

    file = next((album / "red ones").glob("*.jpg"))
    asked = read(file, (24, 32, 3), 255.0, "uint8")
    assert (asked[0] == images.pixels_of(file, 24, 32)).all()
    with pytest.raises(NotFoundError):
        read(album / "none.png", (24, 32, 3), 255.0, "uint8")
