"""A log on a real pipe that is read to its end."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from reconciler.telemetry.logging import LogSystem


@pytest.fixture
def record() -> Callable[..., str]:
    """Return a function that plays with a LogSystem and returns all that it wrote."""

    def record(play: Callable[[LogSystem], object], **settings: Any) -> str:
        read_fd, write_fd = os.pipe()
        with os.fdopen(read_fd, "rb") as read_end, ThreadPoolExecutor(1) as reader:
            written = reader.submit(read_end.read)
            with os.fdopen(write_fd, "wb", buffering=0) as stream:
                system = LogSystem(stream=stream, **{"level": "debug", "format": "json"} | settings)
                try:
                    play(system)
                finally:
                    system.close(timeout=10)
            return written.result().decode()

    return record
