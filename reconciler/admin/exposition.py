"""``GET /metrics``: what was counted and what is so now, in the format that is asked for."""

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics import exposition as openmetrics

from reconciler.admin.metrics import Gauges


class Exposition:
    """The metrics of one daemon over HTTP."""

    def __init__(self, registry: CollectorRegistry, gauges: Gauges) -> None:
        """``gauges`` joins the registry."""
        self._registry = registry
        self._gauges = gauges
        registry.register(gauges)

    def routes(self) -> list[web.RouteDef]:
        """Return the route."""
        return [web.get("/metrics", self.metrics)]

    async def metrics(self, request: web.Request) -> web.Response:
        """Answer a scrape, within a few seconds whatever the store does."""
        await self._gauges.look()
        # Not the library's choice, which puts what the request says into the answer's header.
        if "application/openmetrics-text" in request.headers.get("Accept", ""):
            body = openmetrics.generate_latest(self._registry)  # type: ignore[no-untyped-call]
            return _text(body, openmetrics.CONTENT_TYPE_LATEST)
        return _text(generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4)


def _text(body: bytes, content_type: str) -> web.Response:
    return web.Response(body=body, headers={"Content-Type": content_type})
