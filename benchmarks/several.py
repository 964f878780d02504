"""``several`` compares PostgreSQL with SQLite, and two or three claiming daemons with one.

The server is the one of the wheel, with fsync, and takes its share of the same cores. So these
figures say what sharing costs, not what more machines bring.
"""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.children import ChildError, python, until
from benchmarks.claimer import ROUND
from benchmarks.figures import Figure, ratio
from benchmarks.intake import MANY, UNAPPLIED, send, url_of
from benchmarks.workspace import BATCH, Place, Workspace, nobody, now, registration
from reconciler.ledger import Rules
from reconciler.store.open import Store, open_store, prepare
from tests.postgres import Server

MOST = 3
"""Daemons."""


@dataclass(frozen=True, slots=True)
class _Size:
    rounds: int
    seconds: float
    processes: int


FULL, QUICK = _Size(3, 2.0, 2_000), _Size(1, 0.2, 50)


class _OnPostgres(Place):
    """A place whose store is a database of the server."""

    def __init__(self, folder: Path, server: Server) -> None:
        super().__init__(folder)
        self._server = server
        self._database = server.create()
        self.url = server.url(self._database)

    def count(self, query: str) -> int:
        return int(self._server.look(self._database, query)[0][0])

    def run(self, statement: str) -> None:
        self._server.look(self._database, statement)


async def measure(workspace: Workspace, *, quick: bool) -> list[Figure]:
    """Load both stores in turn; then claim the same rows with one, two and three daemons."""
    size = QUICK if quick else FULL
    workspace.say("starting PostgreSQL")
    with _server() as server:
        return [*await _intake(workspace, server, size), *await _claims(workspace, server, size)]


async def _intake(workspace: Workspace, server: Server, size: _Size) -> list[Figure]:
    sqlite, postgres = await workspace.place(), await _place(workspace, server)
    many: list[tuple[float, float]] = []
    single: list[tuple[float, float]] = []
    with nobody() as assure:
        for place in (sqlite, postgres):
            place.configure(assure=assure)
        async with sqlite.daemon() as reference, postgres.daemon() as ours:
            daemons = ((postgres, await url_of(ours)), (sqlite, await url_of(reference)))
            for run in range(size.rounds):
                workspace.say(f"intake, round {run + 1} of {size.rounds}")
                for connections, member, pairs in (
                    (MANY, "per_second", many),
                    (1, "median_seconds", single),
                ):
                    pair = []
                    for place, url in daemons:
                        prefix = f"{run}-{connections}-"
                        sent = await send(place.folder, url, prefix, connections, size.seconds)
                        pair.append(sent[member])
                        await until(lambda place=place: _is_applied(place), every=0.05)  # type: ignore[misc]
                    pairs.append((pair[0], pair[1]))
            await ours.stop()
            await reference.stop()
    return [
        ratio(f"durable 200s a second, PostgreSQL ÷ SQLite, {MANY} connections", many),
        ratio("time of one durable 200, PostgreSQL ÷ SQLite, 1 connection", single),
    ]


async def _claims(workspace: Workspace, server: Server, size: _Size) -> list[Figure]:
    place = await _place(workspace, server)
    await _fill(place, size.processes)
    rates: dict[int, list[float]] = {daemons: [] for daemons in range(1, MOST + 1)}
    for run in range(size.rounds):
        for daemons, found in rates.items():
            workspace.say(f"claims, round {run + 1} of {size.rounds}, {daemons} at once")
            place.run("UPDATE processes SET lease_owner = NULL, lease_until = NULL")
            place.run("VACUUM ANALYZE processes")
            found.append(await _claimed(place, daemons, f"{run}-{daemons}", size.processes))
    return [
        ratio(
            f"claims a second, {daemons} daemons ÷ 1",
            list(zip(rates[daemons], rates[1], strict=True)),
        )
        for daemons in range(2, MOST + 1)
    ]


async def _claimed(place: _OnPostgres, daemons: int, name: str, processes: int) -> float:
    """Return the rows that so many daemons claim in a second, together."""
    async with AsyncExitStack() as stack:
        claimers = [
            await stack.enter_async_context(
                python(place.folder, *("-m", "benchmarks.claimer", place.url, str(number), name))
            )
            for number in range(daemons)
        ]
        for claimer in claimers:
            await claimer.line_with(b'"is_waiting"')
        async with _store(place.url) as store:
            await store.key_values.put(ROUND, name)
        told = [await claimer.result() for claimer in claimers]
    claimed = sum(int(str(each["claimed"])) for each in told)
    if claimed != processes:
        raise ChildError(f"{claimed} of {processes} rows were claimed")
    begun = min(float(str(each["begun"])) for each in told)
    return claimed / (max(float(str(each["ended"])) for each in told) - begun)


async def _fill(place: _OnPostgres, processes: int) -> None:
    async with _store(place.url) as store:
        long_ago = now() - 2 * Rules().default.callback_timeout
        for start in range(0, processes, BATCH):
            batch = [registration(serial) for serial in range(start, min(start + BATCH, processes))]
            await store.registry.register(batch, Rules(), long_ago, whole=True)
        while await store.work.turn_overdue(Rules(), now(), BATCH):
            pass


async def _is_applied(place: Place) -> bool:
    return await asyncio.to_thread(place.count, UNAPPLIED) == 0


async def _place(workspace: Workspace, server: Server) -> _OnPostgres:
    place = _OnPostgres((await workspace.place()).folder, server)
    await asyncio.to_thread(prepare, place.url, may_create=True, may_migrate=True)
    return place


@asynccontextmanager
async def _store(url: str) -> AsyncIterator[Store]:
    opened = await open_store(url, is_daemon=True)
    try:
        yield opened
    finally:
        await opened.database.close()


@contextmanager
def _server() -> Iterator[Server]:
    """A server of our own, on the same disk as all other stores."""
    folder = Path(tempfile.mkdtemp(prefix="reconciler-bench-pg-"))
    try:
        server = Server(folder)
        server.start()
    except (ImportError, OSError) as error:
        raise ChildError(f"no PostgreSQL can be started here: {type(error).__name__}") from error
    try:
        yield server
    finally:
        server.stop("fast")
        shutil.rmtree(folder, ignore_errors=True)
