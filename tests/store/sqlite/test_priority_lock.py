"""The writer's lock is never held twice, and never free while somebody waits."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.store.sqlite.priority_lock import PriorityLock


class Queue:
    """Tasks that want the lock, and the order in which they got it."""

    def __init__(self) -> None:
        self.lock = PriorityLock()
        self.served: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.may_end: dict[str, asyncio.Event] = {}
        self.inside = 0

    async def join(self, name: str, *, urgent: bool = False) -> None:
        self.may_end[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._take(name, urgent=urgent))
        await settle()

    async def end(self, name: str) -> None:
        self.may_end[name].set()
        await settle()

    async def end_all(self) -> list[str]:
        for event in self.may_end.values():
            event.set()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)
        return self.served

    async def _take(self, name: str, *, urgent: bool) -> None:
        async with self.lock.hold(urgent=urgent):
            self.inside += 1
            assert self.inside == 1, "two have the writer at once"
            self.served.append(name)
            try:
                await self.may_end[name].wait()
            finally:
                self.inside -= 1


async def settle() -> None:
    """Run every task until it waits for the test."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
async def queue() -> Queue:
    return Queue()


async def test_only_one_holds_the_lock(queue: Queue) -> None:
    for name in "abc":
        await queue.join(name)
    assert queue.served == ["a"]
    await queue.end("a")
    assert queue.served == ["a", "b"]


async def test_waiters_are_served_in_their_order(queue: Queue) -> None:
    for name in "abcd":
        await queue.join(name)
    assert await queue.end_all() == ["a", "b", "c", "d"]


async def test_the_urgent_go_before_all_others_that_wait_and_among_themselves_in_order(
    queue: Queue,
) -> None:
    await queue.join("holder")
    await queue.join("normal-1")
    await queue.join("urgent-1", urgent=True)
    await queue.join("normal-2")
    await queue.join("urgent-2", urgent=True)
    assert await queue.end_all() == ["holder", "urgent-1", "urgent-2", "normal-1", "normal-2"]


async def test_one_that_is_cancelled_while_it_waits_is_passed_over(queue: Queue) -> None:
    for name in "abc":
        await queue.join(name)
    queue.tasks["b"].cancel()
    assert await queue.end_all() == ["a", "c"]


async def test_a_lock_handed_to_a_waiter_that_is_cancelled_goes_on_to_the_next(
    queue: Queue,
) -> None:
    async with queue.lock.hold():
        await queue.join("b")
        await queue.join("c")
    queue.tasks["b"].cancel()  # the turn has been handed to b, which has not run since
    assert await queue.end_all() == ["c"]
    assert queue.tasks["b"].cancelled()


async def test_an_error_in_the_block_releases_the_lock() -> None:
    lock = PriorityLock()
    with pytest.raises(LookupError):
        async with lock.hold():
            raise LookupError
    async with asyncio.timeout(30), lock.hold():
        pass


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["join", "urgent", "end", "cancel"]), st.integers(0, 9)),
        max_size=40,
    )
)
def test_whatever_is_cancelled_the_lock_is_neither_lost_nor_held_twice(
    steps: list[tuple[str, int]],
) -> None:
    async def play() -> None:
        queue = Queue()
        for number, (step, which) in enumerate(steps):
            if step in ("join", "urgent"):
                await queue.join(f"{number}", urgent=step == "urgent")
            elif queue.tasks:
                name = list(queue.tasks)[which % len(queue.tasks)]
                if step == "cancel":
                    queue.tasks[name].cancel()  # and no settling: the next step finds it half-way
                else:
                    queue.may_end[name].set()
        await queue.end_all()
        assert all(times == 1 for times in Counter(queue.served).values())
        for name, task in queue.tasks.items():
            assert task.cancelled() or (task.exception() is None and name in queue.served)
        async with asyncio.timeout(30), queue.lock.hold():
            pass

    asyncio.run(play())
