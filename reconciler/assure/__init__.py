"""The client of the Assure API: calls, token and errors."""

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

__all__ = [
    "AssureClient",
    "AssureError",
    "Endpoint",
    "Forbidden",
    "NotFound",
    "ProcessStatus",
    "Refused",
    "ServerError",
    "Throttled",
    "TokenRefused",
    "TokenUnavailable",
    "TransportError",
    "Unauthorized",
    "UnreadableAnswer",
]
