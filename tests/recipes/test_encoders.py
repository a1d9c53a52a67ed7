"""Encoders of token ids and of columns: the same after they were stored with a model."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlctl.errors import BadDataError
from mlctl.recipes import encoders
from mlctl.serving.scoring import BadCell, encoder_from_state

pytestmark = pytest.mark.unit

TEXTS = np.array(["The cat sat.", "the dog, the bird!", "a cat"], object)
TABLE = pd.DataFrame(
    {"age": [1.5, np.nan, 2.5], "count": [1, 2, 3], "area": ["x", None, "y"], "soil": ["a", "b", "b"]}
)


def stored(encoder: Any) -> Any:
    """Return the encoder as a saved model restores it."""
    return encoder_from_state(json.loads(json.dumps({"kind": encoder.kind, **encoder.state()})))


def test_tokens_number_the_most_frequent_words_and_fill_up_with_0() -> None:
    encoder = encoders.tokens(TEXTS, most=2)
    assert encoder.vocabulary == ["the", "cat"]
    assert encoder.size == 4
    assert encoder.input_shape == (None,)
    for one in (encoder, stored(encoder)):
        ids = one(["the cat ran", "", b"CAT"])
        assert ids.dtype == np.int32
        assert ids.tolist() == [[2, 3, 1], [0, 0, 0], [3, 0, 0]]


@pytest.mark.parametrize(
    ("padding", "truncating", "expected"),
    [
        ("post", "post", [[1, 2], [5, 0]]),
        ("pre", "pre", [[2, 3], [0, 5]]),
    ],
)
def test_lists_of_ids_are_cut_and_filled_as_keras_does(
    padding: str, truncating: str, expected: list[list[int]]
) -> None:
    encoder = stored(encoders.sequences(2, padding=padding, truncating=truncating))
    ragged = np.empty(2, object)
    ragged[:] = [np.array([1, 2, 3]), [5]]
    for raw in ([[1, 2, 3], [5]], ragged, pd.DataFrame({"ids": [[1, 2, 3], [5]]})):
        assert encoder(raw).tolist() == expected


def test_texts_may_be_a_column_of_a_table() -> None:
    table = pd.DataFrame({"text": [*TEXTS, None]})
    encoder = encoders.tokens(table, length=3)
    assert encoder(table).shape == (4, 3)
    assert not encoder(table)[3].any()


def test_texts_without_a_word_are_refused() -> None:
    with pytest.raises(BadDataError, match="no word"):
        encoders.tokens(["...", ""])


def test_columns_feed_named_inputs_of_their_own_types() -> None:
    encoder = encoders.columns(TABLE, ["soil"])
    for one in (encoder, stored(encoder)):
        inputs = one(TABLE)
        assert {name: (part.dtype, part.shape) for name, part in inputs.items()} == {
            "age": (np.float32, (3, 1)),
            "count": (np.int64, (3, 1)),
            "area": (object, (3, 1)),
            "soil": (np.int64, (3, 1)),
        }
        assert inputs["age"].ravel().tolist() == [1.5, 2.0, 2.5]  # the median fills the gap
        assert inputs["area"].ravel().tolist() == ["x", "", "y"]
        assert inputs["soil"].ravel().tolist() == [2, 1, 1]


def test_absent_columns_and_unknown_categories_count_as_gaps() -> None:
    encoder = encoders.columns(TABLE, ["soil"])
    inputs = encoder({"count": [4.0], "soil": ["z"]})
    assert {name: part.ravel().tolist() for name, part in inputs.items()} == {
        "age": [2.0],
        "count": [4],
        "area": [""],
        "soil": [0],
    }


@pytest.mark.parametrize(("cells", "message"), [([1.5], "no whole number"), (["many"], "no whole number")])
def test_a_cell_of_another_kind_is_refused(cells: list[Any], message: str) -> None:
    with pytest.raises(BadCell, match=message):
        encoders.columns(TABLE)({"count": cells})
