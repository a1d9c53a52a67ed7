"""A user's own texts as bags of n-grams: folders of .txt files, or a table with a text column and a label column."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlctl.data import splits
from mlctl.data.dataset import Dataset, Split
from mlctl.data.files.labelled_files import TEXT_SUFFIXES, count_by_class, digest, find_labelled_files
from mlctl.data.sparse_bags import SparseBags
from mlctl.data.tables import column_types, label_column, reader, user_table
from mlctl.data.tables.convert_columns import convert_columns
from mlctl.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray[Any, Any]
Fit = Callable[..., Any]
SAMPLED_TEXTS = 1000
FEWEST_CHARACTERS = 20  # on average, of a column of texts
UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class FileText(str):
    """The text of a file, with the file's path."""

    __slots__ = ("path",)
    path: Path


@dataclass(frozen=True, kw_only=True)
class LabelledTexts:
    """Texts with their labels.

    Attributes:
        texts: The text of each row, a `FileText` if it has a file of its own: an object array (n,).
        splits: Row numbers of training, validation and test.
        column: Name of the table's text column; "text" for files.
    """

    texts: Array
    labels: Array
    classes: tuple[str, ...]
    splits: tuple[Array, ...]
    sha256: str
    size_bytes: int
    column: str
    notes: tuple[str, ...]


def load_texts(
    path: Path,
    fit: Fit,
    *,
    seed: int,
    target: str = "",
    text_column: str = "",
    source: str = "",
    validation: Path | None = None,
    test: Path | None = None,
) -> Dataset:
    """Return the texts of a folder or table by split, as `SparseBags` of the encoder that `fit` returns.

    `extra` holds the "encoder" and "column", the name of the table's text column. Raises BadDataError, UsageError.

    Args:
        path: Folder or table.
        fit: Takes training texts, their labels, and `column`, the name of the column. Returns the encoder, and what its
            `bags` returns for these texts.
        seed: Seed of the random split.
        target: The table's column of labels, if there are several candidates.
        text_column: The table's column of texts, if there are several candidates.
        source: Where the texts come from, if not from `path`.
        validation: For a table: a file with the validation texts; None chooses them from `path`.
        test: For a table: a file with the test texts; None chooses them from `path`.
    """
    files = [(split, file) for split, file in ((splits.VALIDATION, validation), (splits.TEST, test)) if file]
    if not path.is_dir() and reader.is_table(path.name):
        data = _texts_of_table(path, target, text_column, seed, files)
    elif files:
        raise UsageError(
            f"{path} is a folder, and --validation and --test are for a table",
            "put the texts of each split into the folders train, val and test",
        )
    else:
        data = _texts_of_files(path, target, seed)
    train, *others = data.splits
    # only training texts count, so that words of the other splits stay unknown
    encoder, bags = fit(data.texts[train].tolist(), data.labels[train], column=data.column)
    found = [bags, *(encoder.bags(data.texts[rows].tolist()) for rows in others)]
    train_texts, validation_texts, test_texts = (
        Split(_as_bags(encoder.width, bags, data.texts[rows]), data.labels[rows])
        for rows, bags in zip(data.splits, found, strict=True)
    )
    return Dataset(
        path.name.partition(".")[0],
        train_texts,
        validation_texts,
        test_texts,
        classes=data.classes,
        source=source or str(path),
        sha256=data.sha256,
        size_bytes=data.size_bytes,
        split_seed=None if len(files) == 2 else seed,
        extra={"encoder": encoder, "column": data.column, "raw_texts": _sample(data.texts[train])},
        as_raw=_raw_texts,
        notes=(
            f"{path.name}: {len(data.labels):,} texts of {count_by_class(data.labels, data.classes)}",
            f"features: {encoder.width:,} n-grams that are in at least two training texts",
            *data.notes,
        ),
    )


def _raw_texts(bags: SparseBags) -> list[str]:
    return [] if bags.sources is None else list(map(str, bags.sources))


def _as_bags(width: int, bags: tuple[Array, Array, Array], texts: Array) -> SparseBags:
    columns, starts, values = bags
    ids = columns.astype(np.uint16 if width <= 1 << 16 else np.uint32)
    return SparseBags(ids, starts, width, values, texts)


def read_text_file(file: Path) -> str:
    """Return a file's text; it may be UTF-8, UTF-16 with a byte order mark, or Windows-1252."""
    return decode_text(file.read_bytes())


def decode_text(content: bytes) -> str:
    """Return the text of a file's content, as `read_text_file` does."""
    try:
        text = content.decode("utf-16" if content.startswith(UTF_16_MARKS) else "utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
    return text.replace("\r\n", "\n")


def _sample(texts: Array) -> list[str]:
    """Return some training texts, for the model's profile."""
    chosen = np.random.default_rng(7).permutation(len(texts))[:SAMPLED_TEXTS]
    return list(map(str, texts[np.sort(chosen)]))


def _objects(values: Iterable[Any]) -> Array:
    """Return an array of objects, one for each value."""
    values = list(values)
    array = np.empty(len(values), object)
    array[:] = values
    return array


def _read_each(files: Sequence[Path], texts: list[FileText]) -> Iterator[bytes]:
    """Yield the content of each file, and add its text to `texts`: a file is read only once."""
    for file in files:
        with file.open("rb", buffering=0) as opened:
            content = opened.read()
        text = FileText(decode_text(content))
        text.path = file
        texts.append(text)
        yield content


def _texts_of_files(path: Path, target: str, seed: int) -> LabelledTexts:
    labelled = find_labelled_files(path, TEXT_SUFFIXES, target)
    texts: list[FileText] = []
    sha256, size_bytes = digest(_read_each(labelled.files, texts), labelled.labels)
    return LabelledTexts(
        texts=_objects(texts),
        labels=labelled.labels,
        classes=labelled.classes,
        splits=labelled.split_rows(seed),
        sha256=sha256,
        size_bytes=size_bytes,
        column="text",
        notes=labelled.notes,
    )


def _longest(frame: pd.DataFrame, target: str) -> str:
    """Return the column with the longest texts, for a table with too few rows to tell a text from a category; or ""."""
    lengths = {
        str(name): float(frame[name].dropna().astype(str).str.len().mean())
        for name in frame
        if name != target and frame[name].dtype.kind not in "iufb"
    }
    longest = max(lengths, key=lambda name: lengths[name], default="")
    return longest if longest and lengths[longest] >= FEWEST_CHARACTERS else ""


def _texts_of_table(
    path: Path, target: str, text_column: str, seed: int, files: Sequence[tuple[int, Path]]
) -> LabelledTexts:
    content = reader.read(path)
    sha256, size_bytes = reader.combined_digest([path, *(file for _, file in files)])
    frame = content.frame
    if text_column and text_column not in frame:
        raise UsageError(
            f"text={text_column}: the table has no such column",
            column_types.suggest_column(text_column, frame.columns),
        )
    if not text_column:
        _, columns = convert_columns(frame, {})
        candidates = [column.name for column in columns if column.type == column_types.TEXT]
        text_column = next((name for name in candidates if name != target), "") or _longest(frame, target)
    if not text_column:
        raise UsageError(
            f"{path}: cannot tell which column holds the texts; the columns are {', '.join(frame.columns)}",
            "name both columns with --set text=COLUMN and --target COLUMN;"
            f" {label_column.tabular_hint(path, target)}",
        )
    label = label_column.find_label_column(path, frame, text_column, target)
    frame, published, found_in_files = user_table.append_files(
        frame[[text_column, label]], files, target=label
    )
    frame, notes = label_column.drop_incomplete_rows(frame, text_column, label, "text")
    published = published[frame.index]
    labels, classes, found = label_column.encode_classes(path, frame[label], "texts")
    return LabelledTexts(
        texts=_objects(frame[text_column].astype(str)),
        labels=labels,
        classes=classes,
        splits=splits.complete_splits(published, seed, labels),
        sha256=sha256,
        size_bytes=size_bytes,
        column=text_column,
        notes=(*content.notes, *(finding.note for finding in found_in_files), *notes, *found),
    )
