"""Checks a callback before it is kept. The contract fixes the order of the checks."""

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from reconciler.ledger.identifiers import LONGEST, Flaw, flaw_of_id, flaw_of_text
from reconciler.runtime.tolerant_json import (
    NotAnObjectError,
    NotReadableError,
    loads,
    read_members,
)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MEMBERS = ("dossierId", "processId", "status")
_WANTED = frozenset(MEMBERS)

_ANSWERS = {
    Flaw.EMPTY: ("empty", "must not be empty"),
    Flaw.TOO_LONG: ("too_long", f"must not be longer than {LONGEST} characters"),
    Flaw.HALF_SURROGATE: ("not_json", "must not have half a surrogate pair"),
    Flaw.CONTROL_CHARACTER: ("control_characters", "must not have control characters"),
    Flaw.DOTS: ("bad_id", "must not be . or .."),
}
"""Code and detail of the 400 for a member with this flaw."""

_SLASHES = re.compile("/{2,}")
_WITH_PORT = re.compile(r"\[([^\]]+)\](?::\d+)?|([0-9.]+):\d+", re.ASCII)


class Rejection(Exception):  # noqa: N818 (an answer, no failure of ours)
    """Ends a request with an error. ``code`` is stable, ``detail`` for people.

    ``reason`` is the word for the operator, where the sender is not told as much.
    """

    def __init__(self, status: int, code: str, detail: str, reason: str | None = None) -> None:
        super().__init__(code)
        self.reason = reason or code
        self.status = status
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Claim:
    """The members of a callback that are kept."""

    dossier_id: str
    process_id: str
    status: str
    extra: tuple[str, ...]
    body_sha256: bytes


def client_address(
    peer: str | None, forwarded: Sequence[str], trusted: Sequence[Network]
) -> Address | None:
    """Return the address a request came from; None where nobody can tell.

    ``forwarded`` are the values of X-Forwarded-For. It is believed only from a trusted proxy, and
    read from the right: the first address that is not a trusted proxy is the client's, because
    everything left of it may have been invented by the client.
    """
    address = _address(peer or "")
    hops = [hop.strip() for value in forwarded for hop in value.split(",") if hop.strip()]
    while hops and is_in(address, trusted):
        address = _address(hops.pop())
    return address


def is_in(address: Address | None, networks: Sequence[Network]) -> bool:
    """Tell whether ``address`` lies in one of ``networks``."""
    return address is not None and any(address in network for network in networks)


def _address(text: str) -> Address | None:
    """Parse an address; some proxies add a port. An IPv4-mapped one counts as IPv4."""
    found = _WITH_PORT.fullmatch(text)
    try:
        parsed = ipaddress.ip_address(found[1] or found[2] if found else text)
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        return parsed.ipv4_mapped
    return parsed


def same_path(one: str, other: str) -> bool:
    """Tell whether two paths differ at most in doubled slashes and in one at the end."""
    return one == other or _plain_path(one) == _plain_path(other)


def _plain_path(path: str) -> str:
    return _SLASHES.sub("/", path).rstrip("/")


def check_authorization(values: Sequence[str], accepted: Sequence[bytes]) -> None:
    """Require one of the ``accepted`` values; all of them are compared, in constant time.

    The scheme before the first blank has no letter case (RFC 9110, 11.1).
    """
    if not accepted:
        return
    detail = "the Authorization header is missing or wrong"
    if not values:
        raise Rejection(401, "unauthorized", detail, "authorization_missing")
    if len(set(values)) > 1:
        raise Rejection(400, "bad_http", "the Authorization header comes twice with two values")
    given = _folded(values[0].encode("utf-8", "surrogateescape"))
    matches = [hmac.compare_digest(given, _folded(wanted)) for wanted in accepted]
    if not any(matches):
        raise Rejection(401, "unauthorized", detail, "authorization_wrong")


def _folded(value: bytes) -> bytes:
    scheme, blank, rest = value.partition(b" ")
    return scheme.lower() + blank + rest if blank else value


def check_body(body: bytes, charset: str | None = None) -> Claim:
    """Return the members of a callback, or raise a 400.

    Damage in members that nobody needs does no harm; each of the three must be read without doubt.
    ``charset`` is that of the Content-Type.
    """
    try:
        found = read_members(body, _WANTED, charset)
    except NotReadableError as error:
        raise _not_readable(body, charset, error) from None
    values = [_member(found.values, name) for name in MEMBERS]
    digest = hashlib.sha256(body).digest()
    return Claim(values[0], values[1], values[2], found.others, digest)


def _not_readable(body: bytes, charset: str | None, error: NotReadableError) -> Rejection:
    """Return the 400 for a body without readable members: another kind of JSON, or none."""
    if isinstance(error, NotAnObjectError):
        with suppress(NotReadableError):
            loads(body, charset)
            return Rejection(400, "not_an_object", "the body is not a JSON object")
    return Rejection(400, "not_json", f"the body cannot be read as JSON without doubt: {error}")


def check_text(name: str, value: object) -> str:
    """Return ``value`` if it is fit to be an id or a status, or raise a 400 naming it."""
    if not isinstance(value, str):
        raise Rejection(400, "not_a_string", f"{name} must be a string")
    flaw = flaw_of_text(value) if name == "status" else flaw_of_id(value)
    if flaw is not None:
        code, detail = _ANSWERS[flaw]
        raise Rejection(400, code, f"{name} {detail}")
    return value


def _member(parsed: Mapping[str, object], name: str) -> str:
    if name not in parsed:
        raise Rejection(400, "missing_member", f"{name} is missing")
    return check_text(name, parsed[name])
