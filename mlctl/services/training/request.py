"""What a training is asked for, and where an earlier process has left it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Request:
    """What `mlctl train` was asked for.

    `given` are hyperparameters and data options by name, as typed or as values; `precision` is auto, float32
    or mixed_bfloat16; `patience` None trains all epochs; `data` None lets the recipe look for its own;
    `offline` keeps the run on this machine for `mlctl sync`; the store gets a copy of the checkpoint every
    `checkpoint_every_s` seconds at most.
    """

    source: str
    given: Mapping[str, Any] = field(default_factory=dict)
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


@dataclass(frozen=True)
class ResumePoint:
    """A run to go on with: its record's folder, whose record it is, and the (metric, step) that the store has.

    `tags` tell of this going on: that something has changed, or that there are more epochs.
    """

    folder: Path
    about: Mapping[str, Any]
    known: frozenset[tuple[str, int]] = frozenset()
    tags: Mapping[str, str] = field(default_factory=dict)
