"""Several daemons on played time, each with the real membership, share and budget.

The tests play the time that things take: a transaction's way there and back, a claim, a frozen
process. Every piece is a coroutine that says how long it pauses; one heap says whose turn it is.
"""

import heapq
from collections.abc import Coroutine, Generator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from random import Random
from types import SimpleNamespace
from typing import Any

import structlog
from structlog.testing import CapturingLogger

from reconciler.daemon.membership import Membership
from reconciler.outbound.budget import Budget
from reconciler.outbound.share import Share
from reconciler.runtime.clock import Clock
from reconciler.store.errors import StoreUnavailableError
from reconciler.store.instances import LIVE_FOR, Instance

HEARTBEAT = 5.0
BATCH = 16


@dataclass
class Pause:
    seconds: float

    def __await__(self) -> Generator[float, None, None]:
        yield self.seconds


@dataclass
class Member:
    """One daemon, as the others and the clock see it."""

    name: str
    rate: float
    skew: float
    """Seconds that its wall clock is ahead."""
    started_at: int
    share: Share = field(default_factory=Share)
    is_stopping: bool = False
    is_dead: bool = False
    frozen_until: float = 0.0


class Cluster:
    """The table of instances, the daemons, and what the far side counts."""

    def __init__(self, rate: float, seed: int = 0) -> None:
        self.now = 1000.0
        self.rate = rate
        self.random = Random(seed)
        self.members: list[Member] = []
        self.calls: list[tuple[float, str]] = []
        self.store_is_back_at = 0.0
        self.claims: tuple[float, ...] = (0.001,)
        """Seconds that one may take."""
        self.lines = CapturingLogger()
        self._log = structlog.wrap_logger(
            self.lines, processors=[], wrapper_class=structlog.make_filtering_bound_logger(0)
        )
        self._rows: dict[str, Instance] = {}
        self._joining: Member | None = None
        self._agenda: list[tuple[float, int, Member, Coroutine[Any, Any, None]]] = []
        self._order = count()

    def monotonic(self) -> float:
        return self.now

    # Events that happen to them

    def start(self, rate: float | None = None, skew: float = 0.0) -> Member:
        name = f"{len(self.members):032x}"
        started_at = round((self.now + skew) * 1000)
        member = Member(name, rate or self.rate, skew, started_at)
        self.members.append(member)
        budget = Budget(member.rate, clock=_Time(self), share=member.share)
        self._spawn(member, self._beat(member))
        self._spawn(member, self._call(member, budget))
        return member

    def stop(self, member: Member) -> None:
        """End it cleanly: it calls nothing more and takes its row away."""
        if not member.is_stopping:
            member.is_stopping = True
            self._spawn(member, self._sign_off(member))

    def kill(self, member: Member) -> None:
        member.is_dead = True

    def freeze(self, member: Member, seconds: float) -> None:
        member.frozen_until = max(member.frozen_until, self.now + seconds)

    def pass_time(self, seconds: float) -> None:
        until = self.now + seconds
        while self._agenda and self._agenda[0][0] <= until:
            at, order, member, work = heapq.heappop(self._agenda)
            if member.is_dead:
                work.close()
            elif member.frozen_until > at:
                heapq.heappush(self._agenda, (member.frozen_until, order, member, work))
            else:
                self.now = at
                with suppress(StopIteration):
                    self._plan(at + work.send(None), member, work)
        self.now = until

    def close(self) -> None:
        for *_, work in self._agenda:
            work.close()

    # Observations

    def most_in_a_second(self, since: float = 0.0) -> int:
        times = [at for at, _ in self.calls if at >= since]
        most = first = 0
        for last, at in enumerate(times):
            while at - times[first] > 1.0:
                first += 1
            most = max(most, last - first + 1)
        return most

    def calls_since(self, since: float, name: str | None = None) -> int:
        return sum(at >= since and name in (None, by) for at, by in self.calls)

    def logged(self, event: str) -> list[dict[str, Any]]:
        lines = [dict(call.kwargs) for call in self.lines.calls]
        return [line for line in lines if line.pop("event") == event]

    # Their work

    async def _beat(self, member: Member) -> None:
        membership = Membership(
            SimpleNamespace(instance=lambda: self._instance(member)),
            _Table(self, member),  # type: ignore[arg-type]  # the one method that is asked for
            member.share,
            _Time(self),
            self._log,
        )
        tick = self.now
        while not member.is_stopping:
            with suppress(StoreUnavailableError):
                await membership.renew()
            tick = max(tick + HEARTBEAT, self.now)
            await Pause(tick - self.now)

    async def _call(self, member: Member, budget: Budget) -> None:
        while not member.is_stopping:
            units = await budget.take(BATCH)
            await Pause(self.random.choice(self.claims))
            for _ in range(units):
                if not member.is_stopping and budget.leave():
                    self.calls.append((self.now, member.name))

    async def _sign_off(self, member: Member) -> None:
        await Pause(self.random.choice((0.001, 0.1, 1.0)))
        self._rows.pop(member.name, None)

    def _instance(self, member: Member) -> Instance:
        return Instance(
            instance_id=member.name,
            host="host",
            pid=1,
            version="1",
            started_at=member.started_at,
            heartbeat_at=round((self.now + member.skew) * 1000),
            last_sweep_at=None,
            breaker="closed",
            spooled=0,
            requests_per_second=member.rate,
        )

    async def beat(self, member: Member, own: Instance, *, joins: bool) -> list[Instance]:
        """One transaction: it begins, may wait for its turn to join, sees, commits, is answered."""
        await self._way()
        if joins:
            while self._joining and not self._joining.is_dead:
                await Pause(0.01)
            self._joining = member
        try:
            horizon = own.heartbeat_at - LIVE_FOR
            others = [row for row in self._rows.values() if row.instance_id != own.instance_id]
            seen = [own, *(row for row in others if row.heartbeat_at >= horizon)]
            await self._way()
            self._rows[own.instance_id] = own
        finally:
            if self._joining is member:
                self._joining = None
        await self._way()
        return seen

    async def _way(self) -> None:
        await Pause(self.random.choice((0.001, 0.001, 0.01, 0.5)))
        if self.now < self.store_is_back_at:
            await Pause(min(3.0, self.store_is_back_at - self.now))
            raise StoreUnavailableError("timeout")

    def _spawn(self, member: Member, work: Coroutine[Any, Any, None]) -> None:
        self._plan(self.now, member, work)

    def _plan(self, at: float, member: Member, work: Coroutine[Any, Any, None]) -> None:
        heapq.heappush(self._agenda, (at, next(self._order), member, work))


class _Time(Clock):
    """The time of a cluster: each sleep is a pause on its agenda."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def monotonic(self) -> float:
        return self._cluster.now

    async def sleep(self, seconds: float) -> None:
        await Pause(seconds)


@dataclass
class _Table:
    cluster: Cluster
    member: Member

    async def beat(self, own: Instance, *, joins: bool) -> list[Instance]:
        return await self.cluster.beat(self.member, own, joins=joins)
