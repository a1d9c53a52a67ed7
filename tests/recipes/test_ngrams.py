"""N-grams of words and characters: the features of texts."""

# ruff: noqa: RUF001 - Chinese commas are meant

from __future__ import annotations

import itertools
import json
import random
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlctl.errors import BadDataError
from mlctl.recipes import encoders, ngrams
from mlctl.recipes.match_data import recipe_for
from mlctl.recipes.ngrams import fit_ngrams, ngram_kinds
from mlctl.serving import scoring

pytestmark = pytest.mark.unit

GOOD, BAD = "a good film with great actors", "a bad film with poor actors"


def reviews(rows: int = 20) -> tuple[list[str], np.ndarray]:
    texts = [f"{(BAD, GOOD)[row % 2]} {row // 4}" for row in range(rows)]
    return texts, np.arange(rows) % 2


def find_words(texts: list[str]) -> list[tuple[int, str]]:
    _, rows, starts, stops = scoring.find_words(texts)
    return [(row, texts[row][start:stop]) for row, start, stop in zip(rows, starts, stops, strict=True)]


def test_words_of_a_text() -> None:
    text = scoring.plain_text("Good 😀movie!!<br />It's 5 stars, नमस्ते นี่คือ")
    assert find_words([text, "", "", "ok"]) == [
        *((0, word) for word in ("good", "😀", "movie", "!", "!", "it's", "5", "stars", "नमस्ते", "นี่คือ")),
        (3, "ok"),
    ]
    assert scoring.plain_text("3 < 5 and 7 > 6") == "3 < 5 and 7 > 6"


def test_words_are_those_of_a_regular_expression() -> None:
    pattern = re.compile(rf"(?:{scoring._LETTER.pattern})+|{scoring._SYMBOL.pattern}")
    generator = random.Random(1)
    limits = 128, 0x250, 0x3100, 0x1F680
    texts = [
        scoring.plain_text("".join(chr(generator.randrange(limit)) for _ in range(generator.randrange(30))))
        for limit in limits
        for _ in range(500)
    ]
    expected = [(row, word) for row, text in enumerate(texts) for word in pattern.findall(text)]
    assert find_words(texts) == expected
    assert find_words([]) == []


def test_equal_words_have_equal_hashes() -> None:
    hashes = scoring.find_words(["good film", "a film good", "doog"])[0]
    assert hashes[0] == hashes[4]
    assert hashes[1] == hashes[3]
    assert len(set(hashes.tolist())) == 4


@pytest.mark.parametrize("of", [scoring.WORDS, scoring.CHARACTERS])
def test_ngrams_are_those_that_a_plain_loop_finds(of: str) -> None:
    texts, labels = reviews()
    fitted = fit_ngrams(of, texts, labels, lengths=[1, 2, 3], most=10_000)
    encoder = scoring.NgramEncoder([fitted.state])
    counts: Counter[tuple[str, ...]] = Counter()
    for text in texts:
        symbols = list(f" {text} ") if of == scoring.CHARACTERS else text.split()
        found = {
            tuple(symbols[start : start + length])
            for length in (1, 2, 3)
            for start in range(len(symbols) - length + 1)
        }
        counts.update(
            ngram for ngram in found if ngram != (" ",) and not (of != scoring.WORDS and " " in ngram[1:-1])
        )
    assert encoder.width == sum(count >= 2 for count in counts.values())
    rows = encoder(texts)
    np.testing.assert_allclose(np.square(rows).sum(axis=1), 1, atol=1e-5)
    columns, starts, values = encoder.bags(texts)
    for row, (start, stop) in enumerate(itertools.pairwise(starts)):
        assert np.all(np.diff(columns[start:stop]) > 0)
        assert set(np.flatnonzero(rows[row])) <= set(columns[start:stop])
        np.testing.assert_array_equal(values[start:stop], rows[row, columns[start:stop]])


def test_ngrams_that_tell_classes_apart_are_kept_and_weigh_most() -> None:
    texts, labels = reviews()
    encoder = scoring.NgramEncoder([fit_ngrams("words", texts, labels, lengths=[1], most=4).state])
    good, film = encoder(["good", "film"])
    assert good.max() > 0
    assert film.max() == 0


def test_a_key_table_finds_every_key_and_no_other() -> None:
    generator = np.random.default_rng(0)
    keys = np.unique(generator.integers(0, 1 << 60, 5000))
    asked = np.concatenate((generator.permutation(keys), keys + 1, [0, -1]))
    positions, places = scoring.KeyTable(keys).find(asked)
    np.testing.assert_array_equal(keys[places], asked[positions])
    assert sorted(positions) == np.flatnonzero(np.isin(asked, keys)).tolist()


SHORT, LONG, CHINESE = (
    [*reviews(60)[0], "", "😀 never"],
    [text * 100 for text in reviews(60)[0]],
    [f"{('房间很小，服务很差', '房间干净，服务热情')[row % 2]}，{row}号房间" for row in range(60)],
)


@pytest.mark.parametrize("texts", [SHORT, LONG, CHINESE])
@pytest.mark.parametrize("part", ["all", "some"])
def test_bags_of_training_texts_are_those_of_the_encoder(
    texts: list[str], part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "CHUNK_CHARACTERS", 500)
    if part == "some":  # n-grams of characters are chosen from a part of the texts
        monkeypatch.setattr(ngrams, "MOST_CHARACTERS", 1000)
    labels = np.arange(len(texts)) % 2
    encoder, bags = encoders.ngrams_with_bags(texts, labels, most=90)
    assert encoder.width <= 90
    for found, expected in zip(bags, encoder.bags(texts), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_keys_of_many_symbols_are_counted() -> None:
    keys, rows = np.array([5, 5, 7, 5, 1 << 61, 1 << 61]), np.array([2, 0, 1, 2, 3, 3])
    for factor in (1, 1 << 58):  # the second ones do not fit into 63 bits together with a row
        found = ngrams._different_pairs(keys % (1 << 61) * factor, rows, 4)
        assert [part.tolist() for part in found] == [[0, 5 * factor, 5 * factor, 7 * factor], [3, 0, 2, 1]]


def test_an_encoder_is_the_same_after_a_round_trip() -> None:
    texts, labels = reviews()
    encoder = encoders.ngrams(texts, labels, column="review")
    state = json.loads(json.dumps({"kind": encoder.kind, **encoder.state()}))
    loaded = scoring.encoder_from_state(state)
    asked = ["a good 😀 film", "", "房间干净", BAD, "\ud800"]
    np.testing.assert_array_equal(loaded(asked), encoder(asked))
    np.testing.assert_array_equal(loaded(asked)[1], np.zeros(encoder.width))
    table = pd.DataFrame({"review": asked[:2]})
    np.testing.assert_array_equal(loaded(table), encoder(asked[:2]))
    with pytest.raises(scoring.BadCell, match="is not a text"):
        loaded(["good", None])


def test_the_kind_of_text_decides_on_the_ngrams() -> None:
    assert ngram_kinds(["a short text"]) == {"words": (1, 2), "characters": (2, 3, 4, 5)}
    assert ngram_kinds(["a long text " * 200]) == {"words": (1, 2, 3)}
    for text in ("房间干净，服务热情", "ホテルはとてもきれいでした", "โรงแรมสะอาดมาก"):
        assert ngram_kinds([text]) == {"characters": (1, 2, 3), "words": (1, 2)}


def test_texts_without_common_words_are_bad_data() -> None:
    with pytest.raises(BadDataError, match="no word is in 2 of the training texts"):
        encoders.ngrams(["one", "two"], np.array([0, 1]))


def test_topics_of_a_text_column() -> None:
    texts, _ = reviews()
    rows = pd.DataFrame({"review": [*texts, None], "stars": np.arange(21.0)})
    steps = [*encoders.number("stars"), *encoders.topics("review", most=5)]
    encoder = encoders.table(rows, steps)
    loaded = scoring.encoder_from_state(json.loads(json.dumps({"kind": encoder.kind, **encoder.state()})))
    encoded = loaded(rows)
    np.testing.assert_allclose(encoded, encoder(rows))
    np.testing.assert_allclose(loaded(rows.iloc[3:4]), encoded[3:4], atol=1e-5)
    assert encoded.shape[1] == 1 + 5
    np.testing.assert_allclose(encoded[:, 1:].mean(axis=0), 0, atol=1e-5)
    assert np.abs(encoded[0] - encoded[1]).max() > 1  # a good and a bad review


def test_a_table_of_chinese_texts_is_a_text_task(tmp_path: Path) -> None:
    path = tmp_path / "hotel.csv"
    lines = [
        f"{row % 2},{('房间很小，服务很差', '房间干净，服务热情')[row % 2]}，{row}号房间" for row in range(60)
    ]
    path.write_text("label,review\n" + "\n".join(lines) + "\n", encoding="utf-8")
    assert recipe_for(str(path)) == "texts"
