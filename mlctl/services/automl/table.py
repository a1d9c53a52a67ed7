"""The rows of one race, encoded: those to fit to, and those to judge by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from mlctl.data import splits
from mlctl.data.dataset import Dataset
from mlctl.domain.objective import Objective
from mlctl.recipes import Recipe
from mlctl.services.automl.features import Features

FAR = 0.05  # of a target's mean, below which float32 answers hold too little of its deviation

Array = np.ndarray[Any, Any]


def centred(data: Dataset) -> tuple[Dataset, float]:
    """Return a table's data with targets that float32 can tell apart, and what was taken off each of them.

    That is 0 but for numbers far from 0 that lie close together, as moments in seconds do.
    """
    targets = data.train.targets
    if data.classes or float(targets.std()) >= FAR * abs(float(targets.mean())):
        return data, 0.0
    offset = float(targets.mean())
    train, validation = (replace(one, targets=one.targets - offset) for one in (data.train, data.validation))
    return replace(data, train=train, validation=validation), offset


@dataclass(frozen=True)
class Table:
    """The encoded rows that models are fitted to: (n, width) float32, and their targets.

    Targets are less by an `offset`, where there is one. With `folds`, validation rows are too few to choose by: models are judged on all rows of both, in folds. Only
    the targets of `data` go with the rows; its inputs, which are encoded already, are the first table's.
    """

    recipe: Recipe
    data: Dataset
    features: Features
    train: Array
    validation: Array
    seed: int
    objective: Objective
    folds: int = 0
    offset: float = 0.0

    @property
    def classes(self) -> int:
        """How many classes there are; 0 for a regression."""
        return len(self.data.classes)

    @property
    def outputs(self) -> int:
        """How many numbers answer a row."""
        return self.classes if self.classes > 2 else 1

    @property
    def judged(self) -> Array:
        """The targets of the rows that models are judged by."""
        return self.whole.data.train.targets if self.folds else self.data.validation.targets

    @cached_property
    def spread(self) -> float:
        """The deviation of the targets that models are fitted to; 1 for classes."""
        return 1.0 if self.classes else float(self.data.train.targets.std())

    @cached_property
    def span(self) -> float:
        """The range of all known targets, by which an error is normalized; 1 for classes."""
        known = self.whole.data.train.targets
        return 1.0 if self.classes else float(known.max() - known.min()) or 1.0

    def dealt(self) -> Iterator[tuple[Array, Table]]:
        """Yield, for each fold of all rows, its row numbers, and the table with those rows for validation."""
        whole, shares = self.whole, [1 / self.folds] * self.folds
        targets = whole.data.train.targets
        if self.classes:
            hands = splits.split_rows_by_class(targets, self.seed, shares)
        else:
            hands = splits.split_rows(len(targets), self.seed, shares)
        for hand in hands:
            rest = np.setdiff1d(np.arange(len(targets)), hand)
            known, held = (replace(self.data.train, targets=targets[rows]) for rows in (rest, hand))
            data = replace(self.data, train=known, validation=held)
            yield (
                hand,
                replace(self, data=data, train=whole.train[rest], validation=whole.train[hand], folds=0),
            )

    @cached_property
    def whole(self) -> Table:
        """The same with the validation rows among those for training, and none for validation."""
        split = replace(
            self.data.train, targets=np.concatenate((self.data.train.targets, self.data.validation.targets))
        )
        none = self.data.validation.take(np.zeros(0, np.int64))
        data = replace(self.data, train=split, validation=none)
        every = np.concatenate((self.train, self.validation))
        return replace(self, data=data, train=every, validation=self.validation[:0], folds=0)

    def columns(self, rows: Array) -> Array:
        """Return the features that trees and linear models take."""
        return rows[:, list(self.features.trees)]
