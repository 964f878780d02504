"""The route of the actions: who did what."""

from aiohttp import web

from reconciler.admin.guard import answer
from reconciler.admin.requests import CURSOR, LIMIT, PAGE, from_store, query_of, time
from reconciler.admin.routing import Answer, Route
from reconciler.operations.json_shapes import ActionsJson, actions_json
from reconciler.store.actions import Actions

SINCE = time("since", "done since then")


class ActionsApi:
    """The actions over HTTP."""

    def __init__(self, actions: Actions) -> None:
        self._actions = actions

    @Route(
        "GET", "/v1/actions", {200: Answer("A page.", ActionsJson)}, query=(SINCE, LIMIT, CURSOR)
    )
    async def actions(self, request: web.Request) -> web.Response:
        """Return a page of what people did, the newest first."""
        query = query_of(request, SINCE, LIMIT, CURSOR)
        page = self._actions.page(
            since=query.get("since"), limit=query.get("limit", PAGE), cursor=query.get("cursor")
        )
        return answer(200, actions_json(*await from_store(page)))
