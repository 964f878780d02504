"""The same listener behind its own TLS."""

import asyncio
import shutil
import socket
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.inbound.conftest import PATIENCE, BuildHouse, Dial, House, Plan, Wire, body, post

_NEW = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
    "-subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out certificate.pem"
)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a self-signed certificate for 127.0.0.1, with its key before it in one file."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command")
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(_NEW.split(), cwd=folder, check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_bytes((folder / "key.pem").read_bytes() + (folder / "certificate.pem").read_bytes())
    return both


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


DialTls = Callable[[House], Awaitable[Wire]]


@pytest.fixture
def dial_tls(certificate: Path) -> DialTls:
    async def dial(house: House) -> Wire:
        host, port = house.listening.getsockname()
        trusting = ssl.create_default_context(cafile=certificate)
        async with asyncio.timeout(PATIENCE):
            return Wire(*await asyncio.open_connection(host, port, ssl=trusting))

    return dial


async def test_callbacks_are_taken_over_tls(
    build: BuildHouse, wires: Dial, tls: ssl.SSLContext, dial_tls: DialTls
) -> None:
    house = await build(Plan(tls=tls))
    wire = await dial_tls(house)

    for _ in range(2):
        assert (await wire.ask(post(body()))).status == 200
    assert (await wire.ask(post(b"x" * 5_000_000))).status == 413
    await wire.close()
    assert len(await house.stored()) == 2


@pytest.mark.parametrize("garbage", [post(body()), b"\x16\x03\x01garbage", b"\x00" * 500])
async def test_a_client_that_speaks_no_tls_is_closed_and_its_place_given_back(
    build: BuildHouse, wires: Dial, tls: ssl.SSLContext, dial_tls: DialTls, garbage: bytes
) -> None:
    house = await build(Plan(tls=tls, most_connections=1))
    for _ in range(3):
        wire = await wires(house)
        await wire.send(garbage)
        await wire.rest()

    good = await dial_tls(house)
    assert (await good.ask(post(body()))).status == 200
    await good.close()
    assert house.logged("connection_failed")


async def test_a_handshake_that_does_not_end_is_cut_at_the_limit_of_the_request(
    build: BuildHouse, wires: Dial, tls: ssl.SSLContext, dial_tls: DialTls
) -> None:
    house = await build(Plan(tls=tls, most_connections=2, request_timeout=0.3))
    for said in (b"", b"\x16\x03\x01\x02\x00\x01"):
        wire = await wires(house)
        await wire.send(said)
        await wire.rest()

    shy = await dial_tls(house)
    await shy.rest()
    await shy.close()
    good = await dial_tls(house)
    assert (await good.ask(post(body()))).status == 200
    await good.close()


async def test_a_client_that_hangs_up_after_its_last_byte_still_gets_its_callback_kept(
    build: BuildHouse, wires: Dial, tls: ssl.SSLContext, certificate: Path
) -> None:
    house = await build(Plan(tls=tls))

    def hasty() -> None:
        trusting = ssl.create_default_context(cafile=certificate)
        with socket.create_connection(house.listening.getsockname()) as plain:
            wrapped = trusting.wrap_socket(plain, server_hostname="127.0.0.1")
            wrapped.sendall(post(body()))
            wrapped.close()

    await asyncio.to_thread(hasty)
    await house.until(lambda: house.logged("callback_received"))
    assert await house.stored_ids() == ["p-1"]


async def test_a_stop_waits_for_a_handshake_but_not_longer_than_for_a_request(
    build: BuildHouse, wires: Dial, tls: ssl.SSLContext, dial_tls: DialTls
) -> None:
    house = await build(Plan(tls=tls, request_timeout=0.5))
    hanging = await wires(house)
    good = await dial_tls(house)
    assert (await good.ask(post(body()))).status == 200
    await hanging.send(b"\x16\x03\x01\x02\x00\x01")

    async with asyncio.timeout(PATIENCE):
        await house.listener.stop()

    assert await hanging.rest() == b""
    await good.close()
