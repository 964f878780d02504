"""The Typer application and the options that every command takes."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from reconciler import __version__

app = typer.Typer(
    name="reconciler",
    help="Notices the Assure callback that did not come, asks for it again, and settles every "
    "process.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain text, for a log or a pipe too
    context_settings={"help_option_names": ["--help", "-h"]},
)


class Command(TyperCommand):
    """A command that takes ``--version`` after its name, too."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Answer ``--version`` before anything else is parsed."""
        options = args[: args.index("--")] if "--" in args else args
        if "--version" in options:
            _print_version(True)
        return super().parse_args(ctx, args)


CONFIG = typer.Option(
    "--config",
    metavar="PATH",
    help="The configuration. Default: $RECONCILER_CONFIG, else config/reconciler.toml, "
    "else /etc/reconciler/reconciler.toml.",
    show_default=False,
)
ConfigOption = Annotated[Path | None, CONFIG]
ProcessId = Annotated[str, typer.Argument(metavar="PROCESS_ID")]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable, as the admin API.")]


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"reconciler {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    config: ConfigOption = None,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and end."
        ),
    ] = False,
) -> None:
    """Take the options that stand before the command."""
    del version
    context.obj = config


def chosen(context: typer.Context, config: Path | None) -> Path | None:
    """Return the value of ``--config``, after the command or before it."""
    before: Any = context.obj
    return config or before
