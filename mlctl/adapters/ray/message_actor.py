"""A Ray actor on the cluster's head node that passes messages between tasks and the process that started them.

It imports nothing of mlctl and does not read the messages, so that its process stays small.
"""

from __future__ import annotations

import asyncio

Message = tuple[str, int, str, bytes]  # task, attempt, node, content


class MessageActor:
    """Messages of tasks, which are identified by name and attempt. Only the newest attempt of a task counts."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._arrived = asyncio.Event()
        self._attempts: dict[str, int] = {}
        self._answers: dict[tuple[str, int], asyncio.Future[bool]] = {}

    async def accept(self, task: str, attempt: int) -> None:
        """Accept messages of this attempt from now on, and tell earlier attempts to stop."""
        self._attempts[task] = attempt
        for (name, number), answer in list(self._answers.items()):
            if name == task and number != attempt and not answer.done():
                answer.set_result(False)

    async def post(self, message: Message, waits: bool) -> bool:
        """Add a message; return whether the task should continue. With `waits`, wait for `answer` to decide."""
        task, attempt, _, _ = message
        if self._attempts.get(task) != attempt:
            return False
        self._messages.append(message)
        self._arrived.set()
        if not waits:
            return True
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._answers[task, attempt] = answer
        try:
            return await answer
        finally:
            self._answers.pop((task, attempt), None)

    async def answer(self, task: str, proceed: bool) -> None:
        """Answer a task that waits."""
        answer = self._answers.get((task, self._attempts.get(task, 0)))
        if answer is not None and not answer.done():
            answer.set_result(proceed)

    async def receive(self, timeout_s: float) -> list[Message]:
        """Return the messages that have arrived; wait for the first one up to `timeout_s` seconds."""
        if not self._arrived.is_set():  # with a timeout of 0, `wait_for` does not look
            try:
                await asyncio.wait_for(self._arrived.wait(), timeout_s)
            except TimeoutError:
                return []
        self._arrived.clear()
        messages, self._messages = self._messages, []
        return messages
