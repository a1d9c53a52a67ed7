"""Messages between tasks on a cluster and the process that started them."""

import asyncio

import pytest

from mlctl.adapters.ray.message_actor import MessageActor

pytestmark = pytest.mark.unit


def test_only_the_newest_attempt_counts_and_an_earlier_one_is_stopped():
    async def exchange():
        actor = MessageActor()
        await actor.accept("0001", 1)
        first = asyncio.create_task(actor.post(("0001", 1, "node-a", b"epoch 1"), True))
        assert await actor.receive(1) == [("0001", 1, "node-a", b"epoch 1")]
        await actor.accept("0001", 2)  # the first attempt's node is lost, but its process still waits
        assert await asyncio.wait_for(first, 1) is False
        assert await actor.post(("0001", 1, "node-a", b"late"), False) is False
        second = asyncio.create_task(actor.post(("0001", 2, "node-b", b"epoch 1"), True))
        assert await actor.receive(1) == [("0001", 2, "node-b", b"epoch 1")]
        await actor.answer("0001", True)
        assert await asyncio.wait_for(second, 1) is True
        assert await actor.receive(0.01) == []
        assert await actor.post(("0002", 1, "node-b", b"unknown task"), False) is False

    asyncio.run(exchange())


def test_messages_arrive_once_and_in_order():
    async def exchange():
        actor = MessageActor()
        await actor.accept("0001", 1)
        for number in range(5):
            assert await actor.post(("0001", 1, "n", b"%d" % number), False)
        assert [content for *_, content in await actor.receive(1)] == [b"0", b"1", b"2", b"3", b"4"]
        assert await actor.receive(0) == []

    asyncio.run(exchange())
