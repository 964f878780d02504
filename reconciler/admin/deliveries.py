"""The routes of the outbox: list deliveries, and have one sent again."""

from aiohttp import web
from structlog.typing import FilteringBoundLogger

from reconciler.admin.api import CALLER
from reconciler.admin.guard import ApiError, answer
from reconciler.admin.requests import choice, from_store, limit_of, query_of
from reconciler.operations.json_shapes import deliveries_json
from reconciler.runtime.bell import Bell
from reconciler.runtime.clock import Clock
from reconciler.store.delivery_row import DeliveryState
from reconciler.store.open import Store
from reconciler.store.paging import BadCursorError


class DeliveriesApi:
    """The outbox over HTTP."""

    def __init__(
        self, store: Store, *, news: Bell, clock: Clock, log: FilteringBoundLogger
    ) -> None:
        """``news`` is rung when a delivery has become due."""
        self._store = store
        self._news = news
        self._clock = clock
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
        page = self._store.outbox.page(
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
        again = self._store.redelivery.redeliver([key], by=CALLER, now=self._clock.now())
        found = await from_store(again)
        if not found:
            raise ApiError(404, "unknown_delivery", "no such delivery is in the outbox")
        self._log.info("operator_action", action="redeliver", by=CALLER, deliveries=1)
        self._news.ring()
        return answer(202, {"id": key})
