"""Who may ask: the bearer token, and no foreign Host or Origin."""

import hmac
import ipaddress
from urllib.parse import urlsplit

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from structlog.typing import FilteringBoundLogger

OPEN_PATHS = frozenset({"/live", "/ready"})
"""Asked by load balancers and supervisors, which have no token."""


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
    *, token: str | None, hosts: frozenset[str], is_unix: bool, log: FilteringBoundLogger
) -> Middleware:
    """Return the middleware. ``hosts``: names beside IP addresses and localhost that are ours."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            if not is_unix:
                _check_host(request, hosts)
            if token and request.path not in OPEN_PATHS:
                _check_token(request, token)
            return await handler(request)
        except ApiError as error:
            response = answer(error.status, {"error": error.code, "detail": error.detail})
            if error.status == 401:
                response.headers["WWW-Authenticate"] = "Bearer"
            return response
        except web.HTTPException as error:
            code = error.reason.lower().replace(" ", "_")
            response = answer(error.status, {"error": code, "detail": error.reason})
            if "Allow" in error.headers:
                response.headers["Allow"] = error.headers["Allow"]
            return response
        except Exception:  # a request's border: a bug must not leave as HTML
            log.exception("request_failed", path=request.path)
            return answer(500, {"error": "internal", "detail": "the log says more"})

    return check


def _check_host(request: web.Request, hosts: frozenset[str]) -> None:
    """Refuse what a page in an operator's browser may send by a name that points at us."""
    host = request.headers.get("Host", "")
    if not _is_ours(host, hosts):
        raise ApiError(403, "foreign_host", "this Host is not served here")
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != host:
        raise ApiError(403, "foreign_origin", "requests of other sites are not answered")


def _is_ours(host: str, hosts: frozenset[str]) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name in ("localhost", "") or name in hosts:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _check_token(request: web.Request, token: str) -> None:
    given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
    if not hmac.compare_digest(given, f"Bearer {token}".encode()):
        raise ApiError(401, "unauthorized", "send the admin token as Authorization: Bearer …")
