"""The n-grams that an encoder of texts knows: which lengths suit the texts, and which n-grams tell most."""

from __future__ import annotations

import base64
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlctl.data.unspaced_scripts import UNSPACED_SHARE, share_unspaced
from mlctl.serving.scoring import (
    CHARACTERS,
    WORDS,
    KeyTable,
    NgramEncoder,
    Numbering,
    find_words,
    hash_keys,
    known_windows,
    map_chunks,
    sorted_unique,
    with_ends,
)

Array = np.ndarray[Any, Any]

MOST_CHARACTERS = 4_000_000  # n-grams of characters are chosen from a part of more text than this
_LONG_TEXT = 1000  # characters on average: in longer texts, words alone tell as much
_HASH_BITS = 22  # at most, of the hashes by which rare n-grams are left out


def ngram_kinds(texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return the lengths of n-grams of words and characters that suit plain texts."""
    if share_unspaced(texts) >= UNSPACED_SHARE:
        return {CHARACTERS: (1, 2, 3), WORDS: (1, 2)}
    if sum(map(len, texts)) <= _LONG_TEXT * len(texts):
        return {WORDS: (1, 2), CHARACTERS: (2, 3, 4, 5)}
    return {WORDS: (1, 2, 3)}


def fit_encoder(
    texts: Sequence[str], labels: Array | None, *, most: int, least: int = 2, column: str = "text"
) -> tuple[NgramEncoder, tuple[Array, Array, Array]]:
    """Return an encoder for texts like these plain texts, and what its `bags` returns for them.

    See `fit_ngrams` for the arguments. The n-grams of characters of much text are chosen from a part of it.
    """
    kinds = ngram_kinds(texts)
    states, found = [], []
    for of, lengths in kinds.items():
        every = max(1, -(-sum(map(len, texts)) // MOST_CHARACTERS)) if of == CHARACTERS else 1
        fitted = fit_ngrams(
            of,
            texts[::every],
            None if labels is None else labels[::every],
            lengths=lengths,
            most=most // len(kinds),
            least=least,
        )
        states.append(fitted.state)
        found.append(fitted.found if every == 1 else None)
    encoder = NgramEncoder(states, column)
    return encoder, encoder.bags_of_found(found, texts)


@dataclass(frozen=True)
class FittedNgrams:
    """N-grams of words or characters that an encoder of texts knows.

    Attributes:
        state: What `NgramEncoder` takes as one of its parts.
        found: Row and column of each of them in the texts that they come from, sorted by both.
    """

    state: dict[str, Any]
    found: tuple[Array, Array]


def fit_ngrams(
    of: str, texts: Sequence[str], labels: Array | None, *, lengths: Sequence[int], most: int, least: int = 2
) -> FittedNgrams:
    """Return the n-grams that tell the classes of plain texts apart, or the most frequent ones.

    The scale of an n-gram is the largest logarithm, over the classes, of how much more or less frequent it is in texts
    of the class than in all others. Source: Wang and Manning, Baselines and Bigrams (2012). Without labels, it is the
    inverse document frequency.

    Args:
        of: WORDS or CHARACTERS.
        texts: training texts, as `plain_text` returns them.
        labels: class index of each text; None: the classes are not used.
        lengths: number of symbols in an n-gram; long ones are left out if a key would not fit into 63 bits.
        most: maximum number of n-grams.
        least: number of texts that an n-gram must be in.
    """
    symbols, ids, rows = _number_words(texts, least) if of == WORDS else _number_characters(texts, least)
    lengths = [length for length in lengths if (len(symbols) + 1) ** length < 1 << 62]
    blank = symbols.index(" ") + 1 if of == CHARACTERS else -1
    classes = np.zeros(len(texts), np.int64) if labels is None else labels
    parts = list(
        _count_ngrams(ids, rows, classes, lengths=lengths, base=len(symbols) + 1, blank=blank, least=least)
    )
    keys, counts = (np.concatenate([getattr(part, name) for part in parts]) for name in ("keys", "counts"))
    totals = counts.sum(axis=1)
    scales = np.log((1 + len(texts)) / (1 + totals)) + 1 if labels is None else _class_ratios(counts)
    kept = np.arange(len(keys))
    if len(keys) > most:
        weights = totals if labels is None else scales * np.sqrt(totals)
        kept = np.sort(np.argpartition(-weights, most)[:most])
    symbols, renumbered = _used_symbols(symbols, keys[kept])
    state = {
        "of": of,
        "symbols": symbols if of == WORDS else "".join(symbols),
        "lengths": lengths,
        "gaps": pack_numbers(np.diff(renumbered, prepend=0), "<i8"),
        "scales": pack_numbers(scales[kept], "<f4"),
    }
    return FittedNgrams(state, _found_ngrams(parts, kept, len(keys)))


def _number_characters(texts: Sequence[str], least: int) -> tuple[list[str], Array, Array]:
    """Return the characters that are in at least `least` texts, and what `Numbering` returns for them."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(set(text))
    known = {symbol for symbol, count in counts.items() if count >= least and symbol.strip("\0 ").strip()}
    symbols = sorted(known | {" "})
    return symbols, *Numbering(CHARACTERS, symbols)(texts)


def _number_words(texts: Sequence[str], least: int) -> tuple[list[str], Array, Array]:
    """Return the words that are in at least `least` texts, and what `Numbering` returns for them."""
    first_rows, parts = map_chunks(find_words, texts)
    hashes, starts, stops = (np.concatenate([part[number] for part in parts]) for number in (0, 2, 3))
    rows = np.concatenate([part[1] + first for first, part in zip(first_rows, parts, strict=True)])
    different = sorted_unique(hashes)
    positions, numbers = KeyTable(different).find(hashes)
    word_numbers, examples = np.empty(len(hashes), np.int64), np.empty(len(different), np.int64)
    word_numbers[positions], examples[numbers] = numbers, positions
    pairs = sorted_unique(word_numbers * len(texts) + rows)
    counts = np.bincount(pairs // len(texts), minlength=len(different))
    known = np.flatnonzero(counts >= least)
    places = (part[examples[known]].tolist() for part in (rows, starts, stops))
    words = [texts[row][start:stop] for row, start, stop in zip(*places, strict=True)]
    by_name = sorted(range(len(words)), key=words.__getitem__)
    id_of_number = np.zeros(len(different), np.int64)
    id_of_number[known[by_name]] = np.arange(1, len(words) + 1)
    return [words[place] for place in by_name], *with_ends(id_of_number[word_numbers], rows, len(texts))


@dataclass(frozen=True)
class _CountedNgrams:
    """The n-grams of one length that are in enough texts.

    Attributes:
        keys: Their keys, ascending.
        counts: The number of texts of each class that have them: (n-grams, classes).
        numbers, rows: The place of each n-gram in `keys` and the row of each text that it is in.
    """

    keys: Array
    counts: Array
    numbers: Array
    rows: Array


def _count_ngrams(
    ids: Array, rows: Array, labels: Array, *, lengths: Sequence[int], base: int, blank: int, least: int
) -> Iterator[_CountedNgrams]:
    """Yield the n-grams of each length that are in at least `least` texts.

    N-grams of characters that reach across a blank are left out: the words have them.
    """

    def can_be_frequent(length: int, places: Array, keys: Array) -> Array:
        # most n-grams are rare, and so are those that begin with them: a table of hashes finds them sooner than sorting
        hashes = hash_keys(keys, min(_HASH_BITS, len(keys).bit_length() + 1))
        is_kept: Array = np.bincount(hashes)[hashes] >= least
        if length > 2:
            is_kept &= ids[places + (length - 2)] != blank
        return is_kept

    count, classes = len(labels), int(labels.max()) + 1
    for length, places, keys in known_windows(ids, base, max(lengths, default=0), can_be_frequent):
        if length not in lengths:
            continue
        if length == 1:
            is_counted = ids[places] != blank
            places, keys = places[is_counted], keys[is_counted]
        keys, rows_of_keys = _different_pairs(keys, rows[places], count)
        is_first = np.ones(len(keys), bool)
        np.not_equal(keys[1:], keys[:-1], out=is_first[1:])
        numbers = np.cumsum(is_first) - 1
        keys = keys[is_first]
        cells = numbers * classes + labels[rows_of_keys]
        counts = np.bincount(cells, minlength=len(keys) * classes).reshape(-1, classes)
        is_frequent = counts.sum(axis=1) >= least
        is_kept = is_frequent[numbers]
        yield _CountedNgrams(
            keys[is_frequent],
            counts[is_frequent],
            (np.cumsum(is_frequent) - 1)[numbers[is_kept]],
            rows_of_keys[is_kept],
        )


def _different_pairs(keys: Array, rows: Array, count: int) -> tuple[Array, Array]:
    """Return each pair of a key and a row below `count` once, sorted by key and row."""
    bits = count.bit_length()
    known = None
    if int(keys.max(initial=0)).bit_length() + bits > 63:  # the places of the keys need fewer bits
        known = sorted_unique(keys)
        positions, keys = KeyTable(known).find(keys)
        rows = rows[positions]
    pairs = sorted_unique((keys << bits) | rows)
    keys, rows = pairs >> bits, pairs & ((1 << bits) - 1)
    return (keys if known is None else known[keys]), rows


def _found_ngrams(parts: Sequence[_CountedNgrams], kept: Array, count: int) -> tuple[Array, Array]:
    """Return row and column of each kept one of all `count` n-grams, sorted by both."""
    column_of = np.full(count, -1)
    column_of[kept] = np.arange(len(kept))
    pairs, first = [], 0
    for part in parts:
        columns = column_of[part.numbers + first]
        is_kept = columns >= 0
        pairs.append(part.rows[is_kept] * len(kept) + columns[is_kept])
        first += len(part.keys)
    ordered = np.sort(np.concatenate(pairs))
    width = max(1, len(kept))
    return ordered // width, ordered % width


def _used_symbols(symbols: Sequence[str], keys: Array) -> tuple[list[str], Array]:
    """Return the symbols of these n-grams, and the keys with the new numbers: all other symbols become unknown."""
    base, digits, rest = len(symbols) + 1, [], keys
    while rest.any():
        digits.append(rest % base)
        rest = rest // base
    is_used = np.zeros(base, bool)
    for digit in digits:
        is_used[digit] = True
    is_used[0] = False
    if " " in symbols:
        is_used[symbols.index(" ") + 1] = True
    numbers = np.cumsum(is_used) * is_used
    new_base, renumbered = int(is_used.sum()) + 1, np.zeros_like(keys)
    for digit in reversed(digits):
        renumbered = renumbered * new_base + numbers[digit]
    return [symbol for symbol, used in zip(symbols, is_used[1:], strict=True) if used], renumbered


def _class_ratios(counts: Array) -> Array:
    """Return the largest log-count ratio of each n-gram over the classes; `counts` is (n-grams, classes)."""
    totals = counts.sum(axis=0)
    others = counts.sum(axis=1, keepdims=True) - counts
    ratios = np.log((counts + 1) / (totals + 1)) - np.log((others + 1) / (totals.sum() - totals + 1))
    largest: Array = np.abs(ratios).max(axis=1)
    return largest


def pack_numbers(numbers: Array, dtype: str) -> str:
    """Return numbers as a text for JSON, compressed."""
    return base64.b64encode(zlib.compress(numbers.astype(dtype).tobytes())).decode()
