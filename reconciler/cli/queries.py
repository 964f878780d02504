"""``list``, ``show`` and ``status``: commands that only read."""

import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from reconciler.cli.app import ConfigOption, JsonOption, ProcessId, app, chosen
from reconciler.cli.daemon_state import without_row
from reconciler.cli.errors import NOT_FOUND, USAGE, CommandError, say
from reconciler.cli.output import (
    NOTHING,
    aligned,
    duration,
    moment,
    print_json,
    print_lines,
    print_table,
    when,
)
from reconciler.cli.session import Session, opened_store
from reconciler.inbound.spool import Spool
from reconciler.ledger import State
from reconciler.ledger.identifiers import can_be_id
from reconciler.operations.json_shapes import (
    EntryJson,
    ProcessJson,
    StatusJson,
    detail_json,
    page_json,
    status_json,
)

WATCH = 2.0
"""Seconds between two refreshes of ``status --watch``."""


@app.command("list")
def list_(
    context: typer.Context,
    state: Annotated[State | None, typer.Option(help="Only this state.")] = None,
    overdue: Annotated[bool, typer.Option("--overdue", help="Only overdue ones.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many.")] = 50,
    cursor: Annotated[
        str | None, typer.Option(help="nextCursor of the page before (from --json).")
    ] = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """List the ledger, the newest first; with --overdue the oldest first.

    A status with a question mark is what a callback claims and Assure has not confirmed yet.
    """
    if overdue and state not in (None, State.OVERDUE):
        raise CommandError(USAGE, "--overdue and --state exclude each other")
    wanted = State.OVERDUE if overdue else state

    with opened_store(chosen(context, config), read_only=True) as session:
        views, now = session.store.views, session.now()
        found = views.page(state=wanted, limit=limit, cursor=cursor, oldest=overdue)
        page = page_json(*session.run(found))
    if json:
        print_json(page)
        return
    columns = ("process", "dossier", "provider", "state", "status", "registered", "next", "error")
    print_table(columns, (_row(item, now) for item in page["items"]))
    if page["nextCursor"]:
        say(f"there are more than these {limit}; --limit shows them")


def _row(item: ProcessJson, now: int) -> tuple[str | None, ...]:
    claim = item["claimedStatus"] and f"{item['claimedStatus']}?"
    return (
        item["processId"],
        item["dossierId"],
        item["provider"],
        item["state"],
        item["status"] or claim,
        when(item["registeredAt"], now),
        _next(item["nextCheckAt"], now),
        item["lastError"],
    )


def _next(at: str | None, now: int) -> str:
    said = when(at, now)
    return "now" if said.endswith("ago") else said


@app.command()
def show(
    context: typer.Context,
    process_id: ProcessId,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Show one process with its whole timeline. Times are UTC."""
    detail = None
    with opened_store(chosen(context, config), read_only=True) as session:
        now = session.now()
        if can_be_id(process_id):
            detail = session.run(session.store.views.detail(process_id))
    if detail is None:
        raise CommandError(NOT_FOUND, f"{process_id} is not on the ledger")
    found = detail_json(detail)
    if json:
        print_json(found)
        return
    rows = [
        (name, _at(str(value), now) if name.endswith("At") else value)
        for name, value in found.items()
        if value is not None and name != "timeline"
    ]
    print_lines(aligned(rows))
    print_lines(["", *aligned(_history(found["timeline"]))])


def _at(at: str | None, now: int) -> str:
    return NOTHING if at is None else f"{moment(at)}, {when(at, now)}"


def _history(timeline: list[EntryJson]) -> Iterator[tuple[str, str, str, str]]:
    """Yield time, time since the entry before, event and fields."""
    before = None
    for entry in timeline:
        at = datetime.fromisoformat(entry["at"])
        gap = "" if before is None else f"+{duration((at - before).total_seconds())}"
        fields = (f"{name}={value}" for name, value in entry.items() if name not in ("at", "event"))
        yield moment(entry["at"]), gap, entry["event"], " ".join(fields)
        before = at


@app.command()
def status(
    context: typer.Context,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every 2 s.")] = False,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Show how things stand."""
    with opened_store(chosen(context, config), read_only=True) as session:
        if not watch:
            found, now, others = _read_status(session)
            if json:
                print_json(found)
            else:
                print_lines(_status(found, now, others))
            return
        with suppress(KeyboardInterrupt):  # ends it
            _watch(session, as_json=json)


def _watch(session: Session, *, as_json: bool) -> None:
    """Show the status repeatedly, until the reader has gone."""
    in_place = sys.stdout.isatty() and not as_json
    with _shown_in_place() if in_place else nullcontext() as live:
        is_read = True
        while is_read:
            found, now, others = _read_status(session)
            if live is not None:
                live.update(Text("\n".join(_status(found, now, others))), refresh=True)
            elif as_json:
                is_read = print_json(found, on_one_line=True)
            else:
                is_read = print_lines([*_status(found, now, others), ""])
            time.sleep(WATCH)


def _read_status(session: Session) -> tuple[StatusJson, int, str]:
    """Return the status, its time, and what runs although it has no row."""
    now, store = session.now(), session.store
    counts = session.run(store.views.counts())
    found = status_json(counts, session.run(store.instances.live(now)), now)
    others = ""
    if not found["instances"]:  # a live daemon tells it itself
        found["spooled"] = _waiting_in(Path(session.settings.store.spool))
        others = without_row(session.settings, session.store_url)
    return found, now, others


def _waiting_in(spool: Path) -> int:
    """Return how many callbacks wait in ``spool`` for the next daemon."""
    try:
        return Spool(spool, "status").count()
    except OSError as error:
        say(f"warning: the spool {spool} cannot be counted: {error.strerror}")
        return 0


def _shown_in_place() -> Live:
    return Live(console=Console(highlight=False), auto_refresh=False)


def _status(found: StatusJson, now: int, others: str) -> list[str]:
    oldest = {
        "overdue": found["oldestOverdueSeconds"],
        "reported": found["oldestReportedSeconds"],
    }
    states = [
        (state, f"{count:>7}", f"oldest {duration(age)}" if (age := oldest.get(state)) else "")
        for state, count in found["states"].items()
    ]
    outbox = found["outbox"]
    daemons = [
        f"{each['host']}, process {each['pid']}, {each['version']}, started "
        f"{when(each['startedAt'], now)}"
        for each in found["instances"]
    ]
    rest = [
        ("last callback", _at(found["lastCallbackAt"], now)),
        ("last sweep", _at(found["lastSweepAt"], now)),
        ("breaker", found["breaker"] or NOTHING),
        ("outbox", f"{outbox['pending']} pending, {outbox['dead']} dead"),
        ("spooled", found["spooled"]),
        *zip(["daemons", *[""] * len(daemons)], daemons or [others], strict=False),
    ]
    return [*aligned(states), "", *aligned(rest)]
