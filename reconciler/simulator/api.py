"""The simulated Assure API over HTTP: token, Get process, Notify."""

import asyncio
from collections.abc import Callable

import orjson
from aiohttp import web
from structlog.typing import FilteringBoundLogger

from reconciler.simulator.answers import SILENCE, Answer, ApiKind, answer, error
from reconciler.simulator.calls import Kind
from reconciler.simulator.odd_json import ODDITIES
from reconciler.simulator.tokens import Tokens
from reconciler.simulator.world import World

TOKEN_PATH = "/auth/open/connect/token"  # noqa: S105 - a path
PROCESS_PATH = "/assure/dossiers/{dossier_id}/processes/{process_id}"
PADDING = b"x" * 65536
LARGE_HEADER = "script-src " + "x" * 12_000

PADDING_CHUNKS = 256


class SimulatedApi:
    """Handlers of the simulated API. `stopping` ends the calls that hang."""

    def __init__(
        self,
        world: World,
        tokens: Tokens,
        *,
        log: FilteringBoundLogger,
    ) -> None:
        self._world = world
        self._tokens = tokens
        self._log = log
        self.stopping = asyncio.Event()

    def routes(self) -> list[web.RouteDef]:
        """Return the three routes; the application answers all other requests with errors."""
        return [
            web.post(TOKEN_PATH, self._token),
            web.get(PROCESS_PATH, self._fetch, allow_head=False),
            web.post(f"{PROCESS_PATH}/notify", self._notify),
        ]

    def record_other(self, http_status: int) -> None:
        """Record a request to a path or with a method that Assure does not have."""
        self._world.log.end(self._world.log.begin("other", None), http_status)
        self._world.changed()

    async def _token(self, request: web.Request) -> web.StreamResponse:
        authorization = request.headers.get("Authorization", "")
        grant_type = (await request.post()).get("grant_type")
        return await self._serve(
            request, "token", None, lambda: self._token_answer(authorization, grant_type)
        )

    async def _fetch(self, request: web.Request) -> web.StreamResponse:
        return await self._call(request, "fetch")

    async def _notify(self, request: web.Request) -> web.StreamResponse:
        return await self._call(request, "notify")

    async def _call(self, request: web.Request, kind: ApiKind) -> web.StreamResponse:
        dossier_id, process_id = request.match_info["dossier_id"], request.match_info["process_id"]
        authorized = self._tokens.accepts(request.headers.get("Authorization", ""))
        return await self._serve(
            request,
            kind,
            process_id,
            lambda: answer(self._world, kind, dossier_id, process_id, authorized=authorized),
        )

    async def _serve(
        self,
        request: web.Request,
        kind: Kind,
        process_id: str | None,
        decide: Callable[[], Answer],
    ) -> web.StreamResponse:
        """Record the call, decide at once, answer after the latency.

        The record is complete before the client can have read the answer.
        """
        call = self._world.log.begin(kind, process_id)
        http_status = 0
        try:
            decided = decide()
            self._world.changed()
            if decided.status == 0:
                return await self._fall_silent(request)
            if self._world.faults.latency:
                await self._world.clock.sleep(self._world.faults.latency)
            http_status = decided.status
            if self._world.faults.large_headers:
                decided.headers["Content-Security-Policy"] = LARGE_HEADER
            return await _padded(request, decided) if decided.huge else _plain(decided)
        finally:
            self._world.log.end(call, http_status)
            self._world.changed()
            self._log.debug(
                "simulator_call", kind=kind, process_id=process_id, http_status=http_status
            )

    def _token_answer(self, authorization: str, grant_type: object) -> Answer:
        faults = self._world.faults
        if faults.drop:
            return SILENCE
        if faults.token_down:
            return error(503, "unavailable", "the token endpoint is down")
        if faults.token_refused or not self._tokens.knows_client(authorization):
            return error(401, "invalid_client", "unknown client or wrong secret")
        if grant_type != "client_credentials":
            return error(400, "unsupported_grant_type", "only client_credentials")
        return Answer(200, ODDITIES[faults.odd_json](orjson.dumps(self._tokens.issue())))

    async def _fall_silent(self, request: web.Request) -> web.StreamResponse:
        """Wait for ever: aiohttp cancels the handler when the connection is closed."""
        if not self._world.faults.drop:
            await self.stopping.wait()
        if request.transport is not None:
            request.transport.abort()
        never: asyncio.Future[web.StreamResponse] = asyncio.get_running_loop().create_future()
        return await never


def _plain(decided: Answer) -> web.Response:
    content_type = "application/json" if decided.body else None
    return web.Response(
        status=decided.status, body=decided.body, headers=decided.headers, content_type=content_type
    )


async def _padded(request: web.Request, decided: Answer) -> web.StreamResponse:
    response = web.StreamResponse(status=decided.status, headers=decided.headers)
    response.content_type = "application/json"
    await response.prepare(request)
    await response.write(decided.body[:-1] + b',"padding":"')
    for _ in range(PADDING_CHUNKS):
        await response.write(PADDING)
    await response.write(b'"}')
    await response.write_eof()
    return response
