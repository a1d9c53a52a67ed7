"""Rows that are there more than once: inside all rows, in two splits, and with two different targets."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mlctl.data.dataset import Dataset, Split
from mlctl.data.tables import copies

MAX_FILES = 20_000  # images whose content is compared

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """Numbers of rows.

    Attributes:
        repeated: Rows that have the inputs and the target of an earlier row.
        contradicting: Rows of the same inputs with different targets.
        shared: Rows of validation and test whose inputs are also in the training rows, by split.
        expected: Shares of the rows for which this is expected by chance, by split; empty if the data is no table.
        examples: A few rows that contradict each other, as numbers among all rows: (row, row).
    """

    repeated: int
    contradicting: int
    shared: dict[str, int]
    expected: dict[str, float] = field(default_factory=dict)
    examples: tuple[tuple[int, int], ...] = ()


def find_duplicates(data: Dataset) -> Duplicates | None:
    """Return the duplicates; None if the inputs cannot be compared."""
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    hashes: dict[str, Array] = {}
    for name, split in splits.items():
        if split is not None:
            hashed = _hashes(data, split)
            if hashed is None:
                return None
            hashes[name] = hashed
    inputs = np.concatenate(list(hashes.values()))
    targets = np.concatenate([np.asarray(split.targets) for split in splits.values() if split is not None])
    if targets.ndim != 1:
        return None
    _, group = np.unique(inputs, return_inverse=True)
    pairs = np.unique(np.stack([group, np.unique(targets, return_inverse=True)[1]], axis=1), axis=0)
    targets_of_group = np.bincount(pairs[:, 0], minlength=int(group.max()) + 1)
    contradicting = np.flatnonzero(targets_of_group[group] > 1)
    shared = {
        name: int(np.isin(found, hashes["train"]).sum()) for name, found in hashes.items() if name != "train"
    }
    return Duplicates(
        repeated=len(inputs) - len(pairs),
        contradicting=len(contradicting),
        shared=shared,
        expected={
            name: _expected_share(data.train, split)
            for name, split in splits.items()
            if data.is_table and split is not None and shared.get(name)
        },
        examples=tuple(_examples(group, targets, contradicting)),
    )


def _expected_share(train: Split, split: Split) -> float:
    import pandas as pd

    rows = np.arange(len(train) + len(split))
    frame = pd.concat([train.inputs, split.inputs], ignore_index=True)
    return copies.expected_share(frame, rows[: len(train)], rows[len(train) :])


def _examples(group: Array, targets: Array, rows: Array) -> list[tuple[int, int]]:
    found: dict[int, tuple[int, int]] = {}
    first: dict[int, int] = {}
    for row in rows.tolist():
        key = int(group[row])
        if key in first and targets[first[key]] != targets[row]:
            found.setdefault(key, (first[key], row))
        first.setdefault(key, row)
        if len(found) == 3:
            break
    return list(found.values())


def _hashes(data: Dataset, split: Split) -> Array | None:
    """Return a hash of each row's inputs."""
    inputs = split.inputs
    if hasattr(inputs, "iloc"):
        import pandas as pd

        hashed: Array = pd.util.hash_pandas_object(inputs, index=False).to_numpy()
        return hashed
    if hasattr(inputs, "files"):
        if len(inputs.files) > MAX_FILES:
            return None
        return _digests([file.read_bytes() for file in inputs.files])
    if hasattr(inputs, "sources") and data.as_raw is not None:
        return _digests([str(text).encode() for text in data.raw(inputs)])
    if isinstance(inputs, np.ndarray) and inputs.dtype != object:
        rows = np.ascontiguousarray(inputs).reshape(len(inputs), -1)
        return _digests([row.tobytes() for row in rows])
    return None


def _digests(contents: list[bytes]) -> Array:
    return np.array(
        [int.from_bytes(hashlib.blake2b(content, digest_size=8).digest()) for content in contents], np.uint64
    )
