"""The client of the Assure API: calls, token, errors, rate limit and breaker."""

from reconciler.assure.client import AssureClient
from reconciler.assure.endpoint import Endpoint
from reconciler.assure.errors import (
    AssureError,
    Forbidden,
    NotFound,
    Refused,
    ServerError,
    Throttled,
    TokenRefused,
    TokenUnavailable,
    TransportError,
    Unauthorized,
    UnreadableAnswer,
)
from reconciler.assure.process_status import ProcessStatus
from reconciler.outbound.breaker import Breaker
from reconciler.outbound.budget import Budget
from reconciler.outbound.retry_after import retry_after
from reconciler.outbound.session import build_session
from reconciler.outbound.share import Portion, Share, portion

__all__ = [
    "AssureClient",
    "AssureError",
    "Breaker",
    "Budget",
    "Endpoint",
    "Forbidden",
    "NotFound",
    "Portion",
    "ProcessStatus",
    "Refused",
    "ServerError",
    "Share",
    "Throttled",
    "TokenRefused",
    "TokenUnavailable",
    "TransportError",
    "Unauthorized",
    "UnreadableAnswer",
    "build_session",
    "portion",
    "retry_after",
]
