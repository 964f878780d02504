"""Old, clumsy and chatty HTTP clients are served; others get one clear answer."""

import gzip
import zlib
from typing import Any

import pytest

from tests.inbound.conftest import Ask, BuildHouse, Dial, House, Plan, Wire, body, post


def chunked(*chunks: bytes) -> bytes:
    framed = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return post(framed + b"0\r\n\r\n", "Transfer-Encoding: chunked")


async def test_a_chunked_body_is_read(house: House, wire: Wire) -> None:
    content = body()

    assert (await wire.ask(chunked(content[:5], content[5:6], content[6:]))).status == 200
    assert await house.stored_ids() == ["p-1"]


async def test_a_chunked_body_beyond_the_limit_is_answered_413(house: House, wire: Wire) -> None:
    answer = await wire.ask(chunked(*[b"x" * 4096] * 17))

    assert (answer.status, answer.error) == (413, "too_large")


@pytest.mark.parametrize(("name", "squeeze"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_a_compressed_body_is_read(house: House, wire: Wire, name: str, squeeze: Any) -> None:
    assert (await wire.ask(post(squeeze(body()), f"Content-Encoding: {name}"))).status == 200
    assert await house.stored_ids() == ["p-1"]


async def test_a_compressed_bomb_is_answered_413_without_being_unpacked(
    build: BuildHouse, wires: Dial
) -> None:
    house = await build(Plan())
    wire = await wires(house)
    bomb = gzip.compress(bytes(50_000_000))
    assert len(bomb) < 65536

    answer = await wire.ask(post(bomb, "Content-Encoding: gzip"))

    assert (answer.status, answer.error) == (413, "too_large")
    assert await wire.rest() == b""


async def test_a_compressed_body_of_several_pieces_is_read(house: House, ask: Ask) -> None:
    content = body()
    pieces = gzip.compress(content[:9]) + gzip.compress(content[9:])
    raw = zlib.compress(content, wbits=-15)

    for name, squeezed in {"GZIP": pieces, "x-gzip": pieces, "deflate": raw}.items():
        assert (await ask(house, post(squeezed, f"Content-Encoding: {name}"))).status == 200
    assert await house.stored_ids() == ["p-1"] * 3


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip", "aes128gcm"])
async def test_an_encoding_that_is_not_unpacked_is_answered_415(
    house: House, wire: Wire, encoding: str
) -> None:
    answer = await wire.ask(post(body(), f"Content-Encoding: {encoding}"))

    assert (answer.status, answer.error) == (415, "unknown_encoding")
    assert await house.stored() == []


@pytest.mark.parametrize("encoding", ["identity", ""])
async def test_a_body_that_says_to_be_as_it_is_is_taken(
    house: House, wire: Wire, encoding: str
) -> None:
    assert (await wire.ask(post(body(), f"Content-Encoding: {encoding}"))).status == 200


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_body_that_is_not_encoded_as_it_says_is_answered_400(
    house: House, wire: Wire, encoding: str
) -> None:
    assert (await wire.ask(post(body(), f"Content-Encoding: {encoding}"))).status == 400
    assert await house.stored() == []


@pytest.mark.parametrize(
    "headers",
    [
        ["Content-Length: 5", "Content-Length: 6"],
        ["Content-Length: 5", "Transfer-Encoding: chunked"],
        ["Content-Length: -1"],
        ["Content-Length: five"],
        ["Transfer-Encoding: gzip"],
    ],
)
async def test_a_length_that_contradicts_itself_is_answered_400(
    house: House, wire: Wire, headers: list[str]
) -> None:
    answer = await wire.ask(post(body(), *headers))

    assert (answer.status, answer.error) == (400, "bad_http")
    assert await wire.rest() == b""
    assert await house.stored() == []


async def test_a_broken_chunk_is_answered_400(house: House, wire: Wire) -> None:
    answer = await wire.ask(post(b"zz\r\n" + body(), "Transfer-Encoding: chunked"))

    assert answer.status == 400
    assert await house.stored() == []


async def test_a_body_shorter_than_it_says_is_answered_400_when_its_sender_ends(
    house: House, wire: Wire
) -> None:
    await wire.send(post(body(), f"Content-Length: {len(body()) + 1}"))
    wire.end_writing()

    answer = await wire.answer()
    assert (answer.status, answer.error) == (400, "incomplete")
    assert await house.stored() == []


async def test_a_line_feed_too_many_after_the_body_does_no_harm(house: House, wire: Wire) -> None:
    for _ in range(2):
        assert (await wire.ask(post(body()) + b"\r\n")).status == 200

    assert len(await house.stored()) == 2


async def test_a_body_longer_than_it_says_is_answered_400(house: House, wire: Wire) -> None:
    answer = await wire.ask(post(body() + b"}}}", f"Content-Length: {len(body())}"))

    assert (answer.status, answer.error) == (400, "bad_http")
    assert await wire.rest() == b""
    assert await house.stored() == []


async def test_an_expectation_is_met_before_the_body_is_sent(house: House, wire: Wire) -> None:
    request = post(body(), "Expect: 100-continue")
    head, content = request[: -len(body())], request[-len(body()) :]

    assert (await wire.ask(head)).status == 100
    assert (await wire.ask(content)).status == 200
    assert (await wire.ask(post(body()))).status == 200


async def test_an_expectation_is_not_met_when_the_answer_is_known(
    build: BuildHouse, wires: Dial
) -> None:
    wire = await wires(await build(Plan(authorization=(b"right",))))
    head = post(b"", "Expect: 100-continue", "Content-Length: 500000")

    assert (await wire.ask(head)).status == 401


async def test_http_1_0_is_answered_and_closed(house: House, wire: Wire) -> None:
    request = post(body(), "Expect: 100-continue").replace(b"HTTP/1.1", b"HTTP/1.0")

    assert (await wire.ask(request)).status == 200
    assert await wire.rest() == b""


async def test_a_connection_is_used_again(house: House, wire: Wire) -> None:
    for number in range(3):
        assert (await wire.ask(post(body(processId=f"p-{number}")))).status == 200

    assert await house.stored_ids() == ["p-0", "p-1", "p-2"]


async def test_a_client_that_asks_for_it_is_closed_after_the_answer(
    house: House, wire: Wire
) -> None:
    assert (await wire.ask(post(body(), "Connection: close"))).status == 200
    assert await wire.rest() == b""


async def test_pipelined_requests_are_answered_in_their_order(house: House, wire: Wire) -> None:
    requests = [post(body(processId=f"p-{number}")) for number in range(40)]
    requests[20] = post(b"not JSON")

    await wire.send(b"".join(requests))

    answers = [(await wire.answer()).status for _ in requests]
    assert answers == [400 if number == 20 else 200 for number in range(40)]
    assert await house.stored_ids() == [f"p-{n}" for n in range(40) if n != 20]


@pytest.mark.parametrize(
    "head",
    [
        b"POST /callbacks/assure HTTP/1.1\r\nX: " + b"x" * 100_000,
        b"POST /" + b"x" * 100_000 + b" HTTP/1.1",
        b"POST /callbacks/assure HTTP/1.1" + b"".join(b"\r\nX%d: y" % n for n in range(3000)),
    ],
    ids=["a long value", "a long path", "many"],
)
async def test_huge_headers_are_answered_431(house: House, wire: Wire, head: bytes) -> None:
    answer = await wire.ask(head + b"\r\nHost: listener\r\nContent-Length: 0\r\n\r\n")

    assert (answer.status, answer.error) == (431, "headers_too_large")
    assert await wire.rest() == b""
    (line,) = house.logged("callback_rejected")
    assert (line["reason"], line["http_status"]) == ("headers_too_large", 431)
    assert (line["remote"], line["total"]) == ("127.0.0.1", 1)


JSON = "Content-Type: application/json"


@pytest.mark.parametrize(
    "headers",
    [
        [JSON, JSON],
        [JSON, "content-type:application/json ", JSON],
        ["User-Agent: x", "Host: listener", "User-Agent: x"],
        [f"Content-Length: {len(body())}", f"Content-Length: {len(body())}"],
        ["ETag: x", JSON, "ETag: x", JSON],
    ],
)
async def test_a_header_that_comes_twice_with_one_value_does_no_harm(
    house: House, wires: Dial, headers: list[str]
) -> None:
    wire = await wires(house)
    for _ in range(2):
        answer = await wire.ask(post(body(), *headers))
        assert (answer.status, answer.error) == (200, None)

    slow = await wires(house)
    request = post(body(), *headers)
    for at in range(0, len(request), 7):
        await slow.send(request[at : at + 7])
        await (await wires(house)).ask(post(body()))  # the piece has been read by itself
    assert (await slow.answer()).status == 200


async def test_a_repeated_header_may_be_cut_anywhere(house: House, wires: Dial) -> None:
    header = f"Content-Length: {len(body())}"
    request = post(body(), header, header)
    begin = request.rindex(header.encode())
    for at in range(begin, begin + len(header) + 3):
        slow = await wires(house)
        await slow.send(request[:at])
        await (await wires(house)).ask(post(body()))  # the piece has been read by itself
        assert (await slow.ask(request[at:])).status == 200, request[:at]


@pytest.mark.parametrize("header", ["Content-Type: text/plain", "Host: b", "User-Agent: b"])
async def test_a_header_that_comes_twice_with_two_values_is_answered_400(
    house: House, wire: Wire, header: str
) -> None:
    answer = await wire.ask(post(body(), JSON, "User-Agent: a", header))

    assert (answer.status, answer.error) == (400, "bad_http")
    assert house.logged("callback_rejected")[0]["detail"] == "a header comes twice with two values"
    assert await house.stored() == []


@pytest.mark.parametrize(
    "begin",
    [
        b"PROXY TCP4 192.0.2.1 192.0.2.2 5000 80\r\n",
        b"PROXY UNKNOWN\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\x13\x88\x00\x50",
    ],
)
async def test_the_proxy_protocol_is_refused_by_its_name(
    house: House, wire: Wire, begin: bytes
) -> None:
    answer = await wire.ask(begin + post(body()))

    assert (answer.status, answer.error) == (400, "proxy_protocol")
    assert house.logged("callback_rejected")[0]["reason"] == "proxy_protocol"


async def test_headers_of_a_usual_size_are_taken(house: House, wire: Wire) -> None:
    headers = [f"X-Header-{number}: {'x' * 100}" for number in range(40)]

    assert (await wire.ask(post(body(), *headers, f"Cookie: {'x' * 8000}"))).status == 200


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200)),
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00\x01\x02\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"BREW /callbacks/assure HTTP/1.1\r\nHost: listener\r\n\r\n",
        b"POST /callbacks/assure HTTP/1.1\r\nBad Header: x\r\n\r\n",
        b"POST /callbacks/assure HTTP/1.1\r\nX: a\x00b\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
    ids=["TLS", "SSH", "NUL", "GET", "BREW", "space", "NUL in a header", "HTTP/2"],
)
async def test_what_is_not_http_is_answered_400_in_one_line_of_log(
    house: House, wire: Wire, garbage: bytes
) -> None:
    answer = await wire.ask(garbage)

    assert (answer.status, answer.error) == (400, "bad_http")
    assert await wire.rest() == b""
    assert house.events() == ["callback_rejected"]


async def test_a_server_under_a_flood_of_refusals_logs_some_and_counts_all(
    house: House, ask: Ask
) -> None:
    for _ in range(100):
        assert (await ask(house, post(b"not JSON"))).status == 400

    assert house.listener.rejected == {"not_json": 100}
    assert 20 <= len(house.logged("callback_rejected")) < 100


async def test_an_upgrade_that_nobody_offers_changes_nothing(house: House, wire: Wire) -> None:
    upgrade = ("Connection: Upgrade", "Upgrade: websocket")

    assert (await wire.ask(post(body(), *upgrade))).status == 200
    assert (await wire.ask(post(body()))).status == 200
