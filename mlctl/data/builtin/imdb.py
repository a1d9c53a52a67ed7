"""IMDB: 50,000 movie reviews as bags of words, as Keras publishes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from mlctl.data import splits
from mlctl.data.builtin import synthetic
from mlctl.data.builtin.prepared_bags import load_bags, save_bags
from mlctl.data.dataset import Dataset, Split
from mlctl.data.sources import locate
from mlctl.data.sources.download import Download
from mlctl.data.sources.locate import Source
from mlctl.data.sources.npz import NpzReader
from mlctl.data.sparse_bags import SparseBags
from mlctl.errors import BadDataError

URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
REVIEWS = Download(
    "imdb.npz", URL + "imdb.npz", "69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f"
)
# Keras publishes an MD5 of this file
WORDS = Download("imdb_word_index.json", URL + "imdb_word_index.json", "bfafd718b763782e994055a2d397834f")
CLASSES = ("negative", "positive")
VOCABULARY_SIZE = 30_000

Array = np.ndarray[Any, Any]


class RankedWords(Sequence[str]):
    """The most frequent words by rank; the file is read when the first word is requested."""

    def __init__(self, path: Path, size: int) -> None:
        self.path, self.size = path, size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: Any) -> Any:
        return self._words[index]

    @cached_property
    def _words(self) -> list[str]:
        try:
            ranks = json.loads(self.path.read_text(encoding="utf-8"))
        except (ValueError, OSError, RecursionError) as exc:
            raise self._error(f"is not a JSON file: {exc}") from exc
        if not isinstance(ranks, dict):
            raise self._error(f"holds a {type(ranks).__name__}")
        words = {rank: word for word, rank in ranks.items() if type(rank) is int}
        missing = next((rank for rank in range(1, self.size + 1) if rank not in words), None)
        if missing is not None:
            raise self._error(f"has no word of rank {missing}")
        return [words[rank] for rank in range(1, self.size + 1)]

    def _error(self, problem: str) -> BadDataError:
        return BadDataError(
            f"{self.path} {problem}; expected a JSON object of words and their ranks", "download it again"
        )


def load_imdb(source: Source) -> Dataset:
    """Return the reviews as `SparseBags` of the most frequent words: 80 % training, 20 % validation, no test.

    The word of rank r is column r - 1. `extra["words"]` holds the words by column. `raw` joins the words of a review,
    the most frequent first.
    """
    vocabulary_size = int(getattr(source.options, "vocabulary", VOCABULARY_SIZE))
    words: Sequence[str]
    if source.synthetic:
        words = synthetic.make_words(vocabulary_size)
        bags, labels = synthetic.make_reviews(source.rows or 50_000, vocabulary_size)
        origin, sha256 = "synthetic", synthetic.sha256_of_arrays(bags.ids, bags.starts, labels)
        size_bytes = bags.ids.nbytes + bags.starts.nbytes + labels.nbytes
    else:
        path, word_index = source.file(REVIEWS), source.file(WORDS)
        origin, sha256 = locate.origin(source, REVIEWS, path), locate.sha256([path, word_index])
        size_bytes = path.stat().st_size + word_index.stat().st_size
        words = RankedWords(word_index, vocabulary_size)
        cache = source.cache_dir / "prepared" / f"imdb-{sha256[:32]}-{vocabulary_size}.npz"
        bags, labels = _read_reviews(path, vocabulary_size, cache)
    seed = int(getattr(source.options, "split_seed", splits.SPLIT_SEED))
    train, validation = splits.split_rows(len(labels), seed, (0.8, 0.2))
    return Dataset(
        "imdb",
        Split(bags.take(train), labels[train]),
        Split(bags.take(validation), labels[validation]),
        classes=CLASSES,
        source=origin,
        sha256=sha256,
        size_bytes=size_bytes,
        split_seed=seed,
        extra={"words": words},
        as_raw=partial(SparseBags.to_texts, words=words),
    )


def _read_reviews(path: Path, vocabulary_size: int, cache: Path) -> tuple[SparseBags, Array]:
    """Return the reviews and labels of imdb.npz, from the cache if an earlier run wrote it."""
    if (cached := load_bags(cache)) is not None:
        return cached
    parts, labels = [], []
    with NpzReader.open(path) as reader:
        for name in ("train", "test"):
            rows = reader.read_lists(f"x_{name}")
            labels.append(reader.read_array(f"y_{name}", (len(rows),), low=0, high=1).astype(np.int64))
            try:
                parts.append(SparseBags.from_lists(rows, vocabulary_size, base=1))
            except ValueError as exc:
                raise reader.error(f"x_{name}", str(exc), "the ranks of words, from 1") from exc
            del rows  # frees 300 MB of Python integers before the next part needs as much
    bags, targets = SparseBags.concatenate(*parts), np.concatenate(labels)
    with suppress(OSError):  # without the cache, the next run only takes a second longer
        save_bags(cache, bags, targets)
    return bags, targets
