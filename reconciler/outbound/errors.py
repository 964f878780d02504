"""Defines the errors of outgoing calls.

An error carries a short word, an HTTP status and a number of seconds; never a header, a body, a
URL or a secret, so it can be logged and stored as it is.
"""
# ruff: noqa: N818  (the names say what happened; an "Error" at the end of each would say less)


class CallError(Exception):
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
        self.duration = 0
        """Milliseconds that it took to fail; 0 where no call was made."""


class TransportError(CallError):
    """No answer: refused, reset, DNS, TLS, the egress proxy, or out of time."""


class UnreadableAnswer(CallError):
    """An answer that is not what it should be: garbage, too large, a redirect, no status."""
