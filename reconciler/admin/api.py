"""The routes of the ledger: health, numbers, and processes."""

from typing import Annotated, Any, NoReturn

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from typing_extensions import TypedDict  # pydantic takes Python's own only from 3.12 on

from reconciler import operations
from reconciler.admin.guard import ApiError, answer
from reconciler.admin.health import Described, Health, ReadyJson
from reconciler.admin.openapi import ErrorJson
from reconciler.admin.requests import (
    CURSOR,
    LIMIT,
    PAGE,
    bad_choice,
    body_of,
    from_store,
    json_of,
    one_of,
    query_of,
    time,
)
from reconciler.admin.routing import Answer, Route
from reconciler.ledger import Registration, State, Verb
from reconciler.ledger.identifiers import can_be_id
from reconciler.operations import Actor
from reconciler.operations.json_shapes import (
    Count,
    DetailJson,
    PageJson,
    StatusJson,
    detail_json,
    page_json,
    status_json,
    with_own,
)
from reconciler.operations.registration import (
    BadRegistrationError,
    Id,
    RegistrationBody,
    registration_from,
)
from reconciler.runtime.bell import Bell

MOST_AT_ONCE = 1_000
"""Processes in one array: it is one transaction, and the inbox waits behind it."""


class LiveJson(TypedDict):
    """Whether every job makes progress."""

    live: bool
    stale: list[str]


class CountedJson(TypedDict):
    """How many registrations were new, and how many known."""

    created: Count
    known: Count


class RecheckBody(BaseModel):
    """The call that a person wants; none: the one that is next."""

    model_config = ConfigDict(extra="forbid")

    verb: Verb | None = None


class RecheckedJson(TypedDict):
    """The process that is due now."""

    processId: Id
    verb: Verb | None


STATE = one_of("state", State, is_repeated=True)
SETTLED_SINCE = time("settledSince", "settled since then, the earliest first")
ENDED_SINCE = time(
    "endedSince", "settled, gone or expired since then, the earliest first; corrected ones again"
)
LISTING = (STATE, SETTLED_SINCE, ENDED_SINCE, LIMIT, CURSOR)
_SINCE = {
    "settledSince": ({State.SETTLED}, "only settled ones have that time; use endedSince"),
    "endedSince": ({state for state in State if not state.is_open}, "none of that state has ended"),
}
Several = Annotated[list[RegistrationBody], Field(max_length=MOST_AT_ONCE)]
_ONE = "/v1/processes/{processId}"
_UNKNOWN = Answer("No such process is on the ledger.", ErrorJson)


class Api:
    """The ledger over HTTP."""

    def __init__(self, actor: Actor, *, health: Health, own: Described, due: Bell) -> None:
        """``due`` is rung when a process may have become due."""
        self._actor = actor
        self._store = actor.store
        self._health = health
        self._own = own
        self._due = due

    @Route(
        "GET",
        "/live",
        {200: Answer("Yes.", LiveJson), 503: Answer("No; `stale` names the jobs.", LiveJson)},
        is_open=True,
    )
    async def live(self, _request: web.Request) -> web.Response:
        """Tell whether every job makes progress."""
        stale = self._health.stale()
        return answer(503 if stale else 200, LiveJson(live=not stale, stale=stale))

    @Route(
        "GET",
        "/ready",
        {
            200: Answer("Yes; `degraded` names what is not as it should be.", ReadyJson),
            503: Answer("No, for `reason`.", ReadyJson),
        },
        is_open=True,
    )
    async def ready(self, _request: web.Request) -> web.Response:
        """Tell whether a callback would be answered 200."""
        readiness = await self._health.ready()
        return answer(200 if readiness.is_ready else 503, readiness.as_json())

    @Route("GET", "/v1/status", {200: Answer("Numbers.", StatusJson)})
    async def status(self, _request: web.Request) -> web.Response:
        """Return the ledger in numbers."""
        now = self._actor.clock.now()
        counts = await from_store(self._store.views.counts())
        live = await from_store(self._store.instances.live(now))
        return answer(200, status_json(counts, with_own(self._own.instance(), live), now))

    @Route(
        "POST",
        "/v1/processes",
        {
            200: Answer("All were known.", CountedJson),
            201: Answer("At least one is new.", CountedJson),
            409: Answer("Known with another dossierId.", ErrorJson),
        },
        body=RegistrationBody | Several,
    )
    async def register(self, request: web.Request) -> web.Response:
        """Put one process or an array of them on the ledger, whole or not at all."""
        body = await json_of(request)
        items = body if isinstance(body, list) else [body]
        if len(items) > MOST_AT_ONCE:
            raise ApiError(
                400, "too_many", f"at most {MOST_AT_ONCE} processes in one array; send several"
            )
        registrations = _registrations(items, self._actor, is_array=isinstance(body, list))
        done = await from_store(operations.register(self._actor, registrations))
        if done.conflicts:
            raise ApiError(409, "other_dossier", _conflict(done.conflicts, registrations, body))
        self._due.ring()
        counted = CountedJson(created=done.created, known=done.known)
        return answer(201 if done.created else 200, counted)

    @Route(
        "GET",
        "/v1/processes",
        {200: Answer("A page.", PageJson)},
        query=LISTING,
    )
    async def processes(self, request: web.Request) -> web.Response:
        """Return a page of the ledger, the newest first unless a time is given."""
        query = query_of(request, *LISTING)
        _check_together(query)
        states, views = query.get("state", ()), self._store.views
        limit, cursor = query.get("limit", PAGE), query.get("cursor")
        if "settledSince" in query:
            page = views.settled(since=query["settledSince"], limit=limit, cursor=cursor)
        elif "endedSince" in query:
            since = query["endedSince"]
            page = views.ended(since=since, limit=limit, cursor=cursor, states=states)
        else:
            page = views.page_of(states, limit=limit, cursor=cursor)
        return answer(200, page_json(*await from_store(page)))

    @Route("GET", _ONE, {200: Answer("The process.", DetailJson), 404: _UNKNOWN})
    async def process(self, request: web.Request) -> web.Response:
        """Return one process with its timeline."""
        detail = await from_store(self._store.views.detail(_process_id(request)))
        if detail is None:
            _raise_unknown()
        return answer(200, detail_json(detail))

    @Route("DELETE", _ONE, {204: Answer("It is forgotten."), 404: _UNKNOWN})
    async def forget(self, request: web.Request) -> web.Response:
        """Remove everything about one process."""
        if not await from_store(operations.forget(self._actor, _process_id(request))):
            _raise_unknown()
        return web.Response(status=204)

    @Route(
        "POST",
        f"{_ONE}/recheck",
        {202: Answer("It is due.", RecheckedJson), 404: _UNKNOWN},
        body=RecheckBody,
        needs_body=False,
    )
    async def recheck(self, request: web.Request) -> web.Response:
        """Make one process due now."""
        verb = _verb(await json_of(request) if await body_of(request) else {})
        process_id = _process_id(request)
        done = await from_store(operations.recheck(self._actor, [process_id], verb))
        if done.unknown:
            _raise_unknown()
        self._due.ring()
        return answer(202, RecheckedJson(processId=process_id, verb=verb))


def _check_together(query: dict[str, Any]) -> None:
    """Refuse members of a query that together could find nothing, or not what is meant."""
    given = [name for name in _SINCE if name in query]
    if len(given) > 1:
        raise ApiError(400, "bad_query", f"{' and '.join(given)} exclude each other")
    for name in given:
        allowed, problem = _SINCE[name]
        for state in query.get("state", ()):
            if state not in allowed:
                raise ApiError(400, "bad_query", f"state={state} with {name}: {problem}")


def _process_id(request: web.Request) -> str:
    process_id = request.match_info["processId"]
    if not can_be_id(process_id):
        _raise_unknown()
    return process_id


def _raise_unknown() -> NoReturn:
    raise ApiError(404, "unknown_process", "no such process is on the ledger")


def _verb(body: Any) -> Verb | None:
    try:
        return RecheckBody.model_validate(body).verb
    except ValidationError as error:
        if any(each["loc"] == ("verb",) for each in error.errors()):
            raise bad_choice("verb", Verb) from None
        raise ApiError(
            400, "bad_request", 'the body is {} or {"verb": "notify" or "fetch"}'
        ) from None


def _registrations(items: list[Any], actor: Actor, *, is_array: bool) -> list[Registration]:
    now = actor.clock.now()
    registrations = []
    problems = []
    for index, item in enumerate(items):
        try:
            registrations.append(registration_from(item, by=actor.name, now=now))
        except BadRegistrationError as error:
            problems.append(f"[{index}] {error}" if is_array else str(error))
    if problems:
        raise ApiError(400, "bad_registration", "; ".join(problems[:20]))
    return registrations


def _conflict(indexes: tuple[int, ...], registrations: list[Registration], body: object) -> str:
    named = [f"[{i}] {registrations[i].process_id}" for i in indexes[:20]]
    which = "; ".join(named) if isinstance(body, list) else registrations[0].process_id
    return f"known with another dossierId, nothing was registered: {which}"
