"""A user's own labelled files: images and texts, in folders or in a table."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mlctl.data.files import images, pixel_file, texts
from mlctl.data.join_splits import join
from mlctl.errors import BadDataError, NotFoundError, UsageError
from mlctl.recipes import encoders
from mlctl.recipes.match_data import recipe_for

pytestmark = pytest.mark.unit


def no_progress(name: str, done: int, total: int | None) -> None:
    """Ignore the progress."""


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Forty images of two classes, red ones and blue ones, of several sizes and formats."""
    for kind, channel in (("red ones", 0), ("blue ones", 2)):
        folder = tmp_path / "album" / kind
        folder.mkdir(parents=True)
        for number in range(20):
            pixels = np.zeros((30 + number, 50, 3), np.uint8)
            pixels[..., channel] = 250
            Image.fromarray(pixels).save(folder / f"{number}.{'png' if number % 2 else 'jpg'}")
        (folder / "notes.md").write_text("not an image")
    return tmp_path / "album"


def test_each_folder_is_a_class(album: Path) -> None:
    assert recipe_for(str(album)) == "images"
    data = images.load_images(album, (24, 32), seed=7, progress=no_progress)
    assert data.classes == ("blue ones", "red ones")
    assert data.splits == {"train": 26, "validation": 6, "test": 8}
    assert data.extra["params"] == {"image_height": 24, "image_width": 32}
    sample = data.train.take(np.arange(5))
    raw, dense = data.raw(sample.inputs), sample.inputs.dense()
    assert raw.dtype == np.uint8
    assert raw.shape == dense.shape == sample.inputs.shape == (5, 24, 32, 3)
    assert np.allclose(dense, raw / 255)
    assert ((raw[..., 0].mean(axis=(1, 2)) > 200) == (sample.targets == 1)).all()


def test_images_and_labels_in_a_table(album: Path) -> None:
    files = sorted(album.rglob("*.png"))
    rows = "".join(f"{path.relative_to(album)},{path.parent.name.split()[0]}\n" for path in files)
    (album / "list.csv").write_text("path,label\n" + rows)
    assert recipe_for(str(album / "list.csv")) == "images"
    data = images.load_images(album / "list.csv", (8, 8), seed=7, progress=no_progress)
    assert data.classes == ("blue", "red")
    assert sum(data.splits.values()) == 20
    (album / "list.csv").write_text("path,label\n" + rows + "gone.png,red\n")
    data = images.load_images(album / "list.csv", (8, 8), seed=7, progress=no_progress)
    assert sum(data.splits.values()) == 20
    assert "warning: 1 of 21 files do not exist, left out: gone.png …" in data.notes
    gone = "".join(f"gone{number}.png,red\n" for number in range(5))
    (album / "list.csv").write_text("path,label\n" + gone + rows)
    with pytest.raises(
        NotFoundError, match=r"5 files in column path do not exist; the first is .*gone0\.png"
    ):
        images.load_images(album / "list.csv", (8, 8), seed=7, progress=no_progress)


def test_a_few_unreadable_images_are_left_out_and_many_are_refused(album: Path) -> None:
    (album / "red ones" / "cut.jpg").write_bytes((album / "red ones" / "0.jpg").read_bytes()[:200])
    data = images.load_images(album, (8, 8), seed=7, progress=no_progress)
    assert sum(data.splits.values()) == 40
    assert any("1 unreadable" in note and "cut.jpg" in note for note in data.notes)
    for number in range(5):
        (album / "red ones" / f"bad{number}.jpg").write_bytes(b"not an image")
    with pytest.raises(BadDataError, match="6 of 46 images cannot be read") as refused:
        images.load_images(album, (8, 8), seed=7, progress=no_progress)
    assert refused.value.hint.endswith("leaves out at most 3")


@pytest.mark.parametrize(
    ("typed", "size"), [("180x120", (180, 120)), ("64", (64, 64)), ("32 X 48", (32, 48))]
)
def test_sizes_are_parsed(typed: str, size: tuple[int, int]) -> None:
    assert images.parse_size(typed) == size


def test_images_keep_their_size_unless_they_are_large(album: Path, tmp_path: Path) -> None:
    data = images.load_images(album, images.parse_size("auto"), seed=7, progress=no_progress)
    assert data.train.inputs.shape[1:3] == (39, 50)  # the median height
    assert any("scaled to 39x50 pixels" in note for note in data.notes)
    photo = tmp_path / "photo.jpg"
    upright = Image.Exif()
    upright[images.ORIENTATION] = 6
    Image.new("RGB", (640, 480)).save(photo)
    assert images.choose_size([photo]) == (112, 144)
    Image.new("RGB", (640, 480)).save(photo, exif=upright)
    assert images.choose_size([photo]) == (144, 112)
    Image.new("L", (30, 28)).save(photo)
    assert images.choose_size([photo]) == (28, 28)


def test_images_are_decoded_once(album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load() -> images.ImageFiles:
        data = images.load_images(album, (8, 8), seed=7, progress=no_progress)
        rows = join(data.train, data.validation)
        return rows.inputs.take(np.array([5, 0, 9, len(rows) - 1]))

    (album / "red ones" / "cut.jpg").write_bytes(b"not an image")
    in_memory = load()
    monkeypatch.setattr(images, "MAX_BYTES_IN_MEMORY", 0)
    in_file = load()
    monkeypatch.setattr(pixel_file, "MAX_BYTES", 0)
    on_disk = load()
    assert isinstance(in_memory.cached, np.ndarray)
    assert isinstance(in_file.cached, pixel_file.PixelFile)
    assert on_disk.cached is None
    in_another_process = pickle.loads(pickle.dumps(in_file))
    assert in_another_process.cached is None
    for other in (in_file, on_disk, in_another_process):
        assert (other.pixels() == in_memory.pixels()).all()


@pytest.mark.parametrize("typed", ["", "big", "4x4", "100x", "9999x9999"])
def test_an_invalid_size_is_refused(typed: str) -> None:
    with pytest.raises(UsageError, match="invalid value"):
        images.parse_size(typed)


@pytest.fixture
def reviews(tmp_path: Path) -> Callable[[bool], Path]:
    """Texts in pos and neg, with or without a published test split, and an unlabelled folder."""

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
            (root / "train" / "unsup" / "0.txt").write_text("unknown label")
        return root

    return write


def test_a_published_test_split_stays_the_test_split(reviews: Callable[[bool], Path]) -> None:
    folder = reviews(True)
    assert recipe_for(str(folder)) == "texts"
    data = texts.load_texts(folder, encoders.ngrams_with_bags, seed=7)
    assert data.classes == ("neg", "pos")
    assert data.splits == {"train": 16, "validation": 4, "test": 20}
    assert data.test is not None
    assert data.test.targets.tolist() == [0] * 10 + [1] * 10


def test_the_vocabulary_comes_from_the_training_texts(reviews: Callable[[bool], Path]) -> None:
    encoder = texts.load_texts(reviews(True), encoders.ngrams_with_bags, seed=7).extra["encoder"]
    words = encoder.parts[0]["symbols"]
    assert {"great", "dull", "film", "don't", "trainonly"} <= set(words)
    assert "testonly" not in words
    assert "unknown" not in words


def test_bags_and_raw_texts_have_the_same_ngrams(reviews: Callable[[bool], Path]) -> None:
    data = texts.load_texts(reviews(False), encoders.ngrams_with_bags, seed=7)
    assert data.splits == {"train": 12, "validation": 4, "test": 4}
    few = data.train.take(np.array([7, 0])).inputs
    raw = data.raw(few)
    assert all(text.startswith("A ") for text in raw)
    assert np.array_equal(data.extra["encoder"](raw), few.dense())


def test_texts_in_a_table(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    filler = np.array(
        ["the", "film", "was", "a", "story", "about", "people", "who", "did", "things", "on", "a", "boat"]
    )
    rows = [
        f'"{" ".join(rng.choice(filler, 10))} {word} {number}",{label}'
        for number in range(60)
        for word, label in (("great", "good"), ("dull", "bad"))
    ]
    path = tmp_path / "reviews.csv"
    path.write_text("review,mood\n" + "\n".join(rows) + "\n")
    assert recipe_for(str(path)) == "texts"
    data = texts.load_texts(path, encoders.ngrams_with_bags, seed=7)
    assert data.classes == ("bad", "good")
    assert data.extra["column"] == "review"
    assert sum(data.splits.values()) == 120
    other = tmp_path / "other.csv"
    other.write_text("mood,review,more\n" + "good,a fine unseen film,1\n,no label,2\n" + "bad,dull,3\n")
    tested = texts.load_texts(path, encoders.ngrams_with_bags, seed=7, test=other)
    assert tested.splits == {"train": 96, "validation": 24, "test": 2}
    assert tested.raw(tested.test.inputs) == ["a fine unseen film", "dull"]
    assert tested.test.targets.tolist() == [1, 0]
    assert tested.sha256 != data.sha256
    with pytest.raises(UsageError, match="is a folder"):
        texts.load_texts(tmp_path, encoders.ngrams_with_bags, seed=7, test=other)


def test_other_data_has_other_recipes(tmp_path: Path, album: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b,c\n" + "1,2,x\n" * 30)
    assert recipe_for(str(tmp_path / "t.csv")) == "tabular"
    assert recipe_for("s3://bucket/t.parquet") == "tabular"
    assert recipe_for("digits") is None
    with pytest.raises(BadDataError, match="no folders of images"):
        recipe_for(str(album / "red ones"))


def test_a_folder_in_a_bucket_is_refused_with_a_hint() -> None:
    assert recipe_for("s3://data/table.csv") == "tabular"
    with pytest.raises(UsageError, match="only tables from a bucket") as caught:
        recipe_for("s3://data/album")
    assert "aws s3 sync s3://data/album DIR" in caught.value.hint


def test_prediction_reads_an_image_as_training_does(album: Path) -> None:
    """A file of any size is turned upright, cropped and scaled in the same way."""
    from mlctl.adapters.predict.image_input import read_image

    file = next((album / "red ones").glob("*.jpg"))
    pixels = read_image(file, (24, 32, 3), 255.0, "uint8")
    assert (pixels[0] == images.read_pixels(file, 24, 32)).all()
    with pytest.raises(NotFoundError):
        read_image(album / "none.png", (24, 32, 3), 255.0, "uint8")
