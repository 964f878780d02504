"""The daemon under a played service manager: its messages, and the socket that it is given."""

import asyncio
import shutil
import socket
import sys
from typing import Any

import aiohttp
import pytest

from tests.e2e.conftest import AUTHORIZATION, PATIENCE

HEADERS = {"Authorization": AUTHORIZATION}
ACTIVATE = shutil.which("systemd-socket-activate")


def callback(process_id: str) -> dict[str, str]:
    return {"dossierId": "d", "processId": process_id, "status": "accepted"}


async def test_the_manager_is_told_ready_alive_and_stopping(
    activated: Any, manager: Any, client: aiohttp.ClientSession
) -> None:
    daemon = await activated.start(WATCHDOG_USEC="200000")
    told = await manager.told("READY=1")
    assert f"STATUS=takes callbacks on {activated.url}" in told
    assert "WATCHDOG=1" not in told[: told.index("READY=1")]
    # Ready is told only when callbacks are taken.
    url = f"{activated.url}/callbacks/assure"
    async with client.post(url, json=callback("p-1"), headers=HEADERS) as answer:
        assert answer.status == 200
    await manager.told("WATCHDOG=1", 3)

    assert await daemon.stop() == 0
    told = await manager.told("STOPPING=1")
    assert told.count("READY=1") == told.count("STOPPING=1") == 1
    assert told.index("READY=1") < told.index("STOPPING=1")
    assert daemon.stderr == ""


async def test_the_manager_is_told_of_each_reload_whatever_comes_of_it(
    activated: Any, manager: Any, here: Any
) -> None:
    daemon = await activated.start()
    await manager.told("READY=1")
    await daemon.ready()
    changed = (AUTHORIZATION, "Bearer of-tomorrow")
    outcomes = [
        ("config_reloaded", changed),
        ("config_reloaded", ("[store]", "[store]")),  # as it was
        ("config_reloaded", ("/spool", "/another-spool")),  # needs a restart
        ("config_reload_failed", ("[store]", "colour = 1\n[store]")),
        ("config_reloaded", ("colour = 1\n", "")),
    ]
    for outcome, edit in outcomes:
        here.edit(edit)
        manager.forget()
        await daemon.hang_up(outcome)
        told = await manager.told("READY=1")
        assert [message.split("\n")[0] for message in told] == ["RELOADING=1", "READY=1"]
        assert told[0].split("\n")[1].startswith("MONOTONIC_USEC=")
    assert daemon.named("config_reloaded")[0]["changed"] == ["listener.authorization"]
    assert await daemon.stop() == 0


async def test_a_passed_socket_is_used_instead_of_host_and_port(activated: Any) -> None:
    daemon = await activated.start(RECONCILER_LISTENER__PORT="1")  # which nobody may bind
    told = await daemon.said("ready")
    assert told["listener"] == activated.url
    assert await daemon.stop() == 0


async def test_connections_that_come_between_two_daemons_are_answered_by_the_second(
    activated: Any, here: Any
) -> None:
    first = await activated.start()
    await first.ready()
    assert await first.stop() == 0

    host, port = activated.listening.getsockname()
    waiting = []
    for number in range(20):
        connection = socket.create_connection((host, port), timeout=PATIENCE)
        body = f'{{"dossierId": "d", "processId": "w-{number}", "status": "accepted"}}'
        connection.sendall(
            f"POST /callbacks/assure HTTP/1.1\r\nHost: a\r\nAuthorization: {AUTHORIZATION}\r\n"
            f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        waiting.append(connection)

    second = await activated.start()
    for connection in waiting:
        with connection:
            answer = await asyncio.to_thread(connection.recv, 4096)
        assert answer.startswith(b"HTTP/1.1 200 ")
    assert await second.stop() == 0
    assert here.rows("SELECT count(*) FROM callbacks") == [(20,)]


async def test_a_unix_socket_is_refused_in_one_line(activated: Any, tmp_path: Any) -> None:
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "callbacks.sock"))
        unix.listen()
        activated.listening.close()
        activated.listening = unix
        daemon = await activated.start()
        await daemon._reading
        assert await daemon.process.wait() == 1
    assert daemon.stderr.startswith("reconciler: cannot start: the socket passed by")
    assert len(daemon.stderr.splitlines()) == 1


@pytest.mark.skipif(ACTIVATE is None, reason="systemd-socket-activate (Debian's systemd) is absent")
async def test_the_first_callback_starts_the_daemon_and_is_answered_by_it(
    activated: Any, here: Any, client: aiohttp.ClientSession
) -> None:
    """With the real systemd-socket-activate, which binds the socket itself."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [ACTIVATE, "-l", address, "--fdname=callbacks", "-E", "NOTIFY_SOCKET"]
    command += [sys.executable, "-m", "reconciler", "run", "--config", str(here.config)]
    daemon = await activated.run(command, "")

    url = f"http://{address}/callbacks/assure"
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                async with client.post(url, json=callback("p-1"), headers=HEADERS) as answer:
                    assert answer.status == 200
                    break
            except aiohttp.ClientConnectorError:  # it does not listen yet
                await asyncio.sleep(0.02)
    assert (await daemon.said("ready"))["listener"] == f"http://{address}"
    assert await daemon.stop() == 0
    assert here.rows("SELECT process_id FROM callbacks") == [("p-1",)]
