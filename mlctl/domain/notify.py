"""The answer of `mlctl notify test`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DeliveredExample:
    """Receivers that took an example; what may be secret of their addresses is masked."""

    receivers: tuple[str, ...]
    is_signed: bool
