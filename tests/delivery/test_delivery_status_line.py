"""A receiver that said 2xx has taken the result, whatever is wrong with the rest of its answer."""

import asyncio
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("rest", "closes"),
    [
        (b"Content-Security-Policy: " + b"a" * 30_000 + b"\r\nContent-Length: 0\r\n\r\n", True),
        (b"Set-Cookie: " + b"a" * 500_000 + b"\r\n\r\n", True),
        (b"X-Null: a\0b\r\n\r\n", True),
        (b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\nno", True),
        (b"Content-Length: 99\r\n\r\nhalf", True),
        (b"Transfer-Encoding: chunked\r\n\r\nno size\r\n", True),
        (b"", True),
        (b"X-Header: begins", False),
    ],
)
@pytest.mark.fault("the application", "breaks off after its status line")
async def test_a_2xx_that_was_read_is_a_success_whatever_follows(
    bench: Any, rest: bytes, closes: bool
) -> None:
    taken = 0

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal taken
        await reader.readuntil(b"\r\n\r\n")
        taken += 1
        writer.write(b"HTTP/1.1 200 OK\r\n" + rest)
        if not closes:
            await reader.read()
            await reader.read()
        writer.close()

    server = await asyncio.start_server(receive, "127.0.0.1", 0)
    bench.receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/events"
    bench.timeout = 15_000 if closes else 500
    await bench.settle("p1")
    await bench.deliver_what_is_due()
    server.close()

    (row,) = await bench.rows()
    assert (row.state, row.attempts, taken) == ("delivered", 1, 1)
    (line,) = bench.said("delivery_succeeded")
    assert line["http_status"] == 200
