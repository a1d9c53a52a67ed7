"""Watch whether somebody asks a run to stop, from any machine: `mlctl runs stop` sets a tag of the run."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Mapping
from typing import Any

from mlctl.adapters.tracking.clients.entities import StoreError
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.stop_request import StopRequest
from mlctl.domain.tags import STOP_TAG, STOP_TRIAL_PREFIX
from mlctl.errors import MlctlError

INTERVAL_S = 2.5


class StopWatch:
    """A thread that reads a run's tags every few seconds, until `close`.

    If the run shall stop, the main thread gets SIGTERM, which a recorded run handles as Ctrl-C.

    Attributes:
        request: The request to stop the run, or None.
        trials: Requests to stop trials of a search, by the trial's name.
    """

    def __init__(self, tracking_uri: str, run_id: str, ignored: Mapping[str, str] | None = None) -> None:
        """Watch a run; `ignored` are tags of an earlier process, which do not count again."""
        self.request: StopRequest | None = None
        self.trials: dict[str, StopRequest] = {}
        self._tracking_uri, self._run_id, self._ignored = tracking_uri, run_id, dict(ignored or {})
        self._closed = threading.Event()
        threading.Thread(target=self._work, name="mlctl-stop-watch", daemon=True).start()

    def close(self) -> None:
        """Watch no longer."""
        self._closed.set()

    def _work(self) -> None:
        client: Any = None
        while not self._closed.wait(INTERVAL_S):
            with contextlib.suppress(MlctlError, StoreError, OSError):  # the sender reports outages
                client = client or TrackingStore(self._tracking_uri).client
                self._read(client.get_run(self._run_id).data.tags)
            if self.request is not None:
                if not self._closed.is_set():
                    interrupt_main_thread()
                return

    def _read(self, tags: Mapping[str, str]) -> None:
        for key, text in tags.items():
            if self._ignored.get(key) == text:
                continue
            if key == STOP_TAG:
                self.request = StopRequest.from_text(text)
            elif key.startswith(STOP_TRIAL_PREFIX):
                self.trials[key.removeprefix(STOP_TRIAL_PREFIX)] = StopRequest.from_text(text)


def interrupt(number: int, frame: Any) -> None:
    """Handle a signal as Ctrl-C is handled."""
    raise KeyboardInterrupt


def interrupt_main_thread() -> None:
    """Send SIGTERM to the main thread, if it handles that; by default it would end the process at once."""
    if callable(signal.getsignal(signal.SIGTERM)):
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, signal.SIGTERM)
