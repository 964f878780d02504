"""The control API under `/_simulator/`: drive the play with curl or from another process.

Members of processes are named as in Assure (camelCase), knobs as in `Faults`.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import orjson
from aiohttp import web

from reconciler.simulator.callbacks import CallbackSender
from reconciler.simulator.faults import FaultError
from reconciler.simulator.process import SimProcess
from reconciler.simulator.world import World

PREFIX = "/_simulator/"


class BadRequestError(Exception):
    """The body is not what this path takes; the text says what it takes."""


def _text(value: object) -> str:
    if isinstance(value, str) and value:
        return value
    raise BadRequestError("not a text with at least one character")


def _seconds(value: object) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
        return float(value)
    raise BadRequestError("not seconds, 0 or more")


def _delivery(value: object) -> str:
    if value in ("send", "lose"):
        return str(value)
    raise BadRequestError('neither "send" nor "lose"')


MEMBERS: dict[str, tuple[str, Callable[[object], object]]] = {
    "dossierId": ("dossier_id", _text),
    "processId": ("process_id", _text),
    "provider": ("provider", _text),
    "processType": ("process_type", _text),
    "finalStatus": ("final_status", _text),
    "finishIn": ("finish_in", _seconds),
    "callback": ("callback", _delivery),
    "notified": ("notified", _delivery),
}
"""A new process: JSON member, argument of `World.add`, check. All are optional."""


class ControlApi:
    """Handlers of the control API."""

    def __init__(self, world: World, sender: CallbackSender) -> None:
        self._world = world
        self._sender = sender

    def routes(self) -> list[web.RouteDef]:
        """All paths."""
        return [
            web.post(PREFIX + "processes", _guarded(self._add)),
            web.get(PREFIX + "processes", _guarded(self._list)),
            web.post(PREFIX + "processes/{process_id}/finish", _guarded(self._finish)),
            web.put(PREFIX + "faults", _guarded(self._set_faults)),
            web.get(PREFIX + "faults", _guarded(self._get_faults)),
            web.put(PREFIX + "callback", _guarded(self._set_callback)),
            web.get(PREFIX + "calls", _guarded(self._calls)),
        ]

    async def _add(self, request: web.Request) -> web.Response:
        """An object or an array, taken whole or not at all."""
        body = _parsed(await request.read())
        items = body if isinstance(body, list) else [body]
        wanted = [_arguments(item, index) for index, item in enumerate(items)]
        ids = Counter(str(item["process_id"]) for item in wanted if "process_id" in item)
        taken = sorted(i for i, n in ids.items() if n > 1 or i in self._world.processes)
        if taken:
            return _error(409, "conflict", f"process ids that are taken: {', '.join(taken)}")
        made = [self._world.add(**item).truth() for item in wanted]
        return _json(made if isinstance(body, list) else made[0], status=201)

    async def _list(self, request: web.Request) -> web.Response:
        return _json([process.truth() for process in self._world.processes.values()])

    async def _finish(self, request: web.Request) -> web.Response:
        """Takes `{"status": …}` or no body; see `World.finish`."""
        raw = await request.read()
        members = _members(_parsed(raw) if raw else {}, ("status",))
        status = _text(members["status"]) if "status" in members else None
        try:
            process: SimProcess = self._world.finish(request.match_info["process_id"], status)
        except KeyError:
            return _error(404, "not_found", "no such process")
        except ValueError as reason:
            return _error(409, "conflict", str(reason))
        return _json(process.truth())

    async def _set_faults(self, request: web.Request) -> web.Response:
        knobs = _parsed(await request.read())
        if not isinstance(knobs, dict):
            raise BadRequestError("not an object of knobs")
        try:
            self._world.faults.update(knobs)
        except FaultError as reason:
            raise BadRequestError(str(reason)) from None
        self._world.changed()
        return await self._get_faults(request)

    async def _get_faults(self, request: web.Request) -> web.Response:
        return _json(self._world.faults.as_json())

    async def _set_callback(self, request: web.Request) -> web.Response:
        """`{"url": …, "authorization"?: …}`: for a receiver whose port is known late."""
        members = _members(_parsed(await request.read()), ("url", "authorization"))
        url, authorization = members.get("url", ""), members.get("authorization", "")
        if not isinstance(url, str) or not isinstance(authorization, str):
            raise BadRequestError("url and authorization are texts")
        try:
            self._sender.aim(url, authorization)
        except ValueError as reason:
            raise BadRequestError(str(reason)) from None
        return _json({"url": url})

    async def _calls(self, request: web.Request) -> web.Response:
        return _json(self._world.log.summary())


AsyncHandler = Callable[[web.Request], Any]


def _guarded(handler: AsyncHandler) -> AsyncHandler:
    async def guarded(request: web.Request) -> web.Response:
        try:
            response: web.Response = await handler(request)
        except BadRequestError as reason:
            return _error(400, "bad_request", str(reason))
        return response

    return guarded


def _parsed(raw: bytes) -> object:
    try:
        parsed: object = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise BadRequestError("the body is not JSON") from None
    return parsed


def _members(body: object, known: tuple[str, ...]) -> dict[str, object]:
    if not isinstance(body, dict):
        raise BadRequestError("not a JSON object")
    unknown = sorted(set(body) - set(known))
    if unknown:
        raise BadRequestError(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    return body


def _arguments(item: object, index: int) -> dict[str, Any]:
    """The arguments of `World.add`; the error names the item and the member."""
    arguments: dict[str, Any] = {}
    try:
        for member, value in _members(item, tuple(MEMBERS)).items():
            name, check = MEMBERS[member]
            try:
                arguments[name] = check(value)
            except BadRequestError as reason:
                raise BadRequestError(f"{member}: {reason}") from None
    except BadRequestError as reason:
        raise BadRequestError(f"item {index}: {reason}") from None
    return arguments


def _json(body: object, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json")


def _error(status: int, code: str, detail: str) -> web.Response:
    return _json({"error": code, "detail": detail}, status=status)
