"""The spool is tried before it is needed."""

from pathlib import Path

import structlog
from structlog.testing import LogCapture

from reconciler.inbound.spool import Spool
from reconciler.inbound.spool_check import SpoolCheck


async def test_a_spool_that_cannot_be_written_to_is_told_once_until_it_can(tmp_path: Path) -> None:
    directory, lines = tmp_path / "spool", LogCapture()
    log = structlog.wrap_logger(None, processors=[lines])
    check = SpoolCheck(Spool(directory, "mine"), log)

    assert await check.check() is None
    directory.rmdir()
    directory.write_text("in the way")
    assert [await check.check() for _ in range(3)] == ["EEXIST"] * 3
    directory.unlink()
    assert [await check.check() for _ in range(2)] == [None, None]

    told = [(line["event"], line["log_level"], line.get("reason")) for line in lines.entries]
    assert told == [("spool_unusable", "error", "EEXIST"), ("spool_usable", "info", None)]
    assert {line["path"] for line in lines.entries} == {str(directory)}
    assert list(directory.iterdir()) == []
