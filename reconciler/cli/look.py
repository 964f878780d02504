"""``list``, ``show`` and ``status``: commands that only look."""

import asyncio
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.live import Live

from reconciler.admin.shapes import detail_json, page_json, status_json
from reconciler.cli.app import ConfigOption, JsonOption, app, chosen
from reconciler.cli.errors import NOT_FOUND, USAGE, CommandError
from reconciler.cli.output import age, console, print_json, print_table, table_of
from reconciler.cli.session import Session, on_store
from reconciler.ledger import State
from reconciler.store.views import BadCursorError

WATCH = 2.0
"""Seconds between two looks of ``status --watch``."""


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
    """List the ledger, the newest first."""
    if overdue and state not in (None, State.OVERDUE):
        raise CommandError(USAGE, "--overdue and --state exclude each other")
    wanted = State.OVERDUE if overdue else state

    async def work(session: Session) -> dict[str, Any]:
        found, following = await session.store.views.page(state=wanted, limit=limit, cursor=cursor)
        return page_json(found, following)

    try:
        page = on_store(chosen(context, config), work)
    except BadCursorError as error:
        raise CommandError(USAGE, str(error)) from None
    if json:
        print_json(page)
        return
    columns = ("processId", "state", "status", "claimedStatus", "provider", "registeredAt")
    more = ("nextCheckAt", "lastError")
    print_table(columns + more, ([item[name] for name in columns + more] for item in page["items"]))


@app.command()
def show(
    context: typer.Context, process_id: str, config: ConfigOption = None, json: JsonOption = False
) -> None:
    """Show one process with its whole timeline."""

    async def work(session: Session) -> dict[str, Any] | None:
        process = await session.store.views.process(process_id)
        if process is None:
            return None
        return detail_json(process, await session.store.views.timeline(process_id))

    found = on_store(chosen(context, config), work)
    if found is None:
        raise CommandError(NOT_FOUND, f"{process_id} is not on the ledger")
    if json:
        print_json(found)
        return
    timeline = found.pop("timeline")
    print_table(("", ""), found.items())
    rows = []
    for entry in timeline:
        at, event = entry.pop("at"), entry.pop("event")
        rows.append((at, event, " ".join(f"{name}={value}" for name, value in entry.items())))
    console().print()
    print_table(("at", "event", ""), rows)


@app.command()
def status(
    context: typer.Context,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every 2 s.")] = False,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Show how things stand."""

    async def look(session: Session) -> dict[str, Any]:
        now = session.now()
        counts = await session.store.views.counts()
        return status_json(counts, await session.store.roster.live(now), now)

    async def keep_looking(session: Session) -> None:
        with Live(_status(await look(session)), console=console(), auto_refresh=False) as live:
            while True:
                await asyncio.sleep(WATCH)
                live.update(_status(await look(session)), refresh=True)

    path = chosen(context, config)
    if watch and not json:
        try:
            on_store(path, keep_looking)
        except KeyboardInterrupt:
            return
    found = on_store(path, look)
    if json:
        print_json(found)
    else:
        console().print(_status(found))


def _status(found: dict[str, Any]) -> Group:
    rows = [*found["states"].items()]
    rows += [
        ("", ""),
        ("oldest overdue", age(found["oldestOverdueSeconds"])),
        ("oldest reported", age(found["oldestReportedSeconds"])),
        ("last callback", found["lastCallbackAt"] or "-"),
        ("last sweep", found["lastSweepAt"] or "-"),
        ("breaker", found["breaker"] or "- (no daemon is running)"),
        ("spooled", found["spooled"]),
        ("deliveries pending", found["outbox"]["pending"]),
        ("deliveries dead", found["outbox"]["dead"]),
        ("daemons", len(found["instances"])),
    ]
    return Group(table_of(("", ""), rows))
