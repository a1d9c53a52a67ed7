"""The encoded rows that all models of a run are fitted to and scored on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mlctl.adapters.estimators import category_targets
from mlctl.adapters.estimators.encoded_table import EncodedTable
from mlctl.data.dataset import Dataset
from mlctl.domain.objective import Objective
from mlctl.services.automl import features, text_tables
from mlctl.services.automl.request import AutomlJob
from mlctl.services.recipes.prepare import PreparedData
from mlctl.serving.scoring import TableEncoder

FOLDS = 5
# with fewer rows, the validation split is too small to rank models; wide tables take too long to cross-validate
MIN_ROWS_WITHOUT_FOLDS, MAX_CELLS_WITH_FOLDS = 6000, 1_000_000


def encode_table(
    job: AutomlJob,
    prepared: PreparedData,
    data: Dataset,
    *,
    offset: float,
    objective: Objective,
    report: Callable[[str], None],
) -> EncodedTable:
    """Return the rows of a table, or of texts, as features.

    Args:
        job: The validated request.
        prepared: The original data, with the recipe's encoder.
        data: The data with the targets that models are fitted to.
        offset: The constant that was subtracted from these targets.
        objective: What models are ranked by.
        report: Receives a line about features that were added.
    """
    seed = job.request.seed
    if text_tables.is_of_texts(prepared):
        train, validation = (text_tables.as_matrix(split.inputs) for split in (data.train, data.validation))
        return EncodedTable(
            recipe=job.recipe,
            data=data,
            features=text_tables.text_features(prepared.encoder),
            train=train,
            validation=validation,
            seed=seed,
            objective=objective,
        )  # without folds: the n-grams were chosen by the labels of all training rows
    if job.request.featurize:
        feature_set = features.search_features(data, prepared.encoder, seed)
    else:
        feature_set = features.plain_features(data)
    if feature_set.ratios:
        report(f"added ratios: {', '.join(feature_set.ratios)}")
    rows, encoder = features.known_rows(data), feature_set.encoder
    assert isinstance(encoder, TableEncoder)
    encoded = encoder(rows)
    targets = np.concatenate([data.train.targets, data.validation.targets])
    category_targets.out_of_fold(
        encoder, rows, category_targets.smoothed_targets(targets, len(data.classes)), encoded, seed
    )
    return EncodedTable(
        recipe=job.recipe,
        data=data,
        features=feature_set,
        train=encoded[: len(data.train)],
        validation=encoded[len(data.train) :],
        seed=seed,
        objective=objective,
        folds=_count_folds(job, data),
        offset=offset,
    )


def _count_folds(job: AutomlJob, data: Dataset) -> int:
    """Return the number of folds; 0 if there are many rows, or if rows are grouped or ordered in time."""
    rows = len(data.train) + len(data.validation)
    dependent = any(job.values.get(name) for name in ("group", "time", "split", "validation"))
    is_small = rows < MIN_ROWS_WITHOUT_FOLDS and rows * data.train.inputs.shape[1] <= MAX_CELLS_WITH_FOLDS
    return FOLDS if is_small and not dependent else 0
