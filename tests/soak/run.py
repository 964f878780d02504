"""One soak: a daemon under steady traffic, with faults, restarts and samples, to its verdict."""

import asyncio
import itertools
import signal
import sqlite3
import time
from collections.abc import Callable, Coroutine
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from tests.soak.daemon import Daemon, DaemonError
from tests.soak.far_side import SECRET, FarSide, far_side
from tests.soak.growth import Sample, judge
from tests.soak.traffic import ADMIN_TOKEN, AUTHORIZATION, Traffic

RESTARTS_UNTIL = 0.4
"""Part of a run in which daemons are ended; the last one then lives on, so that it can grow."""

RESTARTS = 8
"""At most: on a slow machine a restart takes longer."""

CYCLES = 20
"""Cycles of faults in a run."""

LEAST_PATIENCE = 60.0
"""Seconds that the daemon has, at least, to finish all work when the faults have ended."""

_CONFIG = """\
[listener]
port = 0
authorization = ["{authorization}"]
[admin]
listen = "127.0.0.1:0"
token = "{admin_token}"
[assure]
base_url = "{base_url}"
token_url = "{token_url}"
client_id = "{client_id}"
client_secret = "{client_secret}"
timeout = "2s"
requests_per_second = {budget}
[reconcile]
callback_timeout = "10s"
sweep_interval = "1s"
notify_grace = "5s"
backoff = {{ initial = "1s", factor = 2.0, max = "10s", jitter = 0.1 }}
[delivery]
url = "{application}"
secret = "{secret}"
timeout = "2s"
backoff = {{ initial = "500ms", factor = 2.0, max = "5s", jitter = 0.1 }}
[retention]
settled = "2m"
callbacks = "2m"
[store]
url = "sqlite:///{folder}/store.db"
spool = "{folder}/spool"
"""

_BACKLOG = """\
SELECT (SELECT count(*) FROM callbacks WHERE outcome IS NULL),
(SELECT count(*) FROM processes WHERE state = 'overdue'),
(SELECT count(*) FROM deliveries WHERE next_attempt_at IS NOT NULL)"""


@dataclass(slots=True)
class Told:
    """All that a run has to tell."""

    samples: list[Sample] = field(default_factory=list)
    restarts: list[tuple[float, str]] = field(default_factory=list)
    """Seconds since the begin, and the signal."""
    problems: list[str] = field(default_factory=list)
    figures: dict[str, object] = field(default_factory=dict)


class Soak:
    """One run on one ledger."""

    def __init__(
        self,
        far: FarSide,
        folder: Path,
        *,
        rate: float,
        seconds: float,
        restarts: int,
        say: Callable[[str], None],
    ) -> None:
        self._far = far
        self._folder = folder
        self._rate = rate
        self._seconds = seconds
        self._restarts = restarts
        self._say = say
        self._config = folder / "reconciler.toml"
        self._store = folder / "store.db"
        self._daemon = Daemon(self._config, folder)
        self._traffic = Traffic(self._daemon, far)
        self._begun = 0.0
        self._told = Told()

    @property
    def cycle(self) -> float:
        """Seconds in which the faults repeat."""
        return self._seconds / CYCLES

    async def run(self, *, judged: bool) -> Told:
        """Run, and return what was seen. ``judged``: growth is a problem too."""
        self._configure()
        try:
            await self._daemon.start()
            self._begun = time.monotonic()
            await self._under_load()
            await self._finish()
        except* DaemonError as errors:  # a group, where a task of the load has raised it
            self._told.problems += map(str, errors.exceptions)
        finally:
            await self._daemon.end(signal.SIGKILL)
        self._add_figures()
        if judged:
            found = judge(
                self._told.samples, seconds=self._seconds, cycle=self.cycle, rate=self._rate
            )
            self._told.problems += found
        return self._told

    def _configure(self) -> None:
        simulator = self._far.simulator
        self._config.write_text(
            _CONFIG.format(
                folder=self._folder,
                authorization=AUTHORIZATION,
                admin_token=ADMIN_TOKEN,
                base_url=simulator.base_url,
                token_url=simulator.token_url,
                client_id=simulator.client_id,
                client_secret=simulator.client_secret,
                budget=3 * self._rate,
                application=self._far.application.url,
                secret=SECRET,
            )
        )

    async def _under_load(self) -> None:
        self._aim()
        beside: tuple[Coroutine[Any, Any, None], ...] = (
            self._far.make_trouble(self.cycle),
            self._restart_now_and_then(),
            self._look_again_and_again(),
        )
        async with asyncio.TaskGroup() as tasks:
            others = [tasks.create_task(each) for each in beside]
            await self._traffic.flow(self._rate, self._seconds)
            for other in others:
                other.cancel()

    def _aim(self) -> None:
        self._far.simulator.aim(f"{self._daemon.listener}/callbacks/assure", AUTHORIZATION)

    async def _restart_now_and_then(self) -> None:
        until = self._seconds * RESTARTS_UNTIL
        for number in itertools.cycle((signal.SIGKILL, signal.SIGTERM)):
            await asyncio.sleep(until / (self._restarts + 1))
            if time.monotonic() > self._begun + until:
                return
            await self._restart(number)

    async def _restart(self, number: signal.Signals) -> None:
        self._told.restarts.append((time.monotonic() - self._begun, number.name))
        await self._daemon.end(number)
        await self._daemon.start()
        self._aim()

    async def _look_again_and_again(self) -> None:
        every = min(max(self._seconds / 600, 0.5), 6.0)
        for number in itertools.count(1):
            await asyncio.sleep(self._begun + number * every - time.monotonic())
            sample = await self._sample()
            self._told.samples.append(sample)
            if number % 10 == 0:
                self._say(_in_words(sample, self._seconds))

    async def _sample(self) -> Sample:
        took, self._traffic.latencies = self._traffic.latencies, []
        ready_at, now = self._daemon.ready_at, time.monotonic()
        unapplied, overdue, pending = await asyncio.to_thread(self._backlog)
        return Sample(
            at=now - self._begun,
            age=None if ready_at is None else now - ready_at,
            memory=self._daemon.resident(),
            p50=1000 * median(took) if took else None,
            p99=1000 * quantiles(took, n=100)[98] if len(took) > 1 else None,
            unapplied=unapplied,
            overdue=overdue,
            pending=pending,
        )

    def _backlog(self) -> tuple[int, int, int]:
        with closing(sqlite3.connect(self._store, timeout=30)) as connection:
            unapplied, overdue, pending = connection.execute(_BACKLOG).fetchone()
            return unapplied, overdue, pending

    async def _finish(self) -> None:
        """Kill the daemon, let the next one finish without faults, and look at what is left."""
        self._far.calm()
        await self._restart(signal.SIGKILL)
        patience = max(LEAST_PATIENCE, self._seconds / 10)
        begun = time.monotonic()
        while (missing := self._missing()) or any(await asyncio.to_thread(self._backlog)):
            if time.monotonic() > begun + patience:
                break
            await asyncio.sleep(0.2)
        self._told.figures["seconds to finish"] = round(time.monotonic() - begun, 1)
        problems = self._told.problems
        if missing:
            problems.append(f"lost: {len(missing)} acknowledged, such as {missing[:3]}")
        if any(left := self._backlog()):
            problems.append(f"left behind: {left} callbacks, overdue processes, deliveries")
        await self._daemon.end(signal.SIGTERM)
        if found := await self._daemon.check_db():
            problems.append(f"check-db has findings: {found}")

    def _missing(self) -> list[str]:
        self._traffic.settle()
        return self._traffic.missing()

    def _add_figures(self) -> None:
        traffic, daemon, problems = self._traffic, self._daemon, self._told.problems
        self._told.figures |= {
            "acknowledged": traffic.acknowledged,
            "a second": round(traffic.acknowledged / self._seconds, 1),
            "without a 200": traffic.refused,
            "deliveries": self._far.application.deliveries,
            "restarts": len(self._told.restarts),
            "log lines": daemon.lines,
            "errors logged": dict(daemon.errors),
        }
        if traffic.wrong:
            problems.append(f"{len(traffic.wrong)} wrong results, such as {traffic.wrong[:3]}")
        if traffic.held_back:
            problems.append(f"{traffic.held_back} callbacks were not sent: answers were too late")
        if daemon.ended_alone:
            problems.append(f"{daemon.ended_alone} daemons ended by themselves")
        if stderr := daemon.stderr():
            problems.append(f"stderr is not empty: {stderr}")


def _in_words(sample: Sample, seconds: float) -> str:
    def show(value: float | None) -> str:
        return "-" if value is None else f"{value:.0f}"

    return (
        f"{sample.at:5.0f} of {seconds:.0f} s  {show(sample.memory)} MB  "
        f"p50 {show(sample.p50)} ms  p99 {show(sample.p99)} ms  unapplied {sample.unapplied}  "
        f"overdue {sample.overdue}  pending deliveries {sample.pending}"
    )


async def soak(
    folder: Path,
    *,
    rate: float,
    seconds: float,
    restarts: int = RESTARTS,
    judged: bool = True,
    say: Callable[[str], None],
) -> Told:
    """Run in the empty ``folder``, and return what was seen."""
    async with far_side() as far:
        run = Soak(far, folder, rate=rate, seconds=seconds, restarts=restarts, say=say)
        return await run.run(judged=judged)
