"""``status`` while no daemon has renewed its row: none runs, or one that cannot write."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.store.open import daemon_lock

if TYPE_CHECKING:
    from tests.cli.conftest import Command, Place


@pytest.fixture
def lock(place: Place) -> Iterator[None]:
    """Hold the store as a daemon does."""
    held = daemon_lock(f"sqlite:///{place.store}")
    held.acquire()
    yield
    held.release()


@contextmanager
def answering(place: Place, status: int, body: Any) -> Iterator[None]:
    """Answer ``/ready`` of the configured admin listener."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/ready"
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

        def log_message(self, *_: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        text = place.config.read_text()
        place.config.write_text(text.replace("127.0.0.1:0", f"127.0.0.1:{server.server_port}"))
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield
        server.shutdown()
        thread.join()


def daemons(reconciler: Command) -> str:
    done = reconciler("status")
    assert done.code == 0
    return done.out.splitlines()[-1].removeprefix("daemons").strip()


def test_no_daemon_is_told_where_none_runs_and_where_one_has_ended(
    place: Place, reconciler: Command
) -> None:
    assert daemons(reconciler) == "none is running"
    held = daemon_lock(f"sqlite:///{place.store}")
    held.acquire()
    held.release()

    assert daemons(reconciler) == "none is running"


@pytest.mark.usefixtures("lock")
def test_a_daemon_that_does_not_answer_is_told_by_its_lock(reconciler: Command) -> None:
    told = daemons(reconciler)

    assert told.startswith(f"process {os.getpid()} holds the store and does not answer on ")


@pytest.mark.usefixtures("lock")
def test_a_daemon_that_cannot_write_is_told_with_the_reason(
    place: Place, reconciler: Command
) -> None:
    full = "store: database or disk is full; callbacks go to the spool"
    with answering(place, 200, {"ready": True, "degraded": [full]}):
        assert daemons(reconciler) == (
            f"process {os.getpid()} runs, and cannot write to the store: {full}"
        )


def test_a_daemon_without_a_lock_is_told_by_its_answer(place: Place, reconciler: Command) -> None:
    nothing = {"ready": False, "degraded": [], "reason": "stopping"}
    with answering(place, 503, nothing):
        assert daemons(reconciler) == "one runs, and has not renewed its row in the store: stopping"


@pytest.mark.parametrize("body", [b"<html>", b"[]", {"ok": True}])
def test_another_server_on_the_port_is_no_daemon(
    place: Place, reconciler: Command, body: Any
) -> None:
    with answering(place, 200, body):
        assert daemons(reconciler) == "none is running"


def test_to_look_at_the_lock_keeps_no_daemon_from_starting(place: Place) -> None:
    url = f"sqlite:///{place.store}"
    taken = daemon_lock(url)
    taken.acquire()
    taken.release()

    assert daemon_lock(url).holder() is None
    taken.acquire()
    assert daemon_lock(url).holder() == str(os.getpid())
    taken.release()
