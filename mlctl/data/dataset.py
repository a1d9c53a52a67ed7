"""The data set that a recipe's `load` returns: inputs and targets by split."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mlctl.domain.objective import Objective
from mlctl.errors import BadDataError

MAX_LISTED_CLASSES = 20


@dataclass(frozen=True)
class Split:
    """Examples and their targets.

    Attributes:
        inputs: What the recipe's encoder takes: an array (n, …), a DataFrame, a `SparseBags` or an `ImageFiles` of
            n rows.
        targets: Array (n,) of class indices, of zeros and ones, or of values in the target's unit.
    """

    inputs: Any
    targets: np.ndarray[Any, Any]

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, rows: np.ndarray[Any, Any]) -> Split:
        """Return these rows, in this order."""
        return Split(take(self.inputs, rows), self.targets[rows])


def take(inputs: Any, rows: np.ndarray[Any, Any]) -> Any:
    """Return these rows of a split's inputs."""
    if isinstance(inputs, np.ndarray):
        return inputs[rows]
    if hasattr(inputs, "iloc"):
        return inputs.iloc[rows].reset_index(drop=True)
    return inputs.take(rows)


def class_indices(names: Iterable[str], classes: Sequence[str], model: str) -> np.ndarray[Any, Any]:
    """Return the index of each name in a model's classes: int64 (n,).

    Raises BadDataError if the model does not have one of the classes.
    """
    index_of = {name: index for index, name in enumerate(classes)}
    names = list(names)
    unknown = next((name for name in names if name not in index_of), None)
    if unknown is not None:
        more = ", …" if len(classes) > MAX_LISTED_CLASSES else ""
        raise BadDataError(
            f"{model} does not know the class {unknown!r}",
            f"its classes are {', '.join(classes[:MAX_LISTED_CLASSES])}{more}",
        )
    return np.array([index_of[name] for name in names], np.int64)


def needs_dense(inputs: Any) -> bool:
    """Whether inputs must be converted with their `dense()` before a model can take them."""
    return hasattr(inputs, "dense")


@dataclass(frozen=True)
class Dataset:
    """Inputs and targets by split, and where they come from.

    Attributes:
        classes: Names of the classes in order; empty for a regression.
        unit: Unit of a regression's target, such as "USD".
        source: A path, a URL, "bundled" or "synthetic".
        sha256: Digest of all content of the files that were read.
        size_bytes: Size of these files.
        split_seed: Seed of the random split; None if the publisher split the data.
        extra: What the recipe's encoder needs besides the inputs, such as the vocabulary ("words") of `imdb`.
        as_raw: Converts inputs to what a client would send; None if they are the same.
        input_shape: Shape of an encoded example; set before `build` is called.
        notes: Lines to show before training.
        objective: Objective for this data; None for the recipe's own.
    """

    name: str
    train: Split
    validation: Split
    test: Split | None = None
    classes: tuple[str, ...] = ()
    unit: str = ""
    source: str = ""
    sha256: str = ""
    size_bytes: int = 0
    split_seed: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    as_raw: Callable[[Any], Any] | None = None
    input_shape: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    objective: Objective | None = None

    def raw(self, inputs: Any) -> Any:
        """Return inputs as a client would send them, such as texts for `SparseBags`."""
        return inputs if self.as_raw is None else self.as_raw(inputs)

    @property
    def is_table(self) -> bool:
        """Whether inputs are rows of a table."""
        return hasattr(self.train.inputs, "iloc")

    @property
    def synthetic(self) -> bool:
        """Whether this is generated data in place of the real data."""
        return self.source == "synthetic"

    @property
    def splits(self) -> dict[str, int]:
        """Number of rows in each split."""
        named = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: len(split) for name, split in named.items() if split is not None}

    @property
    def task(self) -> str:
        """Regression, binary or multiclass."""
        if not self.classes:
            return "regression"
        return "binary" if len(self.classes) == 2 else "multiclass"
