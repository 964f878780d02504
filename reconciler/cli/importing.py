"""``import``: registers the processes of a file, and skips bad lines."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import Annotated, BinaryIO

import typer
from rich.markup import escape

from reconciler import operations
from reconciler.cli.app import ConfigOption, JsonOption, app, chosen
from reconciler.cli.errors import FAILED, USAGE, CommandError, say
from reconciler.cli.import_formats import By, Record, read
from reconciler.cli.import_source import opened
from reconciler.cli.output import print_json, progress_bar
from reconciler.cli.session import Session, opened_store
from reconciler.ledger import Registration
from reconciler.store.registrations import Registered

AT_ONCE = 200
"""Processes in one transaction: some 20 ms of the writer."""


MOST_REPORTED = 20
"""Bad records that are reported; the others are counted."""


@app.command("import")
def import_(
    context: typer.Context,
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="JSON or CSV, perhaps packed by gzip; - for stdin."),
    ],
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first bad line.")] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Exit 0 although bad lines were skipped.")
    ] = False,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Put the processes of a file on the ledger. Idempotent.

    JSON: objects {"dossierId", "processId", "provider"?, "processType"?, "reference"?,
    "createdAt"?}, one a line, over several lines, or in an array. CSV: the same names as header,
    also in snake_case or another letter case. Other members of an export are passed over. Bad lines
    are reported with their number, the first 20 of them, and skipped. Exit 1 when a line was
    skipped, or when nothing was taken.
    """
    if strict and skip_bad:
        raise CommandError(USAGE, "--strict and --skip-bad exclude each other")
    counts = {"created": 0, "known": 0, "skipped": 0}
    with opened_store(chosen(context, config)) as session:
        batches = _Batches(session, counts, strict=strict)
        try:
            with opened(file) as source, progress_bar() as progress:
                task = progress.add_task(escape(source.name), total=_size(source.file))
                records = read(source.text, source.name, By(session.actor.name, session.now()))
                while batch := list(islice(records, AT_ONCE)):
                    with _uninterrupted():
                        batches.store(batch)
                    progress.update(task, completed=_position(source.file))
        finally:  # also after an error or Ctrl-C: earlier batches are on the ledger
            if any(counts.values()):
                session.actor.log_action("import", processes=counts["created"])
    _tell(counts, batches, as_json=json)
    taken = counts["created"] + counts["known"]
    if not taken:
        raise CommandError(FAILED, f"nothing was taken from {source.name}")
    if counts["skipped"] and not skip_bad:
        raise typer.Exit(FAILED)


def _tell(counts: dict[str, int], batches: "_Batches", *, as_json: bool) -> None:
    if batches.unreported:
        say(f"and {batches.unreported} more like these, skipped")
    if as_json:
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


class _Batches:
    """Registers the good records of a file, and reports the bad ones or stops at the first."""

    def __init__(self, session: Session, counts: dict[str, int], *, strict: bool) -> None:
        self._session = session
        self._counts = counts
        self._strict = strict
        self._note = session.actor.note("import", counting="processes")
        self._reported = 0
        self.unreported = 0
        """Bad records that were only counted."""

    def store(self, batch: list[Record]) -> None:
        """Register and report one batch."""
        bad = {
            index: str(record.read)
            for index, record in enumerate(batch)
            if not isinstance(record.read, Registration)
        }
        end = min(bad) if self._strict and bad else len(batch)
        good = [index for index in range(end) if index not in bad]
        done = self._register([batch[index] for index in good])
        others = [good[index] for index in done.conflicts]
        bad |= {index: _other_dossier(batch[index]) for index in others}
        if self._strict and others:
            done = self._register(batch[: others[0]])
        self._counts["created"] += done.created
        self._counts["known"] += done.known
        for index, problem in sorted(bad.items()):
            self._report(batch[index], problem)

    def _register(self, records: list[Record]) -> Registered:
        registrations = [each.read for each in records if isinstance(each.read, Registration)]
        actor = self._session.actor
        note = replace(self._note, before=self._counts["created"])
        work = operations.import_batch(actor, registrations, note, whole=self._strict)
        return self._session.run(work)

    def _report(self, record: Record, problem: str) -> None:
        counts = self._counts
        if self._strict:
            before = f"{counts['created']} new and {counts['known']} known before it are kept"
            raise CommandError(FAILED, f"{record.place}: {problem}; stopped ({before})")
        counts["skipped"] += record.lines
        if self._reported < MOST_REPORTED:
            self._reported += 1
            say(f"{record.place}: {problem}; skipped")
        else:
            self.unreported += 1


def _other_dossier(record: Record) -> str:
    assert isinstance(record.read, Registration)
    return f"{record.read.process_id} is known with another dossierId"


def _size(source: BinaryIO) -> int | None:
    return os.fstat(source.fileno()).st_size or None


def _position(source: BinaryIO) -> int:
    return source.tell() if source.seekable() else 0
