"""The way out: an egress proxy, TLS, and a private authority."""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from aiohttp.test_utils import TestServer

from reconciler.assure import AssureClient, TokenUnavailable
from reconciler.outbound.errors import CallError
from reconciler.outbound.session import build_session, trusting
from tests.certificates import NEW, run_openssl

if TYPE_CHECKING:
    from pathlib import Path

    from tests.assure.conftest import Room


class Proxy:
    """A forward proxy: absolute-form requests for http, CONNECT for https."""

    def __init__(self) -> None:
        self.url = ""
        self.heads: list[str] = []
        self.refuses = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            method, target, _ = head.split(" ", 2)
            if self.refuses:
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            elif method == "CONNECT":
                await join(reader, writer, target, b"")
            else:
                host, _, path = target.removeprefix("http://").partition("/")
                # One request a connection, so that each of them passes here.
                own = head.replace(target, f"/{path}", 1).replace(
                    "\r\n", "\r\nConnection: close\r\n", 1
                )
                await join(reader, writer, host, own.encode())
        writer.close()


async def join(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str, request: bytes
) -> None:
    host, _, port = address.rpartition(":")
    far_reader, far_writer = await asyncio.open_connection(host, int(port))
    if request:
        far_writer.write(request)
    else:
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    await asyncio.gather(pipe(reader, far_writer), pipe(far_reader, writer))


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    proxy = Proxy()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        await proxy.serve(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    proxy.url = f"http://user:canary-pw@127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield proxy
    server.close()
    if tasks:
        await asyncio.wait(tasks, timeout=5)


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


async def token_failure(client: AssureClient) -> str:
    with pytest.raises(CallError) as caught:
        await client.get_process("d1", "p1")
    assert type(caught.value) is TokenUnavailable
    return caught.value.code


async def test_http_goes_through_the_proxy_with_its_password(room: Room, proxy: Proxy) -> None:
    async with build_session(trusting(""), 4) as session:
        client = room.client(session, proxy=proxy.url)
        assert (await client.get_process("d1", "p1")).status == "accepted"
        assert await client.notify("d1", "p1") == 200

    basic = base64.b64encode(b"user:canary-pw").decode()
    assert len(proxy.heads) == 3
    assert all(f"Proxy-Authorization: Basic {basic}" in head for head in proxy.heads)


@pytest.mark.fault("the egress proxy", "refuses", "proxy")
async def test_a_proxy_that_refuses_is_no_answer_of_assure(room: Room, proxy: Proxy) -> None:
    proxy.refuses = True
    assert await token_failure(room.client(proxy=proxy.url)) == "proxy"
    assert "canary" not in repr(room.lines.calls)


@pytest.mark.fault("the egress proxy", "is out of reach", "proxy")
async def test_a_proxy_out_of_reach_is_told_as_such(room: Room) -> None:
    proxy = f"http://user:canary-pw@127.0.0.1:{closed_port()}"
    assert await token_failure(room.client(proxy=proxy)) == "proxy"
    assert "canary" not in repr(room.lines.calls)


async def test_the_environments_proxy_is_not_used(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port()}")
    assert (await room.client().get_process("d1", "p1")).status == "accepted"


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ca.pem, server.pem for 127.0.0.1 signed by it, and the unrelated other.pem."""
    folder = tmp_path_factory.mktemp("authority")
    config = (
        "[req]\nprompt = no\ndistinguished_name = name\n[name]\nCN = Test\n"
        "[ca]\nsubjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\n"
        "basicConstraints = critical, CA:TRUE\nkeyUsage = critical, keyCertSign, cRLSign\n"
        "[server]\nsubjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\n"
        "basicConstraints = critical, CA:FALSE\nsubjectAltName = IP:127.0.0.1\n"
        "[bare]\nsubjectKeyIdentifier = none\nauthorityKeyIdentifier = none\n"
        "basicConstraints = critical, CA:FALSE\nsubjectAltName = IP:127.0.0.1\n"
    )
    commands = (
        f"{NEW} -x509 -extensions ca -days 2 -keyout ca.key -out ca.pem",
        f"{NEW} -x509 -extensions ca -days 2 -keyout other.key -out other.pem -subj /CN=Other",
        f"{NEW} -subj /CN=127.0.0.1 -keyout server.key -out server.csr",
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2"
        " -extfile openssl.cnf -extensions server -out server.pem",
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days -1"
        " -extfile openssl.cnf -extensions server -out expired.pem",
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2"
        " -extfile openssl.cnf -extensions bare -out bare.pem",
    )
    run_openssl(folder, config, commands)
    return folder


@asynccontextmanager
async def serving(room: Room, authority: Path, certificate: str) -> AsyncIterator[str]:
    """The base URL of the same stand-in Assure, behind TLS with ``certificate``."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority / certificate, authority / "server.key")
    server = TestServer(room.assure.app(), scheme="https")
    await server.start_server(ssl=context)
    try:
        yield str(server.make_url("")).rstrip("/")
    finally:
        await server.close()


@pytest.fixture
async def tls_base(room: Room, authority: Path) -> AsyncIterator[str]:
    async with serving(room, authority, "server.pem") as base:
        yield base


@asynccontextmanager
async def tls_client(
    room: Room, base: str, ca_file: str, proxy: str = ""
) -> AsyncIterator[AssureClient]:
    async with build_session(trusting(ca_file), 4) as session:
        yield room.client(session, base_url=base, token_url=f"{base}/token", proxy=proxy)


async def test_a_private_authority_is_trusted_when_it_is_named(
    room: Room, tls_base: str, authority: Path
) -> None:
    async with tls_client(room, tls_base, str(authority / "ca.pem")) as client:
        assert (await client.get_process("d1", "p1")).status == "accepted"
    async with tls_client(room, tls_base, "") as client:
        assert await token_failure(client) == "tls_unknown_ca"


async def test_a_private_authority_stands_beside_those_of_the_system(
    room: Room, tls_base: str, authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority / "ca.pem"))  # is the system's, for OpenSSL
    async with tls_client(room, tls_base, str(authority / "other.pem")) as client:
        assert (await client.get_process("d1", "p1")).status == "accepted"


async def test_a_certificate_for_another_name_is_refused(
    room: Room, tls_base: str, authority: Path
) -> None:
    base = tls_base.replace("127.0.0.1", "localhost")
    async with tls_client(room, base, str(authority / "ca.pem")) as client:
        assert await token_failure(client) == "tls_name"
    assert not room.assure.token_requests


async def test_a_certificate_that_has_expired_is_told_as_such(room: Room, authority: Path) -> None:
    async with (
        serving(room, authority, "expired.pem") as base,
        tls_client(room, base, str(authority / "ca.pem")) as client,
    ):
        assert await token_failure(client) == "tls_expired"


async def test_a_port_that_speaks_no_tls_is_told_as_such(room: Room) -> None:
    base = room.endpoint.base_url.replace("http://", "https://")
    async with tls_client(room, base, "") as client:
        assert await token_failure(client) == "tls_protocol"


@pytest.mark.parametrize(
    ("alert", "word"),
    [(b"\x28", "tls_protocol"), (b"\x46", "tls_protocol"), (b"\x50", "tls")],
    ids=["handshake_failure", "protocol_version", "internal_error"],
)
async def test_a_server_that_refuses_the_handshake_is_told_as_such(
    room: Room, alert: bytes, word: str
) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(5)
        writer.write(b"\x15\x03\x03\x00\x02\x02" + alert)  # TLS 1.2, a fatal alert
        await reader.read()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    base = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with tls_client(room, base, "") as client:
        assert await token_failure(client) == word
    server.close()


async def test_a_private_authority_need_not_say_which_key_it_signed_with(
    room: Room, authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = ssl.create_default_context

    def as_python_3_13_does() -> ssl.SSLContext:
        context = make()
        context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
        return context

    async with serving(room, authority, "bare.pem") as base:
        monkeypatch.setattr(ssl, "create_default_context", as_python_3_13_does)
        async with tls_client(room, base, str(authority / "ca.pem")) as client:
            assert (await client.get_process("d1", "p1")).status == "accepted"


async def test_https_goes_through_a_tunnel_of_the_proxy(
    room: Room, tls_base: str, authority: Path, proxy: Proxy
) -> None:
    ca_file = str(authority / "ca.pem")
    async with tls_client(room, tls_base, ca_file, proxy.url) as client:
        assert (await client.get_process("d1", "p1")).status == "accepted"

    proxy.refuses = True
    async with tls_client(room, tls_base, ca_file, proxy.url) as client:
        assert await token_failure(client) == "proxy"

    assert proxy.heads[0].startswith(f"CONNECT {tls_base.removeprefix('https://')} ")
    assert not any("\nAuthorization" in head or "token" in head for head in proxy.heads)


@pytest.mark.parametrize("content", [None, b"", b"no pem", b"-----BEGIN CERTIFICATE-----\nx\n"])
async def test_a_ca_file_that_cannot_be_used_is_named(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match="ca_file"):
        trusting(str(path))
