"""The description of the admin API, as OpenAPI 3.1: made from its routes and their types."""

import asyncio
from collections.abc import Iterable
from types import GenericAlias
from typing import Any

from aiohttp import web
from pydantic import TypeAdapter
from typing_extensions import TypedDict  # pydantic takes Python's own only from 3.12 on

from reconciler import __version__
from reconciler.admin.guard import answer
from reconciler.admin.routing import Answer, Route, described
from reconciler.operations.registration import Id

Schema = dict[str, Any]


class ErrorJson(TypedDict):
    """Why a request was refused."""

    error: str
    detail: str


_BROWSERS = "To look (GET), it may also be the password of HTTP Basic, with any user: for browsers."
_OPEN = {
    403: Answer("A foreign Host or Origin.", ErrorJson),
    405: Answer("The path does not take that method.", ErrorJson),
}
_CLOSED = {
    400: Answer("The request is not as it should be; `detail` says how.", ErrorJson),
    401: Answer("The bearer token is missing or wrong.", ErrorJson),
    503: Answer("The store does not answer just now.", ErrorJson),
}
_WITH_BODY = {
    413: Answer("The body is too large.", ErrorJson),
    415: Answer("The body is packed in a way that is not known.", ErrorJson),
}
_IN_PATHS = {"processId": Id, "id": str}


class Document:
    """Serves the description of ``resources``."""

    def __init__(self, resources: Iterable[type]) -> None:
        self._resources = resources
        self._made: Schema | None = None

    @Route("GET", "/openapi.json", {200: Answer("OpenAPI.", dict[str, Any])})
    async def document(self, _request: web.Request) -> web.Response:
        """Return this document."""
        if self._made is None:
            self._made = await asyncio.to_thread(openapi, self._resources)
        return answer(200, self._made)


def openapi(resources: Iterable[type]) -> Schema:
    """Return the document about the routes of ``resources``. Takes some 0.1 s."""
    schemas = _Schemas()
    paths: dict[str, Schema] = {}
    for resource in resources:
        for _, summary, route in described(resource):
            operation = {"summary": summary.partition(".")[0], **_operation(route, schemas)}
            paths.setdefault(route.path, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "assure-reconciler",
            "version": __version__,
            "description": "The ledger of Assure processes: register, list, look, recheck, forget.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": _BROWSERS}
            },
        },
    }


class _Schemas:
    """The schemas of types; those that have a name stand under ``components``."""

    def __init__(self) -> None:
        self.components: Schema = {}
        self._known: dict[int, Schema] = {}

    def of(self, shape: Any) -> Schema:
        """Return the schema of a type, or a reference to it."""
        if id(shape) not in self._known:
            # Pydantic gives a type its name only within another one.
            several: Any = GenericAlias(list, (shape,))
            schema = TypeAdapter(several).json_schema(ref_template="#/components/schemas/{model}")
            self.components |= schema.get("$defs", {})
            self._known[id(shape)] = schema["items"]
        return self._known[id(shape)]


def _operation(route: Route, schemas: _Schemas) -> Schema:
    closed = {} if route.is_open else _CLOSED
    with_body = {} if route.body is None else _WITH_BODY
    answers = {**_OPEN, **closed, **with_body, **route.answers}
    made: Schema = {
        "responses": {str(status): _answer(answers[status], schemas) for status in sorted(answers)}
    }
    in_path = [name for name in _IN_PATHS if f"{{{name}}}" in route.path]
    if in_path or route.query:
        made["parameters"] = [
            *(_parameter(name, "path", schemas.of(_IN_PATHS[name])) for name in in_path),
            *(_parameter(q.name, "query", schemas.of(q.shape), q.description) for q in route.query),
        ]
    if route.body is not None:
        content = {"application/json": {"schema": schemas.of(route.body)}}
        made["requestBody"] = {"required": route.needs_body, "content": content}
    if route.is_open:
        made["security"] = []
    return made


def _answer(each: Answer, schemas: _Schemas) -> Schema:
    if each.shape is None:
        return {"description": each.description}
    content = {kind: {"schema": schemas.of(each.shape)} for kind in each.kinds}
    return {"description": each.description, "content": content}


def _parameter(name: str, place: str, schema: Schema, description: str = "") -> Schema:
    return {
        "name": name,
        "in": place,
        "required": place == "path",
        "schema": schema,
        "description": description,
    }
