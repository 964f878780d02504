"""The contract's table, row by row, and the order of the checks, over raw sockets."""

from hashlib import sha256

import pytest

from reconciler.inbound.checks import Rejection, check_body
from tests.inbound.conftest import (
    CALLBACK,
    Ask,
    BuildHouse,
    Dial,
    House,
    Plan,
    Wire,
    body,
    post,
)

REJECTED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "not_json"),
    "a word": (b"accepted", "not_json"),
    "half an object": (b'{"dossierId":"d","processId":"p"', "not_json"),
    "a status that is not UTF-8": (body(status="ok").replace(b"ok", b"\xff\xfe"), "not_json"),
    "an id that is not UTF-8": (body(processId="ok").replace(b"ok", b"M\xfcller"), "not_json"),
    "not a number as id": (body(processId=7).replace(b"7", b"NaN"), "not_a_string"),
    "a raw line feed in the status": (
        body(status="ok").replace(b"ok", b"o\nk"),
        "control_characters",
    ),
    "rubbish behind the status": (body(status="ok").replace(b'"ok"', b'"ok" x'), "not_json"),
    "two statuses": (b'{"status":"rejected",' + body(status="accepted")[1:], "not_json"),
    "two statuses, one escaped": (
        rb'{"stat\u0075s":"rejected",' + body(status="accepted")[1:],
        "not_json",
    ),
    "an object that does not end": (body()[:-1], "not_json"),
    "a huge number as id": (body(processId=7).replace(b"7", b"7" * 5_000), "not_a_string"),
    "a lone surrogate": (body(status="S").replace(b"S", rb"\ud800"), "not_json"),
    "deep nesting": (b"[" * 60_000, "not_json"),
    "null": (b"null", "not_an_object"),
    "a number": (b"17", "not_an_object"),
    "an array": (b"[" + body() + b"]", "not_an_object"),
    "no member": (b"{}", "missing_member"),
    "no status": (b'{"dossierId":"d","processId":"p"}', "missing_member"),
    "case": (b'{"DossierID":"d","processId":"p","status":"s"}', "missing_member"),
    "null status": (body(status=None), "not_a_string"),
    "a number as id": (body(processId=17), "not_a_string"),
    "an array as id": (body(dossierId=["d"]), "not_a_string"),
    "an object as id": (body(dossierId={"id": "d"}), "not_a_string"),
    "a boolean as status": (body(status=True), "not_a_string"),
    "an empty id": (body(processId=""), "empty"),
    "256 characters": (body(processId="p" * 256), "too_long"),
    "256 euros": (body(status="€" * 256), "too_long"),
    "a dot": (body(processId="."), "bad_id"),
    "two dots": (body(dossierId=".."), "bad_id"),
    "a line feed": (body(status="acc\nepted"), "control_characters"),
    "NUL": (body(processId="p\x00"), "control_characters"),
    "DEL": (body(processId="\x7f"), "control_characters"),
    "C1": (body(dossierId="d\x85"), "control_characters"),
}

KEPT: dict[str, bytes] = {
    "a callback": body(),
    "255 characters": body(processId="p" * 255),
    "255 euros": body(processId="€" * 255),
    "255 characters outside the BMP": body(processId="🙂" * 255),
    "a dot as status": body(status="."),
    "three dots": body(processId="..."),
    "characters that mean something in a URL": body(processId="a/b?c#d%2e"),
    "characters that are not control characters": body(processId="\u2028\u202e"),
    "white space around it": b" \r\n" + body() + b"\n",
    "an escaped pair": body(status="S").replace(b"S", rb"\ud83d\ude42"),
    "an integer that no machine holds": body(score=7).replace(b"7", b"7" * 5_000),
    "a fraction that no machine holds": body(score=7).replace(b"7", b"-1e99999"),
    "half a surrogate pair that nobody needs": body(note="S").replace(b"S", rb"\ud800"),
    "a byte order mark": b"\xef\xbb\xbf" + body(),
    "UTF-16": body().decode().encode("utf-16"),
    "UTF-16 without a mark": body().decode().encode("utf-16-be"),
    "a Latin-1 byte that nobody needs": body(name="M").replace(b'"M"', b'"M\xfcller"'),
    "a raw line feed that nobody needs": body(name="M").replace(b'"M"', b'"a\nb"'),
    "NaN that nobody needs": body(score=7).replace(b"7", b"NaN"),
    "infinity that nobody needs": body(score=7).replace(b"7", b"-Infinity"),
    "rubbish after the object": body() + b"}\x00 rubbish",
    "a callback twice": body() + body(),
    "a member twice with one value": b'{"status":"accepted",' + body(status="accepted")[1:],
    "a comma too many": body()[:-1] + b",}",
    "half a surrogate pair as a name": body(S=1).replace(b'"S"', rb'"\ud800"'),
}


@pytest.mark.parametrize("content", KEPT.values(), ids=KEPT)
def test_a_callback_may_say(content: bytes) -> None:
    assert check_body(content).body_sha256 == sha256(content).digest()


@pytest.mark.parametrize(("content", "code"), REJECTED.values(), ids=REJECTED)
def test_a_callback_may_not_say(content: bytes, code: str) -> None:
    with pytest.raises(Rejection) as rejected:
        check_body(content)
    assert (rejected.value.status, rejected.value.code) == (400, code)


async def test_a_callback_is_stored_before_it_is_answered(house: House, wire: Wire) -> None:
    for number, (case, content) in enumerate(KEPT.items(), start=1):
        answer = await wire.ask(post(content))
        assert (answer.status, answer.error) == (200, None), case
        assert len(await house.stored()) == number
    assert house.gate.groups == [1] * len(KEPT)


async def test_what_is_not_a_callback_is_answered_400_and_not_stored(
    house: House, ask: Ask
) -> None:
    for case, (content, code) in REJECTED.items():
        house.lines.entries.clear()
        answer = await ask(house, post(content))
        assert (answer.status, answer.error) == (400, code), case
        (line,) = house.logged("callback_rejected")
        assert line["reason"] == code
        assert (line["http_status"], line["remote"]) == (400, "127.0.0.1")
        assert house.listener.rejected[code] == line["total"]
    assert await house.stored() == []


async def test_a_duplicate_and_an_unknown_process_are_answered_200(
    house: House, wire: Wire
) -> None:
    for _ in range(2):
        assert (await wire.ask(post(body()))).status == 200

    first, second = await house.stored()
    assert first.receipt_id != second.receipt_id
    assert first.body_sha256 == second.body_sha256


async def test_of_extra_members_only_the_names_are_kept(house: House, wire: Wire) -> None:
    content = body(**{"zeta": "canary-value", "alpha": {"firstName": "canary-value"}, "n" * 999: 1})

    assert (await wire.ask(post(content))).status == 200

    (row,) = await house.stored()
    assert row.extra == f'["alpha","{"n" * 255}","zeta"]'
    assert "canary-value" not in str(row) + str(house.lines.entries)


async def test_the_charset_of_the_content_type_counts_where_the_body_is_not_utf_8(
    house: House, wire: Wire
) -> None:
    content = body(processId="M").replace(b'"M"', b'"M\xfcller"')

    answer = await wire.ask(post(content, "Content-Type: application/json; charset=ISO-8859-1"))

    assert answer.status == 200
    assert await house.stored_ids() == ["M\u00fcller"]


async def test_a_content_type_that_is_none_does_no_harm(house: House, wire: Wire) -> None:
    answer = await wire.ask(post(body(), "Content-Type: application/json;\xff *"))

    assert answer.status == 200


async def test_a_member_given_twice_with_two_values_is_refused(house: House, wire: Wire) -> None:
    content = b'{"status":"rejected",' + body(status="accepted")[1:]

    answer = await wire.ask(post(content))

    assert (answer.status, answer.error) == (400, "not_json")
    assert await house.stored() == []


@pytest.mark.parametrize(
    "path",
    [
        "/callbacks/assure?x=1",
        "http://there/callbacks/assure",
        "/callbacks/assure/",
        "//callbacks///assure//",
        "/callbacks/assure/?x=1",
    ],
)
async def test_the_path_is_found_with_a_query_in_absolute_form_and_with_more_slashes(
    house: House, wire: Wire, path: str
) -> None:
    assert (await wire.ask(post(body(), path=path))).status == 200
    assert len(await house.stored()) == 1


@pytest.mark.parametrize(
    "path",
    ["/", "/callbacks/Assure", "/x/../callbacks/assure", "//", "/callbacks/assure/x", "/callbacks"],
)
async def test_another_path_is_answered_404(house: House, wire: Wire, path: str) -> None:
    answer = await wire.ask(post(body(), path=path))

    assert (answer.status, answer.error) == (404, "not_found")
    assert await house.stored() == []


async def test_a_path_with_escapes_is_found_as_it_is_written(
    build: BuildHouse, wires: Dial
) -> None:
    wire = await wires(await build(Plan(path="/a%20b")))

    assert (await wire.ask(post(body(), path="/a%20b"))).status == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
async def test_another_method_is_answered_405(house: House, wire: Wire, method: str) -> None:
    request = post(body()).replace(b"POST", method.encode())

    answer = await wire.ask(request)

    assert (answer.status, answer.error) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"
    assert await house.stored() == []


async def test_head_is_answered_405_without_a_body(house: House, wire: Wire) -> None:
    await wire.send(b"HEAD /callbacks/assure HTTP/1.1\r\nHost: listener\r\n\r\n")

    assert (await wire.answer(has_body=False)).status == 405
    assert await wire.rest() == b""


async def test_a_body_of_exactly_the_limit_is_taken_and_one_byte_more_is_not(
    house: House, wire: Wire
) -> None:
    exact = body(padding="x" * (65536 - len(body(padding=""))))
    assert len(exact) == 65536

    assert (await wire.ask(post(exact))).status == 200
    answer = await wire.ask(post(exact + b" "))
    assert (answer.status, answer.error) == (413, "too_large")
    assert len(await house.stored()) == 1


async def test_a_wrong_or_missing_authorization_is_answered_401_and_never_logged(
    build: BuildHouse, ask: Ask
) -> None:
    house = await build(Plan(authorization=(b"Bearer right", "Käse".encode())))

    for header in (
        "X: y",
        "Authorization: ",
        "Authorization: Bearer canary",
        "Authorization: \xff",
    ):
        answer = await ask(house, post(body(), header))
        assert (answer.status, answer.error) == (401, "unauthorized")
        assert answer.headers["www-authenticate"]
    assert await house.stored() == []
    assert house.listener.rejected == {"authorization_missing": 1, "authorization_wrong": 3}
    assert len(house.logged("callback_rejected")) == 4
    assert "canary" not in str(house.lines.entries)


async def test_each_of_several_authorizations_is_accepted_while_rotating(
    build: BuildHouse, ask: Ask
) -> None:
    house = await build(Plan(authorization=(b"Bearer old", b"new", "Käse".encode())))

    for value in (
        "Bearer old",
        "bearer old",
        "BEARER old",
        "new",
        "Käse".encode().decode("latin-1"),
    ):
        assert (await ask(house, post(body(), f"Authorization: {value}"))).status == 200
    for value in ("Bearer", "old", "bearer Old", "NEW", "Bearer  old", "Bearer old, new"):
        assert (await ask(house, post(body(), f"Authorization: {value}"))).status == 401
    assert len(await house.stored()) == 5


async def test_two_authorizations_are_refused_unless_they_are_one(
    build: BuildHouse, ask: Ask
) -> None:
    house = await build(Plan(authorization=(b"Bearer right",)))
    right = "Authorization: Bearer right"

    assert (await ask(house, post(body(), right, right))).status == 200
    assert (await ask(house, post(body(), right, "Authorization: Bearer x"))).status == 400


async def test_a_refusal_is_logged_with_what_its_answer_says(house: House, ask: Ask) -> None:
    path = "/callbacks/" + "x" * 200 + "?secret=canary"

    await ask(house, post(body(), path=path))
    await ask(house, post(body(processId="canary\n")))

    lost, bad = house.logged("callback_rejected")
    assert (lost["reason"], lost["path"]) == ("not_found", path[:100])
    assert bad["detail"] == "processId must not have control characters"
    assert bad["path"] == "/callbacks/assure"
    assert "canary" not in str(house.lines.entries)


async def test_no_answer_tells_the_software_and_its_version(house: House, ask: Ask) -> None:
    for request in (post(body()), post(b"x"), b"GET\r\n\r\n", post(body(), path="/")):
        assert "server" not in (await ask(house, request)).headers


async def test_the_checks_come_in_the_order_of_the_contract(build: BuildHouse, ask: Ask) -> None:
    house = await build(Plan(authorization=(b"right",), allow_from=(), max_body=100))
    large, right = b"x" * 101, "Authorization: right"
    squeezed = "Content-Encoding: br"

    assert (await ask(house, post(large, squeezed, path="/other"))).status == 404
    assert (await ask(house, post(large, squeezed))).status == 401
    assert (await ask(house, post(large, right))).status == 413
    assert (await ask(house, post(body(), right, squeezed))).status == 415
    assert (await ask(house, post(b"x", right))).status == 400
    assert (await ask(house, post(b'{"status":1}', right))).error == "missing_member"
    assert (await ask(house, post(body(), right))).status == 200
    assert (await house.stored_ids()) == [CALLBACK["processId"]]
