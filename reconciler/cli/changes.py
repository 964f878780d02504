"""``track``, ``recheck`` and ``forget``: commands that change the ledger."""

from pathlib import Path
from typing import Annotated

import typer

from reconciler.cli.app import ConfigOption, JsonOption, ProcessId, app, chosen
from reconciler.cli.errors import FAILED, NOT_FOUND, USAGE, CommandError, complain
from reconciler.cli.output import print_json
from reconciler.cli.session import Session, on_store, settings_of
from reconciler.config import Settings
from reconciler.inbound.spool import Spool
from reconciler.ledger import Recheck, State, Verb
from reconciler.ledger.identifiers import can_be_id
from reconciler.operations.registration import BadRegistrationError, registration_from
from reconciler.store.announce import announce
from reconciler.store.registry import Registered

AT_ONCE = 100
"""Rechecks in one transaction, which keeps the daemon's inbox waiting."""


@app.command()
def track(
    context: typer.Context,
    dossier_id: Annotated[str, typer.Argument(metavar="DOSSIER_ID")],
    process_id: ProcessId,
    provider: Annotated[str | None, typer.Option(help="Such as onfido or readid.")] = None,
    process_type: Annotated[str | None, typer.Option(help="As Assure names it.")] = None,
    reference: Annotated[str | None, typer.Option(help="Your own reference.")] = None,
    created_at: Annotated[
        str | None, typer.Option(metavar="ISO", help="When it was created, with a time zone.")
    ] = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Put one process on the ledger. Idempotent."""
    given = {
        "dossierId": dossier_id,
        "processId": process_id,
        "provider": provider,
        "processType": process_type,
        "reference": reference,
        "createdAt": created_at,
    }

    async def work(session: Session) -> Registered:
        registration = registration_from(given, by=session.caller)
        done = await session.store.registry.register(
            [registration], session.rules, session.now(), whole=True
        )
        if done.conflicts:
            raise CommandError(FAILED, f"{process_id} is known with another dossier id")
        session.log.info(
            "operator_action", action="track", by=session.caller, process_id=process_id
        )
        return done

    try:
        done = on_store(chosen(context, config), work)
    except BadRegistrationError as error:
        raise CommandError(USAGE, str(error)) from None
    if json:
        print_json({"created": done.created, "known": done.known})
    else:
        complain(f"{process_id} is {'now' if done.created else 'already'} on the ledger")


@app.command()
def recheck(
    context: typer.Context,
    process_ids: Annotated[list[str] | None, typer.Argument(metavar="PROCESS_ID...")] = None,
    notify: Annotated[bool, typer.Option("--notify", help="Ask for the callback again.")] = False,
    fetch: Annotated[bool, typer.Option("--fetch", help="Read the status.")] = False,
    all_overdue: Annotated[bool, typer.Option("--all-overdue", help="Every overdue one.")] = False,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Make processes due now. The running daemon does the calls, within its limits."""
    if notify and fetch:
        raise CommandError(USAGE, "--notify and --fetch exclude each other")
    if bool(process_ids) == all_overdue:
        raise CommandError(USAGE, "name processes, or give --all-overdue")
    verb = Verb.NOTIFY if notify else Verb.FETCH if fetch else None

    async def work(session: Session) -> tuple[int, list[str]]:
        ids = await _overdue(session) if all_overdue else list(dict.fromkeys(process_ids or ()))
        possible = [key for key in ids if can_be_id(key)]
        found: set[str] = set()
        for start in range(0, len(possible), AT_ONCE):
            observed = [(key, Recheck(verb, session.caller)) for key in possible[start:][:AT_ONCE]]
            changes = await session.store.work.record(observed, session.rules, session.now())
            found |= {key for (key, _), outcome in changes if outcome.process is not None}
            if not all_overdue:
                announce(session.log, changes)
        if all_overdue:
            session.log.info(
                "operator_action",
                action="recheck",
                by=session.caller,
                verb=verb,
                processes=len(found),
            )
        return len(found), [key for key in ids if key not in found]

    due, unknown = on_store(chosen(context, config), work)
    if json:
        print_json({"due": due, "unknown": unknown})
    elif due or all_overdue:
        complain(f"{due} due now; the running daemon calls within its limits")
    if unknown and not all_overdue:
        raise CommandError(NOT_FOUND, *(f"{key} is not on the ledger" for key in unknown))


async def _overdue(session: Session) -> list[str]:
    ids: list[str] = []
    cursor = None
    while True:
        page, cursor = await session.store.views.page(
            state=State.OVERDUE, limit=1_000, cursor=cursor
        )
        ids += [process.process_id for process in page]
        if cursor is None:
            return ids


@app.command()
def forget(context: typer.Context, process_id: ProcessId, config: ConfigOption = None) -> None:
    """Remove all that is stored about a process (data protection).

    That is the process with its timeline, its callbacks and its deliveries.
    """

    async def work(session: Session) -> bool:
        if not can_be_id(process_id):
            return False
        removed = await session.store.registry.forget(process_id, session.caller, session.now())
        if removed:
            session.log.info("operator_action", action="forget", by=session.caller)
        return removed

    path = chosen(context, config)
    if not on_store(path, work):
        raise CommandError(NOT_FOUND, f"{process_id} is not on the ledger")
    complain("forgotten")
    if waiting := _spooled(settings_of(path)[0]):
        complain(
            f"warning: {waiting} callbacks wait in the spool; if one is about this process, it "
            "comes back with it. Run this again when the daemon has drained the spool"
        )


def _spooled(settings: Settings) -> int:
    """Return how many callbacks are not in the store yet, as far as we may look."""
    try:
        return Spool(Path(settings.store.spool), "").count()
    except OSError:
        return 0
