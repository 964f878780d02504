"""A soak of some seconds, so that it does not rot: nothing is lost, and growth is not judged."""

from pathlib import Path

from tests.soak.run import soak


async def test_a_short_soak_loses_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    told = await soak(tmp_path, rate=20, seconds=5, restarts=0, judged=False, say=said.append)
    assert told.problems == []
    assert told.figures["acknowledged"]
    assert told.figures["deliveries"]
    assert [signal for _, signal in told.restarts] == ["SIGKILL"]
    assert told.samples
