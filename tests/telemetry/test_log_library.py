"""Records of the standard library's logging come as lines of the same log."""

import asyncio
import gc
import json
import logging
import warnings
from collections.abc import Callable
from typing import Any

from reconciler.telemetry.library_logs import LibraryHandler
from reconciler.telemetry.logging import LogSystem

Record = Callable[..., str]


def fail(error: Exception) -> None:
    raise error


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_library_line_is_an_event_with_logger_and_message_at_its_level(record: Record) -> None:
    def play(_system: LogSystem) -> None:
        logging.getLogger("aiohttp.server").warning("slow %s: %d ms", "client", 7)
        logging.getLogger("apscheduler.scheduler").log(45, "odd level")

    first, second = lines(record(play))
    del first["timestamp"]
    assert first == {
        "level": "warning",
        "event": "library",
        "logger": "aiohttp.server",
        "message": "slow client: 7 ms",
    }
    assert second["level"] == "error"


def test_libraries_are_heard_from_a_warning_up_and_below_only_at_level_debug(
    record: Record,
) -> None:
    def play(system: LogSystem) -> None:
        library = logging.getLogger("aiohttp.client")
        library.info("a")
        library.warning("b")
        system.set_level("debug")
        library.debug("c")
        logging.getLogger("apscheduler.executors.default").info("never")
        logging.getLogger("sqlalchemy.engine.Engine").info("never")
        logging.getLogger("aiosqlite").debug("never")
        system.set_level("error")
        library.warning("d")
        library.error("e")

    assert [line["message"] for line in lines(record(play, level="info"))] == ["b", "c", "e"]


def test_a_library_traceback_is_reduced_to_class_and_place(record: Record) -> None:
    def play(_system: LogSystem) -> None:
        try:
            fail(TypeError("words"))
        except TypeError:
            logging.getLogger("apscheduler.executors.default").exception("Job raised\nmore")

    (line,) = lines(record(play))
    assert (line["message"], line["error"], line["detail"]) == ("Job raised", "TypeError", "words")
    assert len(line["where"]) == 2


def test_a_record_that_cannot_be_formatted_is_told_all_the_same(record: Record) -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError

    def play(system: LogSystem) -> None:
        handler = LibraryHandler(system.logger)  # past pytest's own, which would raise
        for message, args in (("%d", ("not a number",)), ("%s %s", ("few",)), (Broken(), ())):
            handler.handle(
                logging.LogRecord("x", logging.WARNING, __file__, 1, message, args, None)
            )

    for line in lines(record(play)):
        assert line["message"].startswith("[unreadable message of test_log_library:")


def test_a_failed_task_that_nobody_awaits_is_told_without_its_message(record: Record) -> None:
    async def fail() -> None:
        raise ValueError("the 'canary'")

    async def lose_a_task() -> None:
        task = asyncio.create_task(fail())
        await asyncio.wait([task])
        del task
        gc.collect()

    text = record(lambda _system: asyncio.run(lose_a_task()), level="info")
    (line,) = lines(text)
    assert line["message"] == "Task exception was never retrieved"
    assert line["error"] == "ValueError"
    assert "canary" not in text


def test_the_repr_of_a_task_in_a_message_tells_the_class_of_its_exception(record: Record) -> None:
    message = "Executing <Task finished exception=ClientError('canary')> took 0.2 seconds"
    (line,) = lines(record(lambda _system: logging.getLogger("asyncio").warning(message)))
    assert line["message"] == "Executing <Task finished exception=ClientError"


def test_a_warning_is_a_library_line(record: Record) -> None:
    def play(_system: LogSystem) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("old", DeprecationWarning, stacklevel=1)

    (line,) = lines(record(play))
    assert line["logger"] == "py.warnings"
    assert line["message"].endswith("DeprecationWarning: old")


def test_closing_leaves_logging_as_it_was(record: Record) -> None:
    root = logging.getLogger()
    engine = logging.getLogger("sqlalchemy.engine")
    before = (root.level, list(root.handlers), engine.level, warnings.showwarning)

    def play(system: LogSystem) -> None:
        assert root.handlers != before[1]
        assert root.level == logging.DEBUG
        system.close(1)
        system.close(1)

    record(play)
    assert (root.level, list(root.handlers), engine.level, warnings.showwarning) == before
