"""Generated inputs: how many, from which seed, and whether the memory stays flat meanwhile.

``make test`` takes some thousands, the same each time. ``make fuzz`` takes 100,000 others in rounds
of 1,000; the seed of a round follows from that of the run and from the name of its test.
"""

from __future__ import annotations

import gc
import os
import sys
import zlib
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from reconciler.store.open import prepare
from tests.fuzz.loop import LoopInThread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hypothesis.strategies import SearchStrategy

QUICK = 3_000
"""Inputs of ``make test``."""

ROUND = 1_000
"""Examples between two looks at the memory."""

FEWEST_ROUNDS = 6
"""With fewer, nobody can tell growth from a warm-up."""

MOST_BLOCKS = 12.0
"""Objects of Python that an input may leave behind: caches fill for a while. Requests that are kept
are some twenty for each input, as most inputs are none."""

OF_A_ROUND = 1_000
"""Objects that pytest and hypothesis keep of each round."""

MOST_BYTES = 32_000
"""By which the process may grow with each input."""

_COMMON = settings(
    database=None,  # the seed repeats a failure, on any machine
    deadline=None,
    print_blob=True,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
settings.register_profile("fuzz-same", _COMMON, derandomize=True)
settings.register_profile("fuzz-random", _COMMON)


@dataclass(frozen=True)
class Run:
    """All rounds of all tests."""

    inputs: int = int(os.environ.get("RECONCILER_FUZZ_INPUTS") or QUICK)
    seed: str = os.environ.get("RECONCILER_FUZZ_SEED") or os.urandom(4).hex()
    is_long: bool = "RECONCILER_FUZZ_INPUTS" in os.environ
    taken: list[int] = field(default_factory=list)
    """Inputs of each call of ``Fuzz``."""
    memory: dict[str, list[tuple[int, int, int]]] = field(default_factory=dict)
    """By test, after each round: all inputs, blocks of Python's allocator, bytes of the process."""


LONGEST_NOTE = 2_000
"""Characters of an input that are shown."""

RUN = pytest.StashKey[Run]()


class Fuzz:
    """Calls a check with generated inputs, until one fails or the round is over."""

    def __init__(self, run: Run, name: str, examples: int) -> None:
        self._run = run
        self._name = name
        self._examples = examples

    def __call__(self, check: Callable[..., int | None], **strategies: SearchStrategy[Any]) -> None:
        """Raise what ``check`` raises for the simplest example, with how to repeat it.

        ``check`` returns how many inputs the example had; None is one.
        """
        taken, drawn = 0, {}

        def counted(**named: Any) -> None:
            nonlocal taken, drawn
            drawn = named
            taken += check(**named) or 1

        profile = "fuzz-random" if self._run.is_long else "fuzz-same"
        runs = settings(settings.get_profile(profile), max_examples=self._examples)(
            given(**strategies)(counted)
        )
        if self._run.is_long:
            runs = seed(zlib.crc32(f"{self._run.seed} {self._name}".encode()))(runs)
        try:
            runs()
        except Exception as error:  # of the simplest input, which was the last one
            for name, value in drawn.items():
                error.add_note(f"{name} = {value!r}"[:LONGEST_NOTE])
            error.add_note(f"Repeat it with: {self._command()}")
            raise
        finally:
            self._run.taken.append(taken)

    def _command(self) -> str:
        if not self._run.is_long:
            return f".venv/bin/pytest -n0 '{self._name}'"
        return f"make fuzz INPUTS={self._run.inputs} SEED={self._run.seed} ONLY='{self._name}'"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "share(percent, each=1): of all inputs; of one example")
    config.stash[RUN] = Run()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Divide the share of a test into rounds; ``make test`` has one."""
    if "fuzz" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("share")
    assert marker is not None, f"{metafunc.definition.nodeid} has no share of the inputs"
    run = metafunc.config.stash[RUN]
    examples = ceil(run.inputs * marker.args[0] / 100 / marker.kwargs.get("each", 1))
    rounds = [examples]
    if run.is_long:
        number = max(FEWEST_ROUNDS, examples // ROUND)
        rounds = [ceil(examples / number)] * number
    marks = (
        pytest.mark.timeout(900),  # to find the simplest input takes minutes
        pytest.mark.filterwarnings("ignore:Generating overly large repr"),
    )
    metafunc.parametrize(
        "fuzz",
        [pytest.param(each, marks=marks, id=f"{at}") for at, each in enumerate(rounds, 1)],
        indirect=True,
    )


@pytest.fixture
def fuzz(request: pytest.FixtureRequest) -> Fuzz:
    return Fuzz(request.config.stash[RUN], request.node.nodeid, request.param)


@pytest.fixture(scope="module")
def loop() -> Iterator[LoopInThread]:
    """A loop for servers that live through all rounds of a module: so a leak adds up."""
    with LoopInThread() as loop:
        yield loop


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that was made once; each module works on a copy."""
    path = tmp_path_factory.mktemp("fuzz") / "empty.db"
    prepare(f"sqlite:///{path}", may_create=True, may_migrate=True)
    return path


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Fail the last round of a test that has grown."""
    yield
    run, name = item.config.stash[RUN], item.nodeid.partition("[")[0]
    if not run.is_long:
        return
    gc.collect()
    found = run.memory.setdefault(name, [])
    found.append((sum(run.taken), sys.getallocatedblocks(), _resident()))
    if nextitem is None or nextitem.nodeid.partition("[")[0] != name:
        blocks, resident = growth(found)
        assert blocks < MOST_BLOCKS, f"keeps {blocks:.1f} objects of each input"
        assert resident < MOST_BYTES, f"keeps {resident:.0f} bytes of each input"


def growth(found: list[tuple[int, int, int]]) -> tuple[float, float]:
    """Return how many blocks and bytes each input leaves, after the first third of the rounds.

    The least of the second third is compared with the least of the last: a peak is no growth.
    """
    third = len(found) // 3
    if len(found) < FEWEST_ROUNDS:
        return 0.0, 0.0
    early, late = found[third : 2 * third], found[2 * third :]
    inputs = late[-1][0] - early[-1][0]
    blocks, resident = (
        min(each[at] for each in late) - min(each[at] for each in early) for at in (1, 2)
    )
    return (blocks - OF_A_ROUND * third) / inputs, resident / inputs


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    run = terminalreporter.config.stash[RUN]
    if not run.is_long or not run.taken:
        return
    terminalreporter.write_line(f"{sum(run.taken)} inputs; the seed was {run.seed}")
    for name, found in run.memory.items():
        if len(found) >= FEWEST_ROUNDS:
            blocks, resident = growth(found)
            at = name.rpartition("::")[2]
            terminalreporter.write_line(
                f"{at}: {blocks:+.2f} objects and {resident:+.0f} bytes left by each input"
            )
