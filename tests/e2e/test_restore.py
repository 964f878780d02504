"""A backup is restored as docs/backup.md says, word for word, and what happens is what it says.

Only ``systemctl`` is played: the daemon is stopped and started by the test.
"""

import asyncio
import os
import shlex
import sys
import time
from pathlib import Path
from typing import Any

from reconciler.inbound.spool import Spool
from reconciler.store.inbox import Receipt
from tests.e2e.test_results_reach_the_application import (
    Application,
    application,  # noqa: F401 (a fixture)
    settings,
)

DOCUMENT = Path(__file__).parents[2] / "docs" / "backup.md"
OURS = "/var/lib/reconciler"


def steps(heading: str) -> list[str]:
    """The lines of the first block of commands below a heading."""
    section = DOCUMENT.read_text().split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return section.split("```sh\n", 1)[1].split("```", 1)[0].splitlines()


class Operator:
    """Types what the document says, on this store."""

    def __init__(self, here: Any, tmp_path: Path) -> None:
        self.here = here
        self.backups = tmp_path / "backups"
        self.before = tmp_path / "before"
        self.backups.mkdir()

    async def types(self, lines: list[str]) -> None:
        script = "set -eu\n" + "\n".join(lines)
        # The longer path first, for it begins with the shorter one; the date is of no account.
        for theirs, mine in (
            (f"{OURS}-before", self.before),
            ("/var/backups/reconciler.db", self.backups / "reconciler.db"),
            ('"/var/backups/reconciler-$(date +%F).db"', self.backups / "reconciler.db"),
            (OURS, self.here.directory),
            ("reconciler.db", self.here.store.name),
        ):
            script = script.replace(str(theirs), str(mine))
        script = script.replace(
            str(self.backups / self.here.store.name), str(self.backups / "reconciler.db")
        )
        command = shlex.join([sys.executable, "-m", "reconciler"])
        process = await asyncio.create_subprocess_exec(
            *("sh", "-c", f'reconciler() {{ {command} "$@"; }}\n{script}'),
            env={**os.environ, "RECONCILER_CONFIG": str(self.here.config)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate()
        assert process.returncode == 0, out.decode()


async def test_a_restored_store_finds_out_what_it_has_missed(
    here: Any,
    application: Application,  # noqa: F811
    tmp_path: Path,
) -> None:
    operator = Operator(here, tmp_path)
    world = here.world
    before, between, since, spooled = (world.add(callback="lose") for _ in range(4))
    environ = settings(application)

    async def track(*processes: Any) -> None:
        for process in processes:
            code, _, err = await here.command("track", process.dossier_id, process.process_id)
            assert code == 0, err

    def settled(process: Any) -> Any:
        return lambda line: line["process_id"] == process.process_id

    # Ended processes, those open in the backup, and those that come after it.
    daemon = await here.running(**environ)
    await track(before)
    world.finish(before.process_id)
    await daemon.said("process_settled", where=settled(before))
    await application.has(1)
    await track(between, spooled)
    backup = steps("Make a copy")
    await operator.types(backup)
    await track(since)
    for process in (between, since):
        world.finish(process.process_id)
        await daemon.said("process_settled", where=settled(process))
    await application.has(3)
    told = {process_id: name for name, process_id in application.got}

    restore = steps("Restore")
    assert restore[0].startswith("systemctl stop ")
    assert restore[-1].startswith("systemctl start ")
    assert await daemon.stop() == 0
    spool = Spool(here.directory / "spool", "killed-daemon")
    about = (spooled.process_id, spooled.dossier_id, "accepted")
    spool.put_many([Receipt("a" * 32, time.time_ns() // 1_000_000, *about, (), b"\0" * 32)])
    spool.close()
    await operator.types(restore[1:-1])
    assert (operator.before / here.store.name).exists()
    assert here.rows("SELECT count(*) FROM processes") == [(3,)]
    world.finish(spooled.process_id)

    daemon = await here.running(**environ)
    await daemon.said("process_settled", where=settled(between))
    await daemon.said("process_settled", where=settled(spooled))
    await daemon.said("spool_drained")
    await application.has(4)

    def again() -> list[str]:
        return [name for name, key in application.got if key == between.process_id]

    await here.until(lambda: len(again()) == 2)
    assert again()[0] == told[between.process_id] != again()[1]
    assert [p for _, p in application.got].count(before.process_id) == 1
    assert (await here.command("show", since.process_id))[0] == 3
    await track(since)
    await daemon.said("process_settled", where=settled(since))
    code, _, err = await here.command("check-db")
    assert code == 0, err
    assert await daemon.stop() == 0
