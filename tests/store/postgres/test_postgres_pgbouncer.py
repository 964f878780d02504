"""Behind PgBouncer in transaction mode each transaction may get another connection."""

import asyncio
import os
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
import pytest

from reconciler.ledger import Fetched, Lane, Registration, Rules, State
from reconciler.store.delivery_row import DeliveryState
from reconciler.store.inbox import Receipt
from reconciler.store.instances import Instance
from reconciler.store.open import Store, open_store, prepare
from reconciler.store.outbox import Attempt
from tests.clock import NOW
from tests.postgres import FAST, Server, running_server
from tests.store.conftest import PATIENCE, get

MakeReceipt = Callable[..., Receipt]

CONFIG = """
[databases]
* = host=127.0.0.1 port={server} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
auth_type = any
pool_mode = transaction
default_pool_size = 2
unix_socket_dir =
logfile = {directory}/log
"""


class Bouncer:
    """PgBouncer with two server connections for all clients, before a server of our own."""

    def __init__(self, server: Server, port: int) -> None:
        self.server = server
        self._port = port

    def url(self, database: str) -> str:
        return f"postgresql://anybody@127.0.0.1:{self._port}/{database}"


@pytest.fixture(scope="module")
def bouncer() -> Iterator[Bouncer]:
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        pytest.skip("pgbouncer is not installed")
    with running_server(*FAST) as server, TemporaryDirectory() as made:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        config = Path(made) / "pgbouncer.ini"
        config.write_text(CONFIG.format(server=server.port, port=port, directory=made))
        user = server.user
        for path in (config.parent, config):
            if user is not None:
                shutil.chown(path, user)
        with subprocess.Popen([program, "-q", str(config)], user=user) as process:
            try:
                _wait_for(port, process)
                yield Bouncer(server, port)
            finally:
                process.kill()


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, "pgbouncer has ended"
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError("pgbouncer does not listen")


@pytest.fixture
async def stores(bouncer: Bouncer) -> AsyncIterator[tuple[Store, Store, str]]:
    """One store, opened by two daemons through PgBouncer, and the name of its database."""
    name = bouncer.server.create()
    url = bouncer.url(name)
    assert prepare(url, may_create=True, may_migrate=True) != []
    one, two = await open_store(url, is_daemon=True), await open_store(url, is_daemon=True)
    yield one, two, name
    await one.database.close()
    await two.database.close()


async def live_through(store: Store, rules: Rules, receipt: MakeReceipt, name: str) -> None:
    """Do all of a daemon's work on a process, from its registration to its delivery."""
    await store.instances.beat(Instance(name, "h", 1, "1", NOW, NOW, None, "closed", 0))
    batch = [Registration(f"{name}-{number}", "d1") for number in range(20)]
    await store.registry.register(batch, rules, NOW, whole=True)
    callbacks = [receipt(one.process_id, at=NOW + 1) for one in batch[:10]]
    await store.inbox.put_many(callbacks)
    await store.inbox.apply(callbacks, rules, NOW + 2)
    await store.work.turn_overdue(rules, NOW + rules.default.callback_timeout, 100)
    while held := await store.work.claim(
        (Lane.CONFIRM,), 4, owner=name, rules=rules, now=NOW + 9, length=1000
    ):
        results: Any = [(one.process_id, Fetched(one.attempt, "accepted")) for one in held]
        await store.work.record(results, rules, NOW + 10)
    while leased := await store.outbox.claim(4, owner=name, now=NOW + 11, length=1000):
        done = [Attempt(row, DeliveryState.DELIVERED) for row in leased]
        await store.outbox.record(done, owner=name, now=NOW + 12)
    await store.views.page(state=None, limit=5, cursor=None)
    await store.views.counts()
    await store.inbox.prove()


async def test_two_daemons_live_behind_it(
    stores: tuple[Store, Store, str], bouncer: Bouncer, receipt: MakeReceipt
) -> None:
    one, two, database = stores
    rules = Rules(deliver=True)
    await asyncio.gather(
        live_through(one, rules, receipt, "one"), live_through(two, rules, receipt, "two")
    )
    for name in ("one", "two"):
        assert (await get(one, f"{name}-3")).state is State.SETTLED
    counts = await two.views.counts()
    assert (counts.states["settled"], counts.states["overdue"]) == (20, 20)
    assert counts.deliveries_pending == 0
    assert bouncer.server.look(database, "SELECT count(*) FROM instances") == [(2,)]


async def test_no_state_of_ours_stays_on_the_connections_that_all_share(
    stores: tuple[Store, Store, str], bouncer: Bouncer, receipt: MakeReceipt
) -> None:
    one, _, database = stores
    await live_through(one, Rules(deliver=True), receipt, "one")
    for _ in range(2):
        with psycopg.connect(
            bouncer.url(database), autocommit=True, prepare_threshold=None
        ) as client:
            for name in ("statement_timeout", "lock_timeout", "transaction_read_only"):
                assert client.execute(f"SHOW {name}").fetchone() in (("0",), ("off",))
            for view in ("pg_prepared_statements", "pg_cursors"):
                assert client.execute(f"SELECT count(*) FROM {view}").fetchone() == (0,)
            held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
            assert client.execute(held).fetchone() == (0,)
