"""Strategies for HTTP: requests that are as they should be, and requests that are not."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.texts import CHARSETS, GOOD_TEXT, JSON_VALUES, written

PATH = "/callbacks/assure"

CALLBACKS = st.fixed_dictionaries(
    {"dossierId": GOOD_TEXT, "processId": GOOD_TEXT, "status": GOOD_TEXT},
    optional={"other": JSON_VALUES},
)

_ENCODED: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "identity": bytes,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
}
_LATIN = st.text(st.characters(min_codepoint=1, max_codepoint=255), max_size=30)
_TOKENS = st.text("abcXYZ-_.!#$%&'*+^`|~019", min_size=1, max_size=12)
_PARAMETERS = st.text("charset=*'%0;\"\\ utf-8,:()<>@[]?/é\xff\x80", max_size=30)
CONTENT_TYPES = st.one_of(
    st.sampled_from(["application/json", "text/plain", "", ";", "a/b/c", "application/json;"]),
    st.sampled_from(CHARSETS).map(lambda name: f'application/json; charset="{name}"'),
    _PARAMETERS.map(lambda text: f"application/json; charset{text}"),
    _PARAMETERS.map(lambda text: f"application/json; {text}"),
    _PARAMETERS,
    _LATIN,
)
_HEADERS = st.one_of(
    st.tuples(st.just("Content-Type"), CONTENT_TYPES),
    st.tuples(
        st.just("Content-Length"), st.sampled_from(["0", "5", "-1", "+5", "0x5", " ", "9" * 30])
    ),
    st.tuples(
        st.just("Transfer-Encoding"),
        st.sampled_from(["chunked", "Chunked", "identity", "gzip, chunked", "chunked, chunked"]),
    ),
    st.tuples(
        st.just("Content-Encoding"),
        st.sampled_from(["gzip", "deflate", "br", "identity", "", "gzip, gzip", "GZIP"]) | _LATIN,
    ),
    st.tuples(st.just("Expect"), st.sampled_from(["100-continue", "100-Continue", "200-ok"])),
    st.tuples(
        st.sampled_from(["Connection", "Keep-Alive", "Upgrade", "Proxy-Connection"]),
        st.sampled_from(["close", "keep-alive", "upgrade", "websocket", "h2c", "timeout=5"]),
    ),
    st.tuples(
        st.just("X-Forwarded-For"),
        st.sampled_from(["10.0.0.1", "[::1]:1", "::ffff:1.2.3.4", "1.2.3.4:99, x", ",,", "%"])
        | _LATIN,
    ),
    st.tuples(st.just("Authorization"), st.sampled_from(["Bearer one", "bearer one"]) | _LATIN),
    st.tuples(
        st.sampled_from(["Host", "Origin", "Accept", "Cookie", "Range"]),
        st.sampled_from(["localhost", "", "a b", "x:99999", "http://[", "text/html", "bytes=0-"])
        | _LATIN,
    ),
    st.tuples(_TOKENS, _LATIN),
)
_METHODS = st.sampled_from(["POST"] * 8 + ["GET", "PUT", "OPTIONS", "CONNECT", "post", "P\x00ST"])
_PATHS = st.sampled_from(
    [PATH] * 8
    + [f"{PATH}/", f"/{PATH}", f"{PATH}?a=b", f"http://x{PATH}", "/", "*", "", "/%zz", "//", "x:1"]
) | _LATIN.map(lambda text: f"/{text}")
_VERSIONS = st.sampled_from(["HTTP/1.1"] * 8 + ["HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/1.1 "])


@dataclass(frozen=True)
class Sent:
    """A request as it should be: how it is written, and what its callback says."""

    data: bytes
    members: tuple[str, str, str]


@st.composite
def good_requests(draw: st.DrawFn, *, is_first: bool = True) -> Sent:
    """Return a callback in any way in which HTTP and JSON allow to write it.

    Only in the first request of a connection a header may be repeated.
    """
    callback: dict[str, Any] = draw(CALLBACKS)
    body = draw(written(st.just(callback))).encode("utf-8", "surrogatepass")
    encoding = draw(st.sampled_from([*_ENCODED]))
    body = _ENCODED[encoding](body)
    lines = [
        f"POST {draw(st.sampled_from([PATH, f'{PATH}/', f'/{PATH}', f'{PATH}?x=1']))} HTTP/1.1"
    ]
    lines += ["Host: listener", *draw(st.sampled_from([[], ["content-type: application/json"]]))]
    if encoding:
        lines.append(f"Content-Encoding: {encoding}")
    if draw(st.booleans()):
        lines.append("Transfer-Encoding: chunked")
        body = draw(chunked(body))
    else:
        lines += [f"Content-Length: {len(body)}"] * draw(st.integers(1, 1 + is_first))
    head = "\r\n".join([*lines, "", ""]).encode()
    return Sent(head + body, (callback["processId"], callback["dossierId"], callback["status"]))


@st.composite
def chunked(draw: st.DrawFn, body: bytes, *, extension: str = "") -> bytes:
    """Return ``body`` in chunks."""
    framed, at = b"", 0
    while at < len(body):
        size = draw(st.integers(1, 100))
        chunk = body[at : at + size]
        framed += b"%x%s\r\n%s\r\n" % (len(chunk), extension.encode("latin-1"), chunk)
        at += size
    return framed + b"0\r\n\r\n"


@st.composite
def odd_requests(
    draw: st.DrawFn,
    paths: st.SearchStrategy[str] = _PATHS,
    methods: st.SearchStrategy[str] = _METHODS,
    *,
    ends: bool = False,
) -> bytes:
    """Return a request in which anything may be wrong; ``ends``: but for its end."""
    body = draw(
        written(CALLBACKS).map(lambda text: text.encode("utf-8", "replace"))
        | st.binary(max_size=60)
        | st.just(json.dumps({"x": "y" * 3000}).encode())
    )
    lines = [f"{draw(methods)} {draw(paths)} {draw(_VERSIONS)}", "Host: localhost"]
    lines += [f"{name}: {value}" for name, value in draw(st.lists(_HEADERS, max_size=4))]
    lines += ["Connection: close"] * ends
    framings = ["length", "length", "chunks"] + ["none", "short", "long"] * (not ends)
    framing = draw(st.sampled_from(framings))
    if framing == "chunks":
        lines.append("Transfer-Encoding: chunked")
        body = draw(chunked(body, extension=draw(st.sampled_from(["", "", ";a=b", " ", ";\xff"]))))
    elif framing != "none":
        length = len(body) + {"length": 0, "short": -1, "long": 1}[framing]
        lines.append(f"Content-Length: {length}")
    ending = "\r\n" if ends else draw(st.sampled_from(["\r\n"] * 6 + ["\n", "\r", "\r\n "]))
    return ending.join([*lines, "", ""]).encode("latin-1") + body


STREAMS = st.one_of(
    st.lists(odd_requests(), min_size=1, max_size=3).map(b"".join),
    good_requests().map(lambda sent: sent.data),
    st.sampled_from([b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n", b"\x16\x03\x01\x02\x00\x01\x00"]),
    st.binary(max_size=100),
)
"""The bytes of one connection."""
