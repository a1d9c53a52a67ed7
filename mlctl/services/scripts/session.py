"""The script's run that this process records now, for mlctl's functions that a script calls itself."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol


class SessionObserver(Protocol):
    """Receives what a script tells mlctl itself."""

    def own_epoch(self, metrics: Mapping[str, Any], step: int | None) -> int:
        """Record an epoch of a training loop without `fit`; return its number."""

    def choose_model(self, model: Any, inputs: Any = None, targets: Any = None) -> Any:
        """Choose the model to log."""


@dataclass(frozen=True, kw_only=True)
class ScriptSession:
    """The run of a script that is running, and what sees its calls of Keras."""

    record: Any  # a ScriptRecord, or that of a trial
    observer: SessionObserver


_sessions: list[ScriptSession] = []


def current() -> ScriptSession | None:
    """Return the session of this process; None if no script's run is recorded."""
    return _sessions[-1] if _sessions else None


@contextlib.contextmanager
def joined(record: Any, observer: SessionObserver) -> Iterator[None]:
    """Let the block's code join this run."""
    session = ScriptSession(record=record, observer=observer)
    _sessions.append(session)
    try:
        yield
    finally:
        _sessions.remove(session)
