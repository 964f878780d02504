"""The listener lets in by the address that a request really comes from."""

import json
import socket
import ssl
from ipaddress import ip_address, ip_network

import pytest

from reconciler.inbound.bind import addresses, bind
from reconciler.inbound.checks import Network, client_address, is_in
from tests.inbound.conftest import Ask, BuildHouse, Dial, Plan, body, post

PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.9"], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.9"], "198.51.100.9"),
        ("10.0.0.1", ["198.51.100.9, 203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7,10.0.0.2 , 10.0.0.3"], "203.0.113.7"),
        ("10.0.0.1", ["198.51.100.9", "203.0.113.7", "10.0.0.2"], "203.0.113.7"),
        ("10.0.0.1", ["10.0.0.3", "10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", [", ,"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.9, unknown"], None),
        ("10.0.0.1", ["198.51.100.9, 1.2.3.4.5"], None),
        ("10.0.0.1", ["unknown, 203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7:51234"], "203.0.113.7"),
        ("10.0.0.1", ["[2001:db8::7]:51234"], "2001:db8::7"),
        ("10.0.0.1", ["[2001:db8::7]"], "2001:db8::7"),
        ("10.0.0.1", ["2001:db8::7"], "2001:db8::7"),
        ("fd00::1", ["2001:db8::7, fd00::2"], "2001:db8::7"),
        ("::ffff:10.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["::ffff:203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["[::ffff:203.0.113.7]:51234"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7,::ffff:10.0.0.2"], "203.0.113.7"),
        ("10.0.0.1", ["\t203.0.113.7 \t,\t10.0.0.2\t"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7,,"], "203.0.113.7"),
        ("10.0.0.1", ["", "203.0.113.7", ""], "203.0.113.7"),
        ("10.0.0.1", ["198.51.100.9, 203.0.113.7:"], None),
        ("10.0.0.1", ["198.51.100.9, 203.0.113.007"], None),
        ("10.0.0.1", ['198.51.100.9, "203.0.113.7"'], None),
        ("10.0.0.1", ["198.51.100.9, for=203.0.113.7"], None),
        ("10.0.0.1", ["198.51.100.9, 203.0.113.7 203.0.113.8"], None),
        ("10.0.0.1", ["198.51.100.9, [203.0.113.7"], None),
        ("10.0.0.1", ["198.51.100.9, _hidden, 10.0.0.2"], None),
        ("10.0.0.1", [",".join(["198.51.100.9"] * 500 + ["203.0.113.7"])], "203.0.113.7"),
        ("", ["203.0.113.7"], None),
        (None, ["203.0.113.7"], None),
    ],
)
def test_the_client_is_the_rightmost_address_that_is_not_a_trusted_proxy(
    peer: str | None, forwarded: list[str], found: str | None
) -> None:
    assert client_address(peer, forwarded, PROXIES) == (ip_address(found) if found else None)


def test_without_trusted_proxies_the_header_is_never_believed() -> None:
    assert client_address("10.0.0.1", ["203.0.113.7"], ()) == ip_address("10.0.0.1")


@pytest.mark.parametrize(
    ("address", "network", "inside"),
    [
        ("192.0.2.1", "192.0.2.0/24", True),
        ("192.0.3.1", "192.0.2.0/24", False),
        ("::ffff:192.0.2.1", "192.0.2.0/24", True),
        ("2001:db8::1", "2001:db8::/32", True),
        ("2001:db8::1", "0.0.0.0/0", False),
        ("fe80::1%eth0", "fe80::/10", True),
        ("unknown", "::/0", False),
    ],
)
def test_an_address_is_in_a_network_of_its_own_family(
    address: str, network: str, inside: bool
) -> None:
    wanted: tuple[Network, ...] = (ip_network(network),)
    assert is_in(client_address(address, [], ()), wanted) is inside


async def test_an_address_that_is_not_allowed_gets_its_403_without_a_place(
    build: BuildHouse, wires: Dial
) -> None:
    house = await build(Plan(allow_from=(ip_network("192.0.2.0/24"),), most_connections=1))

    silent = [await wires(house) for _ in range(2)]
    wire = await wires(house)
    await wire.send(post(body()))
    head, _, answer = (await wire.rest()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 403 ")
    assert json.loads(answer)["error"] == "forbidden"
    for each in silent:
        assert await each.rest() == b""

    assert await house.stored() == []
    assert house.listener.rejected == {"forbidden": 3}
    line = house.logged("callback_rejected")[0]
    assert (line["reason"], line["remote"]) == ("forbidden", "127.0.0.1")


async def test_with_tls_an_address_that_is_not_allowed_is_closed_before_the_handshake(
    build: BuildHouse, wires: Dial
) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    house = await build(Plan(allow_from=(ip_network("192.0.2.0/24"),), tls=tls))

    assert await (await wires(house)).rest() == b""

    assert house.listener.rejected == {"forbidden": 1}
    assert not house.listener.handshakes_failed


async def test_of_many_that_are_not_allowed_only_some_are_answered(
    build: BuildHouse, wires: Dial
) -> None:
    house = await build(Plan(allow_from=(ip_network("192.0.2.0/24"),)))

    many = [await wires(house) for _ in range(80)]
    for wire in many:
        await wire.send(post(body()))
    answers = [await wire.rest() for wire in many]

    assert all(answer == b"" or answer.startswith(b"HTTP/1.1 403 ") for answer in answers)
    assert answers[0]
    assert house.listener.rejected == {"forbidden": 80}


async def test_behind_a_trusted_proxy_the_clients_own_address_decides(
    build: BuildHouse, ask: Ask
) -> None:
    allowed, loopback = ip_network("192.0.2.0/24"), ip_network("127.0.0.0/8")
    house = await build(Plan(allow_from=(allowed,), trusted_proxies=(loopback,)))

    for forwarded, status in {
        "192.0.2.1": 200,
        "203.0.113.7, 192.0.2.1": 200,
        "192.0.2.1, 203.0.113.7": 403,
        "192.0.2.1, canary": 403,
        "": 403,
    }.items():
        answer = await ask(house, post(body(), f"X-Forwarded-For: {forwarded}"))
        assert answer.status == status, forwarded
    assert (await ask(house, post(body()))).status == 403
    assert len(await house.stored()) == 2
    remotes = [line["remote"] for line in house.logged("callback_rejected")]
    assert remotes == ["203.0.113.7", "127.0.0.1", "127.0.0.1", "127.0.0.1"]
    assert "canary" not in str(house.lines.entries)


def test_localhost_is_bound_on_both_its_addresses_and_one_port() -> None:
    bound = bind("localhost", 0)
    try:
        names = {each.getsockname()[0] for each in bound}
        assert names == ({"127.0.0.1", "::1"} if socket.has_ipv6 else {"127.0.0.1"})
        assert len({each.getsockname()[1] for each in bound}) == 1
        assert addresses(bound, "http").startswith("http://127.0.0.1:")
    finally:
        for each in bound:
            each.close()


@pytest.mark.parametrize("host", ["::1", "::"])
async def test_a_listener_on_ipv6_takes_callbacks_and_knows_mapped_addresses(
    build: BuildHouse, wires: Dial, host: str
) -> None:
    allowed = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
    house = await build(Plan(host=host, allow_from=allowed))

    assert (await (await wires(house)).ask(post(body()))).status == 200
