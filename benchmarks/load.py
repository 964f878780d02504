"""``python -m benchmarks.load`` sends callbacks over raw sockets, so that it is no bottleneck.

Each connection sends its next callback when the last one is answered. Prints one line of JSON.
"""

import argparse
import asyncio
import sys
import time
from statistics import median
from typing import cast
from urllib.parse import urlsplit

import orjson
import uvloop

_WIDTH = 36
"""Characters of an id, as many as a UUID has."""


class Sender:
    """Makes callbacks, each about a process of its own, and counts the answers."""

    def __init__(self, url: str, authorization: str, prefix: str) -> None:
        target = urlsplit(url)
        self._prefix = prefix
        self._serial = 0
        self._head = (
            f"POST {target.path} HTTP/1.1\r\nHost: {target.netloc}\r\n"
            f"Authorization: {authorization}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(self._body(0))}\r\n\r\n"
        ).encode()
        self.is_open = False
        self.durations: list[float] = []
        """Of the answers that came in time, in seconds."""
        self.acknowledged = 0
        self.refused = 0

    def next(self) -> bytes:
        """Return a whole request."""
        self._serial += 1
        return self._head + self._body(self._serial)

    def answered(self, well: bool, duration: float) -> None:
        """Count an answer; one that comes after the end counts, but not for the rate."""
        if not well:
            self.refused += 1
            return
        self.acknowledged += 1
        if self.is_open:
            self.durations.append(duration)

    def _body(self, serial: int) -> bytes:
        process_id = f"{self._prefix}{serial:0{_WIDTH - len(self._prefix)}d}"
        return b'{"dossierId":"%b","processId":"%b","status":"accepted"}' % (
            process_id.encode(),
            process_id.encode(),
        )


class Connection(asyncio.Protocol):
    """One keep-alive connection: a request, its answer, the next request."""

    def __init__(self, sender: Sender) -> None:
        loop = asyncio.get_running_loop()
        self._sender = sender
        self._time = time.perf_counter
        self._buffer = b""
        self._sent_at = 0.0
        self._transport: asyncio.WriteTransport | None = None
        self.done: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport is a WriteTransport in all but its base class.
        self._transport = cast("asyncio.WriteTransport", transport)

    def send(self) -> None:
        """Send the next request, or close if the time is over."""
        assert self._transport is not None
        if not self._sender.is_open:
            self._transport.close()
            return
        self._sent_at = self._time()
        self._transport.write(self._sender.next())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found or len(body) < _content_length(head):
            return
        self._buffer = b""
        self._sender.answered(head.startswith(b"HTTP/1.1 200"), self._time() - self._sent_at)
        self.send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


def _content_length(head: bytes) -> int:
    _, _, rest = head.lower().partition(b"content-length:")
    return int(rest.partition(b"\r\n")[0])


async def send(
    url: str, *, authorization: str, prefix: str, connections: int, seconds: float
) -> dict[str, float]:
    """Send for ``seconds`` over ``connections``; return what was answered."""
    target = urlsplit(url)
    loop = asyncio.get_running_loop()
    sender = Sender(url, authorization, prefix)
    assert target.hostname
    assert target.port
    open_ones = [
        (await loop.create_connection(lambda: Connection(sender), target.hostname, target.port))[1]
        for _ in range(connections)
    ]
    sender.is_open = True
    for connection in open_ones:
        connection.send()
    await asyncio.sleep(seconds)
    sender.is_open = False
    await asyncio.wait([connection.done for connection in open_ones], timeout=20.0)
    lost = sum(not connection.done.done() for connection in open_ones)
    return {
        "acknowledged": sender.acknowledged,
        "per_second": len(sender.durations) / seconds,
        "median_seconds": median(sender.durations or [0.0]),
        "p99_seconds": sorted(sender.durations or [0.0])[len(sender.durations) * 99 // 100],
        "refused": sender.refused + lost,
    }


def _options() -> argparse.Namespace:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("url")
    options.add_argument("--authorization", required=True)
    options.add_argument("--prefix", required=True)
    options.add_argument("--connections", type=int, default=64)
    options.add_argument("--seconds", type=float, default=2.0)
    return options.parse_args()


if __name__ == "__main__":
    result = uvloop.run(send(**vars(_options())))
    sys.stdout.buffer.write(orjson.dumps(result) + b"\n")
