"""Documents that are no strict JSON, as real gateways and providers send them."""

from collections.abc import Callable, Mapping
from typing import Final


def _with(member: bytes) -> Callable[[bytes], bytes]:
    return lambda body: body[:-1] + b"," + member + b"}"


ODDITIES: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "": lambda body: body,
    "mark": lambda body: b"\xef\xbb\xbf" + body,
    "utf_16": lambda body: body.decode().encode("utf-16"),
    "latin_1": _with(b'"note":"M\xfcller"'),
    "raw_newline": _with(b'"note":"two\nlines"'),
    "nan": _with(b'"score":NaN'),
    "rubbish": lambda body: body + b"\0\r\n--",
}
"""By name: what becomes of a JSON object."""
