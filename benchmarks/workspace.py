"""The temporary folder of one run, with configurations, filled stores, and daemons on them."""

import shutil
import socket
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.children import Child, daemon_words, python
from benchmarks.figures import Say
from reconciler.ledger import Policy, Registration, Rules
from reconciler.ledger.policy import DAY
from reconciler.store.open import open_store, prepare

AUTHORIZATION = "Bearer benchmark"
PATH = "/callbacks/assure"
BATCH = 1_000
"""Processes registered in one transaction."""

AGO = DAY
"""How long ago, in ms, the processes of a filled store were registered."""

_CONFIG = """\
[listener]
port = 0
authorization = ["{authorization}"]
[admin]
listen = "127.0.0.1:0"
[assure]
base_url = "{assure}"
token_url = "{token_url}"
client_id = "demo"
client_secret = "demo-secret"
requests_per_second = {rate}
[reconcile]
ladder = [{ladder}]
sweep_interval = "{sweep}"
[store]
url = "{url}"
spool = "{folder}/spool"
"""


def now() -> int:
    """Return the time in UTC milliseconds."""
    return time.time_ns() // 1_000_000


class Place:
    """One folder with a configuration and a store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "reconciler.toml"
        self.store = folder / "store.db"
        self.url = f"sqlite:///{self.store}"

    def configure(
        self,
        *,
        assure: str,
        token_url: str = "",
        rate: float = 20,
        sweep: str = "5s",
        ladder: tuple[str, ...] = ("notify", "fetch"),
    ) -> None:
        """Write the configuration: all defaults but what is named here."""
        text = _CONFIG.format(
            folder=self.folder,
            url=self.url,
            authorization=AUTHORIZATION,
            assure=assure,
            token_url=token_url or f"{assure}/token",
            rate=rate,
            sweep=sweep,
            ladder=", ".join(f'"{rung}"' for rung in ladder),
        )
        self.config.write_text(text)

    @asynccontextmanager
    async def daemon(self) -> AsyncIterator[Child]:
        """Run the daemon as its users do. Does not wait until it is ready."""
        async with python(self.folder, *daemon_words(self.config)) as child:
            yield child

    def write(self, statement: str, *values: Any) -> None:
        """Change the store while no daemon runs."""
        with closing(sqlite3.connect(self.store)) as connection, connection:
            connection.execute(statement, values)

    def count(self, query: str) -> int:
        """Return the one number that ``query`` asks for."""
        with closing(sqlite3.connect(self.store, timeout=30)) as connection:
            return int(connection.execute(query).fetchone()[0])


class Workspace:
    """All places of one run, and the filled store that they are copies of."""

    def __init__(self, folder: Path, say: Say) -> None:
        self._folder = folder
        self._filled: dict[int, Path] = {}
        self._serial = 0
        self._say = say
        self.benchmark = ""
        """The one that runs now; its name stands before each message."""

    def say(self, text: str) -> None:
        """Show progress to the person who waits."""
        self._say(f"{self.benchmark}: {text}")

    async def place(self, processes: int = 0) -> Place:
        """Return a new place whose store holds so many waiting processes, due in a year."""
        if processes not in self._filled:
            self._filled[processes] = await self._fill(processes)
        self._serial += 1
        place = Place(self._folder / f"place-{self._serial}")
        place.folder.mkdir()
        shutil.copy(self._filled[processes], place.store)
        return place

    async def _fill(self, processes: int) -> Path:
        path = self._folder / f"filled-{processes}.db"
        url = f"sqlite:///{path}"
        prepare(url, may_create=True, may_migrate=True)
        rules = Rules(Policy(callback_timeout=365 * DAY))
        store = await open_store(url, is_daemon=True)
        try:
            for start in range(0, processes, BATCH):
                if start % (10 * BATCH) == 0:
                    self.say(f"registering {processes:,} processes: {start:,}")
                serials = range(start, min(start + BATCH, processes))
                batch = [registration(serial) for serial in serials]
                await store.registry.register(batch, rules, now() - AGO, whole=True)
        finally:
            await store.database.close()
        # The last connection has moved the WAL into the file, so that the file alone is the store.
        return path


def registration(serial: int) -> Registration:
    """Return that of the process with this number."""
    text = f"{serial:012d}"
    return Registration(
        process_id=f"5f0c1a2b-7d3e-4c9a-8b6f-{text}",
        dossier_id=f"9e8d7c6b-5a4f-4e3d-a2c1-{text}",
        provider="onfido",
        process_type="documentSelfie",
        reference=f"customer-{text}",
        by="benchmark",
    )


@contextmanager
def nobody() -> Iterator[str]:
    """Return the base URL of an Assure that refuses every connection."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # bound and never listening, so nobody else gets the port
        yield f"http://127.0.0.1:{silent.getsockname()[1]}"
