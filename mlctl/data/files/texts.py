"""A user's own texts as bags of words: folders of .txt files, or a table with a text and a label column.

Files are read twice, one at a time: once to count words, once to look them up. What is held is two bytes a word.
"""

from __future__ import annotations

import codecs
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mlctl.data import splits
from mlctl.data.dataset import Dataset, Split
from mlctl.data.files import labelled_files
from mlctl.data.sources import locate
from mlctl.data.sparse_bags import SparseBags
from mlctl.data.tables import column_types, label_column
from mlctl.data.tables import reader as delimited
from mlctl.errors import BadDataError, UsageError, did_you_mean

Array = np.ndarray[Any, Any]
Reader = Callable[[Array], Iterator[str]]  # row numbers -> their texts, one at a time
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
Tokens = Callable[[str], set[str]]  # a text -> its words, as the encoder that serves the model has them


def read(
    path: Path, tokens: Tokens, vocabulary: int, seed: int, target: str = "", text: str = "", said: str = ""
) -> Dataset:  # fmt: skip
    """Return texts as Bags over the `vocabulary` words that most training texts have.

    `extra` holds "words", and "column", the table's own name for the text. Raises BadDataError, UsageError.
    """
    if path.is_file() and delimited.is_table(path.name):
        numbers, classes, reader, parts, column, notes = _of_table(path, target, text, seed)
        sha, size = locate.sha256([path]), path.stat().st_size
    else:
        files = labelled_files.found(path, labelled_files.TEXTS, target)
        numbers, classes, column, notes = files.labels, files.classes, "text", files.notes
        parts = files.dealt(seed)
        sha, size = labelled_files.digest(files.files, numbers)

        def reader(rows: Array) -> Iterator[str]:
            return (text_of(files.files[row]) for row in rows)

    counted: Counter[str] = Counter()
    for one in reader(parts[0]):  # training texts alone: a word of the test must stay unknown
        counted.update(tokens(one))
    counted.pop("", None)
    often = sorted(((-count, word) for word, count in counted.items() if count > 1))[:vocabulary]
    known = [word for _, word in often]
    if not known:
        raise BadDataError(f"{path}: no word occurs in two texts", "are these texts?")
    places = {word: place for place, word in enumerate(known)}

    def bags(rows: Array) -> SparseBags:
        found = [[places[word] for word in tokens(one) if word in places] for one in reader(rows)]
        lengths = np.array([len(one) for one in found])
        flat = np.concatenate([np.array(one, np.int64) for one in found])
        return SparseBags.from_flat(flat, lengths, len(known))

    def as_texts(rows: SparseBags) -> list[str]:
        return [" ".join(known[one] for one in rows[row]) for row in range(len(rows))]

    train, validation, test = (Split(bags(rows), numbers[rows]) for rows in parts)
    counts = ", ".join(f"{name} {count:,}" for name, count in zip(classes, np.bincount(numbers), strict=True))
    return Dataset(
        path.name.partition(".")[0], train, validation, test, tuple(classes), source=said or str(path), sha256=sha,
        size_bytes=size, split_seed=seed, extra={"words": known, "column": column}, as_raw=as_texts,
        notes=(
            f"{path.name}: {len(numbers):,} texts of {len(classes)} classes: {counts}",
            f"vocabulary: {len(known):,} words that two or more training texts have",
            *notes,
        ),
    )  # fmt: skip


def text_of(file: Path) -> str:
    """Return a file's text, whatever editor wrote it: UTF-8, UTF-16 with its mark, else Windows's Latin."""
    content = file.read_bytes()
    try:
        text = content.decode("utf-16" if content.startswith(UTF_16) else "utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
    return text.replace("\r\n", "\n")


def _of_table(
    path: Path, target: str, text: str, seed: int
) -> tuple[Array, tuple[str, ...], Reader, tuple[Array, ...], str, tuple[str, ...]]:
    frame, _ = delimited.read(path)
    if text and text not in frame:
        near = did_you_mean(text, frame.columns) or f"it has: {', '.join(frame.columns)}"
        raise UsageError(f"text={text}: the table has no such column", near)
    found = [one.name for one in column_types.typed(frame, {})[1] if one.kind == column_types.TEXT]
    text = text or next((name for name in found if name != target), "")
    if not text:
        raise UsageError(
            f"{path} has the columns {', '.join(frame.columns)}: which is the text, which the label?",
            f"say --set text=COLUMN and --target COLUMN; {label_column.as_table(path, target)}",
        )
    label = label_column.column(path, frame, text, target)
    frame, notes = label_column.whole(frame, text, label, "text")
    numbers, names = label_column.classes(path, frame[label], "texts")
    cells = frame[text].astype(str)

    def reader(rows: Array) -> Iterator[str]:
        return (cells.iloc[row] for row in rows)

    parts = splits.split_rows_by_class(numbers, seed, (0.64, 0.16, 0.20))
    return numbers, names, reader, parts, text, tuple(notes)
