"""The benchmarks run in a tiny size, so that they do not rot. Their figures are not judged."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import orjson
import pytest

from benchmarks.__main__ import ALL, main
from benchmarks.figures import figure, ratio
from benchmarks.workspace import Workspace

PATIENCE = 60.0


@pytest.mark.parametrize("name", ALL)
async def test_a_benchmark_runs_and_hands_back_its_figures(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if name == "several":
        request.getfixturevalue("databases")  # skips where there can be no PostgreSQL
    said: list[str] = []
    figures = await ALL[name](Workspace(tmp_path, said.append), quick=True)
    assert len({found.name for found in figures}) == len(figures) > 0
    assert all(0 < found.low <= found.value <= found.high for found in figures)
    assert said
    assert _processes_that_name(tmp_path) == []


def test_a_ratio_is_the_median_of_the_pairs_not_the_ratio_of_the_medians() -> None:
    found = ratio("r", [(10.0, 1.0), (6.0, 2.0), (5.0, 5.0)], at_most=2.5)
    assert (found.value, found.low, found.high) == (3.0, 1.0, 10.0)
    assert found.is_met is False


def test_a_target_is_met_at_its_bound() -> None:
    assert figure("f", [0.95], at_least=0.95).is_met
    assert figure("f", [150.0], at_most=150.0).is_met
    assert figure("f", [1.0]).is_met is None


def test_the_json_tells_machine_and_figures_and_nothing_else_stands_on_stdout(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    assert main(["ledger", "--quick", "--json"]) == 0
    told = orjson.loads(capfdbinary.readouterr().out)
    assert set(told["machine"]) >= {"date", "cores", "python", "sqlite", "fdatasync_ms"}
    assert list(told["figures"]) == ["ledger"]
    assert {found["unit"] for found in told["figures"]["ledger"]} == {"ratio"}


def test_the_table_names_every_figure(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["ledger", "--quick"]) == 0
    out = capfd.readouterr().out
    assert "dataclasses.replace" in out
    assert "plain SELECT" in out


def test_an_unknown_benchmark_is_wrong_usage(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["sweeep"])
    assert caught.value.code == 2
    assert "sweep" in capfd.readouterr().err


async def test_a_sigterm_ends_the_children_and_removes_the_folder(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks", "intake", "--quick"),
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    try:
        async with asyncio.timeout(PATIENCE):
            while not any("-m reconciler" in words for words in _processes_that_name(tmp_path)):
                await asyncio.sleep(0.02)
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 1
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert _processes_that_name(tmp_path) == []
    assert _left_in(tmp_path) == []


def _left_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def _processes_that_name(folder: Path) -> list[str]:
    """Return the command lines in which ``folder`` stands."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has just ended
            continue
        if str(folder) in words:
            found.append(words)
    return found
