"""What `mlctl train` is asked to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from mlctl.recipes.keras_import import TENSORFLOW


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """Options of `mlctl train`.

    `overrides` holds hyperparameters and data options by name, as typed or as values. `precision` is auto,
    float32 or mixed_bfloat16. `patience` None trains all epochs. `data` None lets the recipe find its own
    data. `offline` keeps the run on this machine until `mlctl sync`. The store gets a copy of the checkpoint
    at most every `checkpoint_every_s` seconds. With `folds`, cross-validation scores the training, and the logged
    model is trained on all rows. `backend` is the Keras backend to train on.
    """

    source: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    data: str | None = None
    rows: int | None = None
    seed: int = 0
    patience: int | None = None
    precision: str = "auto"
    run_name: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    register: str | None = None
    parent: str | None = None
    offline: bool = False
    checkpoint_every_s: float = 60.0
    folds: int | None = None
    backend: str = TENSORFLOW

    def to_tag(self) -> dict[str, Any]:
        """Return the request as the run's tag mlctl.request stores it."""
        fields = asdict(self)
        if self.folds is None:  # earlier versions do not know it
            del fields["folds"]
        if self.backend == TENSORFLOW:
            del fields["backend"]
        return {"given" if name == "overrides" else name: value for name, value in fields.items()}

    @classmethod
    def from_tag(cls, entry: Mapping[str, Any]) -> TrainRequest:
        """Return the request that `to_tag` stored, in this or an earlier version."""
        return cls(**{"overrides" if name == "given" else name: value for name, value in entry.items()})
