"""Encoders for recipes: they turn raw client input into model input, the same in training and serving."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlctl.errors import BadDataError
from mlctl.recipes.ngrams import fit_encoder
from mlctl.recipes.table_fit import fit_columns, fit_table
from mlctl.serving import scoring
from mlctl.serving.scoring import (
    ColumnsEncoder,
    NgramEncoder,
    PixelEncoder,
    TableEncoder,
    TextEncoder,
    TokenEncoder,
    as_text,
    is_gap,
    list_words,
)

Step = Mapping[str, Any]


def pixels(shape: Sequence[int], high: float) -> PixelEncoder:
    """Encode images of `shape` with pixels in 0..`high`: scaled to 0..1, with a channel axis."""
    return PixelEncoder(shape, high)


def words(vocabulary: Sequence[str], column: str = "text") -> TextEncoder:
    """Encode texts as multi-hot rows over a vocabulary, most frequent word first."""
    return TextEncoder(vocabulary, column)


def ngrams(
    texts: Sequence[str], labels: Any, *, most: int = 50_000, least: int = 2, column: str = "text"
) -> NgramEncoder:
    """Encode texts as rows of the n-grams that tell classes apart, weighted by how well they do.

    The n-grams are 1 to 3 words of long texts; 1 to 2 words and 2 to 5 characters of short ones; and 1 to 3 characters
    of scripts without blanks between words, such as Chinese. They come from `texts`, the training texts, whose class
    indices are `labels`: at most `most`, each in at least `least` texts.
    """
    return ngrams_with_bags(texts, labels, most=most, least=least, column=column)[0]


def ngrams_with_bags(
    texts: Sequence[str], labels: Any, *, most: int = 50_000, least: int = 2, column: str = "text"
) -> tuple[NgramEncoder, tuple[Any, Any, Any]]:
    """Return the encoder of `ngrams`, and what its method `bags` returns for the training texts."""
    plain = [scoring.plain_text(text) for text in texts]
    encoder, bags = fit_encoder(plain, np.asarray(labels), most=most, least=least, column=column)
    if not encoder.width:
        raise BadDataError(
            f"no word is in {least} of the training texts",
            "check that the text column or the files hold texts",
        )
    return encoder, bags


def tokens(
    texts: Any,
    most: int = 20_000,
    *,
    length: int | None = None,
    padding: str = "post",
    truncating: str = "post",
    column: str = "text",
) -> TokenEncoder:
    """Encode texts as rows of ids (n, length): 0 fills up, 1 is an unknown word, then the `most` frequent words.

    The vocabulary comes from `texts`, the training texts: an array, a list, or a table with `column`. Without
    `length`, a row is as long as the longest of its batch, and the model starts with `Input((None,))`. An
    `Embedding` needs `most + 2` ids, or the `size` of the encoder. `padding` and `truncating` are "pre" or "post",
    as Keras's `pad_sequences` takes them.
    """
    cells = np.asarray(texts[column] if hasattr(texts, "columns") else texts, dtype=object).ravel()
    counts = Counter(word for cell in cells if not is_gap(cell) for word in list_words(as_text(cell)))
    vocabulary = [word for _, word in sorted((-count, word) for word, count in counts.items())[:most]]
    if not vocabulary:
        raise BadDataError("there is no word in the training texts", "give tokens() the training texts")
    return TokenEncoder(vocabulary, length=length, padding=padding, truncating=truncating, column=column)


def sequences(
    length: int | None = None, *, padding: str = "post", truncating: str = "post", column: str = "ids"
) -> TokenEncoder:
    """Encode lists of ids of any length as rows (n, length), filled up with 0; see `tokens`."""
    return TokenEncoder(None, length=length, padding=padding, truncating=truncating, column=column)


def columns(rows: Any, vocabularies: Sequence[str] = ()) -> ColumnsEncoder:
    """Encode rows of a table as a dict of named inputs (n, 1), one for each column of these training rows.

    Numbers become float32, whole numbers int64, and everything else texts. Gaps become the column's median, 0 or
    "". Columns in `vocabularies` become the numbers of their categories, counted from 1; 0 is an unknown category.
    """
    return fit_columns(rows, vocabularies)


def table(rows: Any, steps: Sequence[Step]) -> TableEncoder:
    """Encode rows of a table by these steps, fitted to the training rows (a DataFrame).

    Raises BadDataError if the steps yield no feature that differs between rows.
    """
    fitted = fit_table(rows, steps)
    if not len(fitted.mean):
        raise BadDataError(
            f"no feature of {', '.join(map(str, rows.columns[:20]))} differs between the training rows",
            "text columns need words that several texts share; other columns need filled cells",
        )
    return fitted


def number(*names: str) -> list[Step]:
    """Use numeric columns as they are, gaps filled with the median."""
    return [{"make": "number", "of": name} for name in names]


def robust(*names: str) -> list[Step]:
    """Scale numeric columns by median and quartiles, with extreme values pressed together; not scaled again."""
    return [{"make": "robust", "of": name, "scaled": False} for name in names]


def unscaled(steps: Sequence[Step]) -> list[Step]:
    """Leave the features of steps as they are, such as the 0 and 1 of categories."""
    return [{**step, "scaled": False} for step in steps]


def weighted(steps: Sequence[Step], weight: float) -> list[Step]:
    """Multiply the features of steps, after they were scaled: a network learns more slowly from smaller ones."""
    return [{**step, "weight": weight} for step in steps]


def log(*names: str) -> list[Step]:
    """Take the logarithm of columns that count or measure."""
    return [{"make": "log", "of": name} for name in names]


def ratio(name: str, by: str) -> list[Step]:
    """Take the logarithm of one column divided by another."""
    return [{"make": "ratio", "of": name, "by": by}]


def missing(*names: str) -> list[Step]:
    """Add whether a cell is empty."""
    return [{"make": "missing", "of": name} for name in names]


def category(*names: str, most: int | None = None) -> list[Step]:
    """Add one feature for each category in training (the `most` frequent ones); an unknown category sets none."""
    return [{"make": "category", "of": name, "most": most} for name in names]


def bins(*names: str, most: int) -> list[Step]:
    """Add how far a number fills each of up to `most` bins with equal numbers of training rows."""
    return [{"make": "bins", "of": name, "most": most} for name in names]


def boolean(*names: str) -> list[Step]:
    """Use columns of yes and no, in English words or as true and false."""
    return [{"make": "boolean", "of": name} for name in names]


def text(*names: str, most: int) -> list[Step]:
    """Add whether each of the `most` frequent words occurs in a text."""
    return [{"make": "text", "of": name, "most": most} for name in names]


def topics(*names: str, most: int, ngrams: int = 4000) -> list[Step]:
    """Add up to `most` topics of a text: the directions in which its n-grams differ most between training texts.

    These are the most frequent `ngrams` n-grams of words and characters, weighted by how rare they are.
    """
    return [{"make": "topics", "of": name, "topics": most, "most": ngrams} for name in names]


def date(name: str, format: str, sure: bool = False) -> list[Step]:
    """Add a date's year, season, weekday and hour; `format` is pandas's, or ISO8601.

    If the column is `sure`, a cell that is not such a date is refused; otherwise it counts as a gap.
    """
    return [{"make": "date", "of": name, "format": format, "sure": sure}]


def calendar(name: str, format: str, sure: bool = False) -> list[Step]:
    """Add a date's year, month, day, weekday and hour as numbers, as trees take them; see `date`."""
    return [{"make": "calendar", "of": name, "format": format, "sure": sure}]


def calendar_flags(name: str, format: str, sure: bool = False) -> list[Step]:
    """Add one feature for each month, weekday and hour of a date, as networks take them; see `date`."""
    return [{"make": "calendar_flags", "of": name, "format": format, "sure": sure, "scaled": False}]


def lookup(name: str, values: Mapping[str, Sequence[float]], other: Sequence[float]) -> list[Step]:
    """Add the numbers `values[CATEGORY]` of a category, or `other` if it is unknown; "" is a gap."""
    numbers = {scoring.category_key(category): list(found) for category, found in values.items()}
    return [{"make": "lookup", "of": name, "values": numbers, "other": list(other)}]


def distance(latitude: str, longitude: str, place: tuple[float, float]) -> list[Step]:
    """Add the logarithm of the distance, in degrees, from a place."""
    return [{"make": "distance", "of": [latitude, longitude], "from": list(place)}]


def waves(latitude: str, longitude: str, directions: int, frequencies: Sequence[float]) -> list[Step]:
    """Add a place along several directions, with sines and cosines at frequencies in turns per degree."""
    return [
        {
            "make": "waves",
            "of": [latitude, longitude],
            "directions": directions,
            "frequencies": list(frequencies),
        }
    ]
