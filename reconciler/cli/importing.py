"""``import``: registers the processes of a file, and skips bad lines."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from rich.markup import escape

from reconciler import operations
from reconciler.cli.app import ConfigOption, JsonOption, app, chosen
from reconciler.cli.errors import FAILED, CommandError, say
from reconciler.cli.import_formats import Record, read
from reconciler.cli.output import print_json, progress_bar
from reconciler.cli.session import Session, opened_store
from reconciler.ledger import Registration
from reconciler.store.registrations import Registered

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
    with opened_store(chosen(context, config)) as session:
        try:
            with _opened(file) as source, progress_bar() as progress:
                task = progress.add_task(escape(name), total=_size(source))
                records = read(source, name, session.actor.name)
                while batch := list(islice(records, AT_ONCE)):
                    with _uninterrupted():
                        _store(session, batch, counts, strict=strict)
                    progress.update(task, completed=_position(source))
        finally:  # also after an error or Ctrl-C: earlier batches are on the ledger
            if any(counts.values()):
                session.run(session.actor.record_action("import", processes=counts["created"]))
    if json:
        print_json(counts)
    else:
        skipped = f", {counts['skipped']} bad lines skipped" if counts["skipped"] else ""
        say(f"{counts['created']} new, {counts['known']} known{skipped}")


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold a first Ctrl-C back to the end of the block, so that what is committed is counted."""
    if threading.current_thread() is not threading.main_thread():  # no signal arrives there
        yield
        return
    held: list[int] = []

    def hold(number: int, _frame: object) -> None:
        if held:
            raise KeyboardInterrupt
        held.append(number)

    before = signal.signal(signal.SIGINT, hold)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if held:
        raise KeyboardInterrupt


def _store(session: Session, batch: list[Record], counts: dict[str, int], *, strict: bool) -> None:
    """Register the good records of ``batch`` and report the bad ones, or stop at the first one."""
    good = [record for record in batch if isinstance(record.read, Registration)]
    bad = [record for record in batch if not isinstance(record.read, Registration)]
    if strict and bad:
        good = [record for record in good if record.first < bad[0].first]
    done = _register(session, good, whole=strict)
    known_otherwise = [
        Record(good[index].first, good[index].last, _other_dossier(good[index]))
        for index in done.conflicts
    ]
    if strict and done.conflicts:
        done = _register(session, good[: done.conflicts[0]], whole=True)
    counts["created"] += done.created
    counts["known"] += done.known
    for record in sorted([*bad, *known_otherwise], key=lambda record: record.first):
        if strict:
            before = f"{counts['created']} new and {counts['known']} known before it are kept"
            raise CommandError(FAILED, f"{record.place}: {record.read}; stopped ({before})")
        say(f"{record.place}: {record.read}; skipped")
        counts["skipped"] += 1 + record.last - record.first


def _register(session: Session, records: list[Record], *, whole: bool) -> Registered:
    registrations = [each.read for each in records if isinstance(each.read, Registration)]
    return session.run(operations.import_batch(session.actor, registrations, whole=whole))


def _other_dossier(record: Record) -> str:
    assert isinstance(record.read, Registration)
    return f"{record.read.process_id} is known with another dossierId"


def _opened(file: str) -> AbstractContextManager[BinaryIO]:
    if file == "-":
        return nullcontext(sys.stdin.buffer)
    try:
        return Path(file).open("rb")
    except OSError as error:
        raise CommandError(FAILED, f"cannot read {file}: {error.strerror}") from None


def _size(source: BinaryIO) -> int | None:
    return os.fstat(source.fileno()).st_size or None


def _position(source: BinaryIO) -> int:
    return source.tell() if source.seekable() else 0
