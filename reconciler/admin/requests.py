"""Reads requests and asks the store: a bad value is answered 400, a failed store 503."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, TypeVar

import orjson
from aiohttp import web
from pydantic import Field

from reconciler.admin.guard import ApiError
from reconciler.store.errors import StoreError
from reconciler.store.paging import BadCursorError

LARGEST_PAGE = 1_000
PAGE = 100
"""Items on a page when no limit is given."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One member of the query that a route takes."""

    name: str
    shape: Any
    """Its type, as pydantic takes one."""
    description: str
    read: Callable[[str], Any]
    """Returns its value, or raises ApiError 400."""


async def from_store(awaitable: Awaitable[T]) -> T:
    """Return the store's answer. Raises ApiError: 503 for a failed store, 400 for a bad cursor."""
    try:
        return await awaitable
    except StoreError as error:
        raise ApiError(503, "store_unavailable", str(error)) from error
    except BadCursorError as error:
        raise ApiError(400, "bad_cursor", str(error)) from None


async def json_of(request: web.Request) -> Any:
    """Return the body as JSON."""
    try:
        return orjson.loads(await request.read())
    except orjson.JSONDecodeError:
        raise ApiError(400, "not_json", "the body is not JSON in UTF-8") from None


def query_of(request: web.Request, *known: Parameter) -> dict[str, Any]:
    """Return the query; an unknown member is an error, or a typo would filter nothing."""
    unknown = sorted(request.query.keys() - {each.name for each in known})
    if unknown:
        names = ", ".join(each.name for each in known)
        raise ApiError(400, "bad_query", f"unknown {unknown[0]!r}; use {names}")
    given = [each for each in known if each.name in request.query]
    return {each.name: each.read(request.query[each.name]) for each in given}


def one_of(name: str, kind: type[StrEnum]) -> Parameter:
    """Return a parameter that is a member of ``kind``."""

    def read(text: str) -> StrEnum:
        try:
            return kind(text)
        except ValueError:
            raise bad_choice(name, kind) from None

    return Parameter(name, kind, f"only this {name}", read)


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
