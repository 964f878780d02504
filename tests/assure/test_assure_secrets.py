"""Logs and errors tell enough of a call, and no secret."""

from __future__ import annotations

import base64
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from reconciler.assure import ServerError
from reconciler.outbound.errors import CallError, UnreadableAnswer

if TYPE_CHECKING:
    from tests.assure.conftest import FakeAssure, Room


SECRET = "canary-client-secret"
CANARY = "canary-body"


async def test_debug_lines_tell_verb_status_and_duration_of_each_exchange(room: Room) -> None:
    client = room.client()
    await client.get_process("d1", "p1")
    room.assure.status = 503
    with pytest.raises(ServerError):
        await client.notify("d1", "p1")
    room.assure.status, room.assure.body = 200, b" " * 9
    with pytest.raises(UnreadableAnswer):
        await client.get_process("d1", "p1")

    assert {call.method_name for call in room.lines.calls} == {"debug"}
    lines = [call.kwargs for call in room.lines.calls]
    assert {line["event"] for line in lines} == {"outbound_call"}
    assert [(line["verb"], line["http_status"], line["error"]) for line in lines] == [
        ("token", 200, None),
        ("fetch", 200, None),
        ("notify", 503, None),
        ("fetch", 200, "not_json"),
    ]
    assert all(isinstance(line["duration_ms"], int) for line in lines)


def everything_told_by(error: BaseException) -> str:
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None:
        chain.append(link)
        link = link.__cause__ or link.__context__
    told = [f"{each!s} {each!r} {vars(each)!r}" for each in chain]
    return "".join([*told, *traceback.format_exception(error)])


@pytest.mark.parametrize(
    "prepare",
    [
        lambda assure: setattr(assure, "accepted_from", 9),
        lambda assure: setattr(assure, "token_status", 401),
        lambda assure: setattr(assure, "token_body", CANARY.encode()),
        lambda assure: setattr(assure, "token_body", b'{"access_token": "canary-body\\n"}'),
        lambda assure: setattr(assure, "body", CANARY.encode()),
        lambda assure: setattr(assure, "headers", {"Content-Encoding": "gzip"}),
        lambda assure: setattr(assure, "headers", {"X-Canary": "canary" * 50_000}),
        *(
            lambda assure, status=status: setattr(assure, "status", status)
            for status in (302, 403, 404, 418, 429, 500)
        ),
    ],
)
async def test_no_secret_token_or_body_is_in_an_error_or_a_log_line(
    room: Room, prepare: Callable[[FakeAssure], None]
) -> None:
    prepare(room.assure)
    room.assure.headers |= {"X-Also": CANARY}
    with pytest.raises(CallError) as caught:
        await room.client().get_process("d1", "p1")

    told = everything_told_by(caught.value) + repr(room.lines.calls) + repr(room.endpoint)
    basic = base64.b64encode(f"me:{SECRET}".encode()).decode()
    for canary in ("canary", basic, "token-1", "token-2"):
        assert canary not in told


async def test_of_a_finished_process_no_personal_data_is_kept(room: Room) -> None:
    assert CANARY not in repr(await room.client().get_process("d1", "p1"))
    assert CANARY not in repr(room.lines.calls)
