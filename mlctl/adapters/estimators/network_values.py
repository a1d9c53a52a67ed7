"""The hyperparameters of a network, which are known without Keras."""

from __future__ import annotations

from typing import Any

from mlctl.adapters.estimators.encoded_table import EncodedTable
from mlctl.adapters.estimators.spec import ModelSpec


def network_values(spec: ModelSpec, table: EncodedTable) -> Any:
    """Return the values of the recipe's hyperparameters for one network."""
    params = {name: value for name, value in spec.params.items() if name != "seed"}
    data = table.data
    return table.recipe.values(params).on(len(data.train.targets), data.defaults)


def leaves_rows_out(spec: ModelSpec, table: EncodedTable) -> bool:
    """Whether the network itself leaves rows out of training, so that one fit answers all known rows unseen."""
    return bool(network_values(spec, table).get("bags", 1) > 1)
