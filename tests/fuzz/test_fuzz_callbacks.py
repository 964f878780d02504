"""Bodies of callbacks, in process: as they are checked, spooled and applied."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import strategies as st

from reconciler.inbound.checks import MEMBERS, Claim, Rejection, check_body
from reconciler.inbound.spool import decode_line, encode_line
from reconciler.ledger import Callback, Policy, Registration, Rules, transition
from reconciler.ledger.identifiers import Flaw, flaw_of_id, flaw_of_text
from reconciler.runtime.tolerant_json import (
    LONGEST_NAME,
    MOST_OTHERS,
    MemberReader,
    Members,
    NotReadableError,
    loads,
)
from reconciler.store.inbox import Receipt
from tests.fuzz.texts import (
    ANY_TEXT,
    CHARSETS,
    GOOD_TEXT,
    JSON_VALUES,
    SIZES,
    in_pieces,
    variants,
    written,
)

if TYPE_CHECKING:
    from tests.fuzz.conftest import Fuzz

STATUSES = st.sampled_from(["accepted", "Accepted", "rejected", "pending", "PROCESSING", "odd"])
GOOD = st.fixed_dictionaries(
    {"dossierId": GOOD_TEXT, "processId": GOOD_TEXT, "status": GOOD_TEXT | STATUSES},
    optional={"other": JSON_VALUES, "finalResult": JSON_VALUES, "": JSON_VALUES},
)
FLAWED = st.sampled_from(["", ".", "..", "x" * 256, "a\nb", "\x00", "\x7f", "\ud800"])
ANY_OBJECT = st.fixed_dictionaries(
    dict.fromkeys(MEMBERS[:2], STATUSES | FLAWED | JSON_VALUES),
    optional={"status": STATUSES | FLAWED | ANY_TEXT, "Status": JSON_VALUES, "x": JSON_VALUES},
)
OBJECTS = written(GOOD | ANY_OBJECT).map(lambda text: text.encode("utf-8", "surrogatepass"))
BODIES = variants(OBJECTS | st.binary(max_size=200))
NAMED = st.none() | st.sampled_from(CHARSETS) | ANY_TEXT

CODES = {
    Flaw.EMPTY: "empty",
    Flaw.TOO_LONG: "too_long",
    Flaw.HALF_SURROGATE: "not_json",
    Flaw.CONTROL_CHARACTER: "control_characters",
    Flaw.DOTS: "bad_id",
}


def claimed(body: bytes, charset: str | None = None) -> Claim | str:
    """The claim, or the code of the refusal."""
    try:
        return check_body(body, charset)
    except Rejection as refusal:
        assert refusal.status == 400
        assert refusal.detail.isprintable()
        return refusal.code


def receipt(claim: Claim) -> Receipt:
    return Receipt(
        receipt_id="r1",
        received_at=1,
        process_id=claim.process_id,
        dossier_id=claim.dossier_id,
        status=claim.status,
        extra=claim.extra,
        body_sha256=claim.body_sha256,
    )


@pytest.mark.share(14, each=8)
def test_any_bytes_are_a_claim_that_can_be_kept_or_are_refused(fuzz: Fuzz) -> None:
    def check(bodies: list[bytes], charset: str | None) -> int:
        for body in bodies:
            claim = claimed(body, charset)
            if isinstance(claim, Claim):
                keep(claim)
        return len(bodies)

    def keep(claim: Claim) -> None:
        assert flaw_of_id(claim.process_id) is flaw_of_id(claim.dossier_id) is None
        assert flaw_of_text(claim.status) is None
        assert len(claim.extra) <= MOST_OTHERS
        assert all(len(name) <= LONGEST_NAME for name in claim.extra)
        line = encode_line(receipt(claim))
        assert b"\n" not in line[:-1]
        assert decode_line(line[:-1]) == receipt(claim)

    fuzz(check, bodies=BODIES, charset=NAMED)


@pytest.mark.share(6, each=8)
def test_a_whole_document_of_any_bytes_is_read_or_refused(fuzz: Fuzz) -> None:
    def check(bodies: list[bytes], charset: str | None) -> int:
        for body in bodies:
            try:
                read = loads(body, charset)
            except NotReadableError:
                with pytest.raises(orjson.JSONDecodeError):
                    orjson.loads(body)
            else:
                assert read is None or isinstance(read, (str, int, float, list, dict))
        return len(bodies)

    fuzz(check, bodies=BODIES, charset=NAMED)


def expected(document: dict[str, Any]) -> list[Any] | str:
    """The three values, or the code of the first that is wrong, by the rules of the contract."""
    values = []
    for name in MEMBERS:
        if name not in document:
            return "missing_member"
        value = document[name]
        if not isinstance(value, str):
            return "not_a_string"
        flaw = flaw_of_text(value) if name == "status" else flaw_of_id(value)
        if flaw is not None:
            return CODES[flaw]
        values.append(value)
    return values


STRICT = written(GOOD | ANY_OBJECT).filter(
    lambda text: "\\ud" not in text.lower() and "\ufffd" not in text
)
TWICE = '"st\\u0061tus"'


@pytest.mark.share(10, each=3)
def test_what_strict_json_says_is_what_is_read_also_by_the_tolerant_reader(fuzz: Fuzz) -> None:
    def check(text: str, mark: bytes, is_escaped: bool, rubbish: bytes) -> int:
        try:
            body = text.encode()
            document = orjson.loads(body)
        except (UnicodeEncodeError, orjson.JSONDecodeError):
            return 0
        wanted = expected(document)
        if is_escaped:  # so that the strict parser is not trusted
            body = body.replace(b'"status"', TWICE.encode())
        for variant in (body, mark + body, body + rubbish):
            claim = claimed(variant)
            found = claim if isinstance(claim, str) else [*map(vars_of(claim), MEMBERS)]
            assert found == wanted, variant
            if isinstance(claim, Claim):
                others = {name[:LONGEST_NAME] for name in document if name not in MEMBERS}
                assert set(claim.extra) == others
        return 3

    fuzz(
        check,
        text=STRICT,
        mark=st.sampled_from([b"\xef\xbb\xbf", b"\r\n\t \x00"]),
        is_escaped=st.booleans(),
        rubbish=st.sampled_from([b"\x00", b"\n\n", b"}", b"\xff", b"garbage"]),
    )


def vars_of(claim: Claim) -> Any:
    names = {"dossierId": "dossier_id", "processId": "process_id", "status": "status"}
    return lambda name: getattr(claim, names[name])


@pytest.mark.share(3)
def test_a_charset_changes_how_a_text_is_written_and_not_what_it_says(fuzz: Fuzz) -> None:
    def check(document: dict[str, Any], charset: str, is_named: bool) -> None:
        text = json.dumps(document, ensure_ascii=False)
        try:
            body = text.encode(charset)
        except UnicodeEncodeError:
            return
        if charset.startswith(("iso", "cp")) and not text.isascii():
            is_named = True
            try:  # UTF-8 that is valid is UTF-8, whatever the header says
                body.decode()
            except UnicodeDecodeError:
                pass
            else:
                return
        claim = claimed(body, charset if is_named else None)
        assert isinstance(claim, Claim), claim
        assert [*map(vars_of(claim), MEMBERS)] == expected(document)

    fuzz(
        check,
        document=GOOD,
        charset=st.sampled_from(
            [
                "utf-8",
                "utf-8-sig",
                "utf-16",
                "utf-16-le",
                "utf-16-be",
                "utf-32",
                "iso8859-1",
                "cp1252",
            ]
        ),
        is_named=st.booleans(),
    )


@pytest.mark.share(6, each=8)
def test_the_pieces_in_which_a_document_arrives_make_no_difference(fuzz: Fuzz) -> None:
    def read(pieces: list[bytes], optional: frozenset[str]) -> Any:
        reader = MemberReader(frozenset(MEMBERS), optional)
        try:
            for piece in pieces:
                reader.feed(piece)
            members: Members = reader.close()
        except NotReadableError as error:
            return type(error)
        return members.values, members.others

    def check(bodies: list[bytes], sizes: list[int], is_optional: bool) -> int:
        optional = frozenset({"status"} if is_optional else ())
        for body in bodies:
            assert read([body], optional) == read(in_pieces(body, sizes), optional)
        return len(bodies)

    fuzz(check, bodies=BODIES, sizes=SIZES | st.just([1] * 300), is_optional=st.booleans())


@pytest.mark.share(5, each=8)
def test_a_damaged_line_of_the_spool_is_never_read_as_another_callback(fuzz: Fuzz) -> None:
    def check(document: dict[str, Any], bits: list[int], noise: bytes) -> int:
        claim = claimed(json.dumps(document).encode())
        assert isinstance(claim, Claim)
        whole = encode_line(receipt(claim))[:-1]
        for bit in bits:
            line = bytearray(whole)
            line[bit // 8 % len(line)] ^= 1 << bit % 8
            assert decode_line(bytes(line)) is None
            assert decode_line(whole[: bit // 8 % len(whole)]) is None
        assert decode_line(noise) is None
        return len(bits)

    fuzz(
        check,
        document=GOOD,
        bits=st.lists(st.integers(0, 100_000), min_size=8, max_size=8),
        noise=st.binary(max_size=60),
    )


@pytest.mark.share(3)
def test_a_callback_that_comes_twice_is_the_same_as_once(fuzz: Fuzz) -> None:
    def check(
        document: dict[str, Any], status: str, is_known: bool, confirms: bool, wait: int
    ) -> None:
        rules = Rules(default=Policy(confirm_callbacks=confirms), deliver=True)
        process_id, dossier_id = document["processId"], document["dossierId"]
        process = None
        if is_known:
            known = Registration(process_id, dossier_id)
            process = transition(None, known, rules, 1_000).process
        once = transition(process, callback(document, status, 2_000), rules, 2_000)
        again = 2_000 + wait
        twice = transition(once.process, callback(document, status, again), rules, again)
        assert once.process is not None is not twice.process
        assert twice.delivery is None
        for name in ("state", "status", "claimed_status", "settled_at", "verify_since"):
            assert getattr(twice.process, name) == getattr(once.process, name), name

    fuzz(
        check,
        document=GOOD,
        status=STATUSES | GOOD_TEXT,
        is_known=st.booleans(),
        confirms=st.booleans(),
        wait=st.integers(0, 10_000),
    )


def callback(document: dict[str, Any], status: str, at: int) -> Callback:
    return Callback(f"r{at}", document["processId"], document["dossierId"], status, at)
