"""``import``: many processes from a file, a bad line never in the way of the good ones."""

import csv
import io
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from reconciler.admin.registrations import BadRegistrationError, registration_from
from reconciler.cli.app import ConfigOption, JsonOption, app, chosen
from reconciler.cli.errors import FAILED, CommandError, complain
from reconciler.cli.output import print_json
from reconciler.cli.session import Session, on_store
from reconciler.ledger import Registration

AT_ONCE = 200
"""Processes in one transaction: some 20 ms of the writer."""

Line = tuple[int, Registration | str]
"""A line's number, and its registration or what is wrong with it."""


@app.command("import")
def import_(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="NDJSON or CSV; - for stdin.")],
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first bad line.")] = False,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Put the processes of a file on the ledger. Idempotent.

    NDJSON: one object a line, {"dossierId", "processId", "provider"?, "processType"?,
    "reference"?, "createdAt"?}. CSV: the same names as header.
    """

    async def work(session: Session) -> dict[str, int]:
        with _opened(file) as source, _progress(file) as progress:
            task = progress.add_task("importing", total=_size(file))
            counts = {"created": 0, "known": 0, "skipped": 0}
            batch: list[tuple[int, Registration]] = []
            for number, read in _lines(source, session.caller):
                if isinstance(read, str):
                    await _store(session, batch, counts, strict=strict)
                    batch = []
                    _skip(counts, number, read, strict=strict)
                    continue
                batch.append((number, read))
                if len(batch) == AT_ONCE:
                    await _store(session, batch, counts, strict=strict)
                    batch = []
                    progress.update(task, completed=_position(source))
            await _store(session, batch, counts, strict=strict)
            progress.update(task, completed=_position(source))
        await session.note("import", **counts)
        return counts

    counts = on_store(chosen(context, config), work)
    if json:
        print_json(counts)
    else:
        complain("{created} new, {known} known, {skipped} bad lines skipped".format(**counts))


async def _store(
    session: Session,
    batch: list[tuple[int, Registration]],
    counts: dict[str, int],
    *,
    strict: bool,
) -> None:
    if not batch:
        return
    registrations = [registration for _, registration in batch]
    done = await session.store.registry.register(
        registrations, session.rules, session.now(), whole=False
    )
    counts["created"] += done.created
    counts["known"] += done.known
    for index in done.conflicts:
        number, registration = batch[index]
        problem = f"{registration.process_id} is known with another dossierId"
        _skip(counts, number, problem, strict=strict)


def _skip(counts: dict[str, int], number: int, problem: str, *, strict: bool) -> None:
    if strict:
        done = f"{counts['created']} new and {counts['known']} known before it are on the ledger"
        raise CommandError(FAILED, f"line {number}: {problem}; stopped ({done})")
    complain(f"line {number}: {problem}; skipped")
    counts["skipped"] += 1


def _lines(source: BinaryIO, by: str) -> Iterator[Line]:
    """Read NDJSON, or CSV when the first line is not an object."""
    first = source.readline()
    number = 1
    while first and not first.strip():
        first = source.readline()
        number += 1
    if first.lstrip().startswith((b"{", b"[")):
        yield from _ndjson(first, number, source, by)
    elif first:
        yield from _csv(first, number, source, by)


def _ndjson(first: bytes, number: int, source: BinaryIO, by: str) -> Iterator[Line]:
    line = first
    while line:
        if line.strip():
            try:
                yield number, registration_from(orjson.loads(line), by=by)
            except orjson.JSONDecodeError:
                yield number, "not JSON"
            except BadRegistrationError as error:
                yield number, str(error)
        line = source.readline()
        number += 1


def _csv(first: bytes, number: int, source: BinaryIO, by: str) -> Iterator[Line]:
    header = next(csv.reader([first.decode("utf-8-sig", "replace")]), [])
    for line in source:
        number += 1
        if not line.strip():
            continue
        try:
            cells = next(csv.reader(io.StringIO(line.decode(), newline="")), [])
        except (UnicodeDecodeError, csv.Error):
            yield number, "not CSV in UTF-8"
            continue
        if len(cells) != len(header):
            yield number, f"{len(cells)} columns, but the header has {len(header)}"
            continue
        given: dict[str, Any] = {
            name.strip(): cell.strip() or None for name, cell in zip(header, cells, strict=True)
        }
        try:
            yield number, registration_from(given, by=by)
        except BadRegistrationError as error:
            yield number, str(error)


def _opened(file: str) -> Any:
    if file == "-":
        return nullcontext(sys.stdin.buffer)
    try:
        return Path(file).open("rb")
    except OSError as error:
        raise CommandError(FAILED, f"cannot read {file}: {error.strerror}") from None


def _size(file: str) -> int | None:
    return None if file == "-" else Path(file).stat().st_size


def _position(source: BinaryIO) -> int:
    return source.tell() if source.seekable() else 0


def _progress(file: str) -> Progress:
    """Return a progress bar on stderr, shown only to people."""
    return Progress(
        TextColumn(file.replace("[", "\\[")),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        transient=True,
    )
