"""The life of a ledger: daemons die on it one after the other, and nothing acknowledged is lost."""

import asyncio
import signal
import time
from contextlib import suppress
from pathlib import Path
from random import Random

from reconciler.inbound.spool import SUFFIX, decode_line
from tests.e2e.conftest import AUTHORIZATION, Daemon, Yard
from tests.torture.application import Application, ArrivalDeath
from tests.torture.deaths import Death, Moment
from tests.torture.disk import ForgetfulDisk, SyncDeath
from tests.torture.relay import CommitDeath
from tests.torture.stores import TorturedStore
from tests.torture.traffic import Traffic
from tests.torture.verdict import VerdictError, check_end, check_log, check_remains, refuse

MOST_SHOWN = 5

LIMIT = 30.0
"""Seconds after which work that does not become less counts as stuck."""

LONGEST = 150.0
"""Seconds that a round may take on the slowest machine."""


class Life:
    """One ledger with its spool, and all that talks to it, from death to death."""

    def __init__(
        self,
        yard: Yard,
        store: TorturedStore,
        application: Application,
        traffic: Traffic,
        chance: Random,
        *,
        files: Path,
        disk: ForgetfulDisk | None,
        loses_power: bool,
    ) -> None:
        """``files``: the directory that the daemon works in; of ``disk``, where there is one.

        ``loses_power``: with each death is lost what was not fsynced on ``disk``.
        """
        self._yard = yard
        self._store = store
        self._application = application
        self._traffic = traffic
        self._chance = chance
        self._spool = files / "spool"
        self._disk = disk
        self._loses_power = loses_power
        self._newest: Daemon | None = None

    def trouble(self) -> str:
        """Return the newest warnings and errors of the newest daemon."""
        events = self._newest.events if self._newest else []
        told = [line for line in events if line["level"] != "info"][-MOST_SHOWN:]
        return f"the newest of its {len(events)} log lines that are no information: {told}"

    async def die(self, death: Death) -> str:
        """Run a daemon until it dies, and check what it leaves. Returns the round in words."""
        daemon = await self._start(death.moment)
        acting = asyncio.create_task(self._act(daemon, death))
        dead = asyncio.create_task(daemon.process.wait())
        try:
            async with asyncio.timeout(LONGEST):
                await asyncio.wait((acting, dead), return_when=asyncio.FIRST_COMPLETED)
                was_killed = acting.done() and acting.exception() is None
                if not was_killed and not (await asyncio.wait((dead,), timeout=5))[0]:
                    acting.result()
        finally:
            acting.cancel()
            await asyncio.gather(acting, return_exceptions=True)
            code = await daemon.stop(signal.SIGKILL)
            await dead
        if code != -signal.SIGKILL:
            raise VerdictError(f"the daemon ended with {code}: {daemon.stderr}")
        check_log(daemon)
        lost = self._cut_power()
        check_remains(self._store, self._spooled(), self._traffic, self._application)
        how = " (the latest)" if death.moment and was_killed else ""
        return f"{death}{how}{lost}; {len(self._traffic.acknowledged)} acknowledged so far"

    async def end(self) -> None:
        """Run a daemon until everything is done, stop it, and check all that there is."""
        daemon = await self._start(None)
        await self._ready(daemon)
        async with self._traffic.flowing(daemon, only_unfinished=True):
            await self._until_done()
        code = await daemon.stop()
        check_log(daemon)
        refuse([code] if code else [], "a daemon that is asked to stop exits with 0")
        refuse(self._traffic.refused, "a callback is answered 200")
        check_remains(self._store, self._spooled(), self._traffic, self._application)
        truth = {name: self._yard.world.processes[name].status for name in self._traffic.processes}
        check_end(self._store, truth, self._traffic, self._application)
        refuse(await self._store.findings(), "check-db finds nothing")

    async def _until_done(self) -> None:
        """Wait until nothing is left to do; AssertionError where it does not become less."""
        least, since = self._left(), time.monotonic()
        while any(least):
            await asyncio.sleep(0.1)
            left = self._left()
            if sum(left) < sum(least):
                least, since = left, time.monotonic()
            if time.monotonic() - since > LIMIT:
                raise VerdictError(
                    "the work comes to no end: {} to be told, {} callbacks, {} processes, "
                    "{} deliveries and {} callbacks in the spool are left".format(*left)
                )

    async def _start(self, moment: Moment | None) -> Daemon:
        death = moment if isinstance(moment, SyncDeath) else None
        needs_disk = self._loses_power or death is not None  # a daemon without it starts sooner
        daemon = await self._yard.start(
            **self._application.environ(),
            **(self._disk.environ(death) if self._disk and needs_disk else {}),
            RECONCILER_STORE__URL=self._store.url,
            RECONCILER_STORE__SPOOL=str(self._spool),
            RECONCILER_ASSURE__TIMEOUT="500ms",
        )
        self._newest = daemon

        def kill() -> None:
            with suppress(ProcessLookupError):
                daemon.process.kill()

        self._store.arm(moment if isinstance(moment, CommitDeath) else None, kill)
        self._application.arm(moment if isinstance(moment, ArrivalDeath) else None, kill)
        return daemon

    async def _ready(self, daemon: Daemon) -> None:
        await daemon.ready()
        self._yard.simulator.aim(daemon.callback_url, AUTHORIZATION)

    async def _act(self, daemon: Daemon, death: Death) -> None:
        """Bring the daemon to the point where it is killed, if it does not die before."""
        if death.start is not None:  # the point of a random moment is that nothing is waited for
            await asyncio.sleep(death.start)
            return
        await self._ready(daemon)
        async with self._traffic.flowing(daemon):
            await self._traffic.more(death.acknowledged)
            if death.spooled:
                with self._store.unavailable():
                    await daemon.said("callback_spooled", death.spooled)
                    if not death.later:
                        daemon.process.kill()
            await asyncio.sleep(death.later)
            daemon.process.kill()

    def _cut_power(self) -> str:
        if not self._loses_power or self._disk is None:
            return ""
        keeps_some = self._chance.random() < 0.5
        self._disk.cut_power(self._chance if keeps_some else None)
        return f"; power cut, {'some' if keeps_some else 'nothing'} kept that was not fsynced"

    def _spooled(self) -> set[bytes]:
        """Return the SHA-256 of each callback in the spool."""
        found = set()
        for path in self._spool.glob(f"*{SUFFIX}"):
            for line in path.read_bytes().split(b"\n"):
                receipt = decode_line(line)
                if receipt is not None:
                    found.add(receipt.body_sha256)
        return found

    def _left(self) -> list[int]:
        """Return what is left to do: to tell, to apply, to ask, to deliver, and to drain."""
        counts = self._store.rows(
            "SELECT count(*) FROM callbacks WHERE outcome IS NULL",
            "SELECT count(*) FROM processes WHERE next_check_at IS NOT NULL",
            "SELECT count(*) FROM deliveries WHERE next_attempt_at IS NOT NULL",
        )
        rows = [each[0][0] for each in counts]
        return [self._traffic.untold, *rows, len(self._spooled())]
