"""Reads the wanted members out of the body of an answer, in bounded memory.

An answer of Get process may have pictures in it, of many megabytes.

The reasons: docs/decisions/031.
"""

import aiohttp
from aiohttp import ClientResponse

from reconciler.outbound.errors import CallError, UnreadableAnswer
from reconciler.runtime.json_encoding import charset_of
from reconciler.runtime.tolerant_json import MemberReader, Members, NotReadableError, read_members

MAX_ANSWER = 64 * 1024 * 1024
"""Bytes of an answer that are read, after decompression."""

HELD = 256 * 1024
"""Bytes up to which a body is kept and read whole, by the strict parser first. A larger one is read
in pieces, which takes longer."""

_CHUNK = 64 * 1024


class BodyReader:
    """Reads one body. ``optional`` are those of ``wanted`` that may be damaged."""

    def __init__(self, wanted: frozenset[str], optional: frozenset[str] = frozenset()) -> None:
        self._wanted = wanted
        self._optional = optional
        self._held = bytearray()
        self._reader: MemberReader | None = None

    async def read(self, response: ClientResponse) -> Members:
        """Return the members. Raises UnreadableAnswer, and what aiohttp raises.

        A failure after the end of the object does not matter.
        """
        failure: CallError | aiohttp.ClientError | OSError | None = None
        try:
            await self._feed(response)
        except NotReadableError:
            failure = UnreadableAnswer("not_json", http_status=response.status)
        except (CallError, aiohttp.ClientError, OSError) as exc:
            failure = exc
        try:
            return self._close(_charset_of(response))
        except NotReadableError:
            failure = failure or UnreadableAnswer("not_json", http_status=response.status)
        raise failure

    async def _feed(self, response: ClientResponse) -> None:
        size = 0
        # Small chunks: the size of a read is also how much aiohttp decompresses ahead.
        while chunk := await response.content.read(_CHUNK):
            size += len(chunk)
            if size > MAX_ANSWER:
                raise UnreadableAnswer("too_large", http_status=response.status)
            if self._reader is None:
                self._held += chunk
                if len(self._held) <= HELD:
                    continue
                chunk, self._held = bytes(self._held), bytearray()
                self._reader = MemberReader(self._wanted, self._optional)
            self._reader.feed(chunk, _charset_of(response))

    def _close(self, charset: str | None) -> Members:
        if self._reader is not None:
            return self._reader.close()
        return read_members(bytes(self._held), self._wanted, charset, optional=self._optional)


def _charset_of(response: ClientResponse) -> str | None:
    return charset_of(response.headers.get("Content-Type"))
