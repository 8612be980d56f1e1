"""Who waits is served in turns, and nobody fills the room."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from monitor.errors import Overloaded, QuotaExceeded
from monitor.ingest.fairness import Admission, FairQueue, Turns


def test_a_small_sender_does_not_stand_behind_a_large_one() -> None:
    queue: FairQueue[str] = FairQueue(1000)
    for number in range(5):
        queue.put("large", 10, f"large {number}")
    queue.put("small", 1, "small")
    queue.close()
    order = iter(queue.get, None)
    assert list(order) == ["large 0", "small", "large 1", "large 2", "large 3", "large 4"]


def test_a_sender_has_its_share_and_all_together_have_the_room() -> None:
    queue: FairQueue[int] = FairQueue(100)
    queue.put("a", 50, 1)
    with pytest.raises(QuotaExceeded) as quota:
        queue.put("a", 1, 2)
    assert quota.value.retry_after
    queue.put("b", 40, 3)
    with pytest.raises(Overloaded):
        queue.put("c", 20, 4)
    with pytest.raises(QuotaExceeded):
        queue.check("a")
    assert queue.get() == 1
    queue.done("a", 50)
    queue.put("a", 10, 5)


def test_a_body_larger_than_its_share_is_let_in_when_nothing_else_waits() -> None:
    admission = Admission(100)
    ticket = admission.enter("a", 80)
    with pytest.raises(QuotaExceeded):
        admission.enter("a", 10)
    with pytest.raises(Overloaded):
        admission.enter("b", 30)
    ticket.hold(10)
    other = admission.enter("b", 30)
    ticket.close()
    other.close()
    admission.enter("c", 100).close()


def test_turns_go_round_and_survive_those_who_leave() -> None:
    order: list[str] = []

    async def one(turns: Turns, owner: str) -> None:
        async with turns.take(owner):
            order.append(owner)
            await asyncio.sleep(0)

    async def run() -> None:
        turns = Turns(1)
        async with turns.take("first"):
            waiting = [asyncio.create_task(one(turns, owner)) for owner in ("a", "a", "gone", "a", "b")]
            await asyncio.sleep(0)
            waiting.pop(2).cancel()
        await asyncio.gather(*waiting)
        await asyncio.wait_for(one(turns, "last"), 5)

    with ThreadPoolExecutor(1) as pool:  # a browser's test may have left a loop running in this thread
        pool.submit(asyncio.run, run()).result()
    assert order == ["a", "b", "a", "a", "last"]
