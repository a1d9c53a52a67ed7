"""The process that follows the registry for `--watch`, so that the supervisor need not import what that takes."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable

from mlctl.serving.endpoint_spec import ServedVersion
from mlctl.serving.supervision.events import log_event

RESTART_S, MAX_RESTART_S = 2.0, 60.0


async def follow(
    command: tuple[str, ...],
    *,
    on_version: Callable[[ServedVersion], None],
    on_failure: Callable[[str, str], None],
    before_start: Callable[[], None],
) -> None:
    """Run the follower for ever, and call functions with what it finds.

    Args:
        command: Its command line.
        on_version: Receives each version that is to be served.
        on_failure: Receives each version that cannot be fetched, and the reason.
        before_start: Called before it starts, and before it starts again after it ended.
    """
    delay_s = RESTART_S
    while True:
        before_start()
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is left to the supervisor
        )
        assert process.stdout is not None
        assert process.stderr is not None
        relay = asyncio.create_task(_relay(process.stderr))
        try:
            async for line in process.stdout:
                with contextlib.suppress(ValueError, TypeError):
                    document = json.loads(line)
                    if "failure" in document:
                        on_failure(document["version"], document["failure"])
                    else:
                        on_version(ServedVersion(**document))
                    delay_s = RESTART_S
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            relay.cancel()
        await asyncio.sleep(delay_s)
        delay_s = min(2 * delay_s, MAX_RESTART_S)


async def _relay(stream: asyncio.StreamReader) -> None:
    """Write what the follower says to the log, which only the supervisor and the workers have open."""
    async for line in stream:
        if text := line.decode("utf-8", "replace").strip():
            log_event(text)
