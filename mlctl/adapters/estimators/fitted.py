"""What every model family returns after fitting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
OnRound = Callable[[int], None]


@dataclass(frozen=True)
class FittedEstimator:
    """A fitted model in memory.

    Attributes:
        predict: maps encoded rows (n, width) to (n, outputs) or (n,): values, or probabilities.
        export: returns the model as a serialized ONNX graph of the same inputs and outputs.
        rounds: number of trees or epochs to use when the model is fitted again to more rows.
    """

    predict: Callable[[Array], Array]
    export: Callable[[], bytes]
    rounds: int
