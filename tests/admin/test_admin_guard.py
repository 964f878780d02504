"""The guard answers those that may ask, and refuses in JSON."""

from __future__ import annotations

import asyncio
import socket
from io import BytesIO
from typing import TYPE_CHECKING, Any, cast

import pytest
from yarl import URL

if TYPE_CHECKING:
    from pathlib import Path

    from tests.admin.conftest import Client, Played, Serve

CLOSED = ["/v1/status", "/v1/processes", "/v1/processes/p1", "/openapi.json"]
TOKEN = "s3cret-admin-token"


async def test_live_and_ready_are_open_and_all_else_wants_the_token(serve: Serve) -> None:
    async with serve(token=TOKEN) as client:
        for path in ("/live", "/ready"):
            assert (await client.get(path)).status == 200
        for path in CLOSED:
            answer = await client.get(path)
            assert (answer.status, answer.body["error"]) == (401, "unauthorized")
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert TOKEN not in str(answer)
        for method, path in (("POST", "/v1/processes"), ("DELETE", "/v1/processes/p1")):
            assert (await client(method, path)).status == 401


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        TOKEN,
        f"Basic {TOKEN}",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN.upper()}",
        "Bearer \xff\xfe",
        f"Bearer{TOKEN}",
    ],
)
async def test_a_wrong_token_is_401(serve: Serve, header: str) -> None:
    async with serve(token=TOKEN) as client:
        answer = await client("GET", "/v1/status", headers={"Authorization": header})

    assert answer.status == 401


@pytest.mark.parametrize("header", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"Bearer  {TOKEN}"])
async def test_the_right_token_is_let_in(serve: Serve, header: str) -> None:
    async with serve(token=TOKEN) as client:
        for path in CLOSED[:2]:
            answer = await client("GET", path, headers={"Authorization": header})
            assert answer.status == 200


async def test_an_unknown_path_tells_a_stranger_nothing(serve: Serve) -> None:
    async with serve(token=TOKEN) as client:
        assert (await client.raw("GET", "/v1/secret")).status == 401


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.evil.example", "[::1"],
)
@pytest.mark.parametrize("path", ["/v1/status", "/nowhere"])
async def test_without_a_token_a_foreign_host_is_refused(
    client: Client, host: str, path: str
) -> None:
    answer = await client.raw("GET", path, headers={"Host": host})

    assert (answer.status, answer.body["error"]) == (403, "foreign_host")
    assert "admin.hosts" in answer.body["detail"]


@pytest.mark.parametrize("host", ["reconciler", "reconciler.default.svc.cluster.local:9180"])
@pytest.mark.parametrize("token", [None, TOKEN])
async def test_health_is_told_under_any_host(serve: Serve, host: str, token: str | None) -> None:
    async with serve(token=token) as client:
        for path in ("/live", "/ready"):
            headers = {"Host": host, "Origin": "http://elsewhere.example"}
            assert (await client("GET", path, headers=headers)).status == 200


@pytest.mark.parametrize("host", ["reconciler", "admin.example:9180", "a.b.svc.cluster.local."])
async def test_with_a_token_any_host_is_served(serve: Serve, host: str) -> None:
    async with serve(token=TOKEN) as client:
        right = {"Host": host, "Authorization": f"Bearer {TOKEN}"}
        assert (await client("GET", "/v1/status", headers=right)).status == 200
        assert (await client("GET", "/v1/status", headers={"Host": host})).status == 401


@pytest.mark.parametrize(
    "host", ["reconciler.internal", "Reconciler.Internal:9180", "reconciler.internal."]
)
async def test_without_a_token_the_configured_hosts_are_served(serve: Serve, host: str) -> None:
    async with serve(hosts=["Reconciler.internal."]) as client:
        assert (await client("GET", "/v1/status", headers={"Host": host})).status == 200
        foreign = {"Host": f"x{host}"}
        assert (await client("GET", "/v1/status", headers=foreign)).status == 403


async def test_a_refused_host_is_logged_once_a_minute(client: Client, played: Played) -> None:
    for host in ("evil.example", "evil.example", "other.example", "e" * 5_000):
        await client("GET", "/v1/status", headers={"Host": host})

    told = [(line["log_level"], line["host"]) for line in played.logged("admin_host_refused")]
    assert told == [
        ("warning", "evil.example"),
        ("warning", "other.example"),
        ("warning", "e" * 100),
    ]

    played.clock.move(61)
    await client("GET", "/v1/status", headers={"Host": "evil.example"})
    assert len(played.logged("admin_host_refused")) == 4


async def test_many_refused_hosts_do_not_flood_the_log(client: Client, played: Played) -> None:
    for number in range(30):
        await client("GET", "/v1/status", headers={"Host": f"{number}.example"})

    assert len(played.logged("admin_host_refused")) == 20


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:9180",
        "localhost.",
        "localhost.:9180",
        "127.0.0.1",
        "[::1]:9180",
        socket.gethostname(),
    ],
)
async def test_our_own_names_and_addresses_are_served(client: Client, host: str) -> None:
    assert (await client("GET", "/v1/status", headers={"Host": host})).status == 200


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "", "http://127.0.0.1:1", "http://[", "file://", "127.0.0.1"],
)
async def test_a_foreign_origin_is_refused(client: Client, origin: str) -> None:
    answer = await client(
        "POST",
        "/v1/processes",
        headers={"Origin": origin},
        json={"dossierId": "d1", "processId": "p1"},
    )

    assert (answer.status, answer.body["error"]) == (403, "foreign_origin")
    assert (await client.get("/v1/processes")).body["items"] == []


async def test_a_foreign_origin_is_refused_on_a_unix_socket_too(
    serve: Serve, tmp_path: Path
) -> None:
    async with serve(unix=tmp_path / "admin.sock") as client:
        for origin, status in (
            ("http://evil.example", 403),
            ("http://localhost", 200),
            (None, 200),
        ):
            headers = {} if origin is None else {"Origin": origin}
            assert (await client("GET", "/v1/status", headers=headers)).status == status


async def test_our_own_origin_is_served(client: Client) -> None:
    answer = await client("GET", "/v1/status", headers={"Origin": client.url})

    assert answer.status == 200


async def test_an_unknown_path_is_404_in_json(client: Client) -> None:
    for path in ("/v1", "/v1/processes/", "/v1/processes/p1/", "/v1/processes/p1/x", "//live"):
        answer = await client.raw("GET", path)
        assert (answer.status, answer.body["error"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/live", "GET,HEAD"),
        ("PUT", "/v1/processes", "GET,HEAD,POST"),
        ("POST", "/v1/processes/p1", "DELETE,GET,HEAD"),
        ("GET", "/v1/processes/p1/recheck", "POST"),
        ("PATCH", "/v1/status", "GET,HEAD"),
    ],
)
async def test_another_method_is_405_in_json_and_names_what_is_allowed(
    client: Client, method: str, path: str, allowed: str
) -> None:
    answer = await client.raw(method, path)

    assert (answer.status, answer.body["error"]) == (405, "method_not_allowed")
    assert answer.headers["Allow"] == allowed


@pytest.mark.parametrize("path", ["/v1/processes", "/v1/processes/p1/recheck"])
async def test_a_body_over_four_mebibytes_is_413_in_json(client: Client, path: str) -> None:
    answer = await client("POST", path, data=BytesIO(b" " * (4 * 1024 * 1024 + 1)))

    assert (answer.status, answer.body["error"]) == (413, "too_large")


@pytest.mark.parametrize(
    "rest", [b"Content-Length: 100\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n5\r\n{"]
)
async def test_a_client_that_hangs_up_half_way_is_no_fault_of_ours(
    client: Client, played: Played, rest: bytes
) -> None:
    url = URL(client.url)
    for _ in range(3):
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(b"POST /v1/processes HTTP/1.1\r\nHost: localhost\r\n" + rest)
        await writer.drain()
        writer.write_eof()
        await reader.read()
        writer.close()
        await writer.wait_closed()

    assert (await client.get("/v1/processes")).body["items"] == []
    assert played.logged("request_failed") == []


@pytest.mark.parametrize(
    "sent", [b"\x16\x03\x01\x02\x00", b"GET /v1/\xff HTTP/1.1\r\n\r\n", b"BREW / HTTP/1.1\r\n\r\n"]
)
async def test_what_is_no_http_is_refused_and_not_logged_as_our_error(
    client: Client, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    url = URL(client.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(sent + b"\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()

    assert answer.startswith(b"HTTP/1.0 400") or answer.startswith(b"HTTP/1.1 400")
    assert [record.getMessage() for record in caplog.records if record.levelname != "DEBUG"] == []


async def test_a_bug_is_500_in_json_and_logged_without_reaching_the_client(
    client: Client, played: Played
) -> None:
    played.readiness = cast("Any", "canary")

    answer = await client.raw("GET", "/ready")

    assert (answer.status, answer.body) == (
        500,
        {"error": "internal", "detail": "the log says more"},
    )
    [line] = played.logged("request_failed")
    assert line["path"] == "/ready"
