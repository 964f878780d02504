"""Makes the tables of docs/guarantees.md: of faults, from the tests marked as their rows, and of
breaks, from ``tests/mutants/breaks.py``.

``make faults`` runs the marked tests and writes their results. With ``--check`` they are only
collected, and the tables must have exactly these rows.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.mutants.breaks import ALL

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "guarantees.md"
FAULTS = ("<!-- faults: make faults -->", "<!-- end of faults -->")
BREAKS = ("<!-- breaks: make faults -->", "<!-- end of breaks -->")

VICTIMS = (
    "Assure",
    "the token endpoint",
    "the application",
    "the egress proxy",
    "the store",
    "PostgreSQL",
    "the spool",
    "the clock",
    "the log",
)
"""In the order of the tables."""

_HEAD = "| fault | told as | result | shown by |\n|---|---|---|---|"
_ROW = re.compile(r"^\| (.+) \| (.*) \| (.+) \| (.+) \|$")
_TEST = re.compile(r"\[([^\]]+)\]\(\.\./([^)]+)\)")
HELD, SKIPPED, FAILED = "held", "not run here", "FAILED"


class Cell(NamedTuple):
    """One row of a table, as a marked test shows it."""

    victim: str
    fault: str
    told: str
    """The word or event by which the daemon tells of it; empty where it need not."""
    path: str
    sentence: str


def cells_of(nodeid: str, properties: Iterable[tuple[str, object]]) -> Iterator[Cell]:
    """Yield the cells of one test. ``properties``: as ``tests/conftest.py`` fills them."""
    path, *_, name = nodeid.split("::")
    sentence = name.partition("[")[0].removeprefix("test_").replace("_", " ")
    for key, value in properties:
        if key == "fault" and isinstance(value, list | tuple):
            victim, fault, *told = value
            yield Cell(victim, fault, "".join(told), path, sentence)


class Results:
    """Plugin: keeps the result of each cell, or just the cells where nothing is run."""

    def __init__(self) -> None:
        self.found: dict[Cell, str] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            for cell in cells_of(item.nodeid, item.user_properties):
                self.found.setdefault(cell, SKIPPED)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" and report.passed:
            return
        result = FAILED if report.failed else SKIPPED if report.skipped else HELD
        for cell in cells_of(report.nodeid, report.user_properties):
            before = self.found.get(cell, result)
            self.found[cell] = FAILED if FAILED in (before, result) else result


def marked() -> list[str]:
    """Return the files that may have marked tests."""
    found = [path for path in (ROOT / "tests").rglob("test_*.py") if _is_marked(path)]
    return [path.relative_to(ROOT).as_posix() for path in sorted(found)]


def _is_marked(path: Path) -> bool:
    return path.parent == Path(__file__).parent or "mark.fault(" in path.read_text()


def render(found: dict[Cell, str]) -> str:
    """Return the tables, one for each victim."""
    parts = []
    for victim in sorted({cell.victim for cell in found}, key=VICTIMS.index):
        rows: dict[str, list[Cell]] = {}
        for cell in found:
            if cell.victim == victim:
                rows.setdefault(cell.fault, []).append(cell)
        lines = [_row(fault, cells, found) for fault, cells in rows.items()]
        parts.append("\n".join([f"### When {victim} …", "", _HEAD, *lines]))
    return "\n\n".join(parts)


def _row(fault: str, cells: list[Cell], found: dict[Cell, str]) -> str:
    told = " ".join(dict.fromkeys(f"`{cell.told}`" for cell in cells if cell.told))
    results = {found[cell] for cell in cells}
    result = next(word for word in (FAILED, HELD, SKIPPED) if word in results)
    tests = "; ".join(f"[{cell.sentence}](../{cell.path})" for cell in cells)
    return f"| {fault} | {told} | {result} | {tests} |"


def render_breaks() -> str:
    """Return the table of the broken copies."""
    lines = ["| broken on purpose | caught by |", "|---|---|"]
    for each in ALL:
        caught_by = "; ".join(_command(command) for command in each.caught_by)
        lines.append(f"| {each.name} | {caught_by} |")
    return "\n".join(lines)


def _command(command: str) -> str:
    files = re.findall(r"tests/\S+\.py", command)
    if files:
        return ", ".join(f"[{file}](../{file})" for file in dict.fromkeys(files))
    return f"`python {command}`"


def told_in(text: str) -> set[tuple[str, str, str, str]]:
    """Return victim, fault, path and sentence of each test in the document."""
    found, victim = set(), ""
    for line in _between(text, FAULTS)[1].splitlines():
        if line.startswith("### "):
            victim = line.removeprefix("### When ").removesuffix(" …")
        elif row := _ROW.match(line):
            found |= {(victim, row[1], path, test) for test, path in _TEST.findall(row[4])}
    return found


def _between(text: str, marks: tuple[str, str]) -> tuple[str, str, str]:
    before, _, rest = text.partition(marks[0])
    table, _, after = rest.partition(marks[1])
    return before, table, after


def _put(text: str, marks: tuple[str, str], table: str) -> str:
    before, _, after = _between(text, marks)
    return f"{before}{marks[0]}\n\n{table}\n\n{marks[1]}{after}"


def main(arguments: list[str]) -> int:
    """Write the tables, or check them; return 1 where a test has failed or a row is wrong."""
    is_check = "--check" in arguments
    plugin = Results()
    options = ["--collect-only", "-q", "-q", "-n0"] if is_check else ["-q"]
    code = pytest.main([*options, "-m", "fault", "-p", "no:cacheprovider", *marked()], [plugin])
    text = DOCUMENT.read_text()
    if is_check:
        return int(code != 0 or bool(_wrong(text, plugin.found)))
    text = _put(text, FAULTS, render(plugin.found))
    DOCUMENT.write_text(_put(text, BREAKS, render_breaks()))
    return int(code)


def _wrong(text: str, found: dict[Cell, str]) -> list[str]:
    """Return what is wrong with the tables, and print it."""
    there = told_in(text)
    wanted = {(cell.victim, cell.fault, cell.path, cell.sentence) for cell in found}
    lines = [f"missing: {row}" for row in sorted(wanted - there)]
    lines += [f"has no test: {row}" for row in sorted(there - wanted)]
    if FAILED in _between(text, FAULTS)[1]:
        lines.append("a test had failed when the table was written")
    if _put(text, BREAKS, render_breaks()) != text:
        lines.append("the table of breaks is not that of tests/mutants")
    print("\n".join(lines))
    return lines


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
