"""Texts with labels in automl: bags of n-grams as a sparse matrix, which linear models and networks take."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlctl.adapters.estimators.encoded_table import FeatureSet
from mlctl.data.sparse_bags import SparseBags
from mlctl.services.recipes.prepare import PreparedData
from mlctl.serving.scoring import NgramEncoder

RECIPE = "texts"  # whose data these are


def is_of_texts(prepared: PreparedData) -> bool:
    """Whether the data are texts of the user's own with labels, as bags of n-grams."""
    return isinstance(prepared.encoder, NgramEncoder) and isinstance(prepared.data.train.inputs, SparseBags)


def text_features(encoder: NgramEncoder) -> FeatureSet:
    """Return the n-grams of texts, which networks and linear models take."""
    columns = tuple(range(encoder.width))
    return FeatureSet(encoder=encoder, network=columns, trees=(), linear=columns)


def as_matrix(bags: SparseBags) -> Any:
    """Return bags of n-grams as a sparse matrix (n, width) of SciPy."""
    import scipy.sparse

    values = np.ones(len(bags.ids), np.float32) if bags.values is None else bags.values
    return scipy.sparse.csr_matrix((values, bags.ids.astype(np.int32), bags.starts), shape=bags.shape)
