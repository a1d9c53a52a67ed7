"""What an export wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mlctl.adapters.exports.model_parts import HeldEncoder

Calibration = Callable[[], Mapping[str, Any]]  # encoded rows of the training split, by input name


@dataclass(frozen=True, kw_only=True)
class WrittenFile:
    """A model's file in the folder of an export.

    Attributes:
        file: Its name there.
        held: Its inputs, and where the encoder is.
        float32_bytes: Its size before it was quantized; None if it was not.
    """

    file: str
    held: HeldEncoder
    float32_bytes: int | None = None
