import asyncio

from mlctl.adapters.ray.message_actor import MessageActor


def test_only_the_newest_attempt_is_heard_and_an_earlier_one_is_sent_away():
    async def scene():
        box = MessageActor()
        await box.expect("0001", 1)
        first = asyncio.create_task(box.tell(("0001", 1, "node-a", b"epoch 1"), True))
        assert await box.take(1) == [("0001", 1, "node-a", b"epoch 1")]
        await box.expect("0001", 2)  # its node is given up, and it still waits for an answer
        assert await asyncio.wait_for(first, 1) is False
        assert await box.tell(("0001", 1, "node-a", b"late"), False) is False
        second = asyncio.create_task(box.tell(("0001", 2, "node-b", b"epoch 1"), True))
        assert await box.take(1) == [("0001", 2, "node-b", b"epoch 1")]
        await box.answer("0001", True)
        assert await asyncio.wait_for(second, 1) is True
        assert await box.take(0.01) == []
        assert await box.tell(("0002", 1, "node-b", b"nobody asked"), False) is False

    asyncio.run(scene())


def test_words_come_in_order_and_none_twice():
    async def scene():
        box = MessageActor()
        await box.expect("0001", 1)
        for number in range(5):
            assert await box.tell(("0001", 1, "n", b"%d" % number), False)
        assert [said for *_, said in await box.take(1)] == [b"0", b"1", b"2", b"3", b"4"]
        assert await box.take(0) == []

    asyncio.run(scene())
