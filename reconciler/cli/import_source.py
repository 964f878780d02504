"""Opens a file for ``import`` as text: unpacked, without a byte order mark, whatever its UTF."""

import codecs
import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO, cast

from reconciler.cli.errors import FAILED, CommandError

_GZIP = b"\x1f\x8b"
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Source:
    """A file, or stdin, as text."""

    def __init__(self, name: str, file: BinaryIO, text: io.TextIOWrapper) -> None:
        self.name = name
        """For people."""
        self.file = file
        """The bytes as they are stored, perhaps packed."""
        self.text = text
        """A byte that is no UTF-8 stands in it as half a surrogate, which no member may hold."""


@contextmanager
def opened(path: str) -> Iterator[Source]:
    """Open ``path``, or stdin for ``-``. Raises CommandError, inside the block too."""
    name = "stdin" if path == "-" else path
    try:
        with _file(path) as file:
            head = cast(io.BufferedReader, file).peek(4)
            plain = gzip.GzipFile(fileobj=file) if head.startswith(_GZIP) else file
            text = _text(cast(io.BufferedReader, plain))
            try:
                yield Source(name, file, text)
            finally:
                text.detach()  # or it would close stdin
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise CommandError(FAILED, f"{name} is damaged: {error}") from None
    except UnicodeDecodeError:
        raise CommandError(FAILED, f"{name} is damaged: it ends within a character") from None


def _file(path: str) -> AbstractContextManager[BinaryIO]:
    if path == "-":
        if sys.stdin is None:
            raise CommandError(FAILED, "stdin is closed")
        return nullcontext(sys.stdin.buffer)
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise CommandError(FAILED, f"cannot read {path}: {error.strerror}") from None


def _text(plain: io.BufferedReader) -> io.TextIOWrapper:
    head = plain.peek(4)
    if head.startswith(_UTF_16):
        return io.TextIOWrapper(plain, "utf-16", "surrogatepass", newline="")
    if head[1:2] == b"\0" != head[:1] or head[:1] == b"\0" != head[1:2]:  # as PowerShell writes it
        big = head[:1] == b"\0"
        return io.TextIOWrapper(plain, "utf-16-be" if big else "utf-16-le", newline="")
    return io.TextIOWrapper(plain, "utf-8-sig", "surrogateescape", newline="")
