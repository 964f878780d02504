"""The routes of the outbox: list deliveries, and have one sent again."""

from aiohttp import web
from typing_extensions import TypedDict  # pydantic takes Python's own only from 3.12 on

from reconciler import operations
from reconciler.admin.guard import ApiError, answer
from reconciler.admin.openapi import ErrorJson
from reconciler.admin.requests import CURSOR, LIMIT, PAGE, from_store, one_of, query_of
from reconciler.admin.routing import Answer, Route
from reconciler.operations import Actor
from reconciler.operations.json_shapes import DeliveriesJson, deliveries_json
from reconciler.runtime.bell import Bell
from reconciler.store.delivery_row import DeliveryState

STATE = one_of("state", DeliveryState)


class DueJson(TypedDict):
    """The delivery that is due now."""

    id: str


class DeliveriesApi:
    """The outbox over HTTP."""

    def __init__(self, actor: Actor, news: Bell) -> None:
        """``news`` is rung when a delivery has become due."""
        self._actor = actor
        self._news = news

    @Route(
        "GET",
        "/v1/deliveries",
        {200: Answer("A page.", DeliveriesJson)},
        query=(STATE, LIMIT, CURSOR),
    )
    async def deliveries(self, request: web.Request) -> web.Response:
        """Return a page of the outbox, the newest first."""
        query = query_of(request, STATE, LIMIT, CURSOR)
        page = self._actor.store.outbox.page(
            state=query.get("state"), limit=query.get("limit", PAGE), cursor=query.get("cursor")
        )
        return answer(200, deliveries_json(*await from_store(page)))

    @Route(
        "POST",
        "/v1/deliveries/{id}/redeliver",
        {
            202: Answer("It is due.", DueJson),
            404: Answer("No such delivery is in the outbox.", ErrorJson),
        },
    )
    async def redeliver(self, request: web.Request) -> web.Response:
        """Have one delivery sent again, under the same id."""
        key = request.match_info["id"]
        done = await from_store(operations.redeliver(self._actor, [key]))
        if done.unknown:
            raise ApiError(404, "unknown_delivery", "no such delivery is in the outbox")
        self._news.ring()
        return answer(202, DueJson(id=key))
