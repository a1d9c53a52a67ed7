"""From raw client input to predictions. A copy of this file is saved with every model, so it does not import mlctl.

An encoder turns what a client sends (pixels in their original range, a text, a table's rows with missing values)
into the model's input. ONNX Runtime predicts, or Keras if the model cannot be exported. Training uses the same
encoders, so a served model receives what it was trained on.
"""

from __future__ import annotations

import base64
import contextlib
import gc
import importlib.abc
import importlib.util
import io
import itertools
import json
import os
import pickle
import re
import sys
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
State = dict[str, Any]

# The characters that Keras's Tokenizer removes; apostrophes stay. The IMDB word index was built with it.
_SEPARATORS = str.maketrans(dict.fromkeys('!"#$%&()*+,-./:;<=>?@[\\]^_{|}~`\t\n', " "))
# A word of other texts: letters, digits, apostrophes, and the marks that some scripts put around letters. "!", "?" and
# each symbol beyond ASCII, such as an emoji, are words of their own.
_MARKS = (
    "\u0300-\u036f\u0483-\u0487\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0900-\u109f\u135d-\u135f"
    "\u1780-\u17ff\u200c\u200d"
)
_LETTER, _SYMBOL = re.compile(rf"[^\W_]|['{_MARKS}]"), re.compile(r"[!?]|[^\w\s\x00-\x7f]")
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,300}>")
_TRUE = "true yes y t on 1 ja j wahr oui vrai sí si verdadero verdadeiro sim vero tak да истина evet 是 はい ✓ ✔ +"
_FALSE = "false no n f off 0 nein falsch non faux falso não nao nie nee nej нет ложь hayır 否 いいえ ✗ ✘ -"
TRUE_WORDS, FALSE_WORDS = frozenset(_TRUE.split()), frozenset(_FALSE.split())
_SIGNS = {**dict.fromkeys(TRUE_WORDS, 1.0), **dict.fromkeys(FALSE_WORDS, -1.0)}
_BATCH_ROWS = 256  # limits memory: a row of a 30,000-word vocabulary takes 120 kB
_BATCH_BYTES = 1 << 20  # of raw input, for models that do not say what memory a row takes
_LAYER_BYTES = 64 << 20  # of all layers' outputs: more rows of large images together are not answered faster
OWN_ENCODER = "own"  # kind of an encoder that travels as code
ABSENT = "__mlctl_absent__"  # name of the stand-in for mlctl in modules that travel as source text
TEXT = "str"  # dtype of an input of texts
_keras_lock = threading.RLock()
# features of a table are computed in blocks of at most 2 MB, whatever its length and width
_BLOCK_ROWS, _BLOCK_CELLS = 4096, 1 << 18


class BadCell(ValueError):
    """A cell is of another kind than every value of its column in the training data.

    Attributes:
        row: Its row, counted from the first row of the call; of a DataFrame, the row's label.
    """

    def __init__(self, cell: Any, column: str, problem: str, *, row: Any) -> None:
        super().__init__(cell, column, problem)
        self.row = row

    def __str__(self) -> str:
        cell, column, problem = self.args
        shown = json.dumps(None if is_gap(cell) else str(cell)[:40], ensure_ascii=False)
        return f"{shown} in row {self.row}, column {json.dumps(column, ensure_ascii=False)} {problem}"


class PixelEncoder:
    """Encodes images (n, height, width[, channels]) in their original range to float32 in 0..1, with channels."""

    kind = "pixels"

    def __init__(self, shape: Sequence[int], high: float) -> None:
        """`shape` is that of one raw image, `high` the value of a fully lit pixel (16 for digits, 255 for mnist)."""
        self.shape = tuple(shape)
        self.high = float(high)

    def state(self) -> State:
        """Return the state from which `encoder_from_state` restores this encoder."""
        return {"shape": list(self.shape), "high": self.high}

    def __call__(self, raw: Any) -> Array:
        """Encode (n, *shape) numbers to (n, height, width, channels). Raises ValueError for another shape."""
        images = np.asarray(raw)
        if images.shape[1:] != self.shape:
            raise ValueError(f"the images must have shape {self.shape}, not {images.shape[1:]}")
        images = images.astype(np.float32) / np.float32(self.high)
        return images[..., np.newaxis] if len(self.shape) == 2 else images


def split_words(text: str) -> set[str]:
    """Return the words of a text as the IMDB word index counts them; they may include ""."""
    return set(text.lower().translate(_SEPARATORS).split(" "))


def list_words(text: str) -> list[str]:
    """Return the words of a text in their order, in lower case and without punctuation."""
    return text.lower().translate(_SEPARATORS).split()


class TextEncoder:
    """Encodes texts to multi-hot rows (n, vocabulary) float32: 1 for each word of the vocabulary that occurs."""

    kind = "words"

    def __init__(self, vocabulary: Sequence[str], column: str = "text") -> None:
        """`vocabulary` lists the words, most frequent first; `column` is the name of the text column in a table."""
        self.vocabulary = list(vocabulary)
        self.column = column
        self._columns = {word: number for number, word in enumerate(self.vocabulary)}

    def state(self) -> State:
        """Return the state from which `encoder_from_state` restores this encoder."""
        return {"vocabulary": self.vocabulary, "column": self.column}

    def columns(self, text: str | bytes) -> list[int]:
        """Return the vocabulary index of each word in a text, once each; unknown words are dropped."""
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        if not isinstance(text, str):
            raise TypeError(f"expected a text, not {type(text).__name__}")
        return [column for word in split_words(text) if (column := self._columns.get(word)) is not None]

    def __call__(self, raw: Any) -> Array:
        """Encode n texts (a list, an array, or a table with the text column) to (n, vocabulary).

        Raises BadCell for a missing text.
        """
        texts = raw[self.column] if _is_table(raw) else np.asarray(raw, dtype=object).ravel()
        rows = np.zeros((len(texts), len(self.vocabulary)), np.float32)
        for number, text in enumerate(texts):
            if is_gap(text):
                raise BadCell(text, self.column, "is not a text", row=number)
            rows[number, self.columns(text)] = 1
        return rows


def plain_text(text: str | bytes) -> str:
    """Return a text in lower case and without HTML tags."""
    text = as_text(text)
    return (_TAG.sub(" ", text) if "<" in text else text).lower()


WORDS, CHARACTERS = "words", "characters"
_HASH = 0x9E3779B97F4A7C15  # 2^64 divided by the golden ratio spreads keys evenly
CHUNK_CHARACTERS = 200_000  # of texts that are searched together: their arrays fit into the CPU's cache


class NgramEncoder:
    """Encodes texts to rows (n, width) float32 of known n-grams of words and of characters.

    An n-gram that occurs in a text has the value of its scale, any other 0. The values of each part, words and
    characters, have length 1 in each row.
    """

    kind = "ngrams"

    def __init__(self, parts: Sequence[State], column: str = "text") -> None:
        """`parts` are states of `fit_ngrams`; `column` is the name of the text column in a table."""
        self.parts = list(parts)
        self.column = column
        self._parts = [_NgramPart(part) for part in self.parts]
        self.width = sum(map(len, self._parts))

    def state(self) -> State:
        """Return the state from which `encoder_from_state` restores this encoder."""
        return {"parts": self.parts, "column": self.column}

    @property
    def sizes(self) -> list[int]:
        """The number of n-grams of each part."""
        return list(map(len, self._parts))

    def bags(self, texts: Sequence[str | bytes]) -> tuple[Array, Array, Array]:
        """Return the columns of each text's n-grams, ascending, the start of each text in them, and their values.

        Returns:
            int64 (found,), int64 (n + 1,), float32 (found,).
        """
        _, chunks = map_chunks(self._find, texts)
        columns, lengths, values = zip(*chunks, strict=True) if chunks else ([], [], [])
        starts = np.concatenate([np.zeros(1, np.int64), *lengths]).cumsum()
        return (
            np.concatenate([np.zeros(0, np.int64), *columns]),
            starts,
            np.concatenate([np.zeros(0, np.float32), *values]),
        )

    def bags_of_found(
        self, found: Sequence[tuple[Array, Array] | None], texts: Sequence[str]
    ) -> tuple[Array, Array, Array]:
        """Return what `bags` returns, if the n-grams of some parts are known already.

        Args:
            found: row and column of every n-gram of each part, sorted by both; None: they are looked up.
            texts: plain texts.
        """
        complete = [
            _joined(*map_chunks(part.find, texts)) if known is None else known
            for part, known in zip(self._parts, found, strict=True)
        ]
        columns, lengths, values = self._weigh(complete, len(texts))
        return columns, np.concatenate([np.zeros(1, np.int64), lengths]).cumsum(), values

    def _find(self, texts: Sequence[str | bytes]) -> tuple[Array, Array, Array]:
        """Return the columns and values of all texts, and the number of n-grams of each text between them."""
        plain = [plain_text(text) for text in texts]
        return self._weigh([part.find(plain) for part in self._parts], len(plain))

    def _weigh(self, found: Sequence[tuple[Array, Array]], count: int) -> tuple[Array, Array, Array]:
        """Return columns, lengths and values as `_find` does, of the n-grams that each part has found in texts."""
        rows, columns, values, first = [], [], [], 0
        for part, (part_rows, part_columns) in zip(self._parts, found, strict=True):
            scales = part.scales[part_columns]
            norms = np.sqrt(np.bincount(part_rows, np.square(scales), count))
            norms[norms == 0] = 1.0
            rows.append(part_rows)
            columns.append(part_columns + first)
            values.append((scales / norms[part_rows]).astype(np.float32))
            first += len(part)
        if len(rows) == 1:  # its n-grams are sorted by row
            return columns[0], np.bincount(rows[0], minlength=count), values[0]
        all_rows = np.concatenate(rows)
        order = np.argsort(all_rows, kind="stable")
        lengths = np.bincount(all_rows, minlength=count)
        return np.concatenate(columns)[order], lengths, np.concatenate(values)[order]

    def __call__(self, raw: Any) -> Array:
        """Encode n texts (a list, an array, or a table with the text column) to (n, width).

        Raises BadCell for a missing text.
        """
        texts = list(raw[self.column]) if _is_table(raw) else np.asarray(raw, dtype=object).ravel().tolist()
        for number, text in enumerate(texts):
            if is_gap(text):
                raise BadCell(text, self.column, "is not a text", row=number)
            if not isinstance(text, (str, bytes)):
                raise TypeError(f"expected a text, not {type(text).__name__}")
        columns, starts, values = self.bags(texts)
        rows = np.zeros((len(texts), self.width), np.float32)
        rows[np.repeat(np.arange(len(texts)), np.diff(starts)), columns] = values
        return rows


def map_chunks(function: Callable[[Sequence[Any]], Any], texts: Sequence[Any]) -> tuple[list[int], list[Any]]:
    """Return the first row of each chunk of texts, and what a function returns for it.

    NumPy lets several threads work on them.
    """
    numbers = np.cumsum([len(text) + 1 for text in texts], dtype=np.int64) // CHUNK_CHARACTERS
    starts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist()] if len(texts) else []
    chunks = [texts[start:stop] for start, stop in zip(starts, [*starts[1:], len(texts)], strict=True)]
    if len(chunks) < 2:
        return starts, list(map(function, chunks))
    with ThreadPoolExecutor(min(len(chunks), os.cpu_count() or 1)) as pool:
        return starts, list(pool.map(function, chunks))


def _joined(starts: Sequence[int], chunks: Sequence[tuple[Array, Array]]) -> tuple[Array, Array]:
    """Return the rows and columns of all chunks of texts."""
    rows = [chunk[0] + start for start, chunk in zip(starts, chunks, strict=True)]
    return np.concatenate(rows), np.concatenate([chunk[1] for chunk in chunks])


class _NgramPart:
    """The n-grams of words or of characters of an encoder.

    An n-gram has a number as key: its digits are the places of its symbols in the list of symbols, counted from 1; the
    digit 0 stands for an unknown symbol.
    """

    def __init__(self, state: State) -> None:
        self._lengths: list[int] = state["lengths"]
        self._keys: Array = np.cumsum(_unpack(state["gaps"], "<i8"))
        self.scales = _unpack(state["scales"], "<f4")
        self._base = len(state["symbols"]) + 1
        self._number = Numbering(state["of"], state["symbols"])
        self._columns = KeyTable(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, texts: Sequence[str]) -> tuple[Array, Array]:
        """Return row and column of every known n-gram of plain texts, once each, sorted by row and column."""
        width = len(self._keys)
        if not width:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        ids, rows = self._number(texts)
        found = []
        for length, places, keys in known_windows(ids, self._base, max(self._lengths)):
            if length in self._lengths:
                is_known, columns = self._columns.find(keys)
                found.append(rows[places[is_known]] * width + columns)
        pairs = sorted_unique(np.concatenate(found))
        return pairs // width, pairs % width


def with_ends(ids: Array, rows: Array, count: int) -> tuple[Array, Array]:
    """Return the numbers of the words of `count` texts with a 0 after each text, and the row of each."""
    all_ids = np.zeros(len(ids) + count, np.int64)
    all_ids[np.arange(len(ids)) + rows] = ids
    return all_ids, np.repeat(np.arange(count), np.bincount(rows, minlength=count) + 1)


_SEPARATOR_CLASS, _LETTER_CLASS, _SYMBOL_CLASS = 1, 2, 3
_character_classes = np.zeros(0x110000, np.uint8)  # of each code point, once a text has it
_HASH_BASE = 0xD1342543DE82EF95  # odd, so that it has an inverse modulo 2^64


def _classes_of(points: Array) -> Array:
    """Return the class of each character: a part of a word, a word of its own, or none."""
    classes: Array = _character_classes[points]
    if not classes.all():
        for point in np.unique(points[classes == 0]).tolist():
            character = chr(point)
            _character_classes[point] = (
                _LETTER_CLASS
                if _LETTER.fullmatch(character)
                else _SYMBOL_CLASS
                if _SYMBOL.fullmatch(character)
                else _SEPARATOR_CLASS
            )
        classes = _character_classes[points]
    return classes


def find_words(texts: Sequence[str]) -> tuple[Array, Array, Array, Array]:
    """Return hash, row, and first and last place of each word of plain texts, in their order.

    "!", "?" and every symbol beyond ASCII, such as an emoji, are words too. All texts are searched together as arrays
    of characters: several times as fast as one text at a time.
    """
    joined = "\n".join([*texts, ""])
    points = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), "<u4")
    if not len(points):
        none = np.zeros(0, np.int64)
        return none, none, none, none
    classes = _classes_of(points)
    is_letter, is_start = classes == _LETTER_CLASS, classes == _SYMBOL_CLASS
    is_stop = is_start.copy()
    is_start[0] |= is_letter[0]
    is_start[1:] |= is_letter[1:] & ~is_letter[:-1]
    is_stop[:-1] |= is_letter[:-1] & ~is_letter[1:]  # the last character is the end of a line
    starts, stops = np.flatnonzero(is_start), np.flatnonzero(is_stop) + 1
    powers, inverses = _powers(len(points).bit_length())
    sums = np.zeros(len(points) + 1, np.uint64)
    np.cumsum(points * powers[: len(points)], out=sums[1:])
    hashes = (sums[stops] - sums[starts]) * inverses[starts]  # independent of the word's place
    lengths = np.array(list(map(len, texts))) + 1
    ends = np.cumsum(lengths)
    counts = np.diff(np.searchsorted(starts, ends), prepend=0)
    begins = np.repeat(ends - lengths, counts)
    return hashes.view(np.int64), np.repeat(np.arange(len(texts)), counts), starts - begins, stops - begins


@lru_cache(maxsize=2)
def _powers(bits: int) -> tuple[Array, Array]:
    """Return the first 2^bits powers of a number modulo 2^64, from the first one on, and their inverses."""
    count, inverse = 1 << bits, pow(_HASH_BASE, -1, 1 << 64)
    powers, inverses = (
        np.full(count, number, np.uint64).cumprod(dtype=np.uint64) for number in (_HASH_BASE, inverse)
    )
    return powers, inverses


class Numbering:
    """Numbers the symbols of texts: their places in the list of known symbols, from 1; 0 is an unknown symbol."""

    def __init__(self, of: str, symbols: Sequence[str]) -> None:
        self._is_words = of == WORDS
        if self._is_words:
            hashes, rows, _, _ = find_words(symbols)
            keys = np.zeros(len(symbols), np.int64)
            keys[rows] = hashes
            self._words = KeyTable(keys)
        else:
            points = np.array([ord(symbol) for symbol in symbols], np.int64)
            self._by_point = np.zeros(int(points.max(initial=0)) + 2, np.int64)  # the last one is unknown
            self._by_point[points] = np.arange(1, len(points) + 1)
            self._by_point[0] = 0  # the end of a text

    def __call__(self, texts: Sequence[str]) -> tuple[Array, Array]:
        """Return the numbers of all symbols, with an unknown one after each text, and the row of each."""
        if not self._is_words:
            # a blank on each side tells the first and last letters of the text's words from others
            padded = [f" {' '.join(text.split())} \0" for text in texts]
            points = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), "<u4")
            ids = self._by_point[np.minimum(points, len(self._by_point) - 1)]
            return ids, np.repeat(np.arange(len(texts)), list(map(len, padded)))
        hashes, rows, _, _ = find_words(texts)
        ids = np.zeros(len(hashes), np.int64)
        positions, places = self._words.find(hashes)
        ids[positions] = places + 1
        return with_ends(ids, rows, len(texts))


def hash_keys(keys: Array, bits: int, number: int = 0) -> Array:
    """Return the hash of each int64 key, by one of several functions: whole numbers below 2^bits."""
    factor = np.uint64(pow(_HASH, number + 1, 1 << 64))
    hashes: Array = ((keys.view(np.uint64) * factor) >> np.uint64(64 - bits)).view(np.int64)
    return hashes


class KeyTable:
    """Finds the places of keys in a list of different keys, by tables of their hashes: faster than a binary search."""

    def __init__(self, keys: Array) -> None:
        self._keys = keys
        self._bits = max(8, len(keys).bit_length() + 2)
        # the place of a key by its hash, and whether other keys have this hash
        self._tables: list[tuple[Array, Array]] = []
        places = np.arange(len(keys), dtype=np.int32)
        while len(places):  # a second table takes the few keys whose place is occupied in the first one
            hashes = hash_keys(keys[places], self._bits, len(self._tables))
            table, is_shared = np.zeros(1 << self._bits, np.int32), np.zeros(1 << self._bits, bool)
            table[hashes] = places
            is_left = table[hashes] != places
            is_shared[hashes[is_left]] = True
            self._tables.append((table, is_shared))
            places = places[is_left]

    def find(self, keys: Array) -> tuple[Array, Array]:
        """Return the positions of the known ones among int64 keys, and their places in the list."""
        rest: Array | None = None  # positions of the keys that may be in the next table; None: all of them
        positions, places = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for number, (table, is_shared) in enumerate(self._tables):
            asked = keys if rest is None else keys[rest]
            hashes = hash_keys(asked, self._bits, number)
            found = table[hashes]
            is_known = self._keys[found] == asked
            known = np.flatnonzero(is_known)
            positions.append(known if rest is None else rest[known])
            places.append(found[known].astype(np.int64))
            left = np.flatnonzero(is_shared[hashes] & ~is_known)
            rest = left if rest is None else rest[left]
        return np.concatenate(positions), np.concatenate(places)


def known_windows(
    ids: Array, base: int, most: int, keep: Callable[[int, Array, Array], Array] | None = None
) -> Iterator[tuple[int, Array, Array]]:
    """Yield each length up to `most`, and first places and keys of all n-grams of it without an unknown symbol.

    `keep` returns which of them are yielded, and can begin longer ones. The last of `ids` is 0.
    """
    places = np.flatnonzero(ids)
    keys = ids[places]
    for length in range(1, most + 1):
        if length > 1:
            following = ids[places + (length - 1)]
            is_known = following != 0
            places = places[is_known]
            keys = keys[is_known] * base + following[is_known]
        if keep is not None:
            is_kept = keep(length, places, keys)
            places, keys = places[is_kept], keys[is_kept]
        yield length, places, keys


def sorted_unique(numbers: Array) -> Array:
    """Return the different numbers, ascending: as `np.unique` does, several times as fast for millions."""
    ordered = np.sort(numbers)
    is_first = np.ones(len(ordered), bool)
    np.not_equal(ordered[1:], ordered[:-1], out=is_first[1:])
    unique: Array = ordered[is_first]
    return unique


def _unpack(text: str, dtype: str) -> Array:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype)


class TableEncoder:
    """Encodes rows of a table to scaled features (n, width) float32.

    The rows may have missing values and unknown categories. Each of `steps` computes one or more features:

    - a number, with missing values replaced by the median; its logarithm; the ratio of two numbers
    - how far a number fills each of several bins
    - whether a value is missing
    - a category as one-hot columns, true or false, the parts of a date
    - the words or topics of a text, or what linear models of its n-grams predict
    - the distance from a point, or a position as waves of several directions and frequencies, so that a network can
      tell regions apart

    Features are scaled to mean 0 and standard deviation 1, except those of steps with "scaled": False.
    """

    kind = "table"

    def __init__(
        self, columns: State, steps: Sequence[State], mean: Sequence[float], scale: Sequence[float]
    ) -> None:
        """`columns` maps each raw column to {"kind", "fill"}; `mean` and `scale` have shape (width,)."""
        self.columns = columns
        self.steps = steps
        self.mean = np.asarray(mean, np.float64)
        self.scale = np.asarray(scale, np.float64)

    def state(self) -> State:
        """Return the state from which `encoder_from_state` restores this encoder."""
        return {
            "columns": self.columns,
            "steps": self.steps,
            "mean": self.mean.tolist(),
            "scale": self.scale.tolist(),
        }

    def __call__(self, raw: Any) -> Array:
        """Encode n rows to (n, width) float32. An absent column counts as missing values.

        The rows are a DataFrame, or a dict of arrays by column. Missing values are NaN in numbers and None in all
        else. Raises BadCell, which names row and column, for a text that is not a date if all were dates in training.
        """
        encoded = np.empty((_count_rows(raw), len(self.mean)), np.float32)
        for row_slice, feature_slice, features in self.feature_blocks(raw):
            features -= self.mean[feature_slice]
            features /= self.scale[feature_slice]
            # an absurd value must not drown the others
            encoded[row_slice, feature_slice] = np.minimum(np.maximum(features, -10.0), 10.0)
        return encoded

    def widths(self) -> list[int]:
        """Return the number of features of each step."""
        return [_STEP_GROUPS[step["make"]].width(step) for step in self.steps]

    def feature_blocks(self, raw: Any) -> Iterator[tuple[slice, slice, Array]]:
        """Yield unscaled features (rows, features) in blocks, each with its slice of the rows and of the features."""
        count = _count_rows(raw)
        for first in range(0, count, _BLOCK_ROWS):
            rows = _TableRows(raw, first, min(count, first + _BLOCK_ROWS))
            for block in self._step_blocks(len(rows)):
                try:
                    features = block(rows)
                except BadCell as exc:
                    exc.row = first + exc.row if isinstance(raw, Mapping) else raw.index[first + exc.row]
                    raise
                yield slice(first, first + len(rows)), block.features, features

    def _step_blocks(self, rows: int) -> list[_StepBlock]:
        """Return consecutive steps in blocks whose features of this many rows fit into memory."""
        most = max(1, _BLOCK_CELLS // rows).bit_length()  # one list of blocks for similar numbers of rows
        if most not in self._blocks_by_size:
            blocks, steps, start, width = [], [], 0, 0
            for number, (step, step_width) in enumerate(zip(self.steps, self.widths(), strict=True), 1):
                steps.append(step)
                width += step_width
                if width and (width >= 1 << (most - 1) or number == len(self.steps)):
                    blocks.append(_StepBlock(steps, self.columns, slice(start, start + width)))
                    steps, start, width = [], start + width, 0
            self._blocks_by_size[most] = blocks
        return self._blocks_by_size[most]

    @cached_property
    def _blocks_by_size(self) -> dict[int, list[_StepBlock]]:
        return {}


class _TableRows:
    """Some consecutive rows of a table, which is a DataFrame or a dict of arrays by column."""

    def __init__(self, raw: Any, start: int, stop: int) -> None:
        self._count = stop - start
        self._is_whole = start == 0 and stop == _count_rows(raw)
        self._slice = slice(start, stop)
        self._raw = raw

    def __len__(self) -> int:
        return self._count

    def column(self, name: str) -> Any:
        """Return a column, an array or a Series; None if it is absent."""
        if name not in self._raw:
            return None
        values = self._raw[name]
        if self._is_whole:
            return values
        return values[self._slice] if isinstance(values, np.ndarray) else values.iloc[self._slice]

    def numbers(self, names: Sequence[str]) -> Array:
        """Return columns as (columns, n) float64, with NaN for missing values."""
        arrays = []
        for name in names:
            values = self.column(name)
            if values is None:
                values = np.full(self._count, np.nan)
            is_array = type(values) is np.ndarray and values.dtype.char == "d"
            arrays.append(values if is_array else _as_numbers(values))
        return np.concatenate(arrays).reshape(-1, self._count)

    def cells(self, name: str) -> Array:
        """Return a column as (n,) objects."""
        values = self.column(name)
        return np.full(self._count, None) if values is None else np.asarray(values, dtype=object)

    def lower_texts(self, name: str) -> list[str]:
        """Return a column as texts in lower case, with "" for missing values."""
        return ["" if cell is None or cell != cell else str(cell).lower() for cell in self.cells(name)]


def _as_numbers(values: Any) -> Array:
    """Return an array or a Series as float64, with NaN for missing values."""
    if not isinstance(values, np.ndarray):
        if values.dtype.kind not in "iufb":  # numbers with None or pandas' NA
            values = values.astype("Float64")
        return np.asarray(values.to_numpy(dtype=np.float64, na_value=np.nan))
    if values.dtype.kind == "O":
        return np.array([np.nan if cell is None else cell for cell in values], np.float64)
    return values.astype(np.float64, copy=False)


class _StepBlock:
    """Consecutive steps of a table's encoder. Called with rows, it returns their features (n, width) float64.

    Steps of the same kind are computed together: for one row, the number of NumPy's calls decides.
    """

    def __init__(self, steps: Sequence[State], columns: State, features: slice) -> None:
        self.features = features
        by_make: dict[str, list[State]] = {}
        places: dict[str, list[int]] = {}
        start = 0
        for step in steps:
            group = _STEP_GROUPS[step["make"]]
            by_make.setdefault(step["make"], []).append(step)
            places.setdefault(step["make"], []).extend(range(start, start + group.width(step)))
            start += group.width(step)
        self._numbers = list(dict.fromkeys(name for step in steps for name in _number_columns(step)))
        fills = [columns[name]["fill"] for name in self._numbers]
        self._fills = np.array([np.nan if fill == "" else fill for fill in fills], np.float64).reshape(-1, 1)
        index = {name: number for number, name in enumerate(self._numbers)}
        self._groups = [_STEP_GROUPS[make](steps, index) for make, steps in by_make.items()]
        order = np.argsort([place for group in places.values() for place in group])
        self._order = None if np.array_equal(order, np.arange(len(order))) else order

    def __call__(self, rows: _TableRows) -> Array:
        values = filled = np.empty((0, len(rows)))
        if self._numbers:
            values = rows.numbers(self._numbers)
            filled = np.where(np.isnan(values), self._fills, values)
        parts = [group(rows, values, filled) for group in self._groups]
        features = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return np.array((features if self._order is None else features[self._order]).T, order="C")


def _number_columns(step: State) -> list[str]:
    """Return the columns that a step reads as numbers."""
    if step["make"] not in _NUMBER_STEPS:
        return []
    of = step["of"]
    return [*([of] if isinstance(of, str) else of), *([step["by"]] if "by" in step else [])]


class _StepGroup:
    """Steps of one kind. Called with rows and their numbers, it returns the features of all steps (width, n)."""

    def __init__(self, steps: Sequence[State], index: Mapping[str, int]) -> None:
        """`index` is the place of each column in the numbers."""
        self.steps = steps
        self.of = np.array([index.get(str(step["of"]), 0) for step in steps])

    @staticmethod
    def width(step: State) -> int:
        """Return the number of features of a step."""
        return 1

    def __call__(self, rows: _TableRows, values: Array, filled: Array) -> Array:
        """`values` and `filled` are all numbers (columns, n), with and without missing values."""
        raise NotImplementedError


class _NumberSteps(_StepGroup):
    def __call__(self, rows: _TableRows, values: Array, filled: Array) -> Array:
        numbers: Array = filled[self.of]
        return numbers


class _RobustSteps(_StepGroup):
    """A number from its median in quartile ranges, where extreme values are pressed together: always below 3.

    Source: RealMLP (Holzmüller and others, arXiv 2407.04491), robust scaling and smooth clipping.
    """

    def __init__(self, steps: Sequence[State], index: Mapping[str, int]) -> None:
        super().__init__(steps, index)
        self._center, self._range = (
            np.array([step[name] for step in steps], np.float64)[:, np.newaxis]
            for name in ("center", "range")
        )

    def __call__(self, rows: _TableRows, values: Array, filled: Array) -> Array:
        distances = (filled[self.of] - self._center) / self._range
        features: Array = distances / np.sqrt(1.0 + np.square(distances / 3.0))
        return features


class _LogSteps(_StepGroup):
    def __call__(self, rows: _TableRows, values: Array, filled: Array) -> Array:
        features: Array = np.log1p(np.maximum(filled[self.of], 0.0))
        return features


class _RatioSteps(_StepGroup):
    def __init__(self, steps: Sequence[State], index: Mapping[str, int]) -> None:
        super().__init__(steps, index)
        self._by = np.array([index[step["by"]] for step in steps])

    def __call__(self, rows: _TableRows, values: Array, filled: Array) -> Array:
        features: Array = np.log1p(np.maximum(filled[self.of], 0.0) / np.maximum(filled[self._by], 1e-9))
        return features


class _MissingSteps(_StepGroup):
    def __call__(self, rows: _TableRows, values: Array, filled: Array) -> Array:
        features: Array = np.isnan(values[self.of]).astype(np.float64)
        return features


class _CategorySteps(_StepGroup):
    """1 for the category of a cell, 0 for all others."""

    def __init__(self, steps: Sequence[State], index: Mapping[str, int]) -> None:
        super().__init__(steps, index)
        ends = np.cumsum([0, *map(self.width, steps)]).tolist()
        self._ids = [
            {category: start + number for number, category in enumerate(step["known"])}
            for start, step in zip(ends, steps, strict=False)
        ]
        self._width: int = ends[-1]

    @staticmethod
    def width(step: State) -> int:
        return len(step["known"])

    def __call__(self, rows: _TableRows, values: Array, filled: Array) -> Array:
        features: Array = np.zeros((self._width + 1, len(rows)))  # the last row is for unknown categories
        for step, ids in zip(self.steps, self._ids, strict=True):
            cells = rows.cells(step["of"]).tolist()
            features[[ids.get(cell, -1) for cell in cells], np.arange(len(rows))] = 1.0
        return features[:-1]


class _BinSteps(_StepGroup):
    """How far a number fills each bin, 0..1: piecewise linear, so that a network can bend it at each edge."""

    def __init__(self, steps: Sequence[State], index: Mapping[str, int]) -> None:
        super().__init__(steps, index)
        self.of = np.repeat(self.of, [self.width(step) for step in steps])
        pairs = [pair for step in steps for pair in itertools.pairwise(step["edges"])]
        self._low, high = np.array(pairs, np.float64).reshape(-1, 2).T[:, :, np.newaxis]
        self._size = high - self._low

    @staticmethod
    def width(step: State) -> int:
        return max(0, len(step["edges"]) - 1)

    def __call__(self, rows: _TableRows, values: Array, filled: Array) -> Array:
        features: Array = np.clip((filled[self.of] - self._low) / self._size, 0.0, 1.0)
        return features


class _BooleanSteps(_StepGroup):
    """1 for true, -1 for false, 0 for a missing value."""

    def __call__(self, rows: _TableRows, values: Array, filled: Array) -> Array:
        return np.array(
            [[_SIGNS.get(text, 0.0) for text in rows.lower_texts(step["of"])] for step in self.steps]
        )


class _TextSteps(_StepGroup):
    """1 for each known word that occurs in a text, else 0."""

    def __init__(self, steps: Sequence[State], index: Mapping[str, int]) -> None:
        super().__init__(steps, index)
        self._ids = [{word: number for number, word in enumerate(step["known"])} for step in steps]

    @staticmethod
    def width(step: State) -> int:
        return len(step["known"])

    def __call__(self, rows: _TableRows, values: Array, filled: Array) -> Array:
        parts = []
        for step, ids in zip(self.steps, self._ids, strict=True):
            features = np.zeros((len(ids), len(rows)))
            for row, text in enumerate(rows.lower_texts(step["of"])):
                for word in list_words(text):
                    if word in ids:
                        features[ids[word], row] = 1.0
            parts.append(features)
        return np.concatenate(parts)


class _TopicSteps(_StepGroup):
    """A text's n-grams of words and characters, projected on the directions in which texts differ most."""

    def __init__(self, steps: Sequence[State], index: Mapping[str, int]) -> None:
        super().__init__(steps, index)
        self._encoders = [NgramEncoder(step["parts"]) for step in steps]
        self._directions = [
            _unpack(step["directions"], "<f2").astype(np.float32).reshape(encoder.width, step["width"])
            for step, encoder in zip(steps, self._encoders, strict=True)
        ]

    @staticmethod
    def width(step: State) -> int:
        return int(step["width"])

    def __call__(self, rows: _TableRows, values: Array, filled: Array) -> Array:
        parts = [
            self._project(encoder, directions, rows.lower_texts(step["of"]))
            for step, encoder, directions in zip(self.steps, self._encoders, self._directions, strict=True)
        ]
        return np.concatenate(parts)

    @staticmethod
    def _project(encoder: NgramEncoder, directions: Array, texts: list[str]) -> Array:
        columns, starts, values = encoder.bags(texts)
        features = np.zeros((directions.shape[1], len(texts)))
        for row, (start, stop) in enumerate(itertools.pairwise(starts.tolist())):
            features[:, row] = values[start:stop] @ directions[columns[start:stop]]
        return features


class _TextScoreSteps(_StepGroup):
    """What linear models of a text's n-grams predict for the target.

    There are several models. The hash of a text chooses the one that answers it, and this model was fitted without all
    texts of this hash: a training row is answered like a new row, by a model that has not seen its target.
    """

    def __init__(self, steps: Sequence[State], index: Mapping[str, int]) -> None:
        super().__init__(steps, index)
        self._encoders = [NgramEncoder(step["parts"]) for step in steps]
        self._weights = [
            _unpack(step["weights"], "<f2")
            .astype(np.float32)
            .reshape(len(step["offsets"]), encoder.width, self.width(step))
            for step, encoder in zip(steps, self._encoders, strict=True)
        ]
        self._offsets = [np.array(step["offsets"], np.float64) for step in steps]

    @staticmethod
    def width(step: State) -> int:
        return len(step["offsets"][0])

    def __call__(self, rows: _TableRows, values: Array, filled: Array) -> Array:
        parts = [
            self._scores(rows.lower_texts(step["of"]), encoder, weights, offsets)
            for step, encoder, weights, offsets in zip(
                self.steps, self._encoders, self._weights, self._offsets, strict=True
            )
        ]
        return np.concatenate(parts)

    @staticmethod
    def _scores(texts: list[str], encoder: NgramEncoder, weights: Array, offsets: Array) -> Array:
        columns, starts, values = encoder.bags(texts)
        folds = [text_fold(text, len(offsets)) for text in texts]
        features: Array = offsets[folds].T
        for row, (start, stop) in enumerate(itertools.pairwise(starts.tolist())):
            features[:, row] += values[start:stop] @ weights[folds[row], columns[start:stop]]
        return features


def text_fold(text: str, folds: int) -> int:
    """Return the part of the texts that a text belongs to: equal texts to the same one."""
    return zlib.crc32(" ".join(plain_text(text).split()).encode("utf-8", "replace")) % folds


class _DateSteps(_StepGroup):
    """A date's years since 2000, waves of its season, weekday and hour, and whether it is missing."""

    def __init__(self, steps: Sequence[State], index: Mapping[str, int]) -> None:
        super().__init__(steps, index)
        self._parsers = [DateParser(step["format"]) for step in steps]

    @staticmethod
    def width(step: State) -> int:
        return 8

    def __call__(self, rows: _TableRows, values: Array, filled: Array) -> Array:
        parts = [
            self._features(rows.cells(step["of"]), step, parser)
            for step, parser in zip(self.steps, self._parsers, strict=True)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    @staticmethod
    def _moments(cells: Array, step: State, parser: DateParser) -> tuple[Array, Array, Array]:
        """Return days since 2000 and hours of the day, and whether each date is missing. Raises BadCell."""
        found = []
        for row, cell in enumerate(cells.tolist()):
            moment = None if cell is None or cell != cell else parser(cell)
            if moment is None and step.get("sure") and not is_gap(cell):
                raise BadCell(cell, step["of"], f"is not a date such as {parser.example}", row=row)
            found.append(moment or (np.nan, 0.0))
        days, hours = np.array(found, np.float64).reshape(-1, 2).T
        return days, hours, np.isnan(days)

    @classmethod
    def _features(cls, cells: Array, step: State, parser: DateParser) -> Array:
        days, hours, is_missing = cls._moments(cells, step, parser)
        cycles = np.stack((days / 365.2425, days / 7, hours / 24))
        angles = 2 * np.pi * cycles
        waves = np.stack((np.sin(angles), np.cos(angles)), axis=1).reshape(6, -1)
        features = np.concatenate((cycles[:1], waves, is_missing[np.newaxis].astype(np.float64)))
        features[:7, is_missing] = 0.0
        return features


ISO_DATE, EPOCH, EPOCH_MS = "ISO8601", "epoch", "epoch_ms"  # names of date formats besides those of strftime
_MOST_KEPT_DATES = 10_000
_DATE_PARTS = {
    "%Y": r"(?P<Y>\d{4})", "%y": r"(?P<y>\d\d)", "%m": r"(?P<m>\d\d?)", "%d": r"(?P<d>\d\d?)(?:st|nd|rd|th|er)?",
    "%j": r"(?P<j>\d{1,3})", "%q": r"(?P<q>[1-4])", "%G": r"(?P<Y>\d{4})", "%V": r"(?P<V>\d\d?)",
    "%u": r"(?P<u>[1-7])", "%H": r"(?P<H>\d\d?)", "%I": r"(?P<I>\d\d?)", "%M": r"(?P<M>\d\d)",
    "%S": r"(?P<S>\d\d)(?:[.,]\d+)?", "%f": r"\d{1,9}", "%p": r"(?P<p>[ap]\.?m)\.?", "%b": r"(?P<b>[^\W0-9_]{3,10})\.?",
    "%B": r"(?P<b>[^\W0-9_]{3,10})\.?", "%a": r"[^\W0-9_]{2,10}\.?", "%A": r"[^\W0-9_]{2,10}\.?",
    "%z": r"(?P<z>Z|[+-]\d\d(?::?\d\d)?(?::?\d\d)?|[A-Z]{2,4}(?:[+-]\d\d?(?::?\d\d)?)?)(?:\s?\([\w\s]+\)|\s[A-Z]{3,4})?",
    "%Z": r"(?P<z>[A-Z]{1,4}(?:[+-]\d\d?)?)", "%%": "%",
}  # fmt: skip
_ISO_PATTERN = (
    r"(?P<Y>\d{4})(?:-(?P<m>\d\d?)(?:-(?P<d>\d\d?)(?:[T ]\s*(?P<H>\d\d?)(?::(?P<M>\d\d)(?::(?P<S>\d\d)(?:[.,]\d+)?)?)?)?)?"
    r"|(?P<m2>\d\d)(?P<d2>\d\d)(?:[T ]?(?P<H2>\d\d):?(?P<M2>\d\d)(?::?(?P<S2>\d\d)(?:[.,]\d+)?)?)?"
    r"|-?W(?P<V>\d\d)(?:-?(?P<u>[1-7]))?|-(?P<j>\d{3}))?"
    r"\s?(?P<z>Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)?"
)
MONTHS = {
    name: number
    for number, names in enumerate((
        "jan january januar janvier janv enero ene gennaio gen janeiro januari sty stycznia oca ocak янв января",
        "feb february februar février fevrier févr fevr febrero febbraio fevereiro fev februari фев февраля lut lutego şub şubat",
        "mar march märz mär mrz maerz mars marzo março maart mrt мар марта marca",
        "apr april avril avr abril abr aprile апр апреля kwi kwietnia nisan",
        "may mai mayo maggio mag maio mei мая май maja maj mayıs",
        "jun june juni juin junio giugno giu junho июн июня cze czerwca haz haziran",
        "jul july juli juillet juil julio luglio lug julho июл июля lip lipca tem temmuz",
        "aug august août aout agosto ago augustus авг августа sie sierpnia ağu ağustos",
        "sep sept september septembre septiembre settembre set setembro сен сентября wrz września eyl eylül",
        "oct october okt oktober octobre octubre ottobre ott outubro out окт октября paź października eki ekim",
        "nov november novembre noviembre novembro ноя ноября lis listopada kas kasım",
        "dec december dez dezember décembre decembre déc diciembre dic dicembre dezembro дек декабря gru grudnia ara aralık",
    ), 1)
    for name in names.split()
}  # fmt: skip
_WEEKDAYS = (
    "mon tue tues wed thu thur thurs fri sat sun monday tuesday wednesday thursday friday saturday sunday mo di mi do"
    " fr sa so montag dienstag mittwoch donnerstag freitag samstag sonntag lun mar mer jeu ven sam dim lundi mardi"
    " mercredi jeudi vendredi samedi dimanche"
)
WEEKDAYS = frozenset(_WEEKDAYS.split())
_ZONES = {
    "Z": 0, "UTC": 0, "GMT": 0, "UT": 0, "WET": 0, "WEST": 1, "BST": 1, "CET": 1, "CEST": 2, "MEZ": 1, "MESZ": 2,
    "EET": 2, "EEST": 3, "MSK": 3, "IST": 5.5, "JST": 9, "KST": 9, "AEST": 10, "AEDT": 11, "EST": -5, "EDT": -4,
    "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7,
}  # fmt: skip


class DateParser:
    """Reads dates of a format, or of several with "|" between them.

    A format has the directives of strftime, and %q for a quarter. Names of months and weekdays may be long or short,
    and in any case; days, months and hours may have one digit. "ISO8601", "epoch" and "epoch_ms" are formats, too.
    Times with a zone are converted to UTC. A time alone is one of an unknown day.
    """

    def __init__(self, format: str) -> None:
        self.format = format
        self._patterns = [_date_pattern(part) for part in format.split("|")]
        self._kept: dict[Any, tuple[float, float] | None] = {}

    def __call__(self, cell: Any) -> tuple[float, float] | None:
        """Return the days since 2000 and the hour of the day; None for a cell that is no date of this format."""
        try:
            return self._kept[cell]
        except KeyError:
            pass
        except TypeError:
            return None
        if len(self._kept) >= _MOST_KEPT_DATES:
            self._kept.clear()
        moment = self._kept[cell] = self._read(cell)
        return moment

    @property
    def example(self) -> str:
        """The last day of 2021 in this format."""
        format = self.format.partition("|")[0]
        if format in (EPOCH, EPOCH_MS):
            return "1640908800" + ("000" if format == EPOCH_MS else "")
        format = "%Y-%m-%d" if format == ISO_DATE else format.replace("%q", "4").replace("%z", "+0000")
        return f"{datetime(2021, 12, 31):{format}}"

    def _read(self, cell: Any) -> tuple[float, float] | None:
        if not isinstance(cell, str):
            if isinstance(cell, (float, np.floating)) and cell != int(cell):
                return None
            cell = f"{cell:.0f}" if isinstance(cell, (int, float, np.number)) else str(cell)
        text = cell.strip()
        for pattern in self._patterns:
            if isinstance(pattern, float):
                moment = _epoch_moment(text, pattern)
            else:
                match = pattern.fullmatch(text)
                moment = match and _moment_of(match.groupdict())
            if moment is not None:
                return moment
        return None


def _date_pattern(format: str) -> re.Pattern[str] | float:
    """Return the pattern of a format, or the number of units in a second of an epoch."""
    if format in (EPOCH, EPOCH_MS):
        return 1.0 if format == EPOCH else 1000.0
    if format == ISO_DATE:
        return re.compile(_ISO_PATTERN.replace(r"\d", "[0-9]"), re.IGNORECASE)
    pattern = ""
    if weekday := re.match(r"%[aA][,.\s]+", format):  # it says nothing that the date does not say
        pattern, format = rf"(?:{_DATE_PARTS['%a']}[,\s]*)?", format[weekday.end() :]
    for part in re.findall(r"%[A-Za-z%]|\s+|.", format):
        if part in _DATE_PARTS:
            pattern += _DATE_PARTS[part]
        else:
            pattern += r"\s+" if part.isspace() else re.escape(part)
    # in a row of digits without separators, each part has its whole width
    if re.fullmatch(r"(?:%[A-Za-z])+", format):
        pattern = pattern.replace(r"\d\d?", r"\d\d")
    pattern = pattern.replace(r"\s+(?P<p>", r"\s*(?P<p>").replace(r"\d", "[0-9]")
    return re.compile(pattern, re.IGNORECASE)


def _epoch_moment(text: str, units: float) -> tuple[float, float] | None:
    try:
        seconds = float(text) / units - 946684800  # 2000-01-01
    except ValueError:
        return None
    if not abs(seconds) < 1e12:
        return None
    days = seconds // 86400
    return days, (seconds - days * 86400) // 60 / 60


def _moment_of(parts: Mapping[str, str | None]) -> tuple[float, float] | None:
    """Return days since 2000 and the hour of the day of a match's groups; None if they form no date."""
    try:
        day = _day_of(parts)
        hour = int(parts.get("H") or parts.get("H2") or parts.get("I") or 0)
        minute = int(parts.get("M") or parts.get("M2") or 0)
        second = int(parts.get("S") or parts.get("S2") or 0)
        if parts.get("I"):
            if not 1 <= hour <= 12:
                return None
            hour = hour % 12 + (12 if (parts.get("p") or "a")[0] in "pP" else 0)
        offset = _zone_hours(zone) if (zone := parts.get("z")) else 0.0
    except (KeyError, ValueError):
        return None
    if hour > 24 or minute > 59 or second > 60 or (hour == 24 and minute):
        return None
    time = hour + minute / 60
    if hour == 24 or offset:
        time -= offset
        shift = time // 24
        day, time = day + shift, time - 24 * shift
    return day, time


def _day_of(parts: Mapping[str, str | None]) -> float:
    """Return the days since 2000. Raises KeyError and ValueError."""
    if parts.get("Y"):
        year = int(parts["Y"] or 0)
    elif parts.get("y"):
        year = int(parts["y"] or 0)
        year += 1900 if year > 68 else 2000  # as POSIX has it
    else:
        if parts.get("m") or parts.get("b"):
            year = 2000
        else:
            return 0.0  # a time alone
    if parts.get("V"):
        return float(
            (date.fromisocalendar(year, int(parts["V"] or 1), int(parts.get("u") or 1)) - _DAY_ZERO).days
        )
    if parts.get("j"):
        number = int(parts["j"] or 1)
        last = (date(year, 12, 31) - date(year, 1, 1)).days + 1
        if not 1 <= number <= last:
            raise ValueError(number)
        return float((date(year, 1, 1) - _DAY_ZERO).days + number - 1)
    if parts.get("b"):
        month = MONTHS[(parts["b"] or "").lower().rstrip(".")]
    elif parts.get("q"):
        month = 3 * int(parts["q"] or 1) - 2
    else:
        month = int(parts.get("m") or parts.get("m2") or 1)
    return float((date(year, month, int(parts.get("d") or parts.get("d2") or 1)) - _DAY_ZERO).days)


_DAY_ZERO = date(2000, 1, 1)


def _zone_hours(zone: str) -> float:
    """Return what a zone is ahead of UTC. Raises KeyError."""
    name = zone.rstrip("+-:0123456789").upper()
    offset = _ZONES[name] if name else 0.0
    if digits := zone[len(name) + 1 :].replace(":", ""):
        hours = int(digits[:2]) + int(digits[2:4] or 0) / 60
        offset += -hours if zone[len(name)] == "-" else hours
    return offset


class _CalendarSteps(_DateSteps):
    """A date's year, month, day, weekday and hour as numbers, for trees; -1 if it is missing."""

    @staticmethod
    def width(step: State) -> int:
        return 5

    @classmethod
    def _features(cls, cells: Array, step: State, parser: DateParser) -> Array:
        days, hours, is_missing = cls._moments(cells, step, parser)
        dates = np.datetime64("2000-01-01") + np.where(is_missing, 0.0, days).astype(np.int64)
        months, years = dates.astype("datetime64[M]"), dates.astype("datetime64[Y]")
        features = np.stack(
            [
                years.astype(np.int64) + 1970.0,
                (months - years).astype(np.int64) + 1.0,
                (dates - months).astype(np.int64) + 1.0,
                (days + 5) % 7,  # 2000-01-01 was a Saturday; Monday is 0
                hours,
            ]
        )
        features[:, is_missing] = -1.0
        return features


class _CalendarFlagSteps(_CalendarSteps):
    """1 for a date's month, weekday and hour, 0 for all others; all 0 if it is missing."""

    @staticmethod
    def width(step: State) -> int:
        return 12 + 7 + 24

    @classmethod
    def _features(cls, cells: Array, step: State, parser: DateParser) -> Array:
        _, months, _, weekdays, hours = super()._features(cells, step, parser)
        numbers = (np.arange(1, 13), months), (np.arange(7), weekdays), (np.arange(24), np.floor(hours))
        return np.concatenate([(each[:, np.newaxis] == found).astype(np.float64) for each, found in numbers])


def category_key(cell: Any) -> str:
    """Return the text that stands for a category in JSON, whose keys are texts; "" for a missing value."""
    if isinstance(cell, str):
        return cell
    if is_gap(cell):
        return ""
    return f"{cell:.15g}" if isinstance(cell, float) else str(cell)


class _LookupSteps(_StepGroup):
    """The numbers that training has found for a category, such as the mean target; `other` for unknown ones."""

    @staticmethod
    def width(step: State) -> int:
        return len(step["other"])

    def __call__(self, rows: _TableRows, values: Array, filled: Array) -> Array:
        parts = []
        for step in self.steps:
            known, other = step["values"], step["other"]
            cells = rows.cells(step["of"]).tolist()
            found = [known.get(category_key(cell), other) for cell in cells]
            parts.append(np.array(found, np.float64).reshape(len(cells), -1).T)
        return np.concatenate(parts)


class _DistanceSteps(_StepGroup):
    def __init__(self, steps: Sequence[State], index: Mapping[str, int]) -> None:
        super().__init__(steps, {})
        self._north, self._east = (np.array([index[step["of"][axis]] for step in steps]) for axis in (0, 1))
        self._from = np.array([step["from"] for step in steps], np.float64).T[:, :, np.newaxis]

    def __call__(self, rows: _TableRows, values: Array, filled: Array) -> Array:
        north, east = filled[self._north] - self._from[0], filled[self._east] - self._from[1]
        features: Array = np.log1p(10.0 * np.hypot(north, east))
        return features


class _WaveSteps(_StepGroup):
    """A position along several directions, and its sines and cosines at each frequency (1/degree)."""

    def __init__(self, steps: Sequence[State], index: Mapping[str, int]) -> None:
        super().__init__(steps, {})
        self._parts = []
        for step in steps:
            angles = np.arange(step["directions"]) * np.pi / step["directions"]
            cosines, sines = (
                np.array([wave(angle) for angle in angles]).reshape(-1, 1) for wave in (np.cos, np.sin)
            )
            factors = np.array([2 * np.pi * frequency for frequency in step["frequencies"]]).reshape(-1, 1)
            self._parts.append((index[step["of"][0]], index[step["of"][1]], cosines, sines, factors))

    @staticmethod
    def width(step: State) -> int:
        return int(step["directions"]) * (1 + 2 * len(step["frequencies"]))

    def __call__(self, rows: _TableRows, values: Array, filled: Array) -> Array:
        features = []
        for north, east, cosines, sines, factors in self._parts:
            along = filled[north] * cosines + filled[east] * sines
            phases = factors * along[:, np.newaxis]
            waves = np.empty((len(along), 1 + 2 * len(factors), len(rows)))
            waves[:, 0], waves[:, 1::2], waves[:, 2::2] = along, np.sin(phases), np.cos(phases)
            features.append(waves.reshape(-1, len(rows)))
        return features[0] if len(features) == 1 else np.concatenate(features)


_NUMBER_STEPS = ("number", "robust", "log", "ratio", "missing", "bins", "distance", "waves")
_STEP_GROUPS: dict[str, type[_StepGroup]] = {
    "number": _NumberSteps,
    "robust": _RobustSteps,
    "log": _LogSteps,
    "ratio": _RatioSteps,
    "missing": _MissingSteps,
    "category": _CategorySteps,
    "bins": _BinSteps,
    "boolean": _BooleanSteps,
    "text": _TextSteps,
    "topics": _TopicSteps,
    "text_scores": _TextScoreSteps,
    "date": _DateSteps,
    "calendar": _CalendarSteps,
    "calendar_flags": _CalendarFlagSteps,
    "lookup": _LookupSteps,
    "distance": _DistanceSteps,
    "waves": _WaveSteps,
}


class TokenEncoder:
    """Encodes texts, or lists of token ids, to rows of ids (n, length) int32, filled up with 0.

    The id of a word is its place in the vocabulary plus 2; 1 stands for every other word.
    """

    kind = "tokens"

    def __init__(
        self,
        vocabulary: Sequence[str] | None,
        *,
        length: int | None = None,
        padding: str = "post",
        truncating: str = "post",
        column: str = "text",
    ) -> None:
        """`vocabulary` lists the words, most frequent first; None: clients send lists of ids.

        `length` is the number of ids of a row; None: that of the longest row of a request. `padding` and `truncating`
        are "pre" or "post", as Keras's `pad_sequences` takes them. `column` is the name of the column in a table.
        """
        self.vocabulary = None if vocabulary is None else list(vocabulary)
        self.length = length
        self.padding, self.truncating = padding, truncating
        self.column = column
        self._ids = {word: number for number, word in enumerate(self.vocabulary or (), 2)}

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """The shape of an encoded row."""
        return (self.length,)

    @property
    def size(self) -> int:
        """The number of different ids, as `Embedding` takes it; of lists of ids it is unknown."""
        return len(self.vocabulary or ()) + 2

    def state(self) -> State:
        """Return the state from which `encoder_from_state` restores this encoder."""
        return {
            "vocabulary": self.vocabulary,
            "length": self.length,
            "padding": self.padding,
            "truncating": self.truncating,
            "column": self.column,
        }

    def ids(self, row: Any) -> Any:
        """Return the ids of a text, or of a list of ids."""
        if self.vocabulary is None:
            return np.asarray(row).ravel()
        if isinstance(row, bytes):
            row = row.decode("utf-8")
        if row is None or row != row:  # a gap in a table
            return []
        if not isinstance(row, str):
            raise TypeError(f"expected a text, not {type(row).__name__}")
        return [self._ids.get(word, 1) for word in list_words(row)]

    def __call__(self, raw: Any) -> Array:
        """Encode n texts or lists of ids (a list, an array, or a table with the column) to (n, length)."""
        rows = self._rows(raw)
        encoded = [self.ids(row) for row in rows]
        length = self.length or max(map(len, encoded), default=0) or 1
        ids = np.zeros((len(encoded), length), np.int32)
        for row, found in zip(ids, encoded, strict=True):
            kept = found[-length:] if self.truncating == "pre" else found[:length]
            if len(kept):
                row[slice(-len(kept), None) if self.padding == "pre" else slice(len(kept))] = kept
        return ids

    def _rows(self, raw: Any) -> Any:
        if _is_table(raw):
            return list(raw[self.column if self.column in raw else next(iter(raw))])
        return raw if self.vocabulary is None else np.asarray(raw, dtype=object).ravel()


class ColumnsEncoder:
    """Encodes rows of a table to a dict of named inputs (n, 1): float32, int64, or texts."""

    kind = "columns"

    def __init__(self, columns: Mapping[str, State]) -> None:
        """`columns` maps each column to {"dtype": "float32", "int64" or "str", "fill", "vocabulary"}.

        "fill" replaces missing values. With a vocabulary, a cell becomes its place in it, counted from 1; 0 stands
        for every other cell.
        """
        self.columns = dict(columns)

    def state(self) -> State:
        """Return the state from which `encoder_from_state` restores this encoder."""
        return {"columns": self.columns}

    def __call__(self, raw: Any) -> dict[str, Array]:
        """Encode n rows (a DataFrame, or a dict of columns). An absent column counts as missing values.

        Raises BadCell for a cell of another kind than the column's.
        """
        count = _count_rows(raw)
        return {
            name: self._column(name, raw[name] if name in raw else [None] * count) for name in self.columns
        }

    @cached_property
    def _ids(self) -> dict[str, dict[str, int]]:
        """The number of each word, by column."""
        return {
            name: {word: number for number, word in enumerate(column["vocabulary"], 1)}
            for name, column in self.columns.items()
            if column.get("vocabulary") is not None
        }

    def _column(self, name: str, cells: Any) -> Array:
        column = self.columns[name]
        kind = getattr(getattr(cells, "dtype", None), "kind", "O")
        if column["dtype"] == "float32" and kind in "iufb":
            numbers = np.asarray(cells, np.float64)
            return np.where(np.isnan(numbers), column["fill"], numbers).astype(np.float32).reshape(-1, 1)
        if column["dtype"] == "int64" and kind in "ib" and name not in self._ids:
            return np.asarray(cells).astype(np.int64).reshape(-1, 1)
        values = np.asarray(cells, dtype=object).ravel().tolist()
        filled = [column["fill"] if is_gap(cell) else cell for cell in values]
        if name in self._ids:
            ids = self._ids[name]
            return np.array([ids.get(as_text(cell), 0) for cell in filled], np.int64).reshape(-1, 1)
        if column["dtype"] == "str":
            texts = np.empty((len(filled), 1), object)
            texts[:, 0] = [as_text(cell) for cell in filled]
            return texts
        encoded = np.empty((len(filled), 1), column["dtype"])
        for row, cell in enumerate(filled):
            try:
                number = float(cell)
            except (TypeError, ValueError):
                number = np.nan
            if number != number or (column["dtype"] == "int64" and number != int(number)):
                what = "whole number" if column["dtype"] == "int64" else "number"
                raise BadCell(cell, name, f"is no {what}", row=row)
            encoded[row, 0] = cell if column["dtype"] == "int64" and isinstance(cell, int) else number
        return encoded


def _is_table(raw: Any) -> bool:
    """Return whether this is a DataFrame, or a dict of arrays by column."""
    return isinstance(raw, Mapping) or hasattr(raw, "columns")


def _count_rows(raw: Any) -> int:
    return len(next(iter(raw.values()), ())) if isinstance(raw, Mapping) else len(raw)


def is_gap(cell: Any) -> bool:
    """Return whether a cell is a missing value."""
    return cell is None or str(cell) == "<NA>" or cell != cell


def as_text(cell: Any) -> str:
    """Return a cell as a text; bytes are UTF-8."""
    return cell.decode("utf-8") if isinstance(cell, bytes) else str(cell)


ENCODERS: dict[str, Any] = {
    encoder.kind: encoder
    for encoder in (PixelEncoder, TextEncoder, NgramEncoder, TableEncoder, TokenEncoder, ColumnsEncoder)
}


def encoder_from_state(state: State | None) -> Any:
    """Return the encoder of a saved state; None if the model takes raw input."""
    if not state:
        return None
    return ENCODERS[state["kind"]](**{name: value for name, value in state.items() if name != "kind"})


class TravellingCode:
    """The user's code that a model was saved with: its custom objects by Keras's names, and its encoder."""

    def __init__(self, content: bytes) -> None:
        """`content` is that of code.pkl. Raises RuntimeError if another Python version wrote it."""
        saved = pickle.loads(content)  # noqa: S301 - a model's code is trusted as its scoring.py is
        wanted, running = tuple(saved["python"]), sys.version_info[:2]
        if wanted != running:
            raise RuntimeError(
                f"the model's own code needs Python {wanted[0]}.{wanted[1]}, this is {running[0]}.{running[1]}"
            )
        self._objects: bytes | None = saved["objects"]
        self._encoder: bytes | None = saved["encoder"]
        self._loaded: State | None = None
        for root, sources in saved["sources"].items():
            if root not in sys.modules:
                sys.meta_path.append(_SourceFinder(root, sources))

    def objects(self) -> State:
        """Return the custom objects by name; imports what they import, such as Keras."""
        if self._loaded is None:
            self._loaded = _unpickle(self._objects) if self._objects else {}
        return self._loaded

    def encoder(self) -> Any:
        """Return the user's encoder, or None."""
        return _unpickle(self._encoder) if self._encoder else None

    def register(self) -> None:
        """Let every later `keras.saving.load_model` in this process find the objects, as soon as Keras is imported.

        What the process itself registered under the same name stays.
        """
        if not self._objects:
            return
        if "keras" in sys.modules:
            _register_with_keras(self.objects())
        else:
            sys.meta_path.insert(0, _KerasImport(lambda: _register_with_keras(self.objects())))


class _CodeUnpickler(pickle.Unpickler):
    """Takes the encoders of this file from this file, under whatever name it was loaded."""

    def find_class(self, module: str, name: str) -> Any:
        if module != "mlctl.serving.scoring":
            return super().find_class(module, name)
        found: Any = globals()[name.partition(".")[0]]
        for part in name.split(".")[1:]:
            found = getattr(found, part)
        return found


def this_module() -> Any:
    """Return this file as a module; travelling code that refers to it gets the model's own copy."""
    return sys.modules[__name__]


def _unpickle(content: bytes) -> Any:
    return _CodeUnpickler(io.BytesIO(content)).load()


class _SourceFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports modules that travelled as source text, for code that imports them when it runs."""

    def __init__(self, root: str, sources: Mapping[str, str]) -> None:
        self._root = root
        self._sources = sources

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname.partition(".")[0] != self._root:
            return None
        file = fullname[len(self._root) + 1 :].replace(".", "/")
        if f"{file}.py" in self._sources:
            return importlib.util.spec_from_loader(fullname, self, origin=f"{file}.py", is_package=False)
        if f"{file}/__init__.py" in self._sources:
            return importlib.util.spec_from_loader(
                fullname, self, origin=f"{file}/__init__.py", is_package=True
            )
        if not file or any(source.startswith(f"{file}/") for source in self._sources):
            return importlib.util.spec_from_loader(fullname, self, is_package=True)
        return None

    def exec_module(self, module: Any) -> None:
        origin = module.__spec__.origin
        if origin:
            setattr(module, ABSENT, _Absent)
            exec(compile(self._sources[origin], origin, "exec"), vars(module))  # noqa: S102 - see TravellingCode


class _AbsentType(type):
    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return cls


class _Absent(metaclass=_AbsentType):
    """Stands for anything that a travelling module imports from mlctl, if mlctl is not installed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass


def absent() -> type:
    """Return the class that stands for mlctl's own ones."""
    return _Absent


class _KerasImport(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Calls a function once, after Keras was imported."""

    def __init__(self, then: Callable[[], None]) -> None:
        self._then = then
        self._loader: Any = None

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname != "keras":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            self._loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec: Any) -> Any:
        return self._loader.create_module(spec)

    def exec_module(self, module: Any) -> None:
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._then()


@contextlib.contextmanager
def keras_scope(objects: Mapping[str, Any]) -> Iterator[None]:
    """Let Keras find these custom objects, and none of another model with the same names, within the block."""
    import keras

    with _keras_lock, keras.saving.custom_object_scope(dict(objects)):
        registered = keras.saving.get_custom_objects()  # Keras prefers these to the scope's in nested objects
        others = {name: registered.get(name) for name in objects}
        registered.update(objects)
        try:
            yield
        finally:
            for name, other in others.items():
                if other is None:
                    registered.pop(name, None)
                else:
                    registered[name] = other


def _register_with_keras(objects: Mapping[str, Any]) -> None:
    """Register objects for every later load; they replace those of other saved models, and nothing else."""
    import keras

    registered = keras.saving.get_custom_objects()
    for name, value in objects.items():
        if name not in registered or getattr(registered[name], "__mlctl_saved_model__", False):
            package, separator, own_name = name.rpartition(">")
            if separator:  # a model that is saved again refers to it by the same name
                keras.saving.register_keras_serializable(package, own_name)(value)
            registered[name] = value
            with contextlib.suppress(AttributeError, TypeError):
                value.__mlctl_saved_model__ = True


class Scorer:
    """A saved model with its encoder. Called with raw input, it answers as the Keras model does."""

    STATE_FILE, SAVED_MODEL = "encoder.json", "saved_model"

    def __init__(self, folder: str) -> None:
        """Load a folder with encoder.json and one of model.onnx, model.tflite, saved_model and model.keras."""
        with open(os.path.join(folder, self.STATE_FILE), encoding="utf-8") as file:
            saved = json.load(file)
        code = None
        self._least_rows = 1
        if os.path.exists(path := os.path.join(folder, "code.pkl")):
            with open(path, "rb") as content:
                code = TravellingCode(content.read())
        is_own = (saved["encoder"] or {}).get("kind") == OWN_ENCODER
        self.encoder = code.encoder() if code and is_own else encoder_from_state(saved["encoder"])
        self._inputs: list[State] = saved.get("inputs") or [{"name": "", "dtype": saved["input_dtype"]}]
        self._structure: Any = saved.get("structure", "")
        self._raw_names: list[str] = saved.get("raw_names") or []
        self._run = self._open_runtime(folder, saved, code)
        self._row_bytes: int = saved.get("row_bytes") or 0
        # whether this takes a dict of NumPy arrays by column instead of a DataFrame, which the user's own encoder needs
        self.takes_columns = type(self.encoder) in (
            TextEncoder,
            NgramEncoder,
            TableEncoder,
            TokenEncoder,
            ColumnsEncoder,
        )
        if code:
            code.register()

    def __call__(self, raw: Any) -> Any:
        """Return the predictions for n raw inputs as a float array (n, …), or a dict of them by output name.

        Raw inputs are an array, a list, a DataFrame, or a dict of arrays by input name.
        """
        count = _count_rows(raw)
        if count == 1:
            return self._predict(raw)
        size = _size(raw)
        if self._row_bytes:
            bounded = _LAYER_BYTES // max(self._row_bytes, size // max(count, 1))
        else:
            bounded = _BATCH_BYTES * count // max(size, 1)
        rows = max(self._least_rows, min(_BATCH_ROWS, bounded))
        if count <= rows:
            return self._predict(raw)
        batches = []
        for start in range(0, count, rows):
            try:
                batches.append(self._predict(_rows(raw, start, start + rows)))
            except BadCell as exc:
                exc.row = start + exc.row if isinstance(raw, Mapping) else exc.row
                raise
        if isinstance(batches[0], Mapping):
            return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
        return np.concatenate(batches)

    def _open_runtime(self, folder: str, saved: State, code: TravellingCode | None) -> Callable[[Any], Any]:
        """Return the function that answers encoded input."""
        outputs = saved.get("outputs") or [{"name": "", "activation": ""}]
        names = [output["name"] for output in outputs]
        onnx, litert, saved_model, keras = (
            os.path.join(folder, name)
            for name in ("model.onnx", "model.tflite", self.SAVED_MODEL, "model.keras")
        )
        if os.path.exists(onnx):
            run = onnx_runner(onnx, names)
        elif os.path.exists(litert):
            run = litert_runner(litert, names)
        elif os.path.exists(saved_model):
            run = saved_model_runner(saved_model, names)
        else:
            objects = code.objects() if code else {}
            run = keras_runner(keras, structure=self._structure, outputs=outputs, objects=objects)
        if fixed := saved.get("fixed_rows"):
            self._least_rows = fixed
            run = fixed_rows_runner(run, fixed)
        return run

    def _predict(self, raw: Any) -> Any:
        return self._run(self.encode(raw))

    def encode(self, raw: Any) -> Any:
        """Return what the model takes for raw input: an array, or a dict of arrays by input name."""
        if self._raw_names and isinstance(raw, Mapping):  # the encoder takes a tuple, as in training
            raw = tuple(raw[name] for name in self._raw_names)
        encoded = self.encoder(raw) if self.encoder else raw
        named = self._named(encoded)
        arrays = {given["name"]: as_input(named[given["name"]], given) for given in self._inputs}
        return arrays[self._structure] if isinstance(self._structure, str) else arrays

    def _named(self, encoded: Any) -> Mapping[str, Any]:
        """Return the model's inputs by name, from what the encoder returned or a client sent."""
        if isinstance(self._structure, str):
            is_single = isinstance(encoded, Mapping) and len(encoded) == 1
            return {self._structure: next(iter(encoded.values())) if is_single else encoded}
        if hasattr(encoded, "keys") and all(given["name"] in encoded for given in self._inputs):
            return {given["name"]: encoded[given["name"]] for given in self._inputs}
        return dict(_flatten(self._structure, encoded))


def _flatten(structure: Any, values: Any) -> Iterator[tuple[str, Any]]:
    """Yield each leaf of a tree of arrays with its name in the structure."""
    if isinstance(structure, Mapping):
        for name, part in structure.items():
            yield from _flatten(part, values[name])
    elif isinstance(structure, str):
        yield structure, values
    else:
        for part, value in zip(structure, values, strict=True):
            yield from _flatten(part, value)


def _build(structure: Any, named: Mapping[str, Any]) -> Any:
    """Return the tree of this structure with the named leaves."""
    if isinstance(structure, Mapping):
        return {name: _build(part, named) for name, part in structure.items()}
    if isinstance(structure, str):
        return named[structure]
    return tuple(_build(part, named) for part in structure)


def _size(raw: Any) -> int:
    """Return about how many bytes raw input takes."""
    parts = list(raw.values()) if isinstance(raw, Mapping) else [raw]
    return sum(int(getattr(part, "nbytes", 0)) for part in parts)


def _rows(raw: Any, start: int, stop: int) -> Any:
    if isinstance(raw, Mapping):
        return {name: part[start:stop] for name, part in raw.items()}
    return raw[start:stop]


def as_input(values: Any, given: State) -> Array:
    """Return values as the array that a model's input takes: of its dtype and its number of axes."""
    if given["dtype"] == TEXT:
        array = np.asarray(values, dtype=object)
        array = np.array([_text(cell) for cell in array.flat], dtype=object).reshape(array.shape)
    else:
        array = np.ascontiguousarray(_stacked(values), dtype=given["dtype"])
    if given.get("rank") == array.ndim + 1:
        array = array[..., np.newaxis]
    return array


def _stacked(values: Any) -> Any:
    """Return rows that are arrays of the same shape as one array."""
    array = values if isinstance(values, np.ndarray) else np.asarray(values)
    is_rows = array.dtype == object and array.size and isinstance(array.flat[0], (np.ndarray, list, tuple))
    return np.stack([np.asarray(row) for row in array]) if is_rows else array


def _text(cell: Any) -> str:
    if isinstance(cell, bytes):
        return cell.decode("utf-8")
    return "" if cell is None or cell != cell else str(cell)


def onnx_runner(path: str, output_names: Sequence[str] = ("",)) -> Callable[[Any], Any]:
    """Return a function that answers encoded input with ONNX Runtime.

    It takes an array, or a dict of arrays by input name, and returns an array, or a dict of arrays by these output
    names, which are in the order of the graph's outputs.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # a server answers many requests at once, so one thread each is fastest
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    input_names = [given.name for given in session.get_inputs()]
    graph_names = [output.name for output in session.get_outputs()]
    if len(graph_names) == 1:
        name = input_names[0]
        return lambda encoded: np.asarray(
            session.run(None, encoded if isinstance(encoded, Mapping) else {name: encoded})[0]
        )
    names = graph_names if set(output_names) == set(graph_names) else output_names

    def run(encoded: Any) -> dict[str, Array]:
        feed = encoded if isinstance(encoded, Mapping) else {input_names[0]: encoded}
        answers = dict(zip(names, map(np.asarray, session.run(None, feed)), strict=True))
        return {name: answers[name] for name in output_names} if len(output_names) > 1 else answers

    return run


def litert_interpreter(path: str) -> Any:
    """Open a LiteRT file with the package ai-edge-litert, or with TensorFlow if that is not installed."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        from tensorflow.lite import Interpreter

    return Interpreter(model_path=path, num_threads=1)


def litert_runner(path: str, output_names: Sequence[str] = ("",)) -> Callable[[Any], Any]:
    """Return a function that answers encoded input with a LiteRT file, as `onnx_runner` does."""
    interpreter = litert_interpreter(path)
    lock = threading.Lock()  # an interpreter answers one call at a time
    details = interpreter.get_input_details()
    short_names = _tensor_names([entry["name"] for entry in details])
    signatures = interpreter.get_signature_list()
    runner = interpreter.get_signature_runner(next(iter(signatures))) if signatures else None
    outputs = interpreter.get_output_details()
    if runner is not None:
        fed: State = runner.get_input_details()
        answered: State = runner.get_output_details()
    else:
        fed = dict(zip(short_names, details, strict=True))
        answered = dict(zip(_tensor_names([entry["name"] for entry in outputs]), outputs, strict=True))
    order = list(output_names) if set(output_names) == set(answered) else list(answered)

    def call(arrays: Mapping[str, Array]) -> Mapping[str, Array]:
        if runner is not None:
            found: Mapping[str, Array] = runner(**arrays)
            return found
        for name, entry in fed.items():
            interpreter.resize_tensor_input(entry["index"], arrays[name].shape)
        interpreter.allocate_tensors()
        for name, entry in fed.items():
            interpreter.set_tensor(entry["index"], arrays[name])
        interpreter.invoke()
        return {name: interpreter.get_tensor(entry["index"]) for name, entry in answered.items()}

    def run(encoded: Any) -> Any:
        given = encoded if isinstance(encoded, Mapping) else {next(iter(fed)): encoded}
        arrays = {name: _quantized(given[name], entry) for name, entry in fed.items()}
        with lock:
            found = call(arrays)
            answers = [_as_floats(np.array(found[name]), answered[name]) for name in order]
        return answers[0] if len(answers) == 1 else dict(zip(output_names, answers, strict=True))

    return run


def _tensor_names(names: Sequence[str]) -> list[str]:
    """Return names of tensors without the signature's prefix and the output's number."""
    return [name.removeprefix("serving_default_").partition(":")[0] for name in names]


def _quantized(values: Array, entry: State) -> Array:
    """Return values in the type of an input of a LiteRT file, which may be whole numbers for a range of floats."""
    dtype: Any = np.dtype(entry["dtype"])
    scale, zero = entry["quantization"]
    if scale and dtype.kind in "iu" and values.dtype.kind == "f":
        limits = np.iinfo(dtype)
        places: Array = np.clip(np.rint(values / scale) + zero, limits.min, limits.max).astype(dtype)
        return places
    return np.ascontiguousarray(values, dtype)


def _as_floats(values: Array, entry: State) -> Array:
    """Return the answers of a LiteRT file as floats, if whole numbers stand for a range of floats."""
    scale, zero = entry["quantization"]
    return (values.astype(np.float32) - zero) * np.float32(scale) if scale else values


def saved_model_runner(path: str, output_names: Sequence[str] = ("",)) -> Callable[[Any], Any]:
    """Return a function that answers encoded input with a SavedModel, as `onnx_runner` does."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow

    loaded = tensorflow.saved_model.load(path)
    function = loaded.signatures["serving_default"]
    inputs = list(function.structured_input_signature[1])
    answered = list(function.structured_outputs)
    order = list(output_names) if set(output_names) == set(answered) else answered

    def run(encoded: Any, loaded: Any = loaded) -> Any:  # the function lives as long as what was loaded
        given = encoded if isinstance(encoded, Mapping) else {inputs[0]: encoded}
        found = function(**{name: _tensor(given[name]) for name in inputs})
        answers = [found[name].numpy() for name in order]
        return answers[0] if len(answers) == 1 else dict(zip(output_names, answers, strict=True))

    return run


def keras_runner(
    path: str, *, structure: Any, outputs: Sequence[State], objects: Mapping[str, Any]
) -> Callable[[Any], Any]:
    """Return a function that answers encoded input with a saved Keras model, as `call_keras` does."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"  # on which the model was saved and checked
    import keras

    with keras_scope(objects):
        model = keras.saving.load_model(path, compile=False)
    return lambda encoded: call_keras(model, encoded, structure=structure, outputs=outputs)


def fixed_rows_runner(run: Callable[[Any], Any], rows: int) -> Callable[[Any], Any]:
    """Return a function that answers any number of rows with a model that takes batches of this many rows only.

    Missing rows of a batch are the last one again; the answers to them are left out.
    """

    def run_batch(encoded: Any, start: int) -> Any:
        def take(part: Array) -> Array:
            return part[np.minimum(np.arange(start, start + rows), len(part) - 1)]

        if isinstance(encoded, Mapping):
            return run({name: take(part) for name, part in encoded.items()})
        return run(take(encoded))

    def run_all(encoded: Any) -> Any:
        count = _count_rows(encoded)
        batches = [run_batch(encoded, start) for start in range(0, count, rows)]
        if isinstance(batches[0], Mapping):
            return {name: np.concatenate([batch[name] for batch in batches])[:count] for name in batches[0]}
        return np.concatenate(batches)[:count]

    return run_all


def call_keras(model: Any, encoded: Any, *, structure: Any, outputs: Sequence[State]) -> Any:
    """Return a Keras model's answers: an array, or a dict of arrays by output name; probabilities, not logits.

    Args:
        model: The model.
        encoded: An array, or a dict of arrays by input name.
        structure: What the model takes: the name of its input, or a dict or list of them.
        outputs: Name and activation of each output, in the model's order.
    """
    if isinstance(structure, str):
        given = _tensor(encoded) if encoded.dtype.kind == "O" else encoded
    else:
        # Keras takes tensors or arrays, and no mixture
        has_texts = any(part.dtype.kind == "O" for part in encoded.values())
        given = _build(
            structure, {name: _tensor(part) if has_texts else part for name, part in encoded.items()}
        )
    answers = model(given, training=False)
    if isinstance(answers, Mapping):
        is_named = all(output["name"] in answers for output in outputs)
        parts = [answers[output["name"]] for output in outputs] if is_named else list(answers.values())
    else:
        parts = list(answers) if isinstance(answers, (list, tuple)) else [answers]
    arrays = [
        _activated(np.asarray(part, dtype=np.float32), output["activation"])
        for part, output in zip(parts, outputs, strict=True)
    ]
    if len(outputs) == 1:
        return arrays[0]
    return {output["name"]: array for output, array in zip(outputs, arrays, strict=True)}


def _tensor(array: Any) -> Any:
    import tensorflow

    return tensorflow.constant(array, dtype="string" if array.dtype.kind == "O" else array.dtype)


def _activated(logits: Array, activation: str) -> Array:
    """Return probabilities for logits, as Keras's activation of this name does."""
    if activation == "sigmoid":
        with np.errstate(over="ignore"):
            return np.asarray(1 / (1 + np.exp(-logits)), np.float32)
    if activation == "softmax":
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)
    return logits


def _mlflow_model() -> Any:
    """Return this file's Scorer in the form in which MLflow loads models from code."""
    from mlflow.pyfunc import PythonModel

    class Model(PythonModel):  # type: ignore[misc]  # MLflow ships no types
        def load_context(self, context: Any) -> None:
            self.scorer = Scorer(context.artifacts["model"])
            gc.collect()
            gc.freeze()  # the model stays: scanning it in every collection halves a server's throughput

        # without type hints, because MLflow would infer a signature from them, and warn of all but lists
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
            return self.scorer(model_input)

    return Model()


if __name__ != "mlctl.serving.scoring":  # MLflow runs this file in a model's folder
    from mlflow.models import set_model

    set_model(_mlflow_model())
