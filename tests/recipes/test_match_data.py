"""Which recipe fits a user's own table, and how to train on it as a table instead."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mlctl.data.files import images, texts
from mlctl.errors import BadDataError, MlctlError, NotFoundError, UsageError
from mlctl.recipes import encoders, resolve
from mlctl.recipes.match_data import recipe_for
from mlctl.services.recipes.prepare import check_values
from tests.data.test_labelled_files import no_progress

pytestmark = pytest.mark.unit


def table(path: Path, header: str, *rows: str) -> Path:
    path.write_text("\n".join((header, *rows)) + "\n")
    return path


@pytest.fixture
def dogs(tmp_path: Path) -> Path:
    """A table of images with two columns that could be the label: width and breed."""
    for number in range(20):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{number}.png")
    rows = (f"{number}.png,{100 + number % 4},{('pug', 'boxer')[number % 2]}" for number in range(20))
    return table(tmp_path / "pics.csv", "file,width,breed", *rows)


@pytest.fixture
def films(tmp_path: Path) -> Path:
    rows = (f"{n},film {n % 7},{n / 10},https://x.org/{n}.jpg" for n in range(200))
    return table(tmp_path / "movies.csv", "n,title,y,poster", *rows)


def sentences(count: int) -> list[str]:
    rng = np.random.default_rng(0)
    words = ["the", "film", "was", "a", "story", "about", "people", "who", "did", "things", "on", "boat"]
    return [" ".join(rng.choice(words, 12)) + f" {number}" for number in range(count)]


def table_hint(error: pytest.ExceptionInfo[MlctlError]) -> str:
    """Return the command that an error suggests for training on the table as a table."""
    return error.value.hint.rpartition("as a table: ")[2]


def test_urls_of_images_are_not_image_files(films: Path) -> None:
    resolved = resolve(str(films))
    assert (resolved.recipe.name, resolved.own_data) == ("tabular", str(films))
    with pytest.raises(BadDataError, match="has no column of file names") as caught:
        images.load_images(films, (8, 8), seed=7, progress=no_progress)
    assert table_hint(caught) == f"mlctl train tabular --data {films} --target COLUMN"


def test_a_table_with_names_of_missing_files_is_a_table(tmp_path: Path) -> None:
    rows = [f"gone/{number}.jpg,{number},{number % 3}" for number in range(40)]
    assert recipe_for(str(table(tmp_path / "t.csv", "poster,size,y", *rows))) == "tabular"
    pairs = table(tmp_path / "pairs.csv", "path,label", *(f"gone/{n}.jpg,{n % 2}" for n in range(40)))
    assert recipe_for(str(pairs)) == "images"  # it has no other column to learn from
    with pytest.raises(NotFoundError, match="40 files in column path do not exist") as caught:
        images.load_images(pairs, (8, 8), seed=7, progress=no_progress)
    assert "as a table: " in caught.value.hint


def test_a_table_of_images_needs_a_target_if_it_has_several_columns(dogs: Path) -> None:
    resolved = resolve(str(dogs))
    assert resolved.recipe.name == "images"
    values = check_values(resolved, {"target": "breed"})
    data = images.load_images(dogs, (8, 8), seed=7, progress=no_progress, target=values.target)
    assert data.classes == ("boxer", "pug")
    with pytest.raises(UsageError, match="the other columns are: width, breed") as caught:
        images.load_images(dogs, (8, 8), seed=7, progress=no_progress)
    assert caught.value.hint.startswith(
        "name it with --target COLUMN; to use it as a table: mlctl train tabular --data"
    )
    with pytest.raises(UsageError, match="--target bread") as caught:
        images.load_images(dogs, (8, 8), seed=7, progress=no_progress, target="bread")
    assert "did you mean breed?" in caught.value.hint


def test_a_column_named_label_is_the_label_and_its_gaps_are_reported(dogs: Path) -> None:
    text = dogs.read_text().replace("breed", "label")
    dogs.write_text(text.replace("7.png,103,boxer", "7.png,103,"))
    data = images.load_images(dogs, (8, 8), seed=7, progress=no_progress)
    assert data.classes == ("boxer", "pug")
    assert "warning: 1 row lacks a file or label: left out" in data.notes


def test_too_small_classes_suggest_training_on_the_table(dogs: Path) -> None:
    rows = [f"{number}.png,{number / 7}" for number in range(20)]
    with pytest.raises(BadDataError, match="score has 20 classes; the smallest has 1 files") as caught:
        images.load_images(table(dogs, "file,score", *rows), (8, 8), seed=7, progress=no_progress)
    assert table_hint(caught) == f"mlctl train tabular --data {dogs} --target score"


@pytest.mark.parametrize(
    ("header", "label", "recipe"),
    [
        ("text,score", lambda number: number * 1.7, "tabular"),
        ("text,score", lambda number: number, "tabular"),
        ("text,stars", lambda number: number % 5, "texts"),
        ("text,label", lambda number: number % 24, "texts"),  # the column's name says that it holds labels
    ],
)
def test_a_text_with_a_value_on_a_scale_is_a_table(
    tmp_path: Path, header: str, label: Callable[[int], float], recipe: str
) -> None:
    rows = (f"{text},{label(number)}" for number, text in enumerate(sentences(120)))
    assert recipe_for(str(table(tmp_path / "reviews.csv", header, *rows))) == recipe


def test_an_option_of_the_tabular_recipe_suggests_training_on_the_table(tmp_path: Path) -> None:
    rows = (f"{text},{number % 5}" for number, text in enumerate(sentences(120)))
    path = table(tmp_path / "reviews.csv", "text,stars", *rows)
    with pytest.raises(UsageError, match="'task'") as caught:
        check_values(resolve(str(path)), {"task": "regression"})
    assert table_hint(caught) == f"mlctl train tabular --data {path} --target COLUMN"


def test_rows_without_a_label_are_reported(tmp_path: Path) -> None:
    rows = [f"{text},{('good', 'bad')[n % 2]}" for n, text in enumerate(sentences(60))]
    path = table(tmp_path / "reviews.csv", "text,mood", *rows, "a text without a label,")
    assert (
        "warning: 1 row lacks a text or mood: left out"
        in texts.load_texts(path, encoders.ngrams_with_bags, seed=7).notes
    )
    rare = table(tmp_path / "rare.csv", "text,mood", *rows, "a text with a label of its own,odd")
    data = texts.load_texts(rare, encoders.ngrams_with_bags, seed=7)
    assert data.classes == ("bad", "good", "odd")
    assert any("class odd has fewer than 5 texts: 1 texts put into training" in note for note in data.notes)
    few = table(tmp_path / "few.csv", "text,mood", *rows[:9])
    with pytest.raises(BadDataError, match="mood has 2 classes; the smallest has 4 texts") as caught:
        texts.load_texts(few, encoders.ngrams_with_bags, seed=7)
    assert table_hint(caught) == f"mlctl train tabular --data {few} --target mood"


def test_texts_without_common_words_are_bad_data() -> None:
    with pytest.raises(BadDataError, match="no feature of text differs between the training rows"):
        encoders.table(
            pd.DataFrame({"text": ["one word", "and another", "a third"]}), encoders.text("text", most=9)
        )
