"""Calls the Assure API: the two calls, the token, the errors."""

from reconciler.assure.client import AssureClient
from reconciler.assure.endpoint import Endpoint
from reconciler.assure.errors import (
    Forbidden,
    NotFound,
    Refused,
    ServerError,
    Throttled,
    TokenRefused,
    TokenUnavailable,
    Unauthorized,
)
from reconciler.assure.process_answer import ProcessStatus

__all__ = [
    "AssureClient",
    "Endpoint",
    "Forbidden",
    "NotFound",
    "ProcessStatus",
    "Refused",
    "ServerError",
    "Throttled",
    "TokenRefused",
    "TokenUnavailable",
    "Unauthorized",
]
