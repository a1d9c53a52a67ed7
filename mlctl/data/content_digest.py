"""The digest of everything that a recipe's `load` returned, so that data that has changed is noticed."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mlctl.data.dataset import Dataset
from mlctl.data.streams import Stream

BLOCK_BYTES = 1 << 24
BLOCK_TEXTS = 10_000
MAX_DEPTH = 6  # of objects in an object that makes batches
MAX_PATH = 4096  # characters
MAX_LISTED_FILES = 30
FILE_DIGITS = 16  # of a file's digest in a run's tag

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class ContentDigest:
    """A digest of a dataset's content.

    Attributes:
        sha256: Digest of all splits.
        files: Digest of each file that was read, by its path.
        is_partial: Whether only the first batch of a stream is part of the digest.
    """

    sha256: str
    files: Mapping[str, str] = field(default_factory=dict)
    is_partial: bool = False


def digest_dataset(
    data: Dataset, opened: Mapping[str, Path], listed: Mapping[str, Path] | None = None
) -> ContentDigest:
    """Return the digest of a dataset's splits, and of the files that were read for it.

    Args:
        data: Dataset as `normalize_dataset` returns it.
        opened: Files that `load` read, by name.
        listed: Files in the folders that it listed; they count if a split is a stream, which may read them later.
    """
    content = _Content()
    streams = [
        split.inputs for split in (data.train, data.validation, data.test) if split and split.is_stream
    ]
    read = {**(listed or {}), **opened} if streams else dict(opened)
    files = {name: content.digest_file(path) for name, path in read.items()}
    for split in (data.train, data.validation, data.test):
        content.add(split.parts if split else None)
    for part in (data.classes, data.class_weight, data.extra):
        content.add(part)
    is_partial = False
    for stream in streams:
        if not content.covers(stream.source) and not read:
            is_partial = True
            content.add_first_batch(stream)
    if streams:  # what a stream reads later is known by its files only
        content.add(sorted(files.items()))
    return ContentDigest(sha256=content.hexdigest(), files=shortened(files), is_partial=is_partial)


class FileDigests:
    """Digests of files, each of which is read once, unless it changes."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[int, int], str]] = {}

    def digest(self, path: Path | str) -> str:
        """Return the digest of a file; "" if it is gone, or may not be read."""
        key = os.path.realpath(path)
        try:
            stat = os.stat(key)
            state = (stat.st_size, stat.st_mtime_ns)
            if key not in self._known or self._known[key][0] != state:
                with open(key, "rb") as file:
                    self._known[key] = state, hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return ""
        return self._known[key][1]


def digest_value(value: Any) -> str:
    """Return the digest of an array, a table, or a tree of them."""
    content = _Content()
    content.add(value)
    return content.hexdigest()


def digest_stream(
    source: Any, opened: Mapping[str, Path], listed: Mapping[str, Path], files: FileDigests
) -> ContentDigest:
    """Return the digest of what makes batches, without reading any: of the arrays and files that it is made from.

    Args:
        source: A `tf.data.Dataset` or anything else that makes batches; None if nothing of it can be seen.
        opened: Files that were read so far, by name.
        listed: Files in folders that were listed; they count if the source itself shows neither arrays nor files.
        files: Known digests of files.
    """
    content = _Content(files)
    is_covered = source is not None and content.add_source(source)
    read = dict(opened) if is_covered else {**listed, **opened}
    digests = {name: files.digest(path) for name, path in sorted(read.items())}
    content.add(sorted(digests.items()))
    return ContentDigest(
        sha256=content.hexdigest(), files=shortened(digests), is_partial=not is_covered and not read
    )


def combine_digests(parts: Mapping[str, str]) -> str:
    """Return one digest of named digests."""
    return hashlib.sha256("\0".join(itertools.chain.from_iterable(parts.items())).encode()).hexdigest()


class _Content:
    """A SHA-256 of values of many types; the same values give the same digest in every process."""

    def __init__(self, files: FileDigests | None = None) -> None:
        self._sha256 = hashlib.sha256()
        self._files = files or FileDigests()
        self._covered: set[int] = set()
        self._found = False  # an array or a file was added
        self._seen: set[int] = set()
        self._may_hold_paths = False  # texts of an object that makes batches may be paths

    def hexdigest(self) -> str:
        """Return the digest of everything that was added."""
        return self._sha256.hexdigest()

    def covers(self, source: Any) -> bool:
        """Return whether data of this stream's source was added: arrays or files."""
        return id(source) in self._covered

    def digest_file(self, path: Path | str) -> str:
        """Return the digest of a file, which is read once."""
        return self._files.digest(path)

    def add_source(self, source: Any) -> bool:
        """Add the arrays and files that an object makes batches from; return whether there are any."""
        found, self._found, self._may_hold_paths = self._found, False, True
        self._add_object(source, 0)
        self._may_hold_paths = False
        is_covered, self._found = self._found, self._found or found
        return is_covered

    def add(self, value: Any, depth: int = 0) -> None:
        """Add a value of any type; what has no plain state counts by its type alone."""
        if value is None or isinstance(value, (bool, int, float, complex, np.generic)):
            self._text(f"{type(value).__name__} {value!r}")
        elif isinstance(value, (str, bytes, Path)):
            self._add_text(value)
        elif isinstance(value, Stream):
            self._add_stream(value)
        elif isinstance(value, np.ndarray):
            self._add_array(value)
        elif hasattr(value, "iloc"):
            self._add_table(value)
        elif isinstance(value, Mapping):
            self._text(f"mapping {len(value)}")
            for name in value:
                self.add(str(name), depth + 1)
                self.add(value[name], depth + 1)
        elif isinstance(value, (list, tuple)):
            self._add_list(value, depth)
        elif hasattr(value, "__array__") and not callable(value):
            self._add_array(np.asarray(value))
        else:
            self._add_object(value, depth)

    def add_first_batch(self, stream: Stream) -> None:
        """Add the first batch of a stream, if it is the same each time that it is read."""
        digests = []
        for _ in range(2):
            part = _Content()
            part.add(next(iter(stream.batches()), None))
            digests.append(part.hexdigest())
        if digests[0] == digests[1]:
            self._text(digests[0])

    def _text(self, text: str) -> None:
        self._sha256.update(text.encode("utf-8", "surrogatepass") + b"\0")

    def _add_text(self, value: str | bytes | Path) -> None:
        text = os.fsdecode(value) if isinstance(value, (bytes, Path)) else value
        if self._may_hold_paths and _is_file(text):
            self._found = True
            self._text(f"file {self.digest_file(text)}")
        else:
            self._text(f"text {text}")

    def _add_list(self, values: list[Any] | tuple[Any, ...], depth: int) -> None:
        self._text(f"list {len(values)}")
        if values and all(isinstance(value, (int, float)) for value in values):
            self._text(",".join(map(repr, values)))
            return
        for value in values:
            self.add(value, depth + 1)

    def _add_array(self, values: Array) -> None:
        self._found |= values.size > 1  # a single number may be anything, such as the id of a generator
        self._text(f"array {values.dtype.str if values.dtype.kind != 'O' else 'O'} {values.shape}")
        if values.dtype.kind == "O":
            self._add_objects(values.ravel())
        elif (file := _mapped_file(values)) is not None:
            # not through the mapping: its pages would count as memory of this process
            self._text(f"{self.digest_file(file)} {_offset(values)} {values.strides}")
        elif values.ndim == 0:
            self._sha256.update(values.tobytes())
        else:
            rows = max(1, BLOCK_BYTES // max(1, values[:1].nbytes))
            for start in range(0, len(values), rows):
                block = np.ascontiguousarray(values[start : start + rows])
                self._sha256.update(block.view(np.uint8).reshape(-1).data if block.nbytes else b"")

    def _add_objects(self, values: Array) -> None:
        for start in range(0, len(values), BLOCK_TEXTS):
            block = values[start : start + BLOCK_TEXTS].tolist()
            if all(isinstance(value, str) for value in block) and not _is_file(block[0]):
                self._text("\0".join(block))
                self._text(",".join(str(len(value)) for value in block))
            else:  # anything, or paths of files that an encoder reads
                self._may_hold_paths, before = True, self._may_hold_paths
                for value in block:
                    self.add(value)
                self._may_hold_paths = before

    def _add_table(self, table: Any) -> None:
        if getattr(table, "ndim", 2) == 1:
            self._add_array(np.asarray(table))
            return
        self._text(f"table {len(table)}")
        for name in table.columns:
            self._text(f"{name} {table[name].dtype}")
            self._add_array(table[name].to_numpy())

    def _add_stream(self, stream: Stream) -> None:
        if self.add_source(stream.source):
            self._covered.add(id(stream.source))

    def _add_object(self, value: Any, depth: int) -> None:
        """Add an object's state: of a tf.data.Dataset the arrays and files that it reads from."""
        self._text(type(value).__qualname__)
        if id(value) in self._seen or depth > MAX_DEPTH:
            return
        self._seen.add(id(value))
        if hasattr(value, "element_spec") and hasattr(value, "_inputs"):
            self._text(f"{value.element_spec}")
            for part in (getattr(value, "_filenames", None), getattr(value, "_tensors", None)):
                for tensor in _tensors(part):
                    self.add(tensor, depth + 1)
            for source in value._inputs():
                self._add_object(source, 0)
            return
        for name, part in sorted(_state(value).items()):
            if not callable(part) and not name.startswith("__"):
                self._text(name)
                self.add(part, depth + 1)


def _state(value: Any) -> Mapping[str, Any]:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {part.name: getattr(value, part.name) for part in dataclasses.fields(value)}
    module = type(value).__module__.partition(".")[0]
    # the state of a lock, a thread or a library's object says nothing about the data
    return {} if module in {"builtins", "_thread", "threading"} else dict(getattr(value, "__dict__", {}))


def _is_file(text: str) -> bool:
    return 0 < len(text) < MAX_PATH and "\n" not in text and "\0" not in text and os.path.isfile(text)


def _tensors(part: Any) -> Iterable[Any]:
    """Return the tensors of a tf.data.Dataset as arrays; file names may be a dataset of their own."""
    if part is None or (hasattr(part, "element_spec") and not hasattr(part, "_tensors")):
        return []
    if hasattr(part, "_tensors"):
        part = part._tensors
    values = part if isinstance(part, (list, tuple)) else [part]
    return [_decoded(np.asarray(value)) for value in values if hasattr(value, "numpy")]


def _decoded(values: Array) -> Any:
    """Return texts of a tensor as a list, in which paths are found; other values as they are."""
    if values.dtype.kind != "O":
        return values
    return [
        value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in values.ravel()
    ]


def _mapped_file(values: Array) -> Path | None:
    """Return the file of a memory-mapped array."""
    if isinstance(values, np.memmap) and values.filename and getattr(values, "_mmap", None) is not None:
        return Path(values.filename)
    return None


def _offset(values: Array) -> int:
    """Return where a part of a memory-mapped array begins in its whole."""
    whole: Any = values
    while isinstance(whole.base, np.ndarray):
        whole = whole.base
    return int(values.__array_interface__["data"][0] - whole.__array_interface__["data"][0])


def shortened(files: Mapping[str, str]) -> dict[str, str]:
    """Return at most as many digests as a tag can hold: those of many files become one."""
    if len(files) <= MAX_LISTED_FILES:
        return {name: digest[:FILE_DIGITS] for name, digest in files.items()}
    joined = "\n".join(itertools.chain.from_iterable(sorted(files.items())))
    digest = hashlib.sha256(joined.encode()).hexdigest()
    return {f"{len(files):,} files": digest[:FILE_DIGITS]}
