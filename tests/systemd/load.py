"""Callbacks at a steady rate for the test of restarts; a program of its own, run in the box.

Each opens a connection of its own when its time has come, whether or not those before it were
answered: so a restart is not hidden by clients that wait. A few more go one after the other
through connections that are kept. Prints how many are answered, after every 50, and in the end,
when stdin is closed, one line of JSON.
"""

import asyncio
import json
import sys
import time
from collections import Counter

RATE = 200
"""Callbacks a second on connections of their own."""

KEPT = 5
"""Connections that are kept."""

PAUSE = 0.1
"""Seconds between two callbacks on such a connection: less than the daemon lingers at its stop."""

STEP = 50

PATIENCE = 60.0


class Sender:
    """Posts callbacks and remembers what became of each."""

    def __init__(self, host: str, port: int, authorization: str) -> None:
        self._address = host, port
        self._authorization = authorization
        self.acknowledged: list[str] = []
        self.failed: Counter[str] = Counter()
        self.slowest = 0.0

    async def one(self, process_id: str) -> None:
        """Post on a connection of its own."""
        begun = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                reader, writer = await asyncio.open_connection(*self._address)
                await self._ask(reader, writer, process_id, keep=False)
                writer.close()
        except (OSError, EOFError, TimeoutError) as error:
            self.failed[f"{type(error).__name__}: {error}"] += 1
        self.slowest = max(self.slowest, time.monotonic() - begun)

    async def keep_sending(self, name: str, over: asyncio.Event) -> None:
        """Post on one connection, again and again; on a new one when the daemon ends it."""
        number = 0
        connection = None
        while not over.is_set():
            number += 1
            due = time.monotonic() + PAUSE
            try:
                async with asyncio.timeout(PATIENCE):
                    connection = connection or await asyncio.open_connection(*self._address)
                    if not await self._ask(*connection, f"{name}-{number}", keep=True):
                        connection[1].close()
                        connection = None
            except (OSError, EOFError, TimeoutError) as error:
                self.failed[f"kept: {type(error).__name__}: {error}"] += 1
                connection = None
            await asyncio.sleep(max(0, due - time.monotonic()))
        if connection is not None:
            connection[1].close()

    async def _ask(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        process_id: str,
        *,
        keep: bool,
    ) -> bool:
        """Post; True while the connection may be used again. Raises OSError, EOFError."""
        body = json.dumps({"dossierId": "d", "processId": process_id, "status": "accepted"})
        writer.write(
            f"POST /callbacks/assure HTTP/1.1\r\nHost: load\r\nContent-Length: {len(body)}\r\n"
            f"Connection: {'keep-alive' if keep else 'close'}\r\n"
            f"Authorization: {self._authorization}\r\n\r\n{body}".encode()
        )
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length: ")[1].split("\r\n")[0])
        await reader.readexactly(length)
        if head.startswith("http/1.1 200 "):
            self.acknowledged.append(process_id)
            if len(self.acknowledged) % STEP == 0:
                print(len(self.acknowledged), flush=True)
        else:
            self.failed[head.split("\r\n")[0]] += 1
        return "connection: close" not in head


async def main(host: str, port: str, authorization: str) -> None:
    """Send until stdin is closed."""
    sender = Sender(host, int(port), authorization)
    over = asyncio.Event()
    closed = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    closed.add_done_callback(lambda _: over.set())
    tasks = [asyncio.create_task(sender.keep_sending(f"kept-{n}", over)) for n in range(KEPT)]
    begun, sent = time.monotonic(), 0
    while not over.is_set():
        while sent < (time.monotonic() - begun) * RATE:
            sent += 1
            tasks.append(asyncio.create_task(sender.one(f"single-{sent}")))
        await asyncio.sleep(0.005)
    await asyncio.gather(*tasks)
    seconds = time.monotonic() - begun
    told = {"acknowledged": sender.acknowledged, "failed": dict(sender.failed)}
    print(json.dumps({**told, "seconds": seconds, "slowest": sender.slowest}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
