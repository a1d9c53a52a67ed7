"""A user's own texts as bags of words: folders of .txt files, or a table with a text column and a label column.

Each text is read twice, one at a time: once to count its words, once to look them up. The bags take two bytes per word.
"""

from __future__ import annotations

import codecs
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mlctl.data import splits
from mlctl.data.dataset import Dataset, Split
from mlctl.data.files.labelled_files import TEXT_SUFFIXES, count_by_class, digest, find_labelled_files
from mlctl.data.sources import locate
from mlctl.data.sparse_bags import SparseBags
from mlctl.data.tables import column_types, label_column, reader
from mlctl.errors import BadDataError, UsageError

Array = np.ndarray[Any, Any]
Tokenizer = Callable[[str], set[str]]
SAMPLED_TEXTS = 1000
UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True, kw_only=True)
class LabelledTexts:
    """Texts with their labels.

    Attributes:
        read: Returns the text of a row; a file is read only when it is requested.
        splits: Row numbers of training, validation and test.
        column: Name of the table's text column; "text" for files.
    """

    read: Callable[[int], str]
    labels: Array
    classes: tuple[str, ...]
    splits: tuple[Array, ...]
    sha256: str
    size_bytes: int
    column: str
    notes: tuple[str, ...]


def load_texts(
    path: Path,
    tokenize: Tokenizer,
    *,
    vocabulary_size: int,
    seed: int,
    target: str = "",
    text_column: str = "",
    source: str = "",
) -> Dataset:
    """Return the texts of a folder or table by split, as `SparseBags` of the most frequent words.

    `extra` holds "words" and "column", the name of the table's text column. Raises BadDataError, UsageError.

    Args:
        path: Folder or table.
        tokenize: Returns the words of a text, as the encoder of the served model does.
        vocabulary_size: Maximum number of words.
        seed: Seed of the random split.
        target: The table's column of labels, if there are several candidates.
        text_column: The table's column of texts, if there are several candidates.
        source: Where the texts come from, if not from `path`.
    """
    if path.is_file() and reader.is_table(path.name):
        data = _texts_of_table(path, target, text_column, seed)
    else:
        data = _texts_of_files(path, target, seed)
    # only training texts count, so that words of the other splits stay unknown
    words = _frequent_words(map(data.read, data.splits[0]), tokenize, vocabulary_size)
    if not words:
        raise BadDataError(
            f"{path}: no word is in more than one text", "check that the text column or the files hold texts"
        )
    column_of = {word: column for column, word in enumerate(words)}
    train, validation, test = (
        Split(_as_bags(map(data.read, rows), tokenize, column_of), data.labels[rows]) for rows in data.splits
    )
    return Dataset(
        path.name.partition(".")[0],
        train,
        validation,
        test,
        classes=data.classes,
        source=source or str(path),
        sha256=data.sha256,
        size_bytes=data.size_bytes,
        split_seed=seed,
        extra={"words": words, "column": data.column, "raw_texts": _sample(data)},
        as_raw=partial(SparseBags.to_texts, words=words),
        notes=(
            f"{path.name}: {len(data.labels):,} texts of {count_by_class(data.labels, data.classes)}",
            f"vocabulary: {len(words):,} words that are in at least two training texts",
            *data.notes,
        ),
    )


def read_text_file(file: Path) -> str:
    """Return a file's text; it may be UTF-8, UTF-16 with a byte order mark, or Windows-1252."""
    content = file.read_bytes()
    try:
        text = content.decode("utf-16" if content.startswith(UTF_16_MARKS) else "utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
    return text.replace("\r\n", "\n")


def _sample(data: LabelledTexts) -> list[str]:
    """Return some training texts with all their words, for the model's profile."""
    rows = data.splits[0]
    chosen = np.random.default_rng(7).permutation(len(rows))[:SAMPLED_TEXTS]
    return [data.read(int(rows[place])) for place in np.sort(chosen)]


def _frequent_words(texts: Iterable[str], tokenize: Tokenizer, vocabulary_size: int) -> list[str]:
    """Return the words that are in at least two texts, the most frequent first."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(tokenize(text))
    counts.pop("", None)
    ordered = sorted((-count, word) for word, count in counts.items() if count > 1)
    return [word for _, word in ordered[:vocabulary_size]]


def _as_bags(texts: Iterable[str], tokenize: Tokenizer, column_of: Mapping[str, int]) -> SparseBags:
    columns, lengths = array("i"), []
    for text in texts:
        known = [column_of[word] for word in tokenize(text) if word in column_of]
        columns.extend(known)
        lengths.append(len(known))
    return SparseBags.from_flat(np.array(columns, np.int32), np.array(lengths, np.int64), len(column_of))


def _texts_of_files(path: Path, target: str, seed: int) -> LabelledTexts:
    labelled = find_labelled_files(path, TEXT_SUFFIXES, target)
    sha256, size_bytes = digest(labelled.files, labelled.labels)
    return LabelledTexts(
        read=lambda row: read_text_file(labelled.files[row]),
        labels=labelled.labels,
        classes=labelled.classes,
        splits=labelled.split_rows(seed),
        sha256=sha256,
        size_bytes=size_bytes,
        column="text",
        notes=labelled.notes,
    )


def _texts_of_table(path: Path, target: str, text_column: str, seed: int) -> LabelledTexts:
    frame, _ = reader.read_table(path)
    if text_column and text_column not in frame:
        raise UsageError(
            f"text={text_column}: the table has no such column",
            column_types.suggest_column(text_column, frame.columns),
        )
    if not text_column:
        _, columns = column_types.convert_columns(frame, {})
        candidates = [column.name for column in columns if column.type == column_types.TEXT]
        text_column = next((name for name in candidates if name != target), "")
    if not text_column:
        raise UsageError(
            f"{path}: cannot tell which column holds the texts; the columns are {', '.join(frame.columns)}",
            "name both columns with --set text=COLUMN and --target COLUMN;"
            f" {label_column.tabular_hint(path, target)}",
        )
    label = label_column.find_label_column(path, frame, text_column, target)
    frame, notes = label_column.drop_incomplete_rows(frame, text_column, label, "text")
    labels, classes = label_column.encode_classes(path, frame[label], "texts")
    return LabelledTexts(
        read=list(frame[text_column].astype(str)).__getitem__,
        labels=labels,
        classes=classes,
        splits=splits.split_rows_by_class(labels, seed),
        sha256=locate.sha256([path]),
        size_bytes=path.stat().st_size,
        column=text_column,
        notes=tuple(notes),
    )
