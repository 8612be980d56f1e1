"""Answers of another thread reach the event loop: all of them, errors too, and whoever has gone disturbs nobody."""

import asyncio
import gc
import threading
from concurrent.futures import Future
from weakref import ref

from monitor.errors import Overloaded
from monitor.ingest.arrivals import awaited


def ended_elsewhere(futures: "list[Future[int]]") -> threading.Thread:
    def end() -> None:
        for number, future in enumerate(futures):
            if number % 10 == 9:
                future.set_exception(Overloaded("full", retry_after=1))
            else:
                future.set_result(number)

    return threading.Thread(target=end)


def test_every_one_of_many_answers_arrives_whatever_it_is() -> None:
    found = asyncio.run(answers_of_two_threads())
    for number, answer in enumerate(found):
        assert isinstance(answer, Overloaded) if number % 10 == 9 else answer == number % 2500


async def answers_of_two_threads() -> list[int | BaseException]:
    futures = [Future[int]() for _ in range(5000)]
    waiting = [awaited(future) for future in futures]
    threads = [ended_elsewhere(futures[:2500]), ended_elsewhere(futures[2500:])]
    for thread in threads:
        thread.start()
    return await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 30)


def test_one_that_is_there_already_and_one_that_nobody_waits_for() -> None:
    there, left = Future[int](), Future[int]()
    there.set_result(7)

    async def asks() -> int:
        given_up = awaited(left)
        given_up.cancel()
        left.set_result(1)
        found = await asyncio.wait_for(awaited(there), 30)
        assert given_up.cancelled()
        return found

    assert asyncio.run(asks()) == 7


def test_an_answer_after_the_loop_has_closed_is_let_go() -> None:
    late = Future[int]()

    async def asks() -> None:
        awaited(late)

    asyncio.run(asks())
    late.set_result(1)
    assert late.result() == 1


def test_a_loop_that_is_over_is_not_kept() -> None:
    async def asks() -> "ref[asyncio.AbstractEventLoop]":
        there = Future[int]()
        there.set_result(1)
        await awaited(there)
        return ref(asyncio.get_running_loop())

    loop = asyncio.run(asks())
    gc.collect()
    assert loop() is None
