"""Leads the life of a ledger from beginning to end: builds all that it needs, by its name."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random

from reconciler.simulator import Faults
from tests.e2e.conftest import yard
from tests.forks import Forks
from tests.postgres import Databases
from tests.torture.application import application
from tests.torture.deaths import deaths
from tests.torture.disk import ForgetfulDisk
from tests.torture.life import Life
from tests.torture.stores import SqliteStore, TorturedStore, postgres_store
from tests.torture.traffic import Traffic

NAMES = ("sqlite", "postgres", "sqlite-power", "postgres-power")
"""The database, and whether each death is a power cut. PostgreSQL itself keeps its power."""


class TortureError(Exception):
    """Something acknowledged was lost, or came to no end; the text names the command to repeat."""


@dataclass(frozen=True)
class Equipment:
    """Resources that lives share."""

    databases: Databases | None
    """None: no PostgreSQL is there."""
    library: Path | None
    """The disk that forgets; None: there is no compiler for it."""
    forks: Forks | None = None


async def lead_a_life(
    name: str,
    seed: int,
    rounds: int,
    directory: Path,
    equipment: Equipment,
    say: Callable[[str], None],
) -> None:
    """Let daemons die ``rounds`` times on one ledger, and one finish the work.

    ``directory`` is empty; ``say`` is told of each round. Raises TortureError.
    """
    done = 0
    life: Life | None = None
    try:
        async with _life(name, seed, directory, equipment) as (life, chance):
            commits, on_disk = name.startswith("postgres"), equipment.library is not None
            drawn = deaths(chance, on_disk=on_disk, commits=commits)
            for death in islice(drawn, rounds):
                done += 1
                say(await life.die(death))
            done += 1
            await life.end()
    except Exception as error:  # whatever it is, it must be repeatable
        again = f"make torture ON={name} SEED={seed} ROUNDS={rounds}"
        where = f"round {done} of {rounds}" if done <= rounds else "the end"
        trouble = life.trouble() if life else ""
        told = f"{name}, {where}: {error or 'it hangs'}\n{trouble}\nTo repeat it: {again}"
        raise TortureError(told) from error


@asynccontextmanager
async def _life(
    name: str, seed: int, directory: Path, equipment: Equipment
) -> AsyncIterator[tuple[Life, Random]]:
    chance = Random(f"{name}/{seed}")
    faults = Faults(lose_notified=0.2, duplicate_callbacks=0.2, server_error=0.05, latency=0.01)
    loses_power = name.endswith("-power")
    disk = ForgetfulDisk(directory, equipment.library) if equipment.library else None
    files = directory / "disk"
    files.mkdir(exist_ok=True)
    async with (
        yard(directory, faults, equipment.forks) as here,
        application(Random(seed)) as receiver,
        _store(name, files, equipment) as store,
    ):
        traffic = Traffic(here.world, Random(seed))
        life = Life(
            here, store, receiver, traffic, chance, files=files, disk=disk, loses_power=loses_power
        )
        yield life, chance


@asynccontextmanager
async def _store(name: str, files: Path, equipment: Equipment) -> AsyncIterator[TorturedStore]:
    if not name.startswith("postgres"):
        yield SqliteStore(files)
        return
    assert equipment.databases is not None
    async with postgres_store(equipment.databases) as store:
        yield store
