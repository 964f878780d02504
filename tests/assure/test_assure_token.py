"""401 and the token."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING

import pytest
import structlog

from reconciler.assure import (
    Throttled,
    TokenRefused,
    TokenUnavailable,
    Unauthorized,
)
from reconciler.assure.token import TokenCache
from reconciler.outbound.errors import CallError
from reconciler.outbound.transport import Transport

if TYPE_CHECKING:
    from tests.assure.conftest import Room


SECRET = "canary-client-secret"


async def test_the_token_request_is_client_credentials_with_basic_auth(room: Room) -> None:
    await room.client().ensure_token()

    basic = "Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode()
    form = {"grant_type": "client_credentials", "scope": "signicat-api"}
    assert room.assure.token_requests == [(basic, form)]


async def test_an_empty_scope_is_not_sent(room: Room) -> None:
    await room.client(scope="").ensure_token()
    assert room.assure.token_requests[0][1] == {"grant_type": "client_credentials"}


async def test_one_token_serves_all_calls_until_four_fifths_of_its_life(room: Room) -> None:
    client = room.client()
    await asyncio.gather(*(client.get_process("d1", f"p{n}") for n in range(16)))
    room.clock.move(799)
    await client.notify("d1", "p1")
    assert len(room.assure.token_requests) == 1

    room.clock.move(1)
    await client.notify("d1", "p1")
    assert len(room.assure.token_requests) == 2
    assert room.assure.calls[-1][2] == "token-2"


@pytest.mark.parametrize("expires_in", [None, "soon", 0, -1, True, 1e300, 10**15])
@pytest.mark.fault("the token endpoint", "tells an absurd lifetime")
async def test_an_absurd_lifetime_counts_as_five_minutes(room: Room, expires_in: object) -> None:
    room.assure.token_answer = {"expires_in": expires_in}
    client = room.client()
    await client.ensure_token()
    room.clock.move(239)
    await client.ensure_token()
    assert len(room.assure.token_requests) == 1
    room.clock.move(1)
    await client.ensure_token()
    assert len(room.assure.token_requests) == 2


async def test_a_401_is_answered_with_a_new_token_and_one_more_unit(room: Room) -> None:
    room.assure.accepted_from = 2
    assert (await room.client().get_process("d1", "p1")).status == "accepted"
    assert [call[2] for call in room.assure.calls] == ["token-1", "token-2"]
    # 1000 units a second hold a burst of 100, of which the second call took one.
    assert await room.budget.take(200) < 101


async def test_the_second_call_waits_for_the_budget_but_no_longer_than_the_timeout(
    room: Room,
) -> None:
    room.assure.accepted_from = 2
    room.budget.pause(60)
    with pytest.raises(Throttled) as caught:
        await room.client(timeout=0.2).get_process("d1", "p1")

    assert caught.value.code == "no_budget"
    assert caught.value.retry_after == pytest.approx(60, abs=5)
    assert len(room.assure.calls) == 1


async def test_a_call_that_is_too_late_does_not_leave_and_gives_its_unit_back(room: Room) -> None:
    await room.budget.take()
    with pytest.raises(Throttled) as caught:
        await room.client().get_process("d1", "p1", until=room.clock.at)
    assert caught.value.code == "too_late"
    assert room.assure.calls == []
    assert await room.budget.take(200) == 100


async def test_the_second_call_is_not_made_if_it_has_become_too_late(room: Room) -> None:
    room.assure.accepted_from = 2
    client = room.client()
    await client.ensure_token()
    room.assure.token_may_leave.clear()
    room.assure.token_asked.clear()
    call = asyncio.create_task(client.get_process("d1", "p1", until=room.clock.at + 1))
    await room.assure.token_asked.wait()
    room.clock.move(1)
    room.assure.token_may_leave.set()
    with pytest.raises(Throttled):
        await call
    assert len(room.assure.calls) == 1


async def test_without_a_token_the_unit_of_a_call_is_given_back(room: Room) -> None:
    room.assure.token_status = 503
    for _ in range(300):  # more than may leave in a second; given back, they never stand in the way
        async with asyncio.timeout(30):
            await room.budget.take()
        with pytest.raises(TokenUnavailable):
            await room.client().get_process("d1", "p1")
    assert room.assure.calls == []


async def test_a_second_401_is_the_end(room: Room) -> None:
    room.assure.accepted_from = 9
    with pytest.raises(Unauthorized):
        await room.client().notify("d1", "p1")
    assert len(room.assure.calls) == 2
    assert len(room.assure.token_requests) == 2


async def test_sixteen_401s_cause_one_refresh(room: Room) -> None:
    client = room.client()
    await client.ensure_token()
    room.assure.accepted_from = 2
    await asyncio.gather(*(client.get_process("d1", f"p{n}") for n in range(16)))

    assert len(room.assure.token_requests) == 2
    assert sum(call[2] == "token-2" for call in room.assure.calls) == 16


async def test_a_401_that_comes_after_the_refresh_causes_no_other(room: Room) -> None:
    log = structlog.wrap_logger(room.lines)
    transport = Transport(room.session, log, clock=room.clock, timeout=5.0)
    tokens = TokenCache(room.endpoint, transport, room.clock)
    stale = await tokens.get()

    assert await tokens.force(stale) == "token-2"
    assert await tokens.force(stale) == "token-2"
    assert len(room.assure.token_requests) == 2


@pytest.mark.parametrize(
    ("status", "body", "error", "code"),
    [
        (400, b'{"error": "invalid_scope"}', TokenRefused, "http_400"),
        (401, b"canary-body", TokenRefused, "http_401"),
        (403, b"", TokenRefused, "http_403"),
        (407, b"", TokenUnavailable, "proxy"),
        (429, b"", Throttled, "http_429"),
        (500, b"", TokenUnavailable, "http_500"),
        (302, b"", TokenUnavailable, "redirect"),
        (200, b"canary-body", TokenUnavailable, "not_json"),
        (200, b"[]", TokenUnavailable, "not_json"),
        (200, b"{}", TokenUnavailable, "no_token"),
        (200, b'{"access_token": 7}', TokenUnavailable, "no_token"),
        (200, b'{"access_token": "a\\r\\nX-Injected: 1"}', TokenUnavailable, "no_token"),
        (200, b" " * 1024, TokenUnavailable, "not_json"),
    ],
)
async def test_what_the_token_endpoint_may_answer_instead(
    room: Room, status: int, body: bytes, error: type[CallError], code: str
) -> None:
    room.assure.token_status, room.assure.token_body = status, body
    with pytest.raises(CallError) as caught:
        await room.client().get_process("d1", "p1")

    assert type(caught.value) is error
    assert caught.value.code == code
    assert caught.value.http_status == status
    assert not room.assure.calls


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b'{"error": "invalid_client"}', "invalid_client"),
        (
            b'\xef\xbb\xbf{"error": "invalid_scope", "error_description": "M\xfcller\n"}',
            "invalid_scope",
        ),
        (b'{"error": "canary-word"}', "other"),
        (b'{"error": {"code": 7}}', "other"),
        (b'{"title": "Unauthorized"}', None),
        (b"<html>no</html>", None),
        (b"", None),
    ],
)
async def test_a_refusal_tells_the_word_of_oauth_and_no_other(
    room: Room, body: bytes, word: str | None
) -> None:
    room.assure.token_status, room.assure.token_body = 401, body
    with pytest.raises(TokenRefused) as caught:
        await room.client().ensure_token()
    assert (caught.value.code, caught.value.word) == ("http_401", word)


async def test_a_throttled_token_request_tells_how_long_to_wait(room: Room) -> None:
    room.assure.token_status, room.assure.token_headers = 429, {"Retry-After": "9"}
    with pytest.raises(Throttled) as caught:
        await room.client().ensure_token()
    assert caught.value.retry_after == 9


async def test_all_waiters_get_the_error_of_the_one_request_and_the_next_tries_again(
    room: Room,
) -> None:
    room.assure.token_status = 401
    client = room.client()
    results = await asyncio.gather(
        *(client.get_process("d1", f"p{n}") for n in range(8)), return_exceptions=True
    )
    assert [type(result) for result in results] == [TokenRefused] * 8
    assert len(room.assure.token_requests) == 1

    room.assure.token_status = 200
    assert await client.notify("d1", "p1") == 200


async def test_a_cancelled_waiter_does_not_take_the_refresh_from_the_others(room: Room) -> None:
    room.assure.token_may_leave.clear()
    client = room.client()
    waiters = [asyncio.ensure_future(client.get_process("d1", f"p{n}")) for n in range(3)]
    await room.assure.token_asked.wait()
    waiters[0].cancel()  # the one that began it
    room.assure.token_may_leave.set()

    assert [(await waiter).status for waiter in waiters[1:]] == ["accepted"] * 2
    assert waiters[0].cancelled()
    assert len(room.assure.token_requests) == 1


async def test_when_the_last_waiter_goes_the_refresh_goes_too(room: Room) -> None:
    room.assure.token_may_leave.clear()
    client = room.client()
    waiters = [asyncio.ensure_future(client.get_process("d1", f"p{n}")) for n in range(2)]
    await room.assure.token_asked.wait()
    for waiter in waiters:
        waiter.cancel()
    refreshes = [task for task in asyncio.all_tasks() if task.get_name() == "assure-token"]
    await asyncio.wait([*waiters, *refreshes], timeout=5)
    assert [task.cancelled() for task in refreshes] == [True]

    room.assure.token_may_leave.set()
    assert await client.notify("d1", "p1") == 200
