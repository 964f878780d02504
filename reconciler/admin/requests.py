"""Reads requests and asks the store: a bad value is answered 400, a failed store 503."""

import re
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, TypeVar

from aiohttp import web
from pydantic import Field

from reconciler.admin.guard import ERRORS, ApiError
from reconciler.operations.registration import BadRegistrationError, parse_time
from reconciler.runtime import tolerant_json
from reconciler.runtime.json_encoding import charset_of
from reconciler.store.errors import StoreError
from reconciler.store.paging import BadCursorError

LARGEST_BODY = 4 * 1024 * 1024
"""Bytes, before and after unpacking."""

_WINDOW = {"gzip": 31, "deflate": 15}
"""By encoding: what zlib calls wbits."""

LARGEST_PAGE = 1_000
PAGE = 100
"""Items on a page when no limit is given."""

T = TypeVar("T")

_BLANK_FOR_PLUS = re.compile(r" (\d\d(:?\d\d)?)$")
"""The zone of a time whose ``+`` was not escaped."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One member of the query that a route takes."""

    name: str
    shape: Any
    """Its type, as pydantic takes one."""
    description: str
    read: Callable[[str], Any]
    """Returns its value, or raises ApiError 400."""
    is_repeated: bool = False
    """Whether it may come several times; then its value is a list."""


async def from_store(awaitable: Awaitable[T]) -> T:
    """Return the store's answer. Raises ApiError: 503 for a failed store, 400 for a bad cursor."""
    try:
        return await awaitable
    except StoreError as error:
        raise ApiError(503, "store_unavailable", str(error)) from error
    except BadCursorError as error:
        raise ApiError(400, "bad_cursor", str(error)) from None


async def body_of(request: web.Request) -> bytes:
    """Return the body, unpacked. aiohttp would answer an unknown encoding with plain text."""
    packed = await request.read()
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding == "identity":
        return packed
    if encoding not in _WINDOW:
        problem = f"a body is unpacked from {' or '.join(_WINDOW)}, and from nothing else"
        raise ApiError(415, "unknown_encoding", problem)
    try:
        unpacker = zlib.decompressobj(_WINDOW[encoding])
        body = unpacker.decompress(packed, LARGEST_BODY + 1)
    except zlib.error:
        raise ApiError(400, "not_packed", f"the body is not {encoding}") from None
    if len(body) > LARGEST_BODY:
        raise ApiError(413, *ERRORS[413])
    if packed and not unpacker.eof:
        raise ApiError(400, "not_packed", f"the {encoding} body does not end")
    return body


async def json_of(request: web.Request) -> Any:
    """Return the body as JSON."""
    try:
        return tolerant_json.loads(
            await body_of(request), charset_of(request.headers.get("Content-Type"))
        )
    except tolerant_json.NotReadableError:
        raise ApiError(400, "not_json", "the body is not JSON in UTF-8") from None


def query_of(request: web.Request, *known: Parameter) -> dict[str, Any]:
    """Return the query; a member that is unknown or comes twice is an error.

    Else a typo would filter nothing, and of two values one would be passed over.
    """
    unknown = sorted(request.query.keys() - {each.name for each in known})
    if unknown:
        names = ", ".join(each.name for each in known)
        raise ApiError(400, "bad_query", f"unknown {unknown[0]!r}; use {names}")
    found = {}
    for each in known:
        read = [each.read(text) for text in request.query.getall(each.name, ())]
        if len(read) > 1 and not each.is_repeated:
            raise ApiError(400, "bad_query", f"{each.name!r} is there {len(read)} times")
        if read:
            found[each.name] = read if each.is_repeated else read[0]
    return found


def one_of(name: str, kind: type[StrEnum], *, is_repeated: bool = False) -> Parameter:
    """Return a parameter that is a member of ``kind``."""

    def read(text: str) -> StrEnum:
        try:
            return kind(text)
        except ValueError:
            raise bad_choice(name, kind) from None

    if is_repeated:
        description = f"only this {name}; may come several times"
        return Parameter(name, list[kind], description, read, is_repeated)  # type: ignore[valid-type]  # it has a schema
    return Parameter(name, kind, f"only this {name}", read)


def time(name: str, description: str) -> Parameter:
    """Return a parameter that is a time; its value is UTC milliseconds."""

    def read(text: str) -> int | None:
        try:
            return parse_time(name, text)
        except BadRegistrationError as error:
            plus = _BLANK_FOR_PLUS.search(text)
            hint = f"; a + in a URL is a blank: write %2B{plus[1]}, or Z" if plus else ""
            raise ApiError(400, f"bad_{name}", f"{error}{hint}") from None

    shape = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    return Parameter(name, shape, description, read)


def bad_choice(name: str, kind: type[StrEnum]) -> ApiError:
    """Return the error for a value of ``name`` that is no member of ``kind``."""
    return ApiError(400, f"bad_{name}", f"{name} must be one of {', '.join(kind)}")


def _read_limit(text: str) -> int:
    is_number = text.isascii() and text.isdigit() and len(text) < 10
    if not is_number or not 1 <= int(text) <= LARGEST_PAGE:
        raise ApiError(400, "bad_limit", f"limit must be a number from 1 to {LARGEST_PAGE}")
    return int(text)


LIMIT = Parameter(
    "limit",
    Annotated[int, Field(ge=1, le=LARGEST_PAGE)],
    f"how many; {PAGE} if not given",
    _read_limit,
)
CURSOR = Parameter("cursor", str, "`nextCursor` of the page before", str)
