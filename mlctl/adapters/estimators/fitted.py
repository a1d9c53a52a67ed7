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
        held_out: predictions (n, outputs) for all known rows, training rows first, by parts of the model that have
            not seen them; None if the model has seen all training rows.
    """

    predict: Callable[[Array], Array]
    export: Callable[[], bytes]
    rounds: int
    held_out: Array | None = None
