"""``track``, ``recheck`` and ``forget``: commands that change the ledger."""

from pathlib import Path
from typing import Annotated

import typer

from reconciler import operations
from reconciler.cli.app import ConfigOption, JsonOption, ProcessId, app, chosen
from reconciler.cli.errors import FAILED, NOT_FOUND, USAGE, CommandError, say
from reconciler.cli.output import print_json
from reconciler.cli.session import opened_store
from reconciler.inbound.spool import Spool
from reconciler.ledger import Verb
from reconciler.operations.registration import BadRegistrationError, registration_from


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
    with opened_store(chosen(context, config)) as session:
        try:
            registration = registration_from(given, by=session.actor.name, now=session.now())
        except BadRegistrationError as error:
            raise CommandError(USAGE, str(error)) from None
        done = session.run(operations.track(session.actor, registration))
    if done.conflicts:
        raise CommandError(FAILED, f"{process_id} is known with another dossier id")
    if json:
        print_json({"created": done.created, "known": done.known})
    else:
        say(f"{process_id} is {'now' if done.created else 'already'} on the ledger")


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
    with opened_store(chosen(context, config)) as session:
        if process_ids:
            done = session.run(operations.recheck(session.actor, process_ids, verb))
        else:
            done = session.run(operations.recheck_overdue(session.actor, verb))
    if json:
        print_json({"due": done.due, "unknown": done.unknown})
    elif done.due or all_overdue:
        say(f"{done.due} due now; the running daemon calls within its limits")
    if done.unknown:
        raise CommandError(NOT_FOUND, *(f"{key} is not on the ledger" for key in done.unknown))


@app.command()
def forget(context: typer.Context, process_id: ProcessId, config: ConfigOption = None) -> None:
    """Remove all that is stored about a process (data protection).

    That is the process with its timeline, its callbacks and its deliveries.
    """
    with opened_store(chosen(context, config)) as session:
        is_forgotten = session.run(operations.forget(session.actor, process_id))
        spooled = _spooled(Path(session.settings.store.spool))
    if not is_forgotten:
        raise CommandError(NOT_FOUND, f"{process_id} is not on the ledger")
    say("forgotten")
    if spooled:
        say(
            f"warning: {spooled} callbacks wait in the spool; if one is about this process, it "
            "comes back with it. Run this again when the daemon has drained the spool"
        )


def _spooled(spool: Path) -> int:
    """Return how many callbacks are spooled, as far as this user can see."""
    try:
        return Spool(spool, "").count()
    except OSError:
        return 0
