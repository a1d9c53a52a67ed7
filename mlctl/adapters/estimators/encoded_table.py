"""The encoded rows of a table: those that models are fitted to, and those that they are scored on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse

from mlctl.data import splits
from mlctl.data.dataset import Dataset, Split
from mlctl.domain.objective import Objective
from mlctl.recipes import Recipe
from mlctl.serving.scoring import NgramEncoder, TableEncoder

# of the targets, relative to their mean; below it, float32 predictions lose too much of the deviation
MIN_RELATIVE_DEVIATION = 0.05

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class FeatureSet:
    """The encoder of all features, and which of its output columns each kind of model takes.

    Attributes:
        network: columns for networks.
        trees: columns for tree ensembles.
        linear: columns for linear models.
        bent: columns for linear models of how far numbers fill bins, which bend at each edge; none if there are none.
        ratios: names of the ratios of columns that were added.
    """

    encoder: TableEncoder | NgramEncoder
    network: tuple[int, ...]
    trees: tuple[int, ...]
    linear: tuple[int, ...]
    bent: tuple[int, ...] = ()
    ratios: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Number of features."""
        return self.encoder.width if isinstance(self.encoder, NgramEncoder) else len(self.encoder.mean)


@dataclass(frozen=True, kw_only=True)
class EncodedTable:
    """Rows encoded once for all models: as a dense matrix, or of texts as a sparse one.

    Attributes:
        recipe: builds the network.
        data: the dataset. Its targets and weights match the rows; its inputs are those of the original split.
        features: the encoder, and the columns for each kind of model.
        train: encoded training rows, (n, width) float32.
        validation: encoded validation rows, (m, width) float32.
        seed: seed of all models and folds.
        objective: what models are ranked by.
        folds: number of folds, if the validation rows are too few to rank models. Models are then scored by
            cross-validation on all rows. 0: score on the validation rows.
        offset: constant that was subtracted from the targets (see `center_targets`).
        threads: number of threads of a model's library; 0: as many as there are cores.
    """

    recipe: Recipe
    data: Dataset
    features: FeatureSet
    train: Array
    validation: Array
    seed: int
    objective: Objective
    folds: int = 0
    offset: float = 0.0
    threads: int = 0

    @property
    def classes(self) -> int:
        """Number of classes; 0 for a regression."""
        return len(self.data.classes)

    @property
    def is_sparse(self) -> bool:
        """Whether the rows are bags of n-grams, which take too much memory as a dense matrix."""
        return bool(scipy.sparse.issparse(self.train))

    @property
    def outputs(self) -> int:
        """Number of values that a model predicts for a row."""
        return self.classes if self.classes > 2 else 1

    @property
    def scored_targets(self) -> Array:
        """Targets (n,) of the rows that models are scored on."""
        return np.asarray(self.all_rows.data.train.targets if self.folds else self.data.validation.targets)

    @cached_property
    def target_deviation(self) -> float:
        """Standard deviation of the training targets; 1 for classes."""
        return 1.0 if self.classes else float(self.data.train.targets.std())

    @cached_property
    def target_range(self) -> float:
        """Range of all known targets, which normalizes errors; 1 for classes."""
        targets = self.all_rows.data.train.targets
        return 1.0 if self.classes else float(targets.max() - targets.min()) or 1.0

    @property
    def train_weights(self) -> Array | None:
        """How much each training row counts, (n,), 1 on average; None if all count equally."""
        return self._weights_of(self.data.train)

    @property
    def validation_weights(self) -> Array | None:
        """How much each validation row counts in early stopping, (m,), 1 on average; None if all count equally."""
        return self._weights_of(self.data.validation)

    def _weights_of(self, split: Split) -> Array | None:
        """Return the weights of rows times the weights of their classes."""
        weights = split.weights
        if self.data.class_weight:
            by_class = np.array([self.data.class_weight.get(number, 1.0) for number in range(self.classes)])
            weights = by_class[split.targets] * (1.0 if weights is None else weights)
        if weights is None or not len(weights):
            return None
        weights = np.asarray(weights, np.float64)
        return weights / (weights.mean() or 1.0)

    def split_folds(self) -> Iterator[tuple[Array, EncodedTable]]:
        """Yield, for each fold, its row numbers in `all_rows`, and the table with these rows as validation rows."""
        rows, shares = self.all_rows, [1 / self.folds] * self.folds
        split = rows.data.train
        targets, weights = split.targets, split.weights
        if self.classes:
            folds = splits.split_rows_by_class(targets, self.seed, shares)
        else:
            folds = splits.split_rows(len(targets), self.seed, shares)
        for fold in folds:
            rest = np.setdiff1d(np.arange(len(targets)), fold)
            train, validation = (
                replace(split, targets=targets[part], weights=None if weights is None else weights[part])
                for part in (rest, fold)
            )
            data = replace(self.data, train=train, validation=validation)
            yield fold, replace(self, data=data, train=rows.train[rest], validation=rows.train[fold], folds=0)

    @cached_property
    def all_rows(self) -> EncodedTable:
        """The table with the validation rows moved to the training rows."""
        splits_of_rows = self.data.train, self.data.validation
        targets = np.concatenate([split.targets for split in splits_of_rows])
        weights = None
        if any(split.weights is not None for split in splits_of_rows):
            weights = np.concatenate(
                [
                    np.ones(len(split.targets), np.float32) if split.weights is None else split.weights
                    for split in splits_of_rows
                ]
            )
        data = replace(
            self.data,
            train=replace(self.data.train, targets=targets, weights=weights),
            validation=self.data.validation.take(np.zeros(0, np.int64)),
        )
        stack = scipy.sparse.vstack if self.is_sparse else np.concatenate
        train = stack((self.train, self.validation))
        return replace(self, data=data, train=train, validation=train[:0], folds=0)

    def select_columns(self, rows: Array) -> Array:
        """Return the features (n, k) that trees take of encoded rows (n, width)."""
        return rows[:, list(self.features.trees)]


def center_targets(data: Dataset) -> tuple[Dataset, float]:
    """Subtract the mean of regression targets if float32 could not resolve them otherwise.

    This is the case if targets are far from 0 and close together, as timestamps in seconds are.

    Returns:
        The data with the targets to fit, and the constant that was subtracted (0.0: none).
    """
    targets = data.train.targets
    if data.classes or float(targets.std()) >= MIN_RELATIVE_DEVIATION * abs(float(targets.mean())):
        return data, 0.0
    offset = float(targets.mean())
    train, validation = (
        replace(split, targets=split.targets - offset) for split in (data.train, data.validation)
    )
    return replace(data, train=train, validation=validation), offset
