"""The log of a whole process survives a stalled or absent reader of its stdout."""

import json
import os
import pty
import subprocess
import sys
import textwrap

import pytest

from reconciler.telemetry.logging import LogSystem

LOG = """
    import sys
    from reconciler.telemetry.logging import LogSystem
    system = LogSystem(level="info", format="json", stream=sys.stdout)
    log = system.logger
"""


def child(code: str) -> subprocess.Popen[bytes]:
    program = textwrap.dedent(LOG) + textwrap.dedent(code)
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_a_process_whose_stdout_nobody_reads_ends_in_time() -> None:
    process = child("""
        for number in range(20_000):
            log.info("ready", number=number)
        system.close(timeout=0.2)
        print(system.dropped, file=sys.stderr)
    """)
    with process:
        assert process.wait(30) == 0
        assert process.stderr
        assert int(process.stderr.read()) > 5_000


def test_a_process_whose_reader_has_gone_ends_without_a_word() -> None:
    process = child("""
        sys.stdin.read()
        for _ in range(100):
            log.info("ready")
        system.close(timeout=10)
        print(system.dropped, file=sys.stderr)
    """)
    with process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        process.stdin.close()
        assert process.wait(30) == 0
        assert process.stderr.read() == b"100\n"


def test_a_reader_that_wakes_up_learns_how_many_lines_it_missed() -> None:
    process = child("""
        for number in range(20_000):
            log.info("ready", number=number)
        print("written", file=sys.stderr, flush=True)
        sys.stdin.read()
        system.close(timeout=10)
        print(system.dropped, file=sys.stderr)
    """)
    with process:
        assert process.stderr
        assert process.stderr.readline() == b"written\n"  # although nobody has read a line
        out, dropped = process.communicate(timeout=30)
    lines = [json.loads(line) for line in out.splitlines()]
    kept = [line["number"] for line in lines if line["event"] == "ready"]
    told = [line["lines"] for line in lines if line["event"] == "log_lines_dropped"]
    assert sum(told) == int(dropped) > 5_000
    assert len(kept) + int(dropped) == 20_000
    assert kept[:5_000] == list(range(5_000))


@pytest.mark.parametrize("colored", [True, False])
def test_the_automatic_format_is_for_people_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, *, colored: bool
) -> None:
    monkeypatch.setenv("NO_COLOR", "" if colored else "1")
    master, slave = pty.openpty()
    with (
        os.fdopen(master, "rb", buffering=0) as person,
        os.fdopen(slave, "wb", buffering=0) as terminal,
    ):
        system = LogSystem(level="info", format="auto", stream=terminal)
        system.logger.info("ready", listener="http://127.0.0.1:1")
        system.close(timeout=10)
        line = person.read(4096).decode()
    assert "ready" in line
    assert not line.startswith("{")
    assert ("\x1b[" in line) is colored


def test_importing_the_room_costs_nothing() -> None:
    program = (
        "import sys, reconciler.telemetry.event_catalogue;"
        "print({'structlog', 'orjson', 'logging', 'asyncio', 'rich'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"set()\n"
