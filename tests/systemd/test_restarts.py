"""A restart under load loses nothing: the promise of the socket unit, kept by a real systemd."""

import json
import subprocess
from typing import Any

import pytest

from tests.e2e.conftest import AUTHORIZATION
from tests.systemd.box import CHECKOUT

RESTARTS = 20
LOGGED = ("callback_received", "callback_spooled")

STORED = """
import sqlite3
with sqlite3.connect("file:/var/lib/reconciler/reconciler.db?mode=ro", uri=True) as store:
    print(*(row[0] for row in store.execute("SELECT process_id FROM callbacks")), sep="\\n")
"""


@pytest.mark.timeout(300)
def test_20_restarts_under_200_callbacks_a_second_fail_no_request(running: Any) -> None:
    python = "/opt/reconciler/bin/python3"
    load = [python, f"{CHECKOUT}/tests/systemd/load.py", "127.0.0.1", "8080", AUTHORIZATION]
    pids = {running.show("MainPID")}
    with subprocess.Popen(
        running.command(*load), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as sending:
        assert sending.stdout is not None
        for _ in range(RESTARTS):
            assert sending.stdout.readline().strip().isdigit()  # 50 more are answered
            running.run("systemctl", "restart", "reconciler.service")
            pids.add(running.show("MainPID"))
        *_, last = sending.communicate(timeout=120)[0].splitlines()
    told = json.loads(last)

    def all_are_stored() -> bool:  # what was spooled on a slow disk is drained first
        stored = running.run(python, "-c", STORED).splitlines()
        return sorted(stored) == sorted(told["acknowledged"])

    assert len(pids) == RESTARTS + 1
    assert told["failed"] == {}
    assert len(told["acknowledged"]) > RESTARTS * 50
    running.until(all_are_stored, "every acknowledged callback in the store")
    log = running.log()
    stops = [line for line in log if line["event"] == "stopped"]
    assert [line["log_lines_dropped"] for line in stops] == [0] * RESTARTS
    # Nor does journald drop lines, as it would by itself in such a burst.
    logged = {line["process_id"] for line in log if line["event"] in LOGGED}
    assert logged == set(told["acknowledged"])
