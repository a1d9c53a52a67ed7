"""The data sets of the built-in recipes: where each is published, and what it must look like.

Each function takes a `Source` and returns a `Dataset`; all raise BadDataError for a file that is not what it
should be, and what `Source.file` raises where it is not to be had.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mlctl.data import sparse_bags, splits
from mlctl.data.builtin import synthetic
from mlctl.data.dataset import Dataset, Split
from mlctl.data.sources import locate
from mlctl.data.sources.download import Download
from mlctl.data.sources.locate import Source
from mlctl.data.sources.npz import Archive
from mlctl.data.sparse_bags import SparseBags
from mlctl.errors import BadDataError

KERAS = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
IMDB = Download(
    "imdb.npz",
    KERAS + "imdb.npz",
    "69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f",
)
WORDS = Download(
    "imdb_word_index.json", KERAS + "imdb_word_index.json", "bfafd718b763782e994055a2d397834f"
)  # Keras publishes an MD5 of this one
MNIST = Download(
    "mnist.npz",
    KERAS + "mnist.npz",
    "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
)

DIGIT_NAMES = tuple(str(digit) for digit in range(10))
SENTIMENTS = ("negative", "positive")
SPLIT_SEED = 7
VOCABULARY = 30_000


def digits(source: Source) -> Dataset:
    """Return scikit-learn's bundled digits: (n, 8, 8) float64 of 0..16, about 1150/287/360 rows."""
    if source.synthetic:
        pictures, labels = synthetic.digits(source.rows or 1797)
    else:
        from sklearn.datasets import load_digits

        bundled = load_digits()
        pictures, labels = bundled.images, bundled.target.astype(np.int64)
    seed = _option(source, "split_seed", SPLIT_SEED)
    dealt = splits.split_rows_by_class(labels, seed, (0.64, 0.16, 0.20))
    train, validation, test = (Split(pictures[rows], labels[rows]) for rows in dealt)
    return Dataset(
        "digits",
        train,
        validation,
        test,
        classes=DIGIT_NAMES,
        source="synthetic" if source.synthetic else "bundled",
        sha256=synthetic.digest(pictures, labels),
        size_bytes=pictures.nbytes + labels.nbytes,
        split_seed=seed,
    )


def mnist(source: Source) -> Dataset:
    """Return MNIST: (n, 28, 28) uint8, 55,000 / 5,000 dealt from the publisher's 60,000, and its own test."""
    if source.synthetic:
        return _dealt_mnist(source, _synthetic_mnist(source.rows or 70_000))
    path = source.file(MNIST)
    with Archive.open(path) as archive:
        arrays = []
        for part in ("train", "test"):
            arrays.append(archive.array(f"x_{part}", (None, 28, 28), "u", high=255))
            arrays.append(archive.array(f"y_{part}", (len(arrays[-1]),), low=0, high=9))
    return _dealt_mnist(source, arrays, path)


def _dealt_mnist(source: Source, arrays: Sequence[np.ndarray[Any, Any]], path: Path | None = None) -> Dataset:
    pictures, labels, test_pictures, test_labels = arrays
    seed = _option(source, "split_seed", SPLIT_SEED)
    labels, test_labels = labels.astype(np.int64), test_labels.astype(np.int64)
    train, validation = splits.split_rows(len(labels), seed, (55 / 60, 5 / 60))
    return Dataset(
        "mnist",
        Split(pictures[train], labels[train]),
        Split(pictures[validation], labels[validation]),
        Split(test_pictures, test_labels),
        classes=DIGIT_NAMES,
        source=locate.origin(source, MNIST, path) if path else "synthetic",
        sha256=locate.sha256([path]) if path else synthetic.digest(*arrays),
        size_bytes=path.stat().st_size if path else sum(one.nbytes for one in arrays),
        split_seed=seed,
    )


def _synthetic_mnist(rows: int) -> tuple[np.ndarray[Any, Any], ...]:
    pictures, labels = synthetic.mnist(rows)
    train = round(rows * 6 / 7)
    return pictures[:train], labels[:train], pictures[train:], labels[train:]


class Words(Sequence[str]):
    """The most frequent words in the order of their rank; the file is read when the first is asked for."""

    def __init__(self, path: Path, vocabulary: int) -> None:
        self.path, self.vocabulary = path, vocabulary

    def __len__(self) -> int:
        return self.vocabulary

    def __getitem__(self, index: Any) -> Any:
        return self._words[index]

    @cached_property
    def _words(self) -> list[str]:
        expected = "expected an object of words and their ranks"
        try:
            ranks = json.loads(self.path.read_text(encoding="utf-8"))
        except (ValueError, OSError, RecursionError) as exc:
            raise BadDataError(f"{self.path} is no JSON: {exc}; {expected}", "fetch it again") from exc
        if not isinstance(ranks, dict):
            raise BadDataError(f"{self.path} holds a {type(ranks).__name__}, {expected}", "fetch it again")
        words = {rank: word for word, rank in ranks.items() if type(rank) is int}
        for rank in range(1, self.vocabulary + 1):
            if rank not in words:
                raise BadDataError(f"{self.path} has no word of rank {rank}; {expected}", "fetch it again")
        return [words[rank] for rank in range(1, self.vocabulary + 1)]


def imdb(source: Source) -> Dataset:
    """Return the 50,000 reviews as `SparseBags` over the most frequent words, 80 % train and 20 % validation.

    The word of rank r is column r - 1. There is no test split, as published. `extra["words"]` are the words
    by column; `raw` joins a review's words, the most frequent first, which the tokeniser takes apart again.
    """
    vocabulary = _option(source, "vocabulary", VOCABULARY)
    if source.synthetic:
        words: Sequence[str] = synthetic.words(vocabulary)
        reviews, labels = synthetic.reviews(source.rows or 50_000, vocabulary)
        digest = synthetic.digest(reviews.ids, reviews.starts, labels)
        size, said = reviews.ids.nbytes + reviews.starts.nbytes + labels.nbytes, "synthetic"
    else:
        path, index = source.file(IMDB), source.file(WORDS)
        digest, said = locate.sha256([path, index]), locate.origin(source, IMDB, path)
        size = path.stat().st_size + index.stat().st_size
        words = Words(index, vocabulary)
        reviews, labels = _reviews(
            path, vocabulary, source.cache_dir / "prepared" / f"imdb-{digest[:32]}-{vocabulary}.npz"
        )
    seed = _option(source, "split_seed", SPLIT_SEED)
    train, validation = splits.split_rows(len(labels), seed, (0.8, 0.2))

    def texts(rows: SparseBags) -> list[str]:
        return [" ".join([words[column] for column in rows[row]]) for row in range(len(rows))]

    return Dataset(
        "imdb",
        Split(reviews.take(train), labels[train]),
        Split(reviews.take(validation), labels[validation]),
        classes=SENTIMENTS,
        source=said,
        sha256=digest,
        size_bytes=size,
        split_seed=seed,
        extra={"words": words},
        as_raw=texts,
    )


def _reviews(path: Path, vocabulary: int, prepared: Path) -> tuple[SparseBags, np.ndarray[Any, Any]]:
    """Read imdb.npz, or what an earlier run prepared from the same bytes (its name says from which)."""
    if (known := sparse_bags.load(prepared)) is not None:
        return known
    parts, labels = [], []
    with Archive.open(path) as archive:
        for part in ("train", "test"):
            rows = archive.lists(f"x_{part}")
            labels.append(archive.array(f"y_{part}", (len(rows),), low=0, high=1).astype(np.int64))
            try:
                parts.append(SparseBags.from_lists(rows, vocabulary, base=1))
            except ValueError as exc:
                raise archive.bad(f"x_{part}", str(exc), "the ranks of words, from 1") from exc
            del rows  # 300 MB of Python integers, before the next part brings as many
    whole, targets = SparseBags.concatenate(*parts), np.concatenate(labels)
    with suppress(
        OSError
    ):  # a cache that cannot be written costs the next run a second, and this one nothing
        sparse_bags.save(prepared, whole, targets)
    return whole, targets


def _option(source: Source, name: str, default: int) -> int:
    return int(getattr(source.options, name, default))
