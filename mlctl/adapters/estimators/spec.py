"""The specification of one model to fit: its family, loss and parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LIGHTGBM, FOREST, HISTOGRAM, LINEAR, NETWORK = "lightgbm", "extratrees", "histgradient", "linear", "network"
L1, L2, LOG = "l1", "l2", "log"  # absolute error, squared error, absolute error of the target's logarithm


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One model to fit. `loss` is L1, L2 or LOG for a regression, and "" for classes."""

    name: str
    family: str
    loss: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def logged_params(self) -> dict[str, Any]:
        """Parameters that the model's run records: family, loss and own parameters."""
        return {"family": self.family, **({"loss": self.loss} if self.loss else {}), **self.params}
