"""The data set that a recipe's `load` returns: inputs and targets by split."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mlctl.data.finding import Finding
from mlctl.data.streams import Stream
from mlctl.data.trees import count_rows, take_rows
from mlctl.domain.objective import Objective
from mlctl.domain.outputs import Output, task_of
from mlctl.errors import BadDataError

MAX_LISTED_CLASSES = 20
# in `extra`: targets and answers of rows by models that have not seen them; None: the model has seen all rows
HELD_OUT_ANSWERS = "held_out_answers"


@dataclass(frozen=True)
class Split:
    """Rows of a data set: inputs, and optional targets and weights.

    Attributes:
        inputs: What the recipe's encoder takes: an array (n, …), a DataFrame, a `SparseBags` or an `ImageFiles` of
            n rows, or a dict or tuple of arrays, one for each input of the model. Without an encoder, this is what
            the model takes. Batches that are made as needed are a `Stream`, which holds the targets too.
        targets: Class indices or values (n,), or any tree of arrays of n rows as the model's loss takes it: one-hot
            rows, masks, sequences, a dict by output name. None: the model has no target, or inputs are a `Stream`.
        weights: How much each row counts in the loss and in weighted metrics, (n,); None: all rows count equally.
    """

    inputs: Any
    targets: Any = None
    weights: Any = None

    def __len__(self) -> int:
        return len(self.inputs) if isinstance(self.inputs, Stream) else count_rows(self.inputs)

    @property
    def is_stream(self) -> bool:
        """Whether batches are made as needed, and hold their own targets and weights."""
        return isinstance(self.inputs, Stream)

    def take(self, rows: np.ndarray[Any, Any]) -> Split:
        """Return these rows, in this order; of a stream, the first `len(rows)` rows as arrays."""
        if isinstance(self.inputs, Stream):
            return Split(*self.inputs.head(len(rows)))
        return Split(*(None if part is None else take_rows(part, rows) for part in self.parts))

    @property
    def parts(self) -> tuple[Any, Any, Any]:
        """Inputs, targets and weights."""
        return self.inputs, self.targets, self.weights


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
        train: Rows to train on: a `Split`, a `tf.data.Dataset`, a `keras.utils.PyDataset`, or anything with `len` and
            `__getitem__` of batches.
        validation: Rows that select the best epoch, in the same forms; None: the last epoch is kept.
        test: Rows that score the logged model, in the same forms.
        classes: Names of the classes in order; empty for a regression.
        unit: Unit of a regression's target, such as "USD".
        outputs: What each output of the model means, if it is not plain: one `Output` (see `mlctl.domain.outputs`), or
            one for each output, with the Keras output's name. None: mlctl infers it from targets, loss and model.
        source: A path, a URL, "bundled" or "synthetic".
        sha256: Digest of all content of the files that were read; "": mlctl hashes the arrays, and files that it sees.
        files: Digest of each file that `load` read, if mlctl made `sha256`.
        size_bytes: Size of these files.
        split_seed: Seed of the random split; None if the publisher split the data.
        extra: What the recipe's encoder needs besides the inputs, such as the vocabulary ("words") of `imdb`.
        as_raw: Converts inputs to what a client would send; None if they are the same.
        input_shape: Shape of an encoded row; of several inputs, the tree of their shapes. Set before `build` is called.
        class_weight: Weight of each class in the loss, as `Model.fit` takes it; None: classes count equally.
        findings: What was found in a table before training; `notes` holds their lines.
        notes: Lines to show before training.
        objective: Objective for this data; None for the recipe's own.
        defaults: Hyperparameters that fit this data, in place of those that nobody has set, and of 0 and "auto".
    """

    name: str
    train: Split
    validation: Any = None  # a Split once the data is prepared
    test: Split | None = None
    classes: tuple[str, ...] = ()
    unit: str = ""
    outputs: tuple[Output, ...] | None = None
    source: str = ""
    sha256: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    size_bytes: int = 0
    split_seed: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    as_raw: Callable[[Any], Any] | None = None
    input_shape: Any = ()
    class_weight: Any = None
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    objective: Objective | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Accept a single output in place of a tuple."""
        if isinstance(self.outputs, Output):
            object.__setattr__(self, "outputs", (self.outputs,))

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
        """Regression, binary or multiclass; or the task of the declared outputs."""
        if self.outputs:
            return task_of(self.outputs)
        if not self.classes:
            return "regression"
        return "binary" if len(self.classes) == 2 else "multiclass"
