"""``GET /``: the status page, for a person with a browser. It changes nothing.

The page is self-contained: no script, nothing from elsewhere, and a policy that says so. It
reloads itself by a meta tag. Of a process it shows the id, the provider and times.
"""

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import jinja2
from aiohttp import web

from reconciler import __version__
from reconciler.admin.health import Described, Health
from reconciler.admin.routing import Answer, Route
from reconciler.ledger import State, TrackedProcess
from reconciler.operations.json_shapes import StatusJson, status_json, with_own
from reconciler.runtime.clock import Clock
from reconciler.runtime.single_flight import SingleFlight
from reconciler.store.delivery_row import DeliveryState
from reconciler.store.errors import StoreError
from reconciler.store.open import Store
from reconciler.store.outbox import OutboxRow

LIMIT = 3.0
"""Seconds that the page waits for the store; then it says that the store does not answer."""

REFRESH = 15
"""Seconds after which a browser loads the page again."""

SHOWN = 10
"""Rows of each of the two lists: overdue processes, dead deliveries."""

_HTML = ("text/html",)

NONE = "\N{EN DASH}"

_POLICY = (
    "default-src 'none'; style-src 'nonce-{nonce}'; img-src data:; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'"
)
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


@dataclass(slots=True)
class _Snapshot:
    """The answers of the store."""

    status: StatusJson
    overdue: list[TrackedProcess] = field(default_factory=list)
    dead: list[OutboxRow] = field(default_factory=list)


class StatusPage:
    """Renders the numbers of ``/v1/status``, and the newest processes and deliveries in trouble."""

    def __init__(self, store: Store, health: Health, own: Described, clock: Clock) -> None:
        self._store = store
        self._health = health
        self._own = own
        self._clock = clock
        self._snapshot = SingleFlight(self._look, clock)
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

    @Route(
        "GET",
        "/",
        {
            200: Answer("The ledger on one page.", str, _HTML),
            503: Answer("The same, without the store's part.", str, _HTML),
        },
    )
    async def page(self, _request: web.Request) -> web.Response:
        """Return the status page, for people. While the store does not answer it says so."""
        now, own = self._clock.now(), self._own.instance()
        try:
            snapshot = await self._snapshot.get(LIMIT)
        except (StoreError, TimeoutError):
            snapshot = None
        nonce = secrets.token_urlsafe(16)
        text = self._template.render(
            snapshot=snapshot,
            own=own,
            stale=self._health.stale(),
            now=now,
            version=__version__,
            refresh=REFRESH,
            nonce=nonce,
        )
        return web.Response(
            status=200 if snapshot else 503,
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
        now, store = self._clock.now(), self._store
        counts = await store.views.counts()
        instances = with_own(self._own.instance(), await store.instances.live(now))
        snapshot = _Snapshot(status_json(counts, instances, now))
        if counts.states[State.OVERDUE]:
            snapshot.overdue, _ = await store.views.page(
                state=State.OVERDUE, limit=SHOWN, cursor=None
            )
        if counts.deliveries_dead:
            snapshot.dead, _ = await store.outbox.page(
                state=DeliveryState.DEAD, limit=SHOWN, cursor=None
            )
        return snapshot


def age(seconds: float | None) -> str:
    """Return a duration for people, such as ``3 d 4 h``; a dash for none."""
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
    """Return an ISO time for people; a dash for none."""
    return NONE if iso_time is None else iso_time[:19].replace("T", " ") + " UTC"
