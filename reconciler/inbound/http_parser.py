"""aiohttp's parser for requests, made a little more patient, and what its errors mean.

The parser refuses a header such as Content-Type that comes twice. Some gateways send one twice
with the same value, which does no harm: then the request is read again without the repetition.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from reconciler.inbound.checks import Rejection

_ONCE = frozenset(
    {
        b"content-length",
        b"content-location",
        b"content-range",
        b"content-type",
        b"etag",
        b"host",
        b"max-forwards",
        b"server",
        b"user-agent",
    }
)
"""Headers that the parser refuses when they come twice, but for Transfer-Encoding."""

PROXY_PROTOCOL = (b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n")
"""How the PROXY protocol begins, as text (version 1) and binary (version 2)."""

_TLS = b"\x16\x03"


class Inner(Protocol):
    """The methods of aiohttp's parser that its connection calls."""

    def feed_data(self, data: bytes) -> tuple[Sequence[Any], bool, bytes]:
        """Parse ``data``. Raises HttpProcessingError."""
        ...

    def pause_reading(self) -> None:
        """Pause inside a body."""
        ...

    def message_consumed(self) -> None:
        """Make room for one more request."""
        ...

    def set_upgraded(self, val: bool) -> None:
        """Go on with HTTP after an upgrade that was declined."""
        ...


class PatientParser:
    """A parser that is asked again where a header was only repeated."""

    def __init__(self, inner: Any, new: Callable[[], Any]) -> None:
        """``new`` makes another parser like ``inner``."""
        self._inner: Inner = inner
        self._new = new
        self._is_in_head = False
        self._held = b""
        """A line that is not whole yet, and the beginning of a repetition."""
        self.head = b""
        """The bytes of the request so far, until its headers were read."""

    def begin(self) -> None:
        """Note that the next byte is the first of a request."""
        self._is_in_head = True
        self._held = b""
        self.head = b""

    def feed_data(self, data: bytes) -> tuple[Sequence[Any], bool, bytes]:
        """Parse ``data``. Raises HttpProcessingError."""
        if not self._is_in_head:
            return self._inner.feed_data(data)
        self.head += data
        data, self._held = self._held + data, b""
        try:
            parsed = self._inner.feed_data(data)
        except HttpProcessingError:
            single, self._held = without_repetitions(self.head)
            if single == self.head:
                raise
            self._inner = self._new()
            parsed = self._inner.feed_data(single)
        if parsed[0]:
            self._is_in_head = False
            self.head = b""
        return parsed

    def pause_reading(self) -> None:
        """Pause inside a body."""
        self._inner.pause_reading()

    def message_consumed(self) -> None:
        """Make room for one more request."""
        self._inner.message_consumed()

    def set_upgraded(self, val: bool) -> None:
        """Go on with HTTP after an upgrade that was declined."""
        self._inner.set_upgraded(val)


def without_repetitions(head: bytes) -> tuple[bytes, bytes]:
    """Return ``head`` without headers that repeat an earlier one with the same value.

    The second value is the last line, if it is not whole yet and may become a repetition.
    """
    begin = len(head) - len(head.lstrip(b"\r\n"))
    end = head.find(b"\r\n\r\n", begin)
    is_whole = end >= 0
    if not is_whole:
        end = max(head.rfind(b"\r\n"), begin)
    seen: dict[bytes, bytes] = {}
    kept = []
    for line in head[begin:end].split(b"\r\n"):
        name, value = _header(line)
        if seen.get(name) == value:
            continue
        if name in _ONCE:
            seen[name] = value
        kept.append(line)
    single, rest = head[:begin] + b"\r\n".join(kept), head[end:]
    name, value = _header(rest.removeprefix(b"\r\n"))
    if not is_whole and name in seen and seen[name].startswith(value):
        return single + b"\r\n", rest.removeprefix(b"\r\n")
    return single + rest, b""


def _header(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name.lower(), value.strip(b" \t\r")


def refusal_of(error: BaseException | None, head: bytes) -> Rejection:
    """Return the answer to a request that could not be parsed."""
    if head.startswith(PROXY_PROTOCOL):
        detail = "the PROXY protocol is not spoken here; turn it off"
        return Rejection(400, "proxy_protocol", detail)
    message = str(error.args[0]) if error is not None and error.args else ""
    if isinstance(error, LineTooLong) or message == "Too many headers received":
        return Rejection(431, "headers_too_large", "the headers are too many or too large")
    if message.startswith("Duplicate "):
        return Rejection(400, "bad_http", "a header comes twice with two values")
    if head.startswith(_TLS):
        return Rejection(400, "bad_http", "this is TLS, and only plain HTTP is spoken here")
    return Rejection(400, "bad_http", "this is not an HTTP request we can read")
