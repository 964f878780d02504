"""The same listener behind its own TLS."""

import asyncio
import shutil
import socket
import ssl
import subprocess
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from reconciler.inbound.tls import expires_at, server_context
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
    return server_context(str(certificate), str(certificate))


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


async def test_a_failed_handshake_is_counted_by_its_reason(
    build: BuildHouse, wires: Dial, tls: ssl.SSLContext
) -> None:
    house = await build(Plan(tls=tls))

    def offer(context: ssl.SSLContext) -> None:
        address = house.listening.getsockname()
        with socket.create_connection(address) as plain, pytest.raises(OSError):
            context.wrap_socket(plain, server_hostname="127.0.0.1")

    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    for context in (ssl.create_default_context(), old):
        await asyncio.to_thread(offer, context)
    for garbage in (post(body()), b"PROXY TCP4 192.0.2.1 192.0.2.2 5000 80\r\n", b"x" * 99):
        wire = await wires(house)
        await wire.send(garbage)
        await wire.rest()
    silent = await wires(house)
    await silent.close()

    wanted = ["unknown_ca", "unsupported_protocol", "http_request", "proxy_protocol", "not_tls"]
    await house.until(lambda: len(house.logged("tls_handshake_failed")) == len(wanted))
    assert house.listener.handshakes_failed == dict.fromkeys(wanted, 1)
    lines = house.logged("tls_handshake_failed")
    assert sorted(line["reason"] for line in lines) == sorted(wanted)
    assert {line["remote"] for line in lines} == {"127.0.0.1"}


async def test_strangers_who_are_refused_keep_no_place_behind_tls_either(
    build: BuildHouse, wires: Dial, tls: ssl.SSLContext, dial_tls: DialTls
) -> None:
    house = await build(Plan(tls=tls, most_connections=5))
    refused = []
    for _ in range(20):
        refused.append(await dial_tls(house))
        await refused[-1].ask(post(body(), path="/other"))

    good = await dial_tls(house)
    assert (await good.ask(post(body()))).status == 200
    for wire in (good, *refused):
        await wire.close()


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
        await house.stop_listener()

    assert await hanging.rest() == b""
    await good.close()


async def offer(house: House, **limits: ssl.TLSVersion) -> ssl.SSLObject:
    """Shake hands as a client with these limits, and return what was agreed on."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.set_ciphers("ALL:@SECLEVEL=0")
    client.set_alpn_protocols(["h2", "http/1.1"])
    for limit, version in limits.items():
        with warnings.catch_warnings(action="ignore"):  # of the versions that nobody should speak
            setattr(client, limit, version)
    host, port = house.listening.getsockname()
    async with asyncio.timeout(PATIENCE):
        _, writer = await asyncio.open_connection(host, port, ssl=client)
    agreed: ssl.SSLObject = writer.get_extra_info("ssl_object")
    writer.close()
    return agreed


async def test_tls_1_3_is_spoken_and_1_2_with_forward_secrecy_and_nothing_older(
    build: BuildHouse, wires: Dial, tls: ssl.SSLContext
) -> None:
    house = await build(Plan(tls=tls))
    newest = await offer(house)
    assert newest.version() == "TLSv1.3"
    assert newest.selected_alpn_protocol() == "http/1.1"
    assert newest.compression() is None
    older = await offer(house, maximum_version=ssl.TLSVersion.TLSv1_2)
    assert older.version() == "TLSv1.2"
    assert (older.cipher() or ("",))[0].startswith("ECDHE-")
    names = {cipher["name"] for cipher in tls.get_ciphers()}
    assert all(name.startswith(("TLS_", "ECDHE-")) for name in names)
    with pytest.raises(OSError):
        await offer(
            house,
            minimum_version=ssl.TLSVersion.TLSv1,
            maximum_version=ssl.TLSVersion.TLSv1_1,
        )


async def test_a_new_certificate_is_for_new_connections_and_the_old_ones_go_on(
    build: BuildHouse, wires: Dial, tls: ssl.SSLContext, dial_tls: DialTls, tmp_path: Path
) -> None:
    house = await build(Plan(tls=tls))
    early = await dial_tls(house)
    assert (await early.ask(post(body()))).status == 200
    await asyncio.to_thread(
        subprocess.run, _NEW.split(), cwd=tmp_path, check=True, capture_output=True
    )
    certificate = tmp_path / "certificate.pem"
    house.tls.value = server_context(str(certificate), str(tmp_path / "key.pem"))

    with pytest.raises(ssl.SSLCertVerificationError):
        await dial_tls(house)  # which trusts only the old one
    host, port = house.listening.getsockname()
    trusting = ssl.create_default_context(cafile=certificate)
    late = Wire(*await asyncio.open_connection(host, port, ssl=trusting))
    assert (await late.ask(post(body()))).status == 200
    assert (await early.ask(post(body()))).status == 200
    await early.close()
    await late.close()


@pytest.mark.parametrize("days", [2, 40, -1])
def test_the_end_of_a_certificate_is_known_also_when_it_is_past(tmp_path: Path, days: int) -> None:
    ca = "openssl req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=ca -keyout ca.key -out ca.pem"
    ask = "openssl req -newkey rsa:2048 -nodes -subj /CN=leaf -keyout leaf.key -out leaf.csr"
    sign = "openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out leaf.pem"
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command")
    for command in (ca, ask, f"{sign} -days {days}"):
        subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    chain = tmp_path / "chain.pem"
    chain.write_bytes((tmp_path / "leaf.pem").read_bytes() + (tmp_path / "ca.pem").read_bytes())
    shown = "openssl x509 -in leaf.pem -noout -enddate"
    said = subprocess.run(shown.split(), cwd=tmp_path, check=True, capture_output=True, text=True)

    ends = expires_at(server_context(str(chain), str(tmp_path / "leaf.key")), str(chain))

    assert ends == ssl.cert_time_to_seconds(said.stdout.strip().removeprefix("notAfter="))


def test_a_key_with_a_password_is_refused_and_nobody_is_asked_for_it(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command")
    made = "openssl req -x509 -newkey rsa:2048 -passout pass:abcd -subj /CN=x -keyout k -out c"
    subprocess.run(made.split(), cwd=tmp_path, check=True, capture_output=True)
    with pytest.raises(OSError, match=r"listener\.tls: cannot use .*/c' with .*/k'"):
        server_context(str(tmp_path / "c"), str(tmp_path / "k"))
