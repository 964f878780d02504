"""The command line: each command reads its options, calls an operation, and prints."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command in ``arguments`` (default: ``sys.argv``) and exit with its code."""
    from reconciler.cli.app import app  # noqa: PLC0415 (importing the package stays free)
    from reconciler.cli.errors import FAILED, CommandError, reason_of, say  # noqa: PLC0415

    _register()
    try:
        app(arguments, prog_name="reconciler")
    except CommandError as error:
        say(*error.lines)
        sys.exit(error.code)
    except OSError as error:  # such as a path without permission
        say(reason_of(error))
        sys.exit(FAILED)


def _register() -> None:
    """Import the modules of all commands; each registers its own."""
    from reconciler.cli import (  # noqa: PLC0415
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
