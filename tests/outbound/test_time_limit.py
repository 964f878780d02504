"""One timer for many calls, and the same words as asyncio.timeout."""

import asyncio

import pytest

from reconciler.outbound.time_limit import TimeLimit

SOON = 0.01
NEVER = 3600.0


async def _hang(limit: TimeLimit) -> str:
    try:
        with limit.call():
            await asyncio.Event().wait()
    except TimeoutError:
        return "over"
    return "done"


async def test_a_call_that_hangs_ends_with_a_timeout() -> None:
    assert await _hang(TimeLimit(SOON)) == "over"


async def test_every_one_of_many_calls_ends_and_the_limit_serves_the_next() -> None:
    limit = TimeLimit(SOON)
    for _ in range(3):
        assert await asyncio.gather(*(_hang(limit) for _ in range(20))) == ["over"] * 20


async def test_those_that_end_in_time_are_left_alone_while_another_is_over() -> None:
    limit = TimeLimit(SOON)
    hangs = asyncio.create_task(_hang(limit))
    quick = 0
    while not hangs.done():
        with limit.call():
            await asyncio.sleep(0)
        quick += 1
    assert hangs.result() == "over"
    assert quick > 0
    with limit.call():
        await asyncio.sleep(0)


async def test_a_cancellation_from_elsewhere_stays_one() -> None:
    hangs = asyncio.create_task(_hang(TimeLimit(NEVER)))
    await asyncio.sleep(0)
    hangs.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hangs


async def test_a_cancellation_from_elsewhere_is_not_lost_when_the_time_is_over_too() -> None:
    limit = TimeLimit(NEVER)
    reached: list[str] = []

    async def work() -> None:
        call = limit.call()
        with call:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                call.expire()
        reached.append("past the block")

    begun = asyncio.Event()
    task = asyncio.create_task(work())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert reached == []


async def test_an_error_of_the_call_itself_is_not_hidden_by_the_end_of_its_time() -> None:
    with pytest.raises(ValueError, match="its own"), TimeLimit(SOON).call():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ValueError("its own") from None
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_an_outer_timeout_that_is_shorter_is_the_one_that_counts() -> None:
    limit = TimeLimit(NEVER)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(SOON):
            await _raise_its_own(limit)


async def _raise_its_own(limit: TimeLimit) -> None:
    try:
        with limit.call():
            await asyncio.Event().wait()
    except TimeoutError:  # would be the inner one's
        pytest.fail("the inner limit was not over")
