"""Many lines at once are the lines that one by one would have made."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import LogCapture

from reconciler.telemetry.batch import info_each, rows_of
from reconciler.telemetry.logging import LogSystem
from reconciler.telemetry.redact import MASK

Record = Callable[..., str]
EVENT = "delivery_succeeded"
SECRET = "hunter2|hunter2"
COLUMNS: dict[str, list[Any]] = {"process_id": ["p1", "p2"], "duration_ms": [3, None]}

texts = st.text(max_size=20) | st.sampled_from(
    ["password=x", "Bearer abc", SECRET, "a" * 5_000, "\x7f", "\u2028", '"\\', "https://u:p@h"]
)
values = texts | st.none() | st.booleans() | st.integers() | st.floats() | st.lists(texts)
names = st.sampled_from(["process_id", "type", "token", "timestamp", "level", "target", "größe"])


@st.composite
def batches(draw: st.DrawFn) -> dict[str, list[Any]]:
    size = draw(st.integers(0, 4))
    column = st.lists(values, min_size=size, max_size=size) | st.lists(
        texts, min_size=size, max_size=size
    )
    return draw(st.dictionaries(names, column, max_size=3))


def lines_of(written: str) -> list[dict[str, Any]]:
    lines = [orjson.loads(line) for line in written.splitlines()]
    return [{key: value for key, value in line.items() if key != "timestamp"} for line in lines]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches())
def test_together_they_say_what_they_say_one_by_one(record: Record, columns: Any) -> None:
    def together(system: LogSystem) -> None:
        system.hide([SECRET])
        info_each(system.logger.bind(target="t"), EVENT, columns)

    def one_by_one(system: LogSystem) -> None:
        system.hide([SECRET])
        for row in rows_of(columns):
            system.logger.bind(target="t").info(EVENT, **row)

    assert lines_of(record(together)) == lines_of(record(one_by_one))


def test_a_batch_with_nothing_to_hide_is_written_in_its_order(record: Record) -> None:
    lines = lines_of(record(lambda system: info_each(system.logger, EVENT, COLUMNS)))
    told = {"level": "info", "event": EVENT}
    assert lines == [
        {**told, "process_id": "p1", "duration_ms": 3},
        {**told, "process_id": "p2", "duration_ms": None},
    ]


def test_one_secret_is_masked_and_its_neighbours_stay(record: Record) -> None:
    def play(system: LogSystem) -> None:
        system.hide([SECRET])
        info_each(system.logger, EVENT, {"process_id": ["p1", SECRET, "p3"]})

    lines = lines_of(record(play))
    assert [line["process_id"] for line in lines] == ["p1", MASK, "p3"]


def test_the_tap_hears_each_line_also_below_the_level(record: Record) -> None:
    heard: list[tuple[str, str | None, Mapping[str, Any]]] = []

    def play(system: LogSystem) -> None:
        system.tap(lambda *line: heard.append(line))
        info_each(system.logger, EVENT, COLUMNS)

    assert record(play, level="warning") == ""
    assert heard == [("info", EVENT, row) for row in rows_of(COLUMNS)]


def test_on_a_console_each_line_is_one_for_a_person(record: Record) -> None:
    written = record(lambda system: info_each(system.logger, EVENT, COLUMNS), format="console")
    assert ["process_id=p1" in line for line in written.splitlines()] == [True, False]


def test_a_logger_of_structlog_s_own_gets_them_one_by_one() -> None:
    kept = LogCapture()
    info_each(structlog.wrap_logger(structlog.ReturnLogger(), [kept]), EVENT, COLUMNS)
    entries: Sequence[Mapping[str, Any]] = kept.entries
    assert [entry["process_id"] for entry in entries] == ["p1", "p2"]
