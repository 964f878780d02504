"""The routes of the admin listener."""

from typing import Any

from aiohttp import web

from reconciler import operations
from reconciler.admin.guard import ApiError, answer
from reconciler.admin.health import Described, Health
from reconciler.admin.openapi import MOST_AT_ONCE, openapi
from reconciler.admin.requests import choice, from_store, json_of, limit_of, query_of
from reconciler.ledger import Registration, State, Verb
from reconciler.ledger.identifiers import can_be_id
from reconciler.operations import Actor
from reconciler.operations.json_shapes import detail_json, page_json, status_json, with_own
from reconciler.operations.registration import (
    BadRegistrationError,
    parse_time,
    registration_from,
)
from reconciler.runtime.bell import Bell
from reconciler.store.paging import BadCursorError


class Api:
    """The ledger over HTTP."""

    def __init__(self, actor: Actor, *, health: Health, own: Described, due: Bell) -> None:
        """``due`` is rung when a process may have become due."""
        self._actor = actor
        self._store = actor.store
        self._health = health
        self._own = own
        self._due = due

    def routes(self) -> list[web.RouteDef]:
        """Return all routes."""
        one = "/v1/processes/{process_id:[^/]+}"  # braces too, which aiohttp leaves out
        return [
            web.get("/live", self.live),
            web.get("/ready", self.ready),
            web.get("/openapi.json", self.openapi),
            web.get("/v1/status", self.status),
            web.post("/v1/processes", self.register),
            web.get("/v1/processes", self.processes),
            web.get(one, self.process),
            web.delete(one, self.forget),
            web.post(f"{one}/recheck", self.recheck),
        ]

    async def live(self, _request: web.Request) -> web.Response:
        """Answer 200 while every job makes progress."""
        stale = self._health.stale()
        return answer(503 if stale else 200, {"live": not stale, "stale": stale})

    async def ready(self, _request: web.Request) -> web.Response:
        """Answer 200 exactly while a callback would be answered 200."""
        readiness = await self._health.ready()
        return answer(200 if readiness.is_ready else 503, readiness.as_json())

    async def openapi(self, _request: web.Request) -> web.Response:
        """Describe this API."""
        return answer(200, openapi())

    async def status(self, _request: web.Request) -> web.Response:
        """Return the whole in numbers."""
        now = self._actor.clock.now()
        counts = await from_store(self._store.views.counts())
        live = await from_store(self._store.instances.live(now))
        return answer(200, status_json(counts, with_own(self._own.instance(), live), now))

    async def register(self, request: web.Request) -> web.Response:
        """Put one process, or an array of them, on the ledger."""
        body = await json_of(request)
        items = body if isinstance(body, list) else [body]
        if len(items) > MOST_AT_ONCE:
            raise ApiError(
                400, "too_many", f"at most {MOST_AT_ONCE} processes in one array; send several"
            )
        registrations = _registrations(items, self._actor.name, is_array=isinstance(body, list))
        done = await from_store(operations.register(self._actor, registrations))
        if done.conflicts:
            raise ApiError(409, "other_dossier", _conflict(done.conflicts, registrations, body))
        self._due.ring()
        counted = {"created": done.created, "known": done.known}
        return answer(201 if done.created else 200, counted)

    async def processes(self, request: web.Request) -> web.Response:
        """Return a page of the ledger, the newest first."""
        query = query_of(request, "state", "settledSince", "limit", "cursor")
        state = choice("state", query.get("state"), State)
        limit, cursor = limit_of(query.get("limit")), query.get("cursor")
        since = _settled_since(query.get("settledSince"))
        if since is None:
            page = self._store.views.page(state=state, limit=limit, cursor=cursor)
        elif state in (None, State.SETTLED):
            page = self._store.views.settled(since=since, limit=limit, cursor=cursor)
        else:  # nothing of another state is settled
            return answer(200, page_json([], None))
        try:
            return answer(200, page_json(*await from_store(page)))
        except BadCursorError as error:
            raise ApiError(400, "bad_cursor", str(error)) from None

    async def process(self, request: web.Request) -> web.Response:
        """Return one process with its timeline."""
        detail = await from_store(self._store.views.detail(_process_id(request)))
        if detail is None:
            raise _unknown()
        return answer(200, detail_json(detail))

    async def forget(self, request: web.Request) -> web.Response:
        """Remove everything about one process."""
        if not await from_store(operations.forget(self._actor, _process_id(request))):
            raise _unknown()
        return web.Response(status=204)

    async def recheck(self, request: web.Request) -> web.Response:
        """Make one process due now."""
        body = await json_of(request) if await request.read() else {}
        if not isinstance(body, dict) or body.keys() - {"verb"}:
            raise ApiError(400, "bad_request", 'the body is {} or {"verb": "notify" or "fetch"}')
        verb = choice("verb", body.get("verb"), Verb)
        process_id = _process_id(request)
        done = await from_store(operations.recheck(self._actor, [process_id], verb))
        if done.unknown:
            raise _unknown()
        self._due.ring()
        return answer(202, {"processId": process_id, "verb": verb})


def _process_id(request: web.Request) -> str:
    process_id = request.match_info["process_id"]
    if not can_be_id(process_id):
        raise _unknown()
    return process_id


def _registrations(items: list[Any], by: str, *, is_array: bool) -> list[Registration]:
    registrations = []
    problems = []
    for index, item in enumerate(items):
        try:
            registrations.append(registration_from(item, by=by))
        except BadRegistrationError as error:
            problems.append(f"[{index}] {error}" if is_array else str(error))
    if problems:
        raise ApiError(400, "bad_registration", "; ".join(problems[:20]))
    return registrations


def _conflict(indexes: tuple[int, ...], registrations: list[Registration], body: object) -> str:
    named = [f"[{i}] {registrations[i].process_id}" for i in indexes[:20]]
    which = "; ".join(named) if isinstance(body, list) else registrations[0].process_id
    return f"known with another dossierId, nothing was registered: {which}"


def _settled_since(text: str | None) -> int | None:
    try:
        return parse_time("settledSince", text)
    except BadRegistrationError as error:
        raise ApiError(400, "bad_settledSince", str(error)) from None


def _unknown() -> ApiError:
    return ApiError(404, "unknown_process", "no such process is on the ledger")
