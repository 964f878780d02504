"""The routes of the outbox: list deliveries, and have one sent again."""

from aiohttp import web

from reconciler import operations
from reconciler.admin.guard import ApiError, answer
from reconciler.admin.requests import choice, from_store, limit_of, query_of
from reconciler.operations import Actor
from reconciler.operations.json_shapes import deliveries_json
from reconciler.runtime.bell import Bell
from reconciler.store.delivery_row import DeliveryState
from reconciler.store.paging import BadCursorError


class DeliveriesApi:
    """The outbox over HTTP."""

    def __init__(self, actor: Actor, news: Bell) -> None:
        """``news`` is rung when a delivery has become due."""
        self._actor = actor
        self._news = news

    def routes(self) -> list[web.RouteDef]:
        """Return all routes."""
        return [
            web.get("/v1/deliveries", self.deliveries),
            web.post("/v1/deliveries/{id}/redeliver", self.redeliver),
        ]

    async def deliveries(self, request: web.Request) -> web.Response:
        """Return a page of the outbox, the newest first."""
        query = query_of(request, "state", "limit", "cursor")
        page = self._actor.store.outbox.page(
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
        done = await from_store(operations.redeliver(self._actor, [key]))
        if done.unknown:
            raise ApiError(404, "unknown_delivery", "no such delivery is in the outbox")
        self._news.ring()
        return answer(202, {"id": key})
