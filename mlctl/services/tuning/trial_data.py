"""The data of a search in a worker's process: shared by the search, or loaded anew if it cannot be shared."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlctl.adapters.keras import tensors
from mlctl.adapters.search.messages import SearchSetup
from mlctl.data.dataset import Split
from mlctl.data.trees import is_nested, map_tree
from mlctl.domain.progress import NullProgress
from mlctl.recipes import ResolvedRecipe
from mlctl.services.recipes.prepare import PreparedData, prepare
from mlctl.settings import Settings


@dataclass(frozen=True, kw_only=True)
class DataRequest:
    """What a process needs to load a search's data itself."""

    settings: Settings
    overrides: Mapping[str, Any]
    own_data: str | None
    data: str | None
    rows: int | None


def make_setup(prepared: PreparedData, *, source: str, precision: str, request: DataRequest) -> SearchSetup:
    """Return what all trials share; arrays are where workers share their memory."""
    data = prepared.data
    return SearchSetup(
        source=source,
        recipe=prepared.recipe,
        data=data,
        train_inputs=_aligned(prepared.encoded(data.train)),
        validation_inputs=prepared.encoded(data.validation) if data.validation else None,
        precision=precision,
        reload=request,
    )


_loaded: dict[int, SearchSetup] = {}


def with_data(setup: SearchSetup) -> SearchSetup:
    """Return the setup with its data, which is loaded once in each process if the setup has none."""
    if setup.data is not None:
        return setup
    if id(setup) not in _loaded:
        request: DataRequest = setup.reload
        prepared = prepare(
            request.settings,
            ResolvedRecipe(setup.recipe, request.own_data),
            setup.recipe.values(request.overrides),
            data=request.data,
            rows=request.rows,
            listener=NullProgress(),
        )
        again = make_setup(prepared, source=setup.source, precision=setup.precision, request=request)
        _loaded[id(setup)] = again
    return _loaded[id(setup)]


def training_split(setup: SearchSetup) -> Split:
    """Return the encoded training rows; arrays of numbers as one tensor for all trials of this process."""
    assert setup.data is not None
    return dataclasses.replace(setup.data.train, inputs=_shared_tensors(setup.train_inputs))


def validation_split(setup: SearchSetup) -> Split | None:
    """Return the encoded validation rows."""
    assert setup.data is not None
    validation: Split | None = setup.data.validation
    return validation and dataclasses.replace(validation, inputs=setup.validation_inputs)


_tensors: dict[int, Any] = {}


def _shared_tensors(inputs: Any) -> Any:
    """Return inputs as tensors: a tensor per trial would outlive its trial."""
    if is_nested(inputs):
        return map_tree(_shared_tensors, inputs)
    if not isinstance(inputs, np.ndarray) or inputs.dtype.kind not in "fiub":
        return inputs
    if id(inputs) not in _tensors:
        _tensors[id(inputs)] = tensors.to_tensor(inputs)
    return _tensors[id(inputs)]


def _aligned(inputs: Any) -> Any:
    """Return inputs with arrays that workers share; otherwise each would make two copies."""
    if is_nested(inputs):
        return map_tree(_aligned, inputs)
    return tensors.align(inputs) if isinstance(inputs, np.ndarray) else inputs
