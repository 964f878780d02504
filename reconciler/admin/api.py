"""The routes of the admin listener."""

from collections.abc import Callable
from typing import Any, TypeVar

import orjson
from aiohttp import web
from structlog.typing import FilteringBoundLogger

from reconciler.admin.guard import ApiError, answer
from reconciler.admin.health import Health
from reconciler.admin.openapi import openapi
from reconciler.admin.registrations import BadRegistrationError, registration_from
from reconciler.admin.shapes import detail_json, page_json, status_json
from reconciler.ledger import Recheck, Registration, Rules, State, Verb
from reconciler.store.errors import StoreError
from reconciler.store.journal import announce
from reconciler.store.registry import Registry
from reconciler.store.roster import Roster
from reconciler.store.views import BadCursorError, Views
from reconciler.store.work import WorkQueue

MOST_AT_ONCE = 1_000
"""Processes in one array: it is one transaction, and the inbox waits behind it."""

LARGEST_PAGE = 1_000
T = TypeVar("T", State, Verb)

CALLER = "api"
"""The name under which changes through the API stand in timelines."""


class Api:
    """The ledger over HTTP."""

    def __init__(
        self,
        *,
        registry: Registry,
        views: Views,
        work: WorkQueue,
        roster: Roster,
        health: Health,
        rules: Callable[[], Rules],
        now: Callable[[], int],
        on_change: Callable[[], None],
        log: FilteringBoundLogger,
    ) -> None:
        """``on_change`` is called when something may have become due."""
        self._registry = registry
        self._views = views
        self._work = work
        self._roster = roster
        self._health = health
        self._rules = rules
        self._now = now
        self._on_change = on_change
        self._log = log

    def routes(self) -> list[web.RouteDef]:
        """Return all routes."""
        one = "/v1/processes/{process_id}"
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
        """200 while every loop ticks."""
        stale = self._health.stale_loops()
        return answer(503 if stale else 200, {"live": not stale, "stale": stale})

    async def ready(self, _request: web.Request) -> web.Response:
        """200 exactly while a callback would be answered 200."""
        readiness = await self._health.ready()
        return answer(200 if readiness.is_ready else 503, readiness.as_json())

    async def openapi(self, _request: web.Request) -> web.Response:
        """Describe this API."""
        return answer(200, openapi())

    async def status(self, _request: web.Request) -> web.Response:
        """Return the whole in numbers."""
        now = self._now()
        counts = await self._store(self._views.counts())
        return answer(200, status_json(counts, await self._store(self._roster.live(now)), now))

    async def register(self, request: web.Request) -> web.Response:
        """Put one process, or an array of them, on the ledger."""
        body = await _json(request)
        items = body if isinstance(body, list) else [body]
        if len(items) > MOST_AT_ONCE:
            raise ApiError(
                400, "too_many", f"at most {MOST_AT_ONCE} processes in one array; send several"
            )
        registrations = _registrations(items, is_array=isinstance(body, list))
        done = await self._store(
            self._registry.register(registrations, self._rules(), self._now(), whole=True)
        )
        if done.conflicts:
            raise ApiError(409, "other_dossier", _conflict(done.conflicts, registrations, body))
        announce(self._log, done.changes)
        self._on_change()
        counted = {"created": done.created, "known": done.known}
        return answer(201 if done.created else 200, counted)

    async def processes(self, request: web.Request) -> web.Response:
        """Return a page of the ledger, the newest first."""
        query = request.query
        state = _choice("state", query.get("state"), State)
        limit = _limit(query.get("limit"))
        try:
            page = self._views.page(state=state, limit=limit, cursor=query.get("cursor"))
            items, cursor = await self._store(page)
        except BadCursorError as error:
            raise ApiError(400, "bad_cursor", str(error)) from None
        return answer(200, page_json(items, cursor))

    async def process(self, request: web.Request) -> web.Response:
        """Return one process with its timeline."""
        process_id = request.match_info["process_id"]
        process = await self._store(self._views.process(process_id))
        if process is None:
            raise _unknown()
        timeline = await self._store(self._views.timeline(process_id))
        return answer(200, detail_json(process, timeline))

    async def forget(self, request: web.Request) -> web.Response:
        """Remove everything about one process."""
        process_id = request.match_info["process_id"]
        removed = await self._store(self._registry.forget(process_id, CALLER, self._now()))
        if not removed:
            raise _unknown()
        self._log.info("operator_action", action="forget", by=CALLER)
        return web.Response(status=204)

    async def recheck(self, request: web.Request) -> web.Response:
        """Make one process due now."""
        body = await _json(request) if request.body_exists else {}
        if not isinstance(body, dict) or body.keys() - {"verb"}:
            raise ApiError(400, "bad_request", 'the body is {} or {"verb": "notify" or "fetch"}')
        verb = _choice("verb", body.get("verb"), Verb)
        process_id = request.match_info["process_id"]
        observed = [(process_id, Recheck(verb, CALLER))]
        changes = await self._store(self._work.record(observed, self._rules(), self._now()))
        if changes[0][1].process is None:
            raise _unknown()
        announce(self._log, changes)
        self._on_change()
        return answer(202, {"processId": process_id, "verb": verb})

    async def _store(self, awaitable: Any) -> Any:
        try:
            return await awaitable
        except StoreError as error:
            raise ApiError(503, "store_unavailable", str(error)) from error


async def _json(request: web.Request) -> Any:
    try:
        return orjson.loads(await request.read())
    except orjson.JSONDecodeError:
        raise ApiError(400, "not_json", "the body is not JSON in UTF-8") from None


def _registrations(items: list[Any], *, is_array: bool) -> list[Registration]:
    registrations = []
    problems = []
    for index, item in enumerate(items):
        try:
            registrations.append(registration_from(item, by=CALLER))
        except BadRegistrationError as error:
            problems.append(f"[{index}] {error}" if is_array else str(error))
    if problems:
        raise ApiError(400, "bad_registration", "; ".join(problems[:20]))
    return registrations


def _conflict(indexes: tuple[int, ...], registrations: list[Registration], body: object) -> str:
    named = [f"[{i}] {registrations[i].process_id}" for i in indexes[:20]]
    which = "; ".join(named) if isinstance(body, list) else registrations[0].process_id
    return f"known with another dossierId, nothing was registered: {which}"


def _choice(name: str, value: Any, kind: type[T]) -> T | None:
    if value is None:
        return None
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(kind)
        raise ApiError(400, f"bad_{name}", f"{name} must be one of {known}") from None


def _limit(value: str | None) -> int:
    if value is None:
        return 100
    if not value.isascii() or not value.isdigit() or not 1 <= int(value) <= LARGEST_PAGE:
        raise ApiError(400, "bad_limit", f"limit must be a number from 1 to {LARGEST_PAGE}")
    return int(value)


def _unknown() -> ApiError:
    return ApiError(404, "unknown_process", "no such process is on the ledger")
