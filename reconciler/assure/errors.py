"""What can go wrong with a call to Assure.

A few classes, one for each thing the caller may do about it. An error carries a short word, an
HTTP status and a number of seconds; never a header, a body, a URL or a secret, so it can be
logged and stored as it is.
"""
# ruff: noqa: N818  (the names say what happened; an "Error" at the end of each would say less)


class AssureError(Exception):
    """A call that brought no usable answer; ``str()`` of it is ``code``."""

    def __init__(
        self, code: str, *, http_status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(code)
        self.code = code
        """A short word that is safe to log: ``timeout``, ``dns``, ``http_503``, ``not_json``."""
        self.http_status = http_status
        """The status of the answer; None where none came."""
        self.retry_after = retry_after
        """Seconds that the answer asked us to wait, at most an hour; None where it did not."""


class TransportError(AssureError):
    """No answer from Assure: refused, reset, DNS, TLS, the egress proxy, or out of time."""


class ServerError(AssureError):
    """Assure answered 5xx."""


class UnreadableAnswer(AssureError):
    """An answer that is not what it should be: garbage, too large, a redirect, no status."""


class Unauthorized(AssureError):
    """401, and 401 again with a fresh token."""


class Forbidden(AssureError):
    """403: the client lacks permission for this process, or altogether."""


class NotFound(AssureError):
    """404."""


class Refused(AssureError):
    """Any other 4xx: an answer, not a fault of ours."""


class Throttled(AssureError):
    """429, or (``no_budget``) our own limits left no room for the second call after a 401."""


class TokenRefused(AssureError):
    """The token endpoint answered 4xx: the client id, the secret or the scope is wrong."""


class TokenUnavailable(TransportError):
    """The token endpoint is out of reach, answers 5xx, or answers something that is no token."""
