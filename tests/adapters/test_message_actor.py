"""Messages between tasks on a cluster and the process that started them, and a head that is lost."""

import asyncio
import socket

import pytest

from mlctl.adapters.ray import head_probe
from mlctl.adapters.ray.message_actor import MessageActor
from mlctl.errors import UnreachableError

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
        assert await actor.post(("0001", 1, "n", b"the last one"), False)
        # the task has ended: its last message is there, and must not be taken for a lost one
        assert [content for *_, content in await actor.receive(0)] == [b"the last one"]

    asyncio.run(exchange())


def test_a_head_that_stays_silent_is_lost(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as head:
        address = f"127.0.0.1:{head.getsockname()[1]}"
        watch = head_probe.HeadWatch(f"ray://{address}", "local:2")
        assert watch.is_there()
    assert not watch.is_there()
    assert not watch.is_there()  # it may come back
    monkeypatch.setattr(head_probe, "LOST_AFTER_S", -1)
    with pytest.raises(UnreachableError, match="the head of the Ray cluster local:2 does not answer"):
        watch.is_there()
