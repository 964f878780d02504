"""A hundred runs, each of more than a month; ``make simulate`` makes as many as you like."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.run import simulate

RUNS = 120
AT_ONCE = 12

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("first", range(0, RUNS, AT_ONCE))
def test_every_run_keeps_all_invariants(first: int) -> None:
    results = [simulate(seed) for seed in range(first, first + AT_ONCE)]

    broken = {f"make simulate SEED={run.seed}": run.violations for run in results}
    assert {command: found for command, found in broken.items() if found} == {}
    assert all(result.days > 30 for result in results)


def test_a_seed_is_one_run_to_the_byte_of_its_log_in_every_process() -> None:
    seeds = range(1000, 1003)
    program = (
        "from tests.simulation.run import simulate\n"
        f"import json; print(json.dumps([simulate(seed).digest for seed in {list(seeds)}]))"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]

    assert said[0] == said[1]
    digests = json.loads(said[0])
    assert len(set(digests)) == len(seeds)
    assert digests[0] == simulate(seeds[0]).digest
