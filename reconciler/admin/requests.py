"""Reading what a request says, and asking the store for it: bad words become 400, trouble 503."""

from collections.abc import Awaitable, Mapping
from enum import StrEnum
from typing import Any, TypeVar

import orjson
from aiohttp import web

from reconciler.admin.guard import ApiError
from reconciler.admin.openapi import LARGEST_PAGE, PAGE
from reconciler.store.errors import StoreError

T = TypeVar("T")
Choice = TypeVar("Choice", bound=StrEnum)


async def from_store(awaitable: Awaitable[T]) -> T:
    """Return what the store answers; 503 when it does not."""
    try:
        return await awaitable
    except StoreError as error:
        raise ApiError(503, "store_unavailable", str(error)) from error


async def json_of(request: web.Request) -> Any:
    """Return the body as JSON."""
    try:
        return orjson.loads(await request.read())
    except orjson.JSONDecodeError:
        raise ApiError(400, "not_json", "the body is not JSON in UTF-8") from None


def query_of(request: web.Request, *known: str) -> Mapping[str, str]:
    """Return the query; a mistyped filter must not show everything."""
    unknown = sorted(request.query.keys() - set(known))
    if unknown:
        raise ApiError(400, "bad_query", f"unknown {unknown[0]!r}; use {', '.join(known)}")
    return request.query


def choice(name: str, value: Any, kind: type[Choice]) -> Choice | None:
    """Return the member of ``kind`` that ``value`` names; None for none."""
    if value is None:
        return None
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(kind)
        raise ApiError(400, f"bad_{name}", f"{name} must be one of {known}") from None


def limit_of(value: str | None) -> int:
    """Return how many items a page may have."""
    if value is None:
        return PAGE
    is_number = value.isascii() and value.isdigit() and len(value) < 10
    if not is_number or not 1 <= int(value) <= LARGEST_PAGE:
        raise ApiError(400, "bad_limit", f"limit must be a number from 1 to {LARGEST_PAGE}")
    return int(value)
