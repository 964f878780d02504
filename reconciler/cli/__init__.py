"""The command line. Thin: each command reads its options, calls a room, and prints."""

import os
import sys


def main() -> None:
    """Run a command and exit with the code of the contract."""
    from reconciler.cli.app import app  # noqa: PLC0415 (importing the package stays free)
    from reconciler.cli.errors import CommandError, complain  # noqa: PLC0415

    _register()
    try:
        app()
    except CommandError as error:
        complain(*error.lines)
        sys.exit(error.code)
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _register() -> None:
    """Import the modules of all commands; each registers its own."""
    from reconciler.cli import daemon, demo, edit, importing, look  # noqa: F401, PLC0415
    from reconciler.cli.app import app  # noqa: PLC0415
    from reconciler.cli.simulate import simulate  # noqa: PLC0415

    app.command()(simulate)
