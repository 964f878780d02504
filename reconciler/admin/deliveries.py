"""The routes of the outbox: look at deliveries, and have one sent again."""

from collections.abc import Callable

from aiohttp import web
from structlog.typing import FilteringBoundLogger

from reconciler.admin.api import CALLER
from reconciler.admin.guard import ApiError, answer
from reconciler.admin.requests import choice, from_store, limit_of, query_of
from reconciler.operations.json_shapes import deliveries_json
from reconciler.store.delivery_row import DeliveryState
from reconciler.store.outbox import Outbox
from reconciler.store.paging import BadCursorError
from reconciler.store.redelivery import Redelivery


class OutboxApi:
    """The outbox over HTTP."""

    def __init__(
        self,
        outbox: Outbox,
        redelivery: Redelivery,
        *,
        now: Callable[[], int],
        on_change: Callable[[], None],
        log: FilteringBoundLogger,
    ) -> None:
        """``on_change`` is called when something may have become due."""
        self._outbox = outbox
        self._redelivery = redelivery
        self._now = now
        self._on_change = on_change
        self._log = log

    def routes(self) -> list[web.RouteDef]:
        """Return all routes."""
        return [
            web.get("/v1/deliveries", self.deliveries),
            web.post("/v1/deliveries/{id}/redeliver", self.redeliver),
        ]

    async def deliveries(self, request: web.Request) -> web.Response:
        """Return a page of the outbox, the newest first."""
        query = query_of(request, "state", "limit", "cursor")
        page = self._outbox.page(
            state=choice("state", query.get("state"), DeliveryState),
            limit=limit_of(query.get("limit")),
            cursor=query.get("cursor"),
        )
        try:
            return answer(200, deliveries_json(*await from_store(page)))
        except BadCursorError as error:
            raise ApiError(400, "bad_cursor", str(error)) from None

    async def redeliver(self, request: web.Request) -> web.Response:
        """Have one delivery sent again, under the same id."""
        key = request.match_info["id"]
        found = await from_store(self._redelivery.redeliver([key], by=CALLER, now=self._now()))
        if not found:
            raise ApiError(404, "unknown_delivery", "no such delivery is in the outbox")
        self._log.info("operator_action", action="redeliver", by=CALLER, deliveries=1)
        self._on_change()
        return answer(202, {"id": key})
