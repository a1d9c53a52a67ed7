"""The n-grams that an encoder of texts knows: which lengths suit the texts, and which n-grams tell most."""

from __future__ import annotations

import base64
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mlctl.serving.scoring import (
    CHARACTERS,
    CHUNK_TEXTS,
    UNSPACED_SHARE,
    WORDS,
    KeyTable,
    Numbering,
    find_words,
    hash_keys,
    known_windows,
    map_chunks,
    share_unspaced,
    sorted_unique,
    with_ends,
)

Array = np.ndarray[Any, Any]

_LONG_TEXT = 1000  # characters on average: in longer texts, words alone tell as much
_HASH_BITS = 22  # of the hashes by which rare n-grams are left out


def ngram_kinds(texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return the lengths of n-grams of words and characters that suit plain texts."""
    if share_unspaced(texts) >= UNSPACED_SHARE:
        return {CHARACTERS: (1, 2, 3), WORDS: (1, 2)}
    if sum(map(len, texts)) <= _LONG_TEXT * len(texts):
        return {WORDS: (1, 2), CHARACTERS: (2, 3, 4, 5)}
    return {WORDS: (1, 2, 3)}


def fit_ngrams(
    of: str, texts: Sequence[str], labels: Array | None, *, lengths: Sequence[int], most: int, least: int = 2
) -> dict[str, Any]:
    """Return the state of the n-grams that tell the classes of plain texts apart, or of the most frequent ones.

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
    found = list(
        _count_ngrams(ids, rows, classes, lengths=lengths, base=len(symbols) + 1, blank=blank, least=least)
    )
    keys, counts = (np.concatenate(parts) for parts in zip(*found, strict=True))
    totals = counts.sum(axis=1)
    scales = np.log((1 + len(texts)) / (1 + totals)) + 1 if labels is None else _class_ratios(counts)
    if len(keys) > most:
        weights = totals if labels is None else scales * np.sqrt(totals)
        kept = np.sort(np.argpartition(-weights, most)[:most])
        keys, scales = keys[kept], scales[kept]
    symbols, keys = _used_symbols(symbols, keys)
    return {
        "of": of,
        "symbols": symbols if of == WORDS else "".join(symbols),
        "lengths": lengths,
        "gaps": pack_numbers(np.diff(keys, prepend=0), "<i8"),
        "scales": pack_numbers(scales, "<f4"),
    }


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
    parts = map_chunks(find_words, texts)
    hashes, starts, stops = (np.concatenate([part[number] for part in parts]) for number in (0, 2, 3))
    rows = np.concatenate([part[1] + number * CHUNK_TEXTS for number, part in enumerate(parts)])
    order = np.argsort(hashes, kind="stable")
    ordered, ordered_rows = hashes[order], rows[order]
    is_first = np.ones(len(order), bool)
    np.not_equal(ordered[1:], ordered[:-1], out=is_first[1:])
    groups = np.cumsum(is_first) - 1
    is_counted = is_first.copy()
    is_counted[1:] |= ordered_rows[1:] != ordered_rows[:-1]
    known = np.flatnonzero(np.bincount(groups[is_counted]) >= least)
    firsts = order[is_first][known]
    places = zip(rows[firsts].tolist(), starts[firsts].tolist(), stops[firsts].tolist(), strict=True)
    words = [texts[row][start:stop] for row, start, stop in places]
    by_name = sorted(range(len(words)), key=words.__getitem__)
    ids_of_groups = np.zeros(int(is_first.sum()), np.int64)
    ids_of_groups[known[by_name]] = np.arange(1, len(words) + 1)
    ids = np.empty(len(order), np.int64)
    ids[order] = ids_of_groups[groups]
    return [words[place] for place in by_name], *with_ends(ids, rows, len(texts))


def _count_ngrams(
    ids: Array, rows: Array, labels: Array, *, lengths: Sequence[int], base: int, blank: int, least: int
) -> Iterator[tuple[Array, Array]]:
    """Yield the keys that are in at least `least` texts, ascending, and the texts of each class that have them.

    N-grams of characters that reach across a blank are left out: the words have them.
    """

    def can_be_frequent(length: int, places: Array, keys: Array) -> Array:
        # most n-grams are rare, and so are those that begin with them: a table of hashes finds them sooner than sorting
        hashes = hash_keys(keys, _HASH_BITS)
        is_kept: Array = np.bincount(hashes, minlength=1 << _HASH_BITS)[hashes] >= least
        if length > 2:
            is_kept &= ids[places + (length - 2)] != blank
        return is_kept

    count, classes = len(labels), int(labels.max()) + 1
    for length, places, all_keys in known_windows(ids, base, max(lengths, default=0), can_be_frequent):
        if length not in lengths:
            continue
        if length == 1:
            is_counted = ids[places] != blank
            places, all_keys = places[is_counted], all_keys[is_counted]
        keys = sorted_unique(all_keys)
        found, numbers = KeyTable(keys).find(all_keys)
        pairs = sorted_unique(numbers * count + rows[places[found]])
        cells = pairs // count * classes + labels[pairs % count]
        counts = np.bincount(cells, minlength=len(keys) * classes).reshape(-1, classes)
        is_frequent = counts.sum(axis=1) >= least
        yield keys[is_frequent], counts[is_frequent]


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
