"""The data that a script gives to `fit` and `evaluate`, as the splits of a `Dataset`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlctl.data.dataset import Dataset, Split
from mlctl.data.normalize import normalize_split


def dataset_of_fit(name: str, arguments: Mapping[str, Any]) -> Dataset:
    """Return the data of a call of `fit`: its training rows, and its validation rows if there are any.

    Python generators can be read once only, and are not read here: their split has no rows.
    """
    train = split_of(arguments.get("x"), arguments.get("y"), arguments.get("sample_weight"))
    validation = arguments.get("validation_data")
    held_out = float(arguments.get("validation_split") or 0.0)
    if validation is not None:
        parts = validation if isinstance(validation, tuple) else (validation,)
        validated = split_of(*parts)
    elif held_out and not train.is_stream:
        train, validated = _without_last(train, held_out)
    else:
        validated = None
    return Dataset(name=name, train=train, validation=validated, class_weight=arguments.get("class_weight"))


def split_of(x: Any, y: Any = None, weights: Any = None) -> Split:
    """Return inputs, targets and weights, as `fit` and `evaluate` take them, as a split."""
    split: Split = normalize_split(Split(x, y, weights))
    return split


def _without_last(split: Split, part: float) -> tuple[Split, Split]:
    """Return the rows that `fit` trains on, and the last ones, which `validation_split` holds out."""
    import numpy as np

    count = len(split)
    first = int(count * (1.0 - part))  # as Keras computes it
    return split.take(np.arange(first)), split.take(np.arange(first, count))
