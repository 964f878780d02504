"""The running daemon logs what people did by the command line."""

from pathlib import Path
from shutil import copy

import structlog
from structlog.testing import LogCapture

from reconciler.daemon.action_log import MOST, ActionLog
from reconciler.store.actions import Action
from reconciler.store.open import open_store
from tests.clock import NOW


async def test_an_action_that_somebody_else_wrote_is_logged_once(
    tmp_path: Path, empty_store: Path
) -> None:
    url = f"sqlite:///{copy(empty_store, tmp_path / 'ledger.db')}"
    captured = LogCapture()
    daemon, command = await open_store(url, is_daemon=True), await open_store(url, is_daemon=False)
    try:
        job = ActionLog(daemon.actions, structlog.wrap_logger(None, processors=[captured]))
        done = [
            Action(NOW, "ada", "recheck", "p1", {"verb": "fetch"}),
            Action(NOW, "ada", "import", fields={"processes": 12}),
        ]
        await command.actions.write(done, is_logged=False)
        await daemon.actions.write([Action(NOW, "api", "forget")], is_logged=True)

        assert await job.turn() is False
        assert await job.turn() is False
    finally:
        await command.database.close()
        await daemon.database.close()

    told = {"event": "operator_action", "log_level": "info", "by": "ada"}
    at = "2027-01-15T08:00:00.000Z"
    assert captured.entries == [
        {**told, "action": "recheck", "process_id": "p1", "verb": "fetch", "at": at},
        {**told, "action": "import", "processes": 12, "at": at},
    ]


async def test_many_actions_are_logged_in_several_turns(tmp_path: Path, empty_store: Path) -> None:
    url = f"sqlite:///{copy(empty_store, tmp_path / 'ledger.db')}"
    captured = LogCapture()
    store = await open_store(url, is_daemon=True)
    try:
        job = ActionLog(store.actions, structlog.wrap_logger(None, processors=[captured]))
        many = [Action(NOW, "ada", "recheck", f"p{number}") for number in range(MOST + 1)]
        await store.actions.write(many, is_logged=False)

        assert [await job.turn(), await job.turn()] == [True, False]
    finally:
        await store.database.close()

    assert [line["process_id"] for line in captured.entries] == [each.process_id for each in many]
