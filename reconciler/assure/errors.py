"""Defines the errors of a call to Assure: one class for each way in which the caller reacts."""
# ruff: noqa: N818  (the names say what happened; an "Error" at the end of each would say less)

from reconciler.outbound.errors import CallError, TransportError


class ServerError(CallError):
    """Assure answered 5xx."""


class Unauthorized(CallError):
    """401, and 401 again with a fresh token."""


class Forbidden(CallError):
    """403: the client lacks permission for this process, or altogether."""


class NotFound(CallError):
    """404."""


class Refused(CallError):
    """Any other 4xx: an answer about this process, which speaks for Assure."""


class Throttled(CallError):
    """429; or the call was not made, because the budget had no room for it (``no_budget``) or the
    time in which it might leave was over (``too_late``)."""


class TokenRefused(CallError):
    """The token endpoint answered 4xx: the client id, the secret or the scope is wrong."""

    def __init__(self, code: str, *, http_status: int, word: str | None = None) -> None:
        super().__init__(code, http_status=http_status)
        self.word = word
        """OAuth's own error, such as ``invalid_client``, or ``other``; None where none came."""


class TokenUnavailable(TransportError):
    """The token endpoint is out of reach, answers 5xx, or answers something that is no token."""
