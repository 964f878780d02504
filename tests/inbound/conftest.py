"""The parts that take callbacks in, on a real socket, a real SQLite file and a real spool."""

import asyncio
import logging
import shutil
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, fields, replace
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog
import uvloop
from structlog.testing import LogCapture

from reconciler.config import AccessRules, InForce, Secrets, in_force, load
from reconciler.inbound.applier import Applier
from reconciler.inbound.bind import bind
from reconciler.inbound.build import Inbound, build_inbound
from reconciler.inbound.group_commit import Intake
from reconciler.inbound.limits import Limits
from reconciler.inbound.listener import Listener
from reconciler.inbound.spool import Spool
from reconciler.ledger import Outcome, Rules
from reconciler.runtime.bell import Bell
from reconciler.runtime.clock import Clock
from reconciler.runtime.current_value import Current
from reconciler.store.apply import Observed
from reconciler.store.database import Database
from reconciler.store.errors import StoreUnavailableError
from reconciler.store.inbox import Inbox, Receipt
from reconciler.store.open import Store, open_store

PATIENCE = 30.0
"""Seconds after which a condition counts as never met, on a slow, busy machine."""

CALLBACK = {"dossierId": "d-1", "processId": "p-1", "status": "accepted"}

NOW = 1_750_000_000_000
"""The begin of the wall clock, in UTC milliseconds."""


class Ticking(Clock):
    """A clock whose wall time differs at each look, so that callbacks keep their order."""

    def __init__(self) -> None:
        self._times = count(NOW)

    def now(self) -> int:
        return next(self._times)


LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run each test with a socket on both event loops, the others on one."""
    fixtures = getattr(item, "fixturenames", ())
    return LOOPS if "wires" in fixtures else {"asyncio": asyncio.new_event_loop}


def body(**members: object) -> bytes:
    return orjson.dumps({**CALLBACK, **members})


def post(content: bytes, *headers: str, path: str = "/callbacks/assure") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: listener", *headers]
    if not any(header.lower().startswith(("content-length", "transfer-")) for header in headers):
        lines.append(f"Content-Length: {len(content)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + content


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> str | None:
        """The code of an error in the contract's shape."""
        said = orjson.loads(self.body)
        if self.status == 200:
            assert said == {"received": True}
            return None
        assert set(said) == {"error", "detail"}
        assert said["detail"]
        return str(said["error"])


class Wire:
    """One raw connection to the listener."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self, *, has_body: bool = True) -> Answer:
        """The next answer, read by its Content-Length."""
        async with asyncio.timeout(PATIENCE):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.split("\r\n")[:-2]
            headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
            status = int(first.split(" ")[1])
            assert first.startswith("HTTP/1.")
            if status == 100:
                return Answer(status, headers, b"")
            assert headers["content-type"] == "application/json"
            length = int(headers["content-length"]) if has_body else 0
            return Answer(status, headers, await self._reader.readexactly(length))

    async def ask(self, data: bytes) -> Answer:
        await self.send(data)
        return await self.answer()

    async def rest(self) -> bytes:
        """Read until the listener closes; a reset counts as a close."""
        async with asyncio.timeout(PATIENCE):
            try:
                return await self._reader.read()
            except ConnectionError:
                return b""

    def end_writing(self) -> None:
        self._writer.write_eof()

    def reset(self) -> None:
        """Hang up as a killed process does: with a reset instead of a farewell."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def close(self) -> None:
        self._writer.close()
        with suppress(ConnectionError, ssl.SSLError):
            await self._writer.wait_closed()


class Gate(Inbox):
    """The inbox behind a gate that a test can shut; counts what passes."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.groups: list[int] = []
        """How many callbacks each ``put_many`` was given."""
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.knocked = asyncio.Event()
        """Set when something waits at the shut gate."""
        self.failure: Exception | None = None
        self.bad: Exception | None = None
        """Raised where a callback of a process called ``bad`` is to be applied."""
        self.has_room = True
        self.asked_for_room = 0

    async def put_many(self, receipts: Sequence[Receipt]) -> None:
        self.groups.append(len(receipts))
        await self._pass()
        await super().put_many(receipts)

    async def check_room(self) -> None:
        self.asked_for_room += 1
        if not self.has_room:
            raise StoreUnavailableError("the disk is full")
        await super().check_room()

    async def prove(self) -> None:
        await self._pass()
        await super().prove()

    async def apply(
        self, receipts: Sequence[Receipt], rules: Rules, now: int
    ) -> list[tuple[Observed, Outcome]]:
        if self.bad and any(each.process_id.startswith("bad") for each in receipts):
            raise self.bad
        return await super().apply(receipts, rules, now)

    async def _pass(self) -> None:
        if not self.is_open.is_set():
            self.knocked.set()
            await self.is_open.wait()
        if self.failure is not None:
            raise self.failure


@dataclass
class House:
    """The parts on their store, and all that a test looks at or changes."""

    store: Store
    gate: Gate
    spool_path: Path
    current: Current[InForce]
    tls: Current[ssl.SSLContext | None]
    new_inbound: Callable[[], Inbound]
    listening: socket.socket
    clock: Clock
    due: Bell
    news: Bell
    lines: LogCapture
    inbound: Inbound
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    @property
    def listener(self) -> Listener:
        return self.inbound.listener

    @property
    def intake(self) -> Intake:
        return self.inbound.intake

    @property
    def applier(self) -> Applier:
        return self.inbound.applier

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The fields of each line of this event."""
        found = [dict(line) for line in self.lines.entries if line["event"] == event]
        for line in found:
            del line["event"], line["log_level"]
        return found

    def events(self) -> list[str]:
        return [line["event"] for line in self.lines.entries]

    async def stored(self) -> list[Any]:
        """The rows of the inbox, by arrival."""
        query = "SELECT * FROM callbacks ORDER BY received_at, receipt_id"
        async with self.store.database.read() as connection:
            return list(await connection.exec_driver_sql(query))

    async def stored_ids(self) -> list[str]:
        return [row.process_id for row in await self.stored()]

    def spooled_ids(self) -> list[str]:
        """Read as another process would: from the files."""
        return [
            orjson.loads(line.split(b" ", 1)[1])[2]
            for path in sorted(self.spool_path.glob("*.spool"))
            for line in path.read_bytes().splitlines()
        ]

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait for a condition; fail with the log when it does not come."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not holds():
                    await asyncio.sleep(0.002)
        except TimeoutError:
            pytest.fail(f"did not happen; the log says {self.lines.entries}")

    def start(self, parts: Sequence[str]) -> None:
        for name in parts:
            part = getattr(self.inbound, name)
            self.tasks[name] = asyncio.create_task(part.run(), name=name)
        if "listener" in parts:
            self.listener.open(self.listening.dup())

    async def stop_listener(self) -> None:
        self.listener.stop()
        await self.tasks.pop("listener")

    async def restart(self) -> None:
        """Accept again on the same socket, as the next process does under systemd."""
        parts = {"listener": None, **self.tasks}
        await self.finish()
        self.inbound = self.new_inbound()
        self.start([*parts])

    async def finish(self) -> None:
        """Stop everything in the service's order."""
        if "listener" in self.tasks:
            await self.stop_listener()
        for name in ("intake", "drain", "applier"):
            getattr(self.inbound, name).stop()
            if name in self.tasks:
                await self.tasks.pop(name)
        self.inbound.spool.close()


@dataclass(frozen=True)
class Plan:
    """The settings and limits of a house, where a test wants other ones."""

    authorization: tuple[bytes, ...] = ()
    allow_from: tuple[Any, ...] = ()
    trusted_proxies: tuple[Any, ...] = ()
    path: str = "/callbacks/assure"
    max_body: int = 65536
    host: str = "127.0.0.1"
    tls: ssl.SSLContext | None = None
    most_connections: int = 1000
    request_timeout: float = 10.0
    store_timeout: float = PATIENCE
    spool_timeout: float = PATIENCE
    drain_interval: float = 0.01
    stop_linger: float = 0.0
    answering: float = 8.0
    shutdown: float = 4.0
    keepalive: str = "75s"
    parts: tuple[str, ...] = ("intake", "drain", "applier")
    clock: Clock = field(default_factory=Ticking)

    def access(self) -> AccessRules:
        return AccessRules(
            self.path, self.authorization, self.allow_from, self.trusted_proxies, self.max_body
        )

    def limits(self) -> Limits:
        return Limits(**{limit.name: getattr(self, limit.name) for limit in fields(Limits)})


BuildHouse = Callable[[Plan], Awaitable[House]]
Dial = Callable[[House], Awaitable[Wire]]


@pytest.fixture
async def build(
    empty_store: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[BuildHouse]:
    """Build houses, and stop them at the end. A line that a library logs is a failure."""
    caplog.set_level(logging.WARNING)
    async with AsyncExitStack() as stack:

        async def build(plan: Plan) -> House:
            return await stack.enter_async_context(open_house(plan, empty_store, tmp_path))

        yield build
    assert [record.getMessage() for record in caplog.records] == []


@asynccontextmanager
async def open_house(plan: Plan, empty_store: Path, tmp_path: Path) -> AsyncIterator[House]:
    path = tmp_path / "reconciler.db"
    if not path.exists():
        shutil.copy(empty_store, path)
    lines = LogCapture()
    log = structlog.wrap_logger(
        None, processors=[lines], wrapper_class=structlog.make_filtering_bound_logger(0)
    )
    store = await open_store(f"sqlite:///{path}", is_daemon=True)
    gate = Gate(store.database)
    defaults = in_force(
        load(None, {"RECONCILER_LISTENER__KEEPALIVE": plan.keepalive}), Secrets(store_url="")
    )
    current = Current(replace(defaults, rules=Rules(), access=plan.access()))
    tls, clock, due, news = Current(plan.tls), plan.clock, Bell("due"), Bell("news")
    serial = count(1)

    def new_inbound() -> Inbound:
        return build_inbound(
            gate,
            Spool(tmp_path / "spool", f"house-{next(serial)}"),
            current,
            tls,
            due=due,
            news=news,
            clock=clock,
            log=log,
            limits=plan.limits(),
        )

    house = House(
        store=store,
        gate=gate,
        spool_path=tmp_path / "spool",
        current=current,
        tls=tls,
        new_inbound=new_inbound,
        listening=bind(plan.host, 0)[0],
        clock=clock,
        due=due,
        news=news,
        lines=lines,
        inbound=new_inbound(),
    )
    house.start(["listener", *plan.parts])
    try:
        yield house
    finally:
        gate.is_open.set()
        try:
            await house.finish()
        finally:
            for task in house.tasks.values():
                task.cancel()
            house.listening.close()
            await store.database.close()


@pytest.fixture
async def wires() -> AsyncIterator[Dial]:
    """Open raw connections to a house; they are closed at the end."""
    opened: list[Wire] = []

    async def dial(house: House) -> Wire:
        host, port = house.listening.getsockname()[:2]
        async with asyncio.timeout(PATIENCE):
            wire = Wire(*await asyncio.open_connection(host, port))
        opened.append(wire)
        return wire

    yield dial
    for wire in opened:
        await wire.close()


Ask = Callable[[House, bytes], Awaitable[Answer]]


@pytest.fixture
async def ask(wires: Dial) -> Ask:
    """Ask on a connection of its own: one that was refused is closed."""

    async def ask(house: House, data: bytes) -> Answer:
        return await (await wires(house)).ask(data)

    return ask


@pytest.fixture
async def house(build: BuildHouse) -> House:
    return await build(Plan())


@pytest.fixture
async def wire(house: House, wires: Dial) -> Wire:
    return await wires(house)


@pytest.fixture
def receipt() -> Callable[..., Receipt]:
    """Make receipts: each with its own id, and arrived one millisecond after the other."""
    serial = iter(range(1, 1_000_000))
    first = Receipt("", 0, "", "d-1", "accepted", (), bytes(32))

    def receipt(process_id: str, **changes: Any) -> Receipt:
        number = next(serial)
        made = replace(
            first,
            receipt_id=f"r{number:06}",
            received_at=1_700_000_000_000 + number,
            process_id=process_id,
        )
        return replace(made, **changes)

    return receipt
