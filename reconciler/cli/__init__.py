"""The command line: each command reads its options, calls an operation, and prints."""

import errno
import sys
from collections.abc import Sequence
from contextlib import nullcontext

from reconciler.cli.start import (
    StartSignals,
    command_of,
    drop_stdout,
    leave_leap_seconds,
    replace_closed_streams,
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command in ``arguments`` (default: ``sys.argv``) and exit with its code."""
    given = sys.argv[1:] if arguments is None else arguments
    is_daemon = command_of(given) == "run"
    with StartSignals.heard() if is_daemon else nullcontext():
        leave_leap_seconds()
        is_mute = replace_closed_streams(may_write=is_daemon)
        _run(given, is_mute)


def _run(arguments: Sequence[str], is_mute: bool) -> None:
    from reconciler.cli.app import app  # noqa: PLC0415 (importing the package stays free)
    from reconciler.cli.errors import FAILED, CommandError, reason_of, say  # noqa: PLC0415

    if is_mute and command_of(arguments) == "run":
        say("stdout is closed: the log goes nowhere")
    _register()
    try:
        try:
            app(arguments, prog_name="reconciler")
        finally:
            if is_mute:
                sys.stdout.flush()  # or the interpreter would, and complain at length
    except CommandError as error:
        say(*error.lines)
        sys.exit(error.code)
    except OSError as error:  # such as a path without permission
        if is_mute and error.errno == errno.EBADF:
            drop_stdout()
            say("stdout is closed")
        else:
            say(reason_of(error))
        sys.exit(FAILED)


def _register() -> None:
    """Import the modules of all commands; each registers its own."""
    from reconciler.cli import (  # noqa: PLC0415
        actions,  # noqa: F401
        backup,  # noqa: F401
        check_db,  # noqa: F401
        copy,  # noqa: F401
        daemon,  # noqa: F401
        deliveries,  # noqa: F401
        demo,  # noqa: F401
        importing,  # noqa: F401
        ledger_changes,  # noqa: F401
        queries,  # noqa: F401
    )
    from reconciler.cli.app import Command, app  # noqa: PLC0415
    from reconciler.cli.simulate import simulate  # noqa: PLC0415

    if all(info.callback is not simulate for info in app.registered_commands):
        app.command()(simulate)
    for info in app.registered_commands:
        info.cls = Command
