"""The faults of a far side, and the word by which the daemon tells of each."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.far_side import (
    HTML,
    answer,
    hangs,
    resets,
    says,
    trickles,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Mapping

    from tests.faults.far_side import Exchange, FarSide

ASSURE, TOKEN, APPLICATION = "Assure", "the token endpoint", "the application"
ALL = (ASSURE, TOKEN, APPLICATION)


@dataclass(frozen=True)
class Fault:
    """One fault. ``told``: by victim, the word of the log and of the row."""

    name: str
    told: Mapping[str, str]
    begin: Callable[[FarSide, Stage], Awaitable[None]]
    over_tls: bool = False


@dataclass(frozen=True)
class Stage:
    """The things that a fault may need besides the far side."""

    monkeypatch: pytest.MonkeyPatch
    certificates: Mapping[str, ssl.SSLContext] = field(default_factory=dict)


def same(word: str, *victims: str) -> dict[str, str]:
    return dict.fromkeys(victims or ALL, word)


def of_one_exchange(word: str) -> dict[str, str]:
    """A token is asked for by the same code, so Assure and the application are enough."""
    return same(word, ASSURE, APPLICATION)


def wire(
    name: str, told: Mapping[str, str], exchange: Exchange, *, reads_first: bool = True
) -> Fault:
    async def begin(far: FarSide, _: Stage) -> None:
        far.fail(exchange, reads_first=reads_first)

    return Fault(name, told, begin)


def shows(name: str, told: Mapping[str, str], certificate: str) -> Fault:

    async def begin(far: FarSide, stage: Stage) -> None:
        await far.show(stage.certificates[certificate])

    return Fault(name, told, begin, over_tls=True)


async def refuse(far: FarSide, _: Stage) -> None:
    await far.close()


async def lose_name(far: FarSide, stage: Stage) -> None:
    """Let the machine's resolver know no name, until the far side is mended."""
    resolve = socket.getaddrinfo

    def unknown(host: Any, port: Any, *args: Any, **more: Any) -> Any:
        if port == far.port and far.is_nameless:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, port, *args, **more)

    far.is_nameless = True
    stage.monkeypatch.setattr(socket, "getaddrinfo", unknown)


async def alerts(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Refuse the handshake, as a server without a common version or cipher does."""
    await reader.read(5)
    writer.write(b"\x15\x03\x03\x00\x02\x02\x28")
    await reader.read()


async def speak_plainly(far: FarSide, _: Stage) -> None:
    await far.show(None)
    far.fail(says(answer(b"", b"400 Bad Request")), reads_first=False)


async def refuse_handshake(far: FarSide, _: Stage) -> None:
    await far.show(None)
    far.fail(alerts, reads_first=False)


FAULTS = (
    Fault("refuses connections", same("connection_refused"), refuse),
    Fault("its name does not resolve", same("dns"), lose_name),
    wire(
        "resets the connection before the request",
        of_one_exchange("disconnected"),
        resets,
        reads_first=False,
    ),
    wire("resets the connection after the request", of_one_exchange("disconnected"), resets),
    wire("breaks off in the status line", of_one_exchange("disconnected"), says(b"HTTP/1.1 2")),
    wire("never answers", same("timeout"), hangs),
    wire("answers byte by byte", of_one_exchange("timeout"), trickles),
    wire(
        "answers what is no HTTP", of_one_exchange("not_http"), says(b"SSH-2.0-OpenSSH_9.2\r\n" * 9)
    ),
    wire(
        "answers JSON of another kind",
        {ASSURE: "no_status", TOKEN: "no_token"},
        says(answer(b'{"hello": "world"}')),
    ),
    wire(
        "shows a web page instead, with 200",
        same("not_json", ASSURE, TOKEN),
        says(answer(HTML, b"200 OK", b"Content-Type: text/html")),
    ),
    wire(
        "shows a web page instead, with 502",
        same("http_502"),
        says(answer(HTML, b"502 Bad Gateway", b"Content-Type: text/html")),
    ),
    wire(
        "redirects elsewhere",
        {ASSURE: "redirect", TOKEN: "redirect", APPLICATION: "http_302"},
        says(answer(b"", b"302 Found", b"Location: /login")),
    ),
    wire(
        "answers 401, whatever is sent",
        {ASSURE: "http_401", TOKEN: "token_refused", APPLICATION: "http_401"},
        says(answer(b"", b"401 Unauthorized")),
    ),
    wire(
        "answers 403",
        of_one_exchange("http_403"),
        says(answer(b"", b"403 Forbidden")),
    ),
    shows("shows a certificate of an unknown authority", same("tls_unknown_ca"), "other"),
    shows("shows a certificate that has expired", of_one_exchange("tls_expired"), "expired"),
    shows("shows a certificate for another name", of_one_exchange("tls_name"), "name"),
    Fault("speaks no TLS", of_one_exchange("tls_protocol"), speak_plainly, over_tls=True),
    Fault(
        "refuses the TLS handshake",
        of_one_exchange("tls_protocol"),
        refuse_handshake,
        over_tls=True,
    ),
)


def cells(victim: str) -> list[Any]:
    """Return the faults that ``victim`` can have, each marked as a cell of the table."""
    return [
        pytest.param(
            fault,
            fault.told[victim],
            marks=pytest.mark.fault(victim, fault.name, fault.told[victim]),
            id=fault.name.replace(" ", "-").replace(",", ""),
        )
        for fault in FAULTS
        if victim in fault.told
    ]
