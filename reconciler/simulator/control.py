"""The control API under `/_simulator/`: controls the simulator with curl or from a program.

Members of processes are named as in Assure (camelCase), knobs as in `Faults`.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import orjson
from aiohttp import web

from reconciler.simulator.bodies import (
    BadRequestError,
    Finish,
    NewProcess,
    Receiver,
    parsed,
    read,
)
from reconciler.simulator.callbacks import CallbackSender
from reconciler.simulator.faults import FaultError
from reconciler.simulator.process import SimProcess
from reconciler.simulator.world import World

PREFIX = "/_simulator/"


class ControlApi:
    """Handlers of the control API."""

    def __init__(self, world: World, sender: CallbackSender) -> None:
        self._world = world
        self._sender = sender

    def routes(self) -> list[web.RouteDef]:
        """Return all routes."""
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
        """Make one process or an array of them, whole or not at all."""
        body = parsed(await request.read())
        items = body if isinstance(body, list) else [body]
        wanted = [_new_process(item, index) for index, item in enumerate(items)]
        ids = Counter(each.process_id for each in wanted if each.process_id)
        taken = sorted(i for i, n in ids.items() if n > 1 or i in self._world.processes)
        if taken:
            return _error(409, "conflict", f"process ids that are taken: {', '.join(taken)}")
        made = [self._world.add(**dict(each)).truth() for each in wanted]
        return _json(made if isinstance(body, list) else made[0], status=201)

    async def _list(self, request: web.Request) -> web.Response:
        return _json([process.truth() for process in self._world.processes.values()])

    async def _finish(self, request: web.Request) -> web.Response:
        """Finish a process, by `World.finish`. The body is `{"status": …}` or empty."""
        raw = await request.read()
        status = read(Finish, parsed(raw) if raw else {}).status
        try:
            process: SimProcess = self._world.finish(request.match_info["process_id"], status)
        except KeyError:
            return _error(404, "not_found", "no such process")
        except ValueError as reason:
            return _error(409, "conflict", str(reason))
        return _json(process.truth())

    async def _set_faults(self, request: web.Request) -> web.Response:
        knobs: Any = parsed(await request.read())
        try:
            self._world.faults.update(knobs)
        except FaultError as reason:
            raise BadRequestError(str(reason)) from None
        self._world.changed()
        return await self._get_faults(request)

    async def _get_faults(self, request: web.Request) -> web.Response:
        return _json(self._world.faults.as_json())

    async def _set_callback(self, request: web.Request) -> web.Response:
        """Set where callbacks go."""
        receiver = read(Receiver, parsed(await request.read()))
        try:
            self._sender.aim(receiver.url, receiver.authorization)
        except ValueError as reason:
            raise BadRequestError(str(reason)) from None
        return _json({"url": receiver.url})

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


def _new_process(item: object, index: int) -> NewProcess:
    try:
        return read(NewProcess, item)
    except BadRequestError as reason:
        raise BadRequestError(f"item {index}: {reason}") from None


def _json(body: object, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json")


def _error(status: int, code: str, detail: str) -> web.Response:
    return _json({"error": code, "detail": detail}, status=status)
