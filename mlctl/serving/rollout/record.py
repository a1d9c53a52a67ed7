"""Keeps the state of an endpoint's rollout in its folder, and writes how it ended to the registry.

A child process does what concerns the registry. If the registry cannot be reached, the endpoint tries again later,
also after it was started again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlctl.files import write_atomically
from mlctl.serving.rollout.controller import ENDED, RETURNED, RolloutState

FILE = "rollout.json"
RETRY_S = (5.0, 15.0, 60.0, 300.0)  # the last one is repeated
CLOSE_TIMEOUT_S = 8.0
CHILD_TIMEOUT_S = 900.0  # a gate may evaluate the model

Log = Callable[[str], None]


class RolloutRecord:
    """The record of an endpoint's last rollout. Create it inside a running event loop."""

    def __init__(self, folder: Path, endpoint: str, log: Log) -> None:
        self._file = folder / FILE
        self._endpoint = endpoint
        self._log = log
        self._current: RolloutState | None = None
        self._tasks: set[asyncio.Task[None]] = set()  # one for each rollout that is not recorded yet
        self._is_closing = False
        self._asking = 0  # children that talk to the registry

    def restore(self) -> RolloutState | None:
        """Return the last rollout before the endpoint was started. One that was running then has returned."""
        try:
            state = RolloutState(**json.loads(self._file.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None
        if state.status not in ENDED:
            state.status, state.share, state.ended = RETURNED, 0.0, time.time()
            state.reason = "the endpoint ended during the rollout"
            self._log(f"rollout of version {state.version}: {state.reason}")
        self.keep(state)
        return state

    def keep(self, state: RolloutState) -> None:
        """Write the state; if the rollout has ended, write its end to the registry, too."""
        self._current = state
        self._write(state)
        if state.status in ENDED and not state.recorded and state.plan.get("registry_command"):
            task = asyncio.get_running_loop().create_task(self._record(state))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def promote(self, state: RolloutState) -> str:
        """Promote the version that was rolled out; return why that is refused, or ""."""
        answer = await self._ask("promote", state)
        return str(answer.get("error", ""))

    async def close(self) -> None:
        """Give an entry that is being written a moment to arrive; the next endpoint writes it otherwise."""
        self._is_closing = True
        if self._asking:
            await asyncio.wait(self._tasks, timeout=CLOSE_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        for task in self._tasks:
            task.cancel()
        if self._current is not None and self._current.recorded:
            self._file.unlink(missing_ok=True)

    def _write(self, state: RolloutState) -> None:
        with contextlib.suppress(OSError):  # a full disk must not end a rollout's return
            write_atomically(self._file, json.dumps(asdict(state)).encode(), durable=False, mode=0o600)

    async def _record(self, state: RolloutState) -> None:
        failures = 0
        while "error" in (answer := await self._ask("record", state)):
            if self._is_closing:
                return
            if not failures:
                self._log(f"the end of the rollout is not in the registry's history yet: {answer['error']}")
            await asyncio.sleep(RETRY_S[min(failures, len(RETRY_S) - 1)])
            failures += 1
        state.recorded = True
        if state is self._current:
            self._write(state)

    async def _ask(self, action: str, state: RolloutState) -> dict[str, Any]:
        """Return the answer of the child process that talks to the registry."""
        order = {"action": action, "endpoint": self._endpoint, "rollout": asdict(state)}
        child = None
        self._asking += 1
        try:
            child = await asyncio.create_subprocess_exec(
                *state.plan["registry_command"],
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                # not on the command line, which every user of this machine can read
                env={**os.environ, "MLFLOW_TRACKING_URI": state.plan["tracking_uri"]},
            )
            async with asyncio.timeout(CHILD_TIMEOUT_S):
                output, _ = await child.communicate(json.dumps(order).encode() + b"\n")
            answer: dict[str, Any] = json.loads(output.splitlines()[-1])
        except (OSError, ValueError, LookupError, TimeoutError) as error:
            return {"error": f"the process that writes to the registry failed: {error!r}"}
        finally:
            self._asking -= 1
            if child is not None and child.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    child.kill()
        return answer
