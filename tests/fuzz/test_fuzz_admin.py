"""The admin API: requests made from its own document, and requests that nobody would make."""

from __future__ import annotations

import json
import shutil
import socket
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import pytest
import schemathesis
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from reconciler.ledger import Callback, Policy, Registration, Rules
from reconciler.store.open import open_store
from tests.admin.conftest import Played, build_server
from tests.admin.test_admin_openapi import WITHOUT_INPUT
from tests.fuzz.http_messages import odd_requests

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.fuzz.conftest import Fuzz
    from tests.fuzz.loop import LoopInThread

RULES = Rules(default=Policy(confirm_callbacks=False), deliver=True)
KNOWN = "p-1"


@dataclass(frozen=True)
class Admin:
    """An admin server on a real socket, and what it logs."""

    url: str
    port: int
    delivery: str
    played: Played

    def check(self, loop: LoopInThread) -> None:
        """No request was answered by an exception."""
        assert not self.played.logged("request_failed")
        assert loop.failures == []
        self.played.log.entries.clear()


@asynccontextmanager
async def admin_of(path: Path) -> AsyncIterator[Admin]:
    """Serve a ledger with one process and its delivery."""
    played = Played()
    store = await open_store(f"sqlite:///{path}", is_daemon=True)
    await store.registry.register([Registration(KNOWN, "d-1")], RULES, played.now, whole=True)
    claim = Callback("r-1", KNOWN, "d-1", "accepted", played.now)
    await store.work.record([(KNOWN, claim)], RULES, played.now)
    rows, _ = await store.outbox.page(state=None, limit=1, cursor=None)
    server = build_server(store, path, played)
    await server.start()
    port = int(server.url.rpartition(":")[2])
    try:
        yield Admin(server.url, port, rows[0].webhook_id, played)
    finally:
        await server.stop()
        await store.database.close()


@pytest.fixture(scope="module")
def admin(loop: LoopInThread, empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Admin:
    path = tmp_path_factory.mktemp("admin") / "ledger.db"
    shutil.copy(empty_store, path)
    return loop.enter(admin_of(path))


@pytest.fixture(scope="module")
def schema(admin: Admin) -> Any:
    """The document that the server serves."""
    with urlopen(f"{admin.url}/openapi.json", timeout=60) as answer:
        document = json.load(answer)
    return schemathesis.openapi.from_dict({**document, "security": []})


@pytest.mark.share(1)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_generated_requests_are_answered_as_the_document_says(
    fuzz: Fuzz, loop: LoopInThread, admin: Admin, schema: Any, mode: GenerationMode
) -> None:
    is_good = mode is GenerationMode.POSITIVE
    operations = [
        schema[path][method.upper()].as_strategy(generation_mode=mode)
        for path, methods in schema.raw_schema["paths"].items()
        for method in methods
        if is_good or f"{method.upper()} {path}" not in WITHOUT_INPUT
    ]

    def check(case: Any, is_known: bool) -> None:
        if is_good and is_known and case.method != "DELETE":
            known = {"processId": KNOWN, "id": admin.delivery}
            case.path_parameters |= {name: known[name] for name in case.path_parameters}
        # A time may lie in the future and a cursor be none of ours: no document can say that.
        case.call_and_validate(base_url=admin.url, excluded_checks=[positive_data_acceptance])
        admin.check(loop)

    fuzz(check, case=st.one_of(operations), is_known=st.booleans())


PATHS = st.one_of(
    st.sampled_from(
        [
            "/", "/live", "/ready", "/metrics", "/openapi.json", "/v1/status", "/v1/actions",
            "/v1/processes", "/v1/deliveries", f"/v1/processes/{KNOWN}", "/v1/processes/%2e%2e",
            f"/v1/processes/{KNOWN}/recheck", "/v1/processes/%00", "/v1/processes/%ff/recheck",
            "/v1/deliveries/%00/redeliver", "/v1/deliveries/x/redeliver", "//", "*", "http://[/",
        ]
    ),
    st.tuples(
        st.sampled_from(["/v1/processes", "/v1/deliveries", "/v1/actions", "/metrics"]),
        st.sampled_from(
            ["cursor", "limit", "state", "since", "settledSince", "endedSince", "name[]", "x"]
        ),
        st.sampled_from(["", "1", "-1", "MSAA", "MSB4", "settled", "2026-01-01T00:00:00Z", "%00"])
        | st.text("0123456789TZ:.+-%fFeEdD_=AMxyz", max_size=30),
    ).map(lambda parts: f"{parts[0]}?{parts[1]}={parts[2]}"),
    st.text(st.characters(min_codepoint=33, max_codepoint=255), max_size=30).map("/v1/{}".format),
)  # fmt: skip
METHODS = st.sampled_from(["GET", "POST", "DELETE", "PUT", "HEAD", "OPTIONS", "PATCH", "TRACE"])


@pytest.mark.share(2)
def test_no_request_is_answered_by_an_exception(
    fuzz: Fuzz, loop: LoopInThread, admin: Admin
) -> None:
    def check(data: bytes) -> None:
        received = ask(admin.port, data)
        if received.startswith(b"HTTP/"):
            assert 100 <= int(received.split()[1]) < 500, received
        admin.check(loop)

    fuzz(check, data=odd_requests(PATHS, METHODS, ends=True))


def ask(port: int, data: bytes) -> bytes:
    """Send ``data``, and return what is answered until the server closes, or waits for more."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=0.3) as wire, suppress(OSError):
        wire.sendall(data)
        while piece := wire.recv(65536):
            received += piece
    return received
