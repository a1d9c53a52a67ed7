"""What a recipe's `load` returns: raw inputs and targets by split."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mlctl.errors import BadDataError


@dataclass(frozen=True)
class Split:
    """Examples and their targets.

    `inputs` is whatever the recipe's encoder takes: an array (n, …), a DataFrame of n rows, or a `SparseBags` or
    `ImageFiles` of n rows. `targets` is (n,) class numbers, (n,) zeros and ones, or (n,) values in the target's unit.
    """

    inputs: Any
    targets: np.ndarray[Any, Any]

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, rows: np.ndarray[Any, Any]) -> Split:
        """Return these rows, in this order."""
        return Split(take(self.inputs, rows), self.targets[rows])


def take(inputs: Any, rows: np.ndarray[Any, Any]) -> Any:
    """Return these rows of a split's inputs: of an array, a DataFrame or a `SparseBags`."""
    if isinstance(inputs, np.ndarray):
        return inputs[rows]
    if hasattr(inputs, "iloc"):
        return inputs.iloc[rows].reset_index(drop=True)
    return inputs.take(rows)


def class_numbers(names: Iterable[str], classes: Sequence[str], model: str) -> np.ndarray[Any, Any]:
    """Return (n,) the numbers that a model of these classes has for them; BadDataError names an unknown one."""
    numbers = {name: number for number, name in enumerate(classes)}
    found = [(name, numbers.get(name)) for name in names]
    unknown = next((name for name, number in found if number is None), None)
    if unknown is not None:
        more = ", …" if len(classes) > 20 else ""
        raise BadDataError(
            f"{model} does not know the class {unknown!r}", f"its classes are {', '.join(classes[:20])}{more}"
        )
    return np.array([number for _, number in found], np.int64)


def is_packed(inputs: Any) -> bool:
    """Whether inputs are held in another form than the model's own, which `dense()` makes of some rows of them."""
    return hasattr(inputs, "dense")


@dataclass(frozen=True)
class Dataset:
    """Raw inputs and targets by split, with what is needed to say what they are.

    `classes` names the classes in order (empty for a regression), `unit` is the target's ("USD"), `source`
    is a path, a URL, "bundled" or "synthetic", `sha256` covers all content of the files it was read from,
    `size_bytes` is theirs, `split_seed` is the seed that dealt the rows out (None: the publisher did).
    `extra` holds what a recipe's encoder wants of it: `imdb` puts its words there, by rank ("words").
    `as_raw` turns inputs back into what a client would send, where they are not the same. `input_shape` is an
    encoded example's, known to `build`. `notes` are lines to be said before training begins.
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

    def raw(self, inputs: Any) -> Any:
        """Return inputs of a split, or some rows of them, as a client would send them: texts for `SparseBags`."""
        return inputs if self.as_raw is None else self.as_raw(inputs)

    @property
    def is_table(self) -> bool:
        """Whether inputs are rows of a table."""
        return hasattr(self.train.inputs, "iloc")

    @property
    def synthetic(self) -> bool:
        """Whether this is a stand-in and not the real data."""
        return self.source == "synthetic"

    @property
    def splits(self) -> dict[str, int]:
        """Rows of each split."""
        named = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: len(split) for name, split in named.items() if split is not None}

    @property
    def task(self) -> str:
        """What is to be learned: regression, binary or multiclass."""
        if not self.classes:
            return "regression"
        return "binary" if len(self.classes) == 2 else "multiclass"
