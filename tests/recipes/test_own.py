"""Which recipe a table of one's own is for, and that it can be told otherwise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mlctl.data.files import images, texts
from mlctl.errors import BadDataError, MlctlError, NotFoundError, UsageError
from mlctl.recipes import encoders
from mlctl.recipes.own import recipe_for
from mlctl.services.recipes.prepare import recipe_values
from mlctl.serving.scoring import words_of
from tests.data.test_folders import quiet


def table(path: Path, header: str, *rows: str) -> Path:
    path.write_text("\n".join((header, *rows)) + "\n")
    return path


@pytest.fixture
def dogs(tmp_path: Path) -> Path:
    """A table of pictures with a width, which is no label, and a breed, which is one."""
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


def way_out(error: pytest.ExceptionInfo[MlctlError]) -> str:
    return error.value.hint.rpartition("as a table: ")[2]


def test_addresses_are_no_pictures(films: Path) -> None:
    recipe, values = recipe_values(str(films), {"target": "y"})
    assert (recipe.name, values.target) == ("tabular", "y")
    with pytest.raises(BadDataError, match="no column of paths") as told:
        images.read(films, (8, 8), 7, quiet)
    assert way_out(told) == f"mlctl train tabular --data {films} --target COLUMN"


def test_a_table_with_names_of_files_that_are_elsewhere_is_a_table(tmp_path: Path) -> None:
    rows = [f"gone/{number}.jpg,{number},{number % 3}" for number in range(40)]
    assert recipe_for(str(table(tmp_path / "t.csv", "poster,size,y", *rows))) == "tabular"
    pairs = table(tmp_path / "pairs.csv", "path,label", *(f"gone/{n}.jpg,{n % 2}" for n in range(40)))
    assert recipe_for(str(pairs)) == "images"  # there is nothing else in it to learn from
    with pytest.raises(NotFoundError, match="40 files that are not there") as told:
        images.read(pairs, (8, 8), 7, quiet)
    assert "as a table: " in told.value.hint


def test_a_table_of_pictures_takes_a_target_and_asks_for_it(dogs: Path) -> None:
    recipe, values = recipe_values(str(dogs), {"target": "breed"})
    assert recipe.name == "images"
    data = images.read(dogs, (8, 8), 7, quiet, target=values.target)
    assert data.classes == ("boxer", "pug")
    with pytest.raises(UsageError, match="width, breed: which is the label") as told:
        images.read(dogs, (8, 8), 7, quiet)
    assert told.value.hint.startswith("say --target COLUMN; as a table: mlctl train tabular --data")
    with pytest.raises(UsageError, match="--target bread") as told:
        images.read(dogs, (8, 8), 7, quiet, target="bread")
    assert "did you mean breed?" in told.value.hint


def test_a_column_called_label_is_the_label_and_its_gaps_are_said(dogs: Path) -> None:
    text = dogs.read_text().replace("breed", "label")
    dogs.write_text(text.replace("7.png,103,boxer", "7.png,103,"))
    data = images.read(dogs, (8, 8), 7, quiet)
    assert data.classes == ("boxer", "pug")
    assert "warning: 1 row lacks a file or label: left out" in data.notes


def test_too_small_classes_are_shown_the_way_out(dogs: Path) -> None:
    rows = [f"{number}.png,{number / 7}" for number in range(20)]
    with pytest.raises(BadDataError, match="score has 20 classes, the smallest of 1 files") as told:
        images.read(table(dogs, "file,score", *rows), (8, 8), 7, quiet)
    assert way_out(told) == f"mlctl train tabular --data {dogs} --target score"


def test_a_text_with_a_value_is_a_table(tmp_path: Path) -> None:
    said = sentences(120)
    path = tmp_path / "reviews.csv"
    assert (
        recipe_for(str(table(path, "text,score", *(f"{one},{n * 1.7}" for n, one in enumerate(said)))))
        == "tabular"
    )
    assert (
        recipe_for(str(table(path, "text,score", *(f"{one},{n}" for n, one in enumerate(said))))) == "tabular"
    )
    assert (
        recipe_for(str(table(path, "text,stars", *(f"{one},{n % 5}" for n, one in enumerate(said)))))
        == "texts"
    )
    many = (f"{one},{n % 24}" for n, one in enumerate(said))  # it says itself what its numbers are
    assert recipe_for(str(table(path, "text,label", *many))) == "texts"
    with pytest.raises(UsageError, match="'task'") as told:
        recipe_values(str(path), {"task": "regression"})
    assert way_out(told) == f"mlctl train tabular --data {path} --target COLUMN"


def test_texts_say_what_they_leave_out(tmp_path: Path) -> None:
    rows = [f"{one},{('good', 'bad')[n % 2]}" for n, one in enumerate(sentences(60))]
    path = table(tmp_path / "reviews.csv", "text,mood", *rows, "a text without a label,")
    assert "warning: 1 row lacks a text or mood: left out" in texts.read(path, words_of, 99, 7).notes
    few = table(tmp_path / "few.csv", "text,mood", *rows, "a text with a label of its own,odd")
    with pytest.raises(BadDataError, match="mood has 3 classes, the smallest of 1 texts") as told:
        texts.read(few, words_of, 99, 7)
    assert way_out(told) == f"mlctl train tabular --data {few} --target mood"


def test_texts_without_a_word_in_common_are_no_fault_of_the_recipe() -> None:
    with pytest.raises(BadDataError, match="nothing in text tells the rows"):
        encoders.table(
            pd.DataFrame({"text": ["one word", "and another", "a third"]}), encoders.text("text", most=9)
        )
