"""The guard of the admin listener: the bearer token, and no foreign Origin or Host.

A browser cannot send a bearer token, but can ask for a password. So the token is taken as the
password of HTTP Basic too, with any user, but for GET and HEAD alone: a browser adds a password by
itself, also to requests that a foreign page makes it send.
"""

import hmac
import ipaddress
from base64 import b64decode
from binascii import Error as Base64Error
from urllib.parse import urlsplit

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from structlog.typing import FilteringBoundLogger

from reconciler.config import InForce
from reconciler.runtime.clock import Clock
from reconciler.runtime.current_value import Current

OPEN_PATHS = frozenset({"/live", "/ready"})
"""Load balancers and supervisors ask for these, and have no token."""

QUIET = 60.0
"""Seconds in which the same refused Host is not logged again."""

MOST_TOLD = 20
"""Refused Hosts in that time that are logged."""

LONGEST_SHOWN = 100
"""Characters of a refused Host that are logged."""

_READING = frozenset({"GET", "HEAD"})
_BASIC_CHALLENGE = (
    'Basic realm="reconciler: any user, the admin token as password", charset="UTF-8"'
)

ERRORS = {
    404: ("not_found", "there is no such path here; GET /openapi.json names them all"),
    405: ("method_not_allowed", "this path does not take that method"),
    413: ("too_large", "the body is too large"),
}
"""Code and detail of the errors that aiohttp itself answers; its own words vary by version."""


class ApiError(Exception):
    """An answer with an error, as JSON."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.detail = detail


def answer(status: int, body: object) -> web.Response:
    """Return ``body`` as JSON."""
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json")


def guard(
    current: Current[InForce],
    *,
    hosts: frozenset[str],
    is_unix: bool,
    clock: Clock,
    log: FilteringBoundLogger,
) -> Middleware:
    """Return the middleware; it asks for the token in force, if there is one.

    ``hosts``: our names beside IP addresses, localhost and ``admin.hosts``. With a token any Host
    is served: a page that borrows a name has no token.
    """
    refusals = _Refusals(clock, log)

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            if request.path not in OPEN_PATHS:
                _check_origin(request)
                token = current.value.secrets.admin_token
                if token:
                    _check_token(request, token)
                elif not is_unix:  # a socket in the file system has no name to be borrowed
                    named = current.value.settings.admin.hosts
                    _check_host(request, hosts.union(named), refusals)
            return await handler(request)
        except ApiError as error:
            response = answer(error.status, {"error": error.code, "detail": error.detail})
            if error.status == 401:
                response.headers["WWW-Authenticate"] = "Bearer"
                if _is_browser(request):
                    response.headers.add("WWW-Authenticate", _BASIC_CHALLENGE)
            return response
        except web.HTTPException as error:
            code, detail = ERRORS.get(error.status, ("refused", error.reason))
            response = answer(error.status, {"error": code, "detail": detail})
            if "Allow" in error.headers:
                response.headers["Allow"] = error.headers["Allow"]
            return response
        except (web.RequestPayloadError, ConnectionError):  # caused by the client, no bug of ours
            return answer(400, {"error": "incomplete", "detail": "the body did not arrive whole"})
        except Exception:  # a request's border: aiohttp would answer a bug with HTML
            log.exception("request_failed", path=request.path)
            return answer(500, {"error": "internal", "detail": "the log says more"})

    return check


class _Refusals:
    """Logs refused Hosts, each once a minute."""

    def __init__(self, clock: Clock, log: FilteringBoundLogger) -> None:
        self._clock = clock
        self._log = log
        self._told: dict[str, float] = {}

    def tell(self, host: str) -> None:
        """Log ``host``, which anybody may have made up."""
        shown = host.encode("ascii", "backslashreplace").decode()[:LONGEST_SHOWN]
        now = self._clock.monotonic()
        self._told = {name: at for name, at in self._told.items() if now - at < QUIET}
        if shown not in self._told and len(self._told) < MOST_TOLD:
            self._told[shown] = now
            self._log.warning("admin_host_refused", host=shown)


def _check_host(request: web.Request, hosts: frozenset[str], refusals: _Refusals) -> None:
    """Refuse a Host that is not ours: a page in an operator's browser may use a name of its own."""
    host = request.headers.get("Host", "")
    if not _is_ours(host, hosts):
        refusals.tell(host)
        raise ApiError(
            403,
            "foreign_host",
            "this Host is not served here; if it is yours, add it to admin.hosts",
        )


def _check_origin(request: web.Request) -> None:
    origin = request.headers.get("Origin")
    host = request.headers.get("Host", "").lower()
    if origin is not None and _netloc(origin.lower()) != host:
        raise ApiError(403, "foreign_origin", "requests of other sites are not answered")


def _netloc(url: str) -> str | None:
    try:
        return urlsplit(url).netloc
    except ValueError:
        return None


def _is_ours(host: str, hosts: frozenset[str]) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    name = name.removesuffix(".")  # the root, as in a fully qualified name
    if name in ("localhost", "") or name in hosts:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _check_token(request: web.Request, token: str) -> None:
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    given = text.strip().encode("utf-8", "surrogateescape")
    match scheme.lower():  # RFC 9110, 11.1: the scheme has no case
        case "bearer":
            right = hmac.compare_digest(given, token.encode())
        case "basic" if request.method in _READING:
            right = hmac.compare_digest(_password(given), token.encode())
        case _:
            right = False
    if not right:
        raise ApiError(401, "unauthorized", "send the admin token as Authorization: Bearer …")


def _password(credentials: bytes) -> bytes:
    """Return the password of HTTP Basic (RFC 7617); malformed: empty, which no token is."""
    try:
        return b64decode(credentials, validate=True).partition(b":")[2]
    except Base64Error:
        return b""


def _is_browser(request: web.Request) -> bool:
    return request.method in _READING and "text/html" in request.headers.get("Accept", "")
