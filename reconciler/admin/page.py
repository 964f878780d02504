"""``GET /``: the whole on one page, for a person with a browser. It only looks.

The page is self-contained: no script, nothing from elsewhere, and a policy that says so. It asks
for itself anew by a meta tag. Of a process it shows its id, provider and times.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from aiohttp import web

from reconciler import __version__
from reconciler.admin.health import Health
from reconciler.admin.single_flight import SingleFlight
from reconciler.ledger import State, TrackedProcess
from reconciler.operations.json_shapes import status_json
from reconciler.store.delivery_row import DeliveryState
from reconciler.store.errors import StoreError
from reconciler.store.instances import Instance, Instances
from reconciler.store.outbox import Outbox, OutboxRow
from reconciler.store.views import Views

PATIENCE = 3.0
"""Seconds that the page waits for the store; then it says so."""

REFRESH = 15
"""Seconds after which a browser asks again."""

SHOWN = 10
"""Overdue processes, and dead deliveries."""

NONE = "\N{EN DASH}"

_POLICY = (
    "default-src 'none'; style-src 'nonce-{nonce}'; img-src data:; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'"
)
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


@dataclass(slots=True)
class _Snapshot:
    """What the store has said."""

    status: dict[str, Any]
    overdue: list[TrackedProcess] = field(default_factory=list)
    dead: list[OutboxRow] = field(default_factory=list)


class StatusPage:
    """Renders what ``/v1/status`` says, and the newest of what went wrong."""

    def __init__(
        self,
        *,
        views: Views,
        outbox: Outbox,
        instances: Instances,
        health: Health,
        own: Callable[[], Instance],
        now: Callable[[], int],
        monotonic: Callable[[], float],
    ) -> None:
        self._views = views
        self._outbox = outbox
        self._instances = instances
        self._health = health
        self._own = own
        self._now = now
        self._sight = SingleFlight(self._look, monotonic=monotonic)
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(Path(__file__).parent),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters["age"] = age
        environment.filters["moment"] = _moment
        environment.filters["segment"] = lambda text: quote(text, safe="")
        self._template = environment.get_template("page.html")

    def routes(self) -> list[web.RouteDef]:
        """Return the route."""
        return [web.get("/", self.page)]

    async def page(self, _request: web.Request) -> web.Response:
        """Return the page: 503 while the store does not answer, with what is known without it."""
        now, own = self._now(), self._own()
        try:
            sight = await self._sight.within(PATIENCE)
        except StoreError:
            sight = None
        nonce = secrets.token_urlsafe(16)
        text = self._template.render(
            sight=sight,
            own=own,
            stale=self._health.stale_loops(),
            now=now,
            version=__version__,
            refresh=REFRESH,
            nonce=nonce,
        )
        return web.Response(
            status=200 if sight else 503,
            text=text,
            content_type="text/html",
            headers={
                "Content-Security-Policy": _POLICY.format(nonce=nonce),
                "Cache-Control": "no-store",
                "Referrer-Policy": "no-referrer",
                "X-Content-Type-Options": "nosniff",
            },
        )

    async def _look(self) -> _Snapshot:
        own, now = self._own(), self._now()
        counts = await self._views.counts()
        others = await self._instances.live(now)
        instances = [own, *(other for other in others if other.instance_id != own.instance_id)]
        sight = _Snapshot(status_json(counts, instances, now))
        if counts.states[State.OVERDUE]:
            sight.overdue, _ = await self._views.page(state=State.OVERDUE, limit=SHOWN, cursor=None)
        if counts.deliveries_dead:
            sight.dead, _ = await self._outbox.page(
                state=DeliveryState.DEAD, limit=SHOWN, cursor=None
            )
        return sight


def age(seconds: float | None) -> str:
    """Return a duration as people say it: ``3 d 4 h``; a dash for none."""
    if seconds is None:
        return NONE
    if seconds < 60:
        return f"{max(0, seconds):.0f} s"
    for (size, unit), (smaller, below) in zip(_UNITS, [*_UNITS[1:], (1, "s")], strict=True):
        if seconds >= size:
            rest = int(seconds % size // smaller)
            return f"{int(seconds // size)} {unit}" + (f" {rest} {below}" if rest else "")
    raise AssertionError("a minute is the smallest unit")


def _moment(iso_time: str | None) -> str:
    """Return an ISO time as people read it; a dash for none."""
    return NONE if iso_time is None else iso_time[:19].replace("T", " ") + " UTC"
