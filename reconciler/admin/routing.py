"""Routes that describe themselves, for the server and for the OpenAPI document."""

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from aiohttp import web

from reconciler.admin.requests import Parameter

Handler = TypeVar("Handler", bound=Callable[[Any, web.Request], Awaitable[web.StreamResponse]])


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of a route."""

    description: str
    shape: Any = None
    """The type of its body, as pydantic takes one; None: it has no body."""
    kinds: tuple[str, ...] = ("application/json",)


@dataclass(frozen=True, slots=True)
class Route:
    """Marks a method of a resource as the handler of a route; its docstring is the summary."""

    method: str
    path: str
    """As OpenAPI writes it, such as ``/v1/processes/{processId}``."""
    answers: Mapping[int, Answer]
    """By HTTP status, beside those that every route has."""
    query: Sequence[Parameter] = ()
    body: Any = None
    """The type of the request's body, as pydantic takes one; None: it has no body."""
    needs_body: bool = True
    is_open: bool = False
    """Whether it needs neither the token nor the store."""

    def __call__(self, handler: Handler) -> Handler:
        """Mark ``handler``."""
        handler.route = self  # type: ignore[attr-defined]
        return handler


def described(resource: type) -> Iterator[tuple[str, str, Route]]:
    """Yield name, docstring and route of each handler of ``resource``."""
    for name, member in vars(resource).items():
        route = getattr(member, "route", None)
        if isinstance(route, Route):
            yield name, member.__doc__ or "", route


def routes_of(resource: object) -> Iterator[web.RouteDef]:
    """Yield the routes of ``resource``, for the server."""
    for name, _, route in described(type(resource)):
        # aiohttp's own pattern takes no braces.
        path = re.sub(r"{(\w+)}", r"{\1:[^/]+}", route.path)
        handler = getattr(resource, name)
        if route.method == "GET":
            yield web.get(path, handler)  # and HEAD
        else:
            yield web.route(route.method, path, handler)
