"""A log line keeps its form, whatever is put into it; taps hear each line."""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum, IntEnum, StrEnum
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

from hypothesis import example, given, settings
from hypothesis import strategies as st

from reconciler.telemetry.logging import LogSystem
from reconciler.telemetry.redact import Redactor
from reconciler.telemetry.render import LONGEST_LINE, ConsoleLine, json_line, stamp

Record = Callable[..., str]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=20,
)
plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("abcXYZ0189-.äß漢\n\x85\u2028\x1b\x9b"),
    lambda inner: st.lists(inner, min_size=3),
    max_leaves=5,
)


def render(event: dict[str, Any]) -> bytes:
    return json_line(None, "info", stamp(None, "info", Redactor()(None, "info", event)))


def one(text: str) -> dict[str, Any]:
    assert text.endswith("\n")
    assert len(text.splitlines()) == 1, text
    line: dict[str, Any] = json.loads(text)
    return line


@example({"event": []})
@settings(deadline=None)  # the machine may be busy
@given(st.dictionaries(st.text(), json_values))
def test_any_fields_give_one_line_that_parses_and_begins_alike(fields: dict[str, Any]) -> None:
    line = render({"event": "ready"} | fields).decode()
    assert list(one(line))[:3] == ["timestamp", "level", "event"]
    assert one(line)["level"] == "info"


@settings(deadline=None)
@given(plain_values)
def test_what_json_can_hold_comes_back_as_it_was(value: object) -> None:
    assert json.loads(render({"event": "ready", "value": value}))["value"] == value


@settings(deadline=None)
@given(st.dictionaries(st.text(), json_values))
def test_any_fields_give_one_console_line_that_a_terminal_cannot_obey(
    fields: dict[str, Any],
) -> None:
    event = stamp(None, "info", Redactor()(None, "info", {"event": "ready"} | fields))
    line = ConsoleLine(colors=False)(None, "info", event).decode()
    assert line.endswith("\n")
    assert line[:-1].isprintable()


def test_a_line_begins_with_the_time_in_utc_the_level_and_the_event(record: Record) -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    text = record(
        lambda system: system.logger.bind(part="a").warning("ready", x=1, level="no", timestamp=0)
    )
    line = one(text)
    assert list(line) == ["timestamp", "level", "event", "part", "x"]
    assert (line["level"], line["event"]) == ("warning", "ready")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["timestamp"])
    assert before <= datetime.fromisoformat(line["timestamp"]) <= datetime.now(UTC)


def test_values_that_json_cannot_hold_become_text(record: Record) -> None:
    class State(StrEnum):
        WAITING = "waiting"

    class Exit(IntEnum):
        CONFIG = 78

    class Kind(Enum):
        A = "a"

    class Broken:
        def __str__(self) -> str:
            raise RuntimeError

    circle: list[object] = [1, 2]
    circle.append(circle)
    fields = {
        "state": State.WAITING,
        "code": Exit.CONFIG,
        "kind": Kind.A,
        "when": datetime(2026, 1, 2, tzinfo=UTC),
        "id": UUID(int=1),
        "path": PurePosixPath("a/b"),
        "big": 2**64,
        "huge": 10**5000,
        "nan": float("nan"),
        "raw": b"abc",
        "failure": OSError("text"),
        "keys": {1: {2, 3}},
        "surrogate": "a\ud800",
        "broken": Broken(),
        "circle": circle,
    }
    line = one(record(lambda system: system.logger.info("ready", **fields)))
    del line["timestamp"], line["level"], line["event"]
    assert "too deep" in str(line.pop("circle"))
    assert line == {
        "state": "waiting",
        "code": 78,
        "kind": "a",
        "when": "2026-01-02 00:00:00+00:00",
        "id": "00000000-0000-0000-0000-000000000001",
        "path": "a/b",
        "big": "18446744073709551616",
        "huge": "<int>",
        "nan": "nan",
        "raw": "[3 bytes]",
        "failure": "OSError",
        "keys": {"1": [2, 3]},
        "surrogate": "a\\ud800",
        "broken": "<Broken>",
    }


def test_a_line_is_never_so_long_that_journald_splits_it(record: Record) -> None:
    fields = {f"field{number}": "\x01" * 10_000 for number in range(20)} | {"last": 1}
    text = record(lambda system: system.logger.info("ready", **fields))
    assert len(text) <= LONGEST_LINE
    assert len(one(text)["field0"]) == 4096
    assert one(text)["field19"] == "[too long]"
    assert one(text)["last"] == 1


def test_a_long_list_is_cut(record: Record) -> None:
    line = one(record(lambda system: system.logger.info("ready", values=list(range(1000)))))
    assert line["values"] == list(range(100))


def test_a_level_change_is_obeyed_by_loggers_that_are_bound_already(record: Record) -> None:
    def play(system: LogSystem) -> None:
        log = system.logger.bind(part="sweeper")
        log.debug("dropped1")
        log.info("kept1")
        assert not log.is_enabled_for(10)
        system.set_level("debug")
        log.debug("kept2")
        assert log.is_enabled_for(10)
        system.set_level("error")
        log.warning("dropped2")
        log.log(30, "dropped3")
        log.error("kept3")
        log.log(50, "kept4")
        assert log.get_effective_level() == 40

    lines = [json.loads(line) for line in record(play, level="info").splitlines()]
    assert [line["event"] for line in lines] == ["kept1", "kept2", "kept3", "kept4"]
    assert {line["part"] for line in lines} == {"sweeper"}


def test_console_lines_name_everything_and_escape_control_characters(record: Record) -> None:
    text = record(
        lambda system: system.logger.warning(
            "process_overdue", process_id="a\x1b[2J\nb", stack="c\nd", names=["e\x9b"]
        ),
        format="console",
    )
    assert len(text.splitlines()) == 1
    assert text[:-1].isprintable()
    for part in ("warning", "process_overdue", "process_id=a\\x1b[2J\\nb", "c\\nd", "e\\x9b"):
        assert part in text


def test_the_automatic_format_is_json_on_a_pipe(record: Record) -> None:
    assert one(record(lambda system: system.logger.info("ready"), format="auto"))


def test_an_exception_at_error_tells_class_message_and_place_but_no_variable(
    record: Record,
) -> None:
    def fail(value: str) -> None:
        raise RuntimeError("no such rung") from OSError(value)

    def play(system: LogSystem) -> None:
        try:
            fail("canary")
        except RuntimeError:
            system.logger.exception("job_failed", job="sweep")

    text = record(play)
    line = one(text)
    assert line["level"] == "error"
    assert (line["error"], line["cause"], line["detail"]) == (
        "RuntimeError",
        "OSError",
        "no such rung",
    )
    assert [frame.rpartition(".")[2] for frame in line["where"]] == ["play", "fail"]
    assert re.match(r"(.*/)?test_log_lines\.py:\d+ ", line["where"][1])
    assert not line["where"][1].startswith("/")
    assert "canary" not in text


def test_an_exception_below_error_tells_its_class_alone(record: Record) -> None:
    failure = RuntimeError("text")
    line = one(record(lambda system: system.logger.warning("fetch_failed", exc_info=failure)))
    assert line["error"] == "RuntimeError"
    assert "detail" not in line
    assert "where" not in line


def test_of_a_group_of_exceptions_the_first_one_is_told(record: Record) -> None:
    group = ExceptionGroup("outer", [ExceptionGroup("inner", [KeyError("a")]), OSError("b")])
    line = one(record(lambda system: system.logger.error("job_failed", exc_info=group)))
    assert line["error"] == "KeyError"


def test_a_deep_recursion_tells_its_innermost_frames(record: Record) -> None:
    def dig() -> None:
        dig()

    def play(system: LogSystem) -> None:
        try:
            dig()
        except RecursionError:
            system.logger.exception("job_failed")

    line = one(record(play))
    assert len(line["where"]) == 20


def test_exc_info_without_an_exception_adds_nothing(record: Record) -> None:
    line = one(record(lambda system: system.logger.info("ready", exc_info=True)))
    assert list(line) == ["timestamp", "level", "event"]


def test_a_tap_hears_every_line_also_of_bound_loggers_and_below_the_level(record: Record) -> None:
    heard: list[tuple[str, str | None, dict[str, Any]]] = []

    def play(system: LogSystem) -> None:
        bound = system.logger.bind(target="delivery")
        system.tap(lambda level, event, fields: heard.append((level, event, dict(fields))))
        bound.debug("outbound_call", verb="fetch")
        system.logger.log(40, "store_unavailable", reason="slow")

    written = record(play, level="warning")

    assert heard == [
        ("debug", "outbound_call", {"verb": "fetch"}),
        ("error", "store_unavailable", {"reason": "slow"}),
    ]
    assert [one(f"{line}\n")["event"] for line in written.splitlines()] == ["store_unavailable"]


def test_every_tap_hears_every_line(record: Record) -> None:
    heard: list[str] = []

    def play(system: LogSystem) -> None:
        system.tap(lambda _level, event, _fields: heard.append(f"first {event}"))
        system.tap(lambda _level, event, _fields: heard.append(f"second {event}"))
        system.logger.info("ready")

    record(play)
    assert heard == ["first ready", "second ready"]


def test_a_tap_hears_the_events_that_it_has_named_and_no_other(record: Record) -> None:
    heard: list[tuple[str, str | None]] = []

    def use(logs: LogSystem) -> None:
        logs.tap(lambda _level, event, _fields: heard.append(("some", event)), "ready", "stopping")
        logs.tap(lambda _level, event, _fields: heard.append(("all", event)))
        logs.tap(lambda _level, event, _fields: heard.append(("one", event)), "ready")
        for event in ("ready", "stopping", "stopped"):
            logs.logger.info(event)

    record(use)
    assert heard == [
        ("some", "ready"),
        ("all", "ready"),
        ("one", "ready"),
        ("some", "stopping"),
        ("all", "stopping"),
        ("all", "stopped"),
    ]


def test_a_line_that_a_tap_logs_is_written_and_heard_by_the_other_taps(record: Record) -> None:
    heard: list[str | None] = []

    def play(system: LogSystem) -> None:
        system.tap(lambda *_line: system.logger.warning("callback_path_suspect"))
        system.tap(lambda _level, event, _fields: heard.append(event))
        system.logger.info("ready")
        system.logger.info("stopped")

    written = record(play)
    assert heard == ["callback_path_suspect", "ready", "callback_path_suspect", "stopped"]
    assert [json.loads(line)["event"] for line in written.splitlines()] == heard


def test_taps_that_log_at_every_line_come_to_an_end(record: Record) -> None:
    def play(system: LogSystem) -> None:
        system.tap(lambda *_line: system.logger.warning("status_unknown"))
        system.tap(lambda *_line: system.logger.warning("status_conflict"))
        system.logger.info("ready")

    events = [json.loads(line)["event"] for line in record(play).splitlines()]
    assert sorted(events) == ["ready", *["status_conflict"] * 2, *["status_unknown"] * 2]


def test_a_tap_that_fails_breaks_no_log_call_and_no_other_tap_and_is_told_once(
    record: Record,
) -> None:
    heard: list[str | None] = []

    def fail(_level: str, _event: str | None, _fields: Mapping[str, Any]) -> None:
        raise RuntimeError("no such counter")

    def play(system: LogSystem) -> None:
        system.tap(fail)
        system.tap(lambda _level, event, _fields: heard.append(event))
        for _ in range(3):
            system.logger.info("ready")

    lines = [json.loads(line) for line in record(play).splitlines()]
    assert [line["event"] for line in lines] == ["log_tap_failed", "ready", "ready", "ready"]
    assert (lines[0]["error"], lines[0]["detail"]) == ("RuntimeError", "no such counter")
    assert heard == [line["event"] for line in lines]
