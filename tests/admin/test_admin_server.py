"""Where the admin API is served, and what it says when the store does not answer."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from reconciler.store.open import Store
    from tests.admin.conftest import Client, Played, Serve

EVERYTHING_THAT_NEEDS_THE_STORE = [
    ("GET", "/v1/status"),
    ("GET", "/v1/processes"),
    ("GET", "/v1/processes/p1"),
    ("DELETE", "/v1/processes/p1"),
    ("POST", "/v1/processes/p1/recheck"),
]


async def test_it_serves_on_a_unix_socket_that_only_its_owner_can_open(
    serve: Serve, tmp_path: Path
) -> None:
    path = tmp_path / "admin.sock"

    async with serve(unix=path) as client:
        mode = path.stat().st_mode
        answer = await client.register({"dossierId": "d1", "processId": "p1"})
        by_any_name = await client("GET", "/live", headers={"Host": "reconciler"})

    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) & 0o077 == 0
    assert answer.status == 201
    assert by_any_name.status == 200
    assert not path.exists()


async def test_a_socket_that_a_crash_has_left_is_replaced(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))

    async with serve(unix=path) as client:
        assert (await client.get("/live")).status == 200


async def test_a_file_in_the_place_of_the_socket_is_never_touched(
    serve: Serve, tmp_path: Path
) -> None:
    path = tmp_path / "admin.sock"
    path.write_text("precious")

    with pytest.raises(OSError, match="is no socket"):
        async with serve(unix=path):
            pass

    assert path.read_text() == "precious"


async def test_a_socket_that_is_in_use_is_not_taken_away(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    async with serve(unix=path) as client:
        with pytest.raises(OSError, match="another server accepts"):
            async with serve(unix=path):
                pass

        assert (await client.get("/live")).status == 200


async def test_the_url_names_the_port_really_bound(serve: Serve) -> None:
    async with serve() as client:
        assert client.url.startswith("http://127.0.0.1:")
        assert not client.url.endswith(":0")


async def test_it_serves_on_ipv6(serve: Serve) -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")

    async with serve(host="[::1]") as client:
        assert client.url.startswith("http://[::1]:")
        assert (await client.get("/live")).status == 200


async def test_a_store_that_another_program_has_locked_is_503_for_writers_only(
    client: Client, store_path: Path
) -> None:
    with closing(sqlite3.connect(store_path)) as other:
        other.execute("BEGIN IMMEDIATE")
        answer = await client.register({"dossierId": "d1", "processId": "p1"})
        listed = await client.get("/v1/processes")
        other.rollback()

    assert (answer.status, answer.body["error"]) == (503, "store_unavailable")
    assert answer.body["detail"] == "database is locked"
    assert (listed.status, listed.body["items"]) == (200, [])
    assert (await client.register({"dossierId": "d1", "processId": "p1"})).status == 201


async def test_a_store_that_is_gone_is_503_everywhere_and_live_goes_on(
    client: Client, store: Store, store_path: Path, played: Played
) -> None:
    await store.database.close()
    await asyncio.to_thread(store_path.unlink)

    for method, path in EVERYTHING_THAT_NEEDS_THE_STORE:
        answer = await client(method, path)
        assert (answer.status, answer.body["error"]) == (503, "store_unavailable")
        assert str(store_path) not in answer.body["detail"]
    assert (await client.get("/live")).status == 200
    assert played.logged("request_failed") == []
