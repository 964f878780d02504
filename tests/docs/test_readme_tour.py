"""The README is typed as it stands: every `$` line of its console blocks is run, in order.

`make …` must be a target. The simulator and the daemon run in the background, on free ports and
with a shorter time-out; the addresses in the later commands are changed accordingly. Each
line below a command must be in its output, word by word; numbers may differ.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.delivery.signing import Signer

PATIENCE = 60.0
"""Seconds after which an expected line counts as never written; generous, for a slow machine."""

OVERRIDES = {
    "RECONCILER_LISTENER__PORT": "0",
    "RECONCILER_ADMIN__LISTEN": "127.0.0.1:0",
    "RECONCILER_RECONCILE__CALLBACK_TIMEOUT": "3s",
    "RECONCILER_LOG__FORMAT": "console",  # what a terminal would show
}


def steps(block: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each command with the output below it; "" for output of the daemon."""
    command, output = "", list[str]()
    for line in block.splitlines():
        if line.startswith("$ "):
            if command or output:
                yield command, output
            command, output = line[2:], []
        else:
            output.append(line)
    yield command, output


def words(line: str) -> set[str]:
    """The words of a line, with # for whatever has a digit in it."""
    parts = re.split(r"[\s,{}\[\]]+", re.sub(r"\w*\d[\w:.…-]*", "#", line))
    return set(parts) - {"", "…"}


def missing(output: list[str], written: str) -> list[str]:
    """The lines of ``output`` whose words are on no line of what was ``written``."""
    told = [words(line) for line in written.splitlines()]
    return [line for line in output if not any(words(line) <= each for each in told)]


class Tour:
    """A copy of what a reader has, and what runs in it."""

    def __init__(self, directory: Path, root: Path, targets: set[str]) -> None:
        self._directory = directory
        self._targets = targets
        (directory / "config").mkdir()
        for path in (root / "config").glob("*.toml"):
            (directory / "config" / path.name).write_bytes(path.read_bytes())
        (directory / ".venv").mkdir()
        (directory / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
        outside = {name: text for name, text in os.environ.items() if "RECONCILER_" not in name}
        self._environ = {**outside, **OVERRIDES}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._moved: dict[str, str] = {}

    def type(self, command: str, output: list[str]) -> None:
        """Do what a reader would do with one command of the README."""
        words_of = command.split()
        if words_of[:1] == ["make"]:
            assert words_of[1] in self._targets
        elif " simulate" in command:
            self._start("simulate", f"{command} --port 0 --callback-url ''")
            self._wait_for("simulate", output)
            base = re.findall(r"on (http://\S+:\d+)", self._written("simulate"))[0]
            self._moved["http://127.0.0.1:8099"] = base
            self._environ["RECONCILER_ASSURE__BASE_URL"] = base
            self._environ["RECONCILER_ASSURE__TOKEN_URL"] = f"{base}/auth/open/connect/token"
        elif " run " in command:
            self._start("run", command)
            self._wait_for("run", output)
            listener, admin = re.findall(r"(?:listener|admin)=(\S+)", self._written("run"))
            self._moved["http://127.0.0.1:9180"] = admin
            self._aim(f"{listener}/callbacks/assure")
        elif not command:
            self._wait_for("run", output)
        else:
            done = subprocess.run(
                ["/bin/sh", "-c", self.moved(command)],
                cwd=self._directory,
                env=self._environ,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
            assert done.returncode == 0, f"$ {command}\n{done.stdout}"
            assert missing(output, done.stdout) == [], f"$ {command}\n{done.stdout}"

    def moved(self, text: str) -> str:
        """Return ``text`` with the addresses that are really bound."""
        for documented, bound in self._moved.items():
            text = text.replace(documented, bound)
        return text

    def left(self) -> list[str]:
        """Return the files that the commands have written, beside their logs."""
        ours = {"simulate", "run", "config", ".venv"}
        found = (path.relative_to(self._directory) for path in self._directory.rglob("*"))
        return [str(path) for path in found if path.parts[0] not in ours and path.suffix]

    def stop(self, name: str) -> int:
        process = self._running.pop(name)
        process.send_signal(signal.SIGTERM)
        return process.wait(PATIENCE)

    def close(self) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()

    def _start(self, name: str, command: str) -> None:
        with (self._directory / name).open("wb") as log:
            self._running[name] = subprocess.Popen(
                ["/bin/sh", "-c", f"exec env {command}"],
                cwd=self._directory,
                env=self._environ,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _written(self, name: str) -> str:
        return (self._directory / name).read_text()

    def _wait_for(self, name: str, output: list[str]) -> None:
        end = time.monotonic() + PATIENCE
        while left := missing(output, self._written(name)):
            alive = self._running[name].poll() is None
            assert alive and time.monotonic() < end, f"{left}\n{self._written(name)}"
            time.sleep(0.05)

    def _aim(self, url: str) -> None:
        """Tell the simulator where the callbacks go.

        A requested one comes a moment after the answer to its Notify, as from a far server.
        """
        simulator = self._moved["http://127.0.0.1:8099"]
        aim = {"url": url, "authorization": "Bearer development-only"}
        for path, body in (("callback", aim), ("faults", {"callback_delay": 0.5})):
            request = urllib.request.Request(
                f"{simulator}/_simulator/{path}", json.dumps(body).encode(), method="PUT"
            )
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                assert answer.status == 200


@pytest.fixture
def tour(tmp_path: Path, root: Path, targets: set[str]) -> Iterator[Tour]:
    made = Tour(tmp_path, root, targets)
    try:
        yield made
    finally:
        made.close()


def test_the_commands_of_the_readme_do_what_it_shows(readme: Any, tour: Tour) -> None:
    for block in readme.blocks("console"):
        for command, output in steps(block):
            tour.type(command, output)
    snippet, _receiver = readme.blocks("python")
    application: dict[str, Any] = {}
    exec(compile(tour.moved(snippet), "README.md", "exec"), application)
    for _ in range(2):
        application["track"]("d-99", "p-by-the-snippet")
    tour.type(
        ".venv/bin/reconciler show p-by-the-snippet --config config/demo.toml",
        ["processId  p-by-the-snippet", "dossierId  d-99"],  # its state moves on within seconds
    )
    assert tour.stop("run") == 0
    (clean_up,) = re.findall(r"then `(rm -rf [^`]+)`", readme.text)
    tour.type(clean_up, [])
    assert tour.left() == []


async def test_the_receiver_of_the_readme_takes_what_is_signed_and_nothing_else(
    readme: Any, monkeypatch: pytest.MonkeyPatch, aiohttp_client: Any
) -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    monkeypatch.setenv("DELIVERY_SECRET", secret)
    _, snippet = readme.blocks("python")
    receiver: dict[str, Any] = {"__name__": "receiver"}
    exec(compile(snippet, "README.md", "exec"), receiver)
    client = await aiohttp_client(receiver["app"])
    payload = '{"type": "process.settled", "data": {"status": "accepted"}}'
    headers = Signer([secret], {}).headers("msg_1", payload, time.time_ns() // 1_000_000)
    for body, status in ((payload, 200), (payload.replace("accepted", "rejected"), 401)):
        async with client.post("/identity-events", data=body, headers=headers) as answer:
            assert answer.status == status


def test_a_changed_output_would_be_noticed() -> None:
    shown = ['{"created":1,"known":0}', "18:43:12.862Z [info] process_overdue process_id=p-1"]
    written = (
        '{"created":3,"known":9}\n2026-11-23T18:43Z [info  ] process_overdue process_id=p-7 x=1'
    )
    assert missing(shown, written) == []
    assert missing(['{"createt":1,"known":0}'], written) != []
    assert missing(["process_overdue process_id=p-1 by=x"], written) != []
