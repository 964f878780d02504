"""``import``: many processes from a file, a bad line never in the way of the good ones."""

import os
import signal
import sys
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from rich.markup import escape

from reconciler.cli.app import ConfigOption, JsonOption, app, chosen
from reconciler.cli.errors import FAILED, CommandError, complain
from reconciler.cli.import_formats import Line, read
from reconciler.cli.output import print_json
from reconciler.cli.progress import progress_bar
from reconciler.cli.session import Session, on_store
from reconciler.ledger import Registration
from reconciler.store.registry import Registered

AT_ONCE = 200
"""Processes in one transaction: some 20 ms of the writer."""


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
    "reference"?, "createdAt"?}. CSV: the same names as header. Bad lines are reported with their
    number and skipped.
    """
    counts = {"created": 0, "known": 0, "skipped": 0}
    name = "stdin" if file == "-" else file

    async def work(session: Session) -> None:
        try:
            with _opened(file) as source, progress_bar() as progress:
                task = progress.add_task(escape(name), total=_size(source))
                lines = read(source, name, session.caller)
                while batch := list(islice(lines, AT_ONCE)):
                    await _store(session, batch, counts, strict=strict)
                    progress.update(task, completed=_position(source))
        finally:  # whatever stopped us, what was registered before is on the ledger
            if any(counts.values()):
                await session.note("import", processes=counts["created"])

    on_store(chosen(context, config), work)
    if json:
        print_json(counts)
    else:
        skipped = f", {counts['skipped']} bad lines skipped" if counts["skipped"] else ""
        complain(f"{counts['created']} new, {counts['known']} known{skipped}")


async def _store(
    session: Session, batch: list[Line], counts: dict[str, int], *, strict: bool
) -> None:
    """Register what is good in ``batch`` and report the rest, or stop at the first that is bad."""
    good = [line for line in batch if isinstance(line.read, Registration)]
    bad = [line for line in batch if not isinstance(line.read, Registration)]
    if strict and bad:
        good = [line for line in good if line.first < bad[0].first]
    done = await _register(session, good, whole=strict)
    known_otherwise = [
        Line(good[index].first, good[index].last, _other_dossier(good[index]))
        for index in done.conflicts
    ]
    if strict and done.conflicts:
        done = await _register(session, good[: done.conflicts[0]], whole=True)
    counts["created"] += done.created
    counts["known"] += done.known
    for line in sorted([*bad, *known_otherwise], key=lambda line: line.first):
        if strict:
            before = f"{counts['created']} new and {counts['known']} known before it are kept"
            raise CommandError(FAILED, f"{line.place}: {line.read}; stopped ({before})")
        complain(f"{line.place}: {line.read}; skipped")
        counts["skipped"] += 1 + line.last - line.first


async def _register(session: Session, lines: list[Line], *, whole: bool) -> Registered:
    registrations = [line.read for line in lines if isinstance(line.read, Registration)]
    return await session.store.registry.register(
        registrations, session.rules, session.now(), whole=whole
    )


def _other_dossier(line: Line) -> str:
    assert isinstance(line.read, Registration)
    return f"{line.read.process_id} is known with another dossierId"


def _opened(file: str) -> AbstractContextManager[BinaryIO]:
    if file == "-":
        # While we wait for input the loop does not turn: Ctrl-C must not wait for it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return nullcontext(sys.stdin.buffer)
    try:
        return Path(file).open("rb")
    except OSError as error:
        raise CommandError(FAILED, f"cannot read {file}: {error.strerror}") from None


def _size(source: BinaryIO) -> int | None:
    return os.fstat(source.fileno()).st_size or None


def _position(source: BinaryIO) -> int:
    return source.tell() if source.seekable() else 0
