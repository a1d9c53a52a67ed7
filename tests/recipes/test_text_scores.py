"""The scores of text columns in tables: what linear models of n-grams say, without knowing a row's own target."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from mlctl.recipes import encoders
from mlctl.recipes.text_scores import FOLDS, text_score_steps
from mlctl.serving import scoring

pytestmark = pytest.mark.unit

TOPICS = ("refund money card bank", "late parcel street driver", "login password reset email")
FILLERS = [f"word{number}" for number in range(300)]


def complaints(rows: int = 400, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Return texts with one word of their topic among fillers, and their topics."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, len(TOPICS), rows)
    texts = [
        " ".join([*generator.choice(FILLERS, 8), generator.choice(TOPICS[label].split())]) for label in labels
    ]
    return pd.DataFrame({"note": texts}), labels


def scores_of(rows: pd.DataFrame, targets: np.ndarray, classes: int, asked: pd.DataFrame) -> np.ndarray:
    """Return the scores of `asked` by an encoder that was fitted to `rows`, and stored as a model stores it."""
    steps = text_score_steps("note", rows["note"], targets, classes)
    encoder = encoders.table(rows, steps)
    state = json.loads(json.dumps({"kind": encoder.kind, **encoder.state()}))
    loaded = scoring.encoder_from_state(state)
    np.testing.assert_array_equal(loaded(asked), encoder(asked))
    return loaded(asked)


def test_scores_tell_classes_of_new_texts() -> None:
    rows, labels = complaints()
    asked, expected = complaints(seed=1)
    scores = scores_of(rows, labels, len(TOPICS), asked)
    assert scores.shape == (len(asked), 3)
    assert np.mean(scores.argmax(axis=1) == expected) > 0.85
    binary = scores_of(rows, (labels == 1).astype(int), 2, asked)
    assert binary.shape == (len(asked), 1)
    assert binary[expected == 1].mean() > binary[expected != 1].mean() + 1


def test_scores_predict_numbers() -> None:
    rows, labels = complaints()
    asked, expected = complaints(seed=1)
    scores = scores_of(rows, labels * 100.0 + 5, 0, asked)
    assert np.corrcoef(scores[:, 0], expected)[0, 1] > 0.8


@pytest.mark.parametrize("classes", [0, 2, 5])
def test_the_scores_of_training_rows_do_not_know_their_targets(classes: int) -> None:
    rows, _ = complaints(rows=600)
    random = np.random.default_rng(3)
    targets = random.integers(0, classes, len(rows)) if classes else random.normal(size=len(rows))
    scores = scores_of(rows, targets, classes, rows)
    if classes > 2:
        assert np.mean(scores.argmax(axis=1) == targets) < 0.3
    else:
        assert abs(np.corrcoef(scores[:, 0], targets)[0, 1]) < 0.15


def test_equal_texts_are_left_out_together() -> None:
    rows, _ = complaints(rows=200)
    repeated = pd.concat([rows] * 4, ignore_index=True)
    targets = np.tile(np.random.default_rng(4).integers(0, 2, len(rows)), 4)  # copies share a random target
    scores = scores_of(repeated, targets, 2, repeated)
    assert abs(np.corrcoef(scores[:, 0], targets)[0, 1]) < 0.25
    assert scoring.text_fold("A  <b>good</b> day", FOLDS) == scoring.text_fold("a good day", FOLDS)


def test_gaps_and_unknown_words_have_a_score() -> None:
    rows, labels = complaints()
    rows.loc[::7, "note"] = None
    scores = scores_of(rows, labels, len(TOPICS), pd.DataFrame({"note": [None, "", "xyz", "😀", "refund"]}))
    assert np.isfinite(scores).all()


def test_classes_in_one_part_only_and_few_texts() -> None:
    rows, labels = complaints()
    labels[0] = 3  # a class with one row: four models out of five know it
    assert np.isfinite(scores_of(rows, labels, 4, rows)).all()
    assert text_score_steps("note", rows["note"][:20], labels[:20], 3) == []
    same = pd.DataFrame({"note": ["the same text each time"] * 100})
    assert np.isfinite(
        np.array(text_score_steps("note", same["note"], np.arange(100) % 2, 2)[0]["offsets"])
    ).all()
