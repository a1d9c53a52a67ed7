"""Where tasks on a cluster leave word, and wait for an answer: an actor beside the cluster's head.

It imports nothing of ours and looks into no message, so that it stays a small process.
"""

from __future__ import annotations

import asyncio

Message = tuple[str, int, str, bytes]  # task, attempt, node, and what it says


class MessageActor:
    """Messages of tasks, each known by its name and attempt; only the newest attempt of a task is heard."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._arrived = asyncio.Event()
        self._current: dict[str, int] = {}
        self._waiting: dict[tuple[str, int], asyncio.Future[bool]] = {}

    async def expect(self, task: str, attempt: int) -> None:
        """Hear this attempt from now on, and send any earlier one away."""
        self._current[task] = attempt
        for (name, number), answer in list(self._waiting.items()):
            if name == task and number != attempt and not answer.done():
                answer.set_result(False)

    async def tell(self, message: Message, waits: bool) -> bool:
        """Leave a message; return whether to go on, which `waits` has somebody else say."""
        task, attempt, _, _ = message
        if self._current.get(task) != attempt:
            return False
        self._messages.append(message)
        self._arrived.set()
        if not waits:
            return True
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[task, attempt] = answer
        try:
            return await answer
        finally:
            self._waiting.pop((task, attempt), None)

    async def answer(self, task: str, go_on: bool) -> None:
        """Answer a task that waits."""
        answer = self._waiting.get((task, self._current.get(task, 0)))
        if answer is not None and not answer.done():
            answer.set_result(go_on)

    async def take(self, timeout_s: float) -> list[Message]:
        """Return the messages that have come, at the latest after `timeout_s`."""
        try:
            await asyncio.wait_for(self._arrived.wait(), timeout_s)
        except TimeoutError:
            return []
        self._arrived.clear()
        found, self._messages = self._messages, []
        return found
