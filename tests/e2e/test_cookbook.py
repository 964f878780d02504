"""The cookbook of docs/monitoring.md, typed into a shell, on the log of a real daemon."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from reconciler.simulator import Faults
from reconciler.telemetry.event_catalogue import CATALOGUE

DOCUMENT = Path(__file__).parents[2] / "docs" / "monitoring.md"
RECIPES = re.findall(r"^```sh\n(.*?)\n```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
FIELDS = {event.name: set(event.fields) for event in CATALOGUE}
EVERYWHERE = {"timestamp", "level", "event"}
NOT_JSON = "Started reconciler.service - Notices callbacks that did not come."
needs_jq = pytest.mark.skipif(
    shutil.which("jq") is None, reason="jq is not installed (Debian: apt-get install jq)"
)


def test_every_event_and_field_of_the_recipes_exists() -> None:
    assert len(RECIPES) > 10
    for recipe in RECIPES:
        program = recipe.split("'")[1]
        events = re.findall(r'\.event == "(\w+)"', program)
        assert set(events) <= FIELDS.keys()
        known = {field for event in events or FIELDS for field in FIELDS[event]}
        asked = set(re.findall(r"(?<![\w)])\.(\w+)", program))
        assert asked <= known | EVERYWHERE, recipe


class Shell:
    """Types recipes; what ``journalctl`` would print is a file."""

    def __init__(self, directory: Path, log: list[str]) -> None:
        self._directory = directory
        journal = directory / "journal"
        journal.write_text("".join([f"{NOT_JSON}\n", *log]))
        tool = directory / "journalctl"
        tool.write_text(f'#!/bin/sh\n[ "$1 $2" = "-u reconciler" ] && cat {journal}\n')
        tool.chmod(0o755)

    def type(self, recipe: str) -> tuple[int, str]:
        path = f"{self._directory}:{os.environ['PATH']}"
        done = subprocess.run(
            ["sh", "-c", recipe],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "PATH": path},
        )
        assert done.stderr == "", recipe
        return done.returncode, done.stdout


@needs_jq
@pytest.mark.parametrize("faults", [Faults(lose_callbacks=0.7, lose_notified=0.5)])
async def test_the_recipes_work_on_the_log_of_a_real_daemon(
    here: Any, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    daemon = await here.running()
    made = [here.world.add(finish_in=0.01 * n) for n in range(12)]
    found = [{"dossierId": p.dossier_id, "processId": p.process_id} for p in made]
    headers = {"Authorization": "Bearer canary-admin-token-c2d4"}
    url = f"{daemon.admin_url}/v1/processes"
    async with client.post(url, json=found, headers=headers) as response:
        assert response.status == 201
    async with client.post(daemon.callback_url, data=b"{}") as response:
        assert response.status == 401
    await daemon.said("process_settled", count=12)
    assert await daemon.stop() == 0
    shell = Shell(tmp_path, daemon.lines)
    told = {}
    for recipe in RECIPES:
        code, told[recipe] = shell.type(recipe.replace("p-4711", made[0].process_id))
        assert code == 0, recipe

    def output(word: str) -> str:
        (recipe,) = (each for each in RECIPES if word in each)
        return told[recipe]

    assert json.loads(output("tail -n 1 "))["event"] == "summary"
    assert '"callback_rejected"' in output('.level == "error"')
    assert re.search(r"^ *12 process_settled$", output("| .event'"), re.MULTILINE)
    story = [json.loads(line) for line in output("p-4711").splitlines()]
    assert {line["process_id"] for line in story} == {made[0].process_id}
    assert {"process_registered", "process_settled"} <= {line["event"] for line in story}
    ways = [line.split() for line in output("| .by'").splitlines()]
    assert sum(int(count) for count, _ in ways) == 12
    assert re.search(
        r"^ *1 authorization_missing\t127\.0\.0\.1$", output("callback_rejected"), re.MULTILINE
    )
    assert output(". != null") == "true\n"


@needs_jq
@pytest.mark.parametrize(
    "log",
    [[], ['{"event": "summary", "oldest_overdue_s": 901.5}\n'], ['{"event": "ready"}\n']],
)
def test_the_check_for_cron_fails_in_silence_and_lag(tmp_path: Path, log: list[str]) -> None:
    (recipe,) = (each for each in RECIPES if ". != null" in each)

    assert Shell(tmp_path, log).type(recipe) == (1, "false\n")
