"""Makes the two calls about a process: Get process and Notify."""

import asyncio
import math

from aiohttp import ClientSession
from structlog.typing import FilteringBoundLogger
from yarl import URL

from reconciler.assure.endpoint import Endpoint
from reconciler.assure.errors import (
    Forbidden,
    NotFound,
    Refused,
    ServerError,
    Throttled,
    Unauthorized,
)
from reconciler.assure.process_answer import ProcessStatus, body_reader
from reconciler.assure.token import TokenCache
from reconciler.ledger import Verb
from reconciler.outbound.budget import Budget
from reconciler.outbound.errors import CallError, TransportError, UnreadableAnswer
from reconciler.outbound.transport import Response, Transport
from reconciler.runtime.clock import Clock


class AssureClient:
    """Speaks to one Assure environment as one client.

    The caller takes a unit from the budget before each call; this class takes one only for the
    second call after a 401. A call lasts at most four timeouts: token, call, new token with its
    unit of the budget, call. Neither call leaves once the monotonic clock shows ``until``, nor when
    the share of the budget has run out: the process may have stood still since the unit was taken.
    Every method raises subclasses of ``CallError`` and nothing of aiohttp's.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        session: ClientSession,
        budget: Budget,
        clock: Clock,
        log: FilteringBoundLogger,
    ) -> None:
        self._endpoint = endpoint
        self._budget = budget
        self._transport = Transport(
            session,
            log,
            clock=clock,
            timeout=endpoint.timeout,
            proxy=endpoint.proxy,
        )
        self._clock = clock
        self._token = TokenCache(endpoint, self._transport, clock)

    async def ensure_token(self) -> None:
        """Fetch a token unless there is one.

        Await it before units are taken from the budget: calls that hold their units while they
        wait for a token would all leave in the same moment.
        """
        await self._token.get()

    async def get_process(
        self, dossier_id: str, process_id: str, *, until: float = math.inf
    ) -> ProcessStatus:
        """Read the status of a process."""
        url = self._endpoint.url(self._endpoint.process_path, dossier_id, process_id)
        answer = await self._call(Verb.FETCH, "GET", url, until)
        return ProcessStatus.from_members(answer.members, answer.http_status)

    async def notify(self, dossier_id: str, process_id: str, *, until: float = math.inf) -> int:
        """Ask for the callback of a process again and return the 2xx it was answered with."""
        url = self._endpoint.url(self._endpoint.notify_path, dossier_id, process_id)
        method = self._endpoint.notify_method
        answer = await self._call(Verb.NOTIFY, method, url, until)
        return answer.http_status

    async def _call(self, verb: Verb, method: str, url: URL, until: float) -> Response:
        try:
            token = await self._token.get()
        except BaseException:
            self._budget.give_back()
            raise
        self._leave(until)
        answer = await self._send(verb, method, url, token)
        if answer.http_status == 401:
            deadline = asyncio.get_running_loop().time() + self._endpoint.timeout
            token = await self._token.force(token)
            await self._another_unit(deadline)
            self._leave(until)
            answer = await self._send(verb, method, url, token)
        if not answer.succeeded:
            raise _failure(answer)
        return answer

    async def _send(self, verb: Verb, method: str, url: URL, token: str) -> Response:
        headers = {"Authorization": f"Bearer {token}"}
        reader = body_reader() if verb is Verb.FETCH else None
        return await self._transport.send(verb, method, url, headers=headers, reader=reader)

    def _leave(self, until: float) -> None:
        """Turn the unit that is held into the call that follows at once, or raise Throttled."""
        if self._clock.monotonic() >= until:
            self._budget.give_back()
            raise Throttled("too_late")
        if not self._budget.leave():
            raise Throttled("no_budget")

    async def _another_unit(self, deadline: float) -> None:
        try:
            async with asyncio.timeout_at(deadline):
                await self._budget.take()
                return
        except TimeoutError:
            pass
        raise Throttled("no_budget", http_status=401, retry_after=self._budget.paused_for or None)


def _failure(answer: Response) -> CallError:
    """Return the error that an answer other than 2xx means."""
    status = answer.http_status
    code = f"http_{status}"
    wait = answer.retry_after
    match status:
        case 401:
            return Unauthorized(code, http_status=status)
        case 403:
            return Forbidden(code, http_status=status)
        case 404:
            return NotFound(code, http_status=status)
        case 407:  # no origin server answers that; it is the egress proxy
            return TransportError("proxy", http_status=status)
        case 429:
            return Throttled(code, http_status=status, retry_after=wait)
        case _ if 300 <= status < 400:
            return UnreadableAnswer("redirect", http_status=status)
        case _ if 400 <= status < 500:
            return Refused(code, http_status=status)
        case _ if 500 <= status < 600:
            return ServerError(code, http_status=status, retry_after=wait)
        case _:
            return UnreadableAnswer(code, http_status=status)
