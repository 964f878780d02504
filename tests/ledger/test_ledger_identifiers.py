"""One rule holds for ids and statuses in every room that reads them."""

import unicodedata

import orjson
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from reconciler.assure.process_answer import ProcessStatus
from reconciler.inbound.checks import Rejection, check_text
from reconciler.ledger.identifiers import LONGEST, Flaw, can_be_id, flaw_of_id, flaw_of_text
from reconciler.operations.registration import BadRegistrationError, registration_from
from reconciler.outbound.errors import UnreadableAnswer
from reconciler.runtime.tolerant_json import read_members

DOTS = (".", "..")

texts = st.text(st.characters(), max_size=LONGEST + 5)
"""Of any characters, half surrogates among them."""


def is_clean(text: str) -> bool:
    """Restate the rule: UTF-8 without Unicode's control characters."""
    return not any(unicodedata.category(character) in ("Cc", "Cs") for character in text)


@given(texts)
def test_a_status_has_1_to_255_characters_of_utf_8_without_control_characters(text: str) -> None:
    is_fit = 1 <= len(text) <= LONGEST and is_clean(text)
    assert (flaw_of_text(text) is None) == is_fit


@given(texts | st.sampled_from(DOTS))
def test_an_id_is_what_a_status_may_be_but_for_one_or_two_dots(text: str) -> None:
    assert can_be_id(text) == (flaw_of_text(text) is None and text not in DOTS)


@pytest.mark.parametrize(
    ("text", "flaw"),
    [
        ("", Flaw.EMPTY),
        ("x" * 256, Flaw.TOO_LONG),
        ("a\x00", Flaw.CONTROL_CHARACTER),
        ("a\n", Flaw.CONTROL_CHARACTER),
        ("a\x7f", Flaw.CONTROL_CHARACTER),
        ("a\x9f", Flaw.CONTROL_CHARACTER),
        ("\ud800", Flaw.HALF_SURROGATE),
        (".", Flaw.DOTS),
        ("..", Flaw.DOTS),
        ("...", None),
        ("x" * 255, None),
        ("\xa0", None),
        ("\u200b", None),
        ("\U0001f600", None),
    ],
)
def test_the_flaw_is_told(text: str, flaw: Flaw | None) -> None:
    assert flaw_of_id(text) is flaw


@given(texts)
@example("..")
@example("\ud800")
def test_what_the_listener_takes_as_an_id_can_be_registered_and_nothing_else(text: str) -> None:
    assert is_taken_by_the_listener("processId", text) == can_be_registered(text)


@given(texts)
@example("..")
def test_what_the_listener_takes_as_a_status_is_read_from_assure_and_nothing_else(
    text: str,
) -> None:
    assume(not any(unicodedata.category(character) == "Cs" for character in text))  # no JSON
    try:
        members = read_members(orjson.dumps({"status": text}), frozenset({"status"}))
        ProcessStatus.from_members(members, 200)
        is_read = True
    except UnreadableAnswer:
        is_read = False
    assert is_read == is_taken_by_the_listener("status", text)


def is_taken_by_the_listener(member: str, text: str) -> bool:
    try:
        check_text(member, text)
    except Rejection:
        return False
    return True


def can_be_registered(text: str) -> bool:
    try:
        registration_from({"processId": text, "dossierId": "d"}, by="test", now=0)
    except BadRegistrationError:
        return False
    return True
