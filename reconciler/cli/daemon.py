"""``run``, ``check-config`` and ``init-db``."""

import asyncio
import faulthandler
import gc
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from reconciler import __version__
from reconciler.cli.app import ConfigOption, JsonOption, app, chosen
from reconciler.cli.errors import CONFIG, FAILED, CommandError, reason_of, say
from reconciler.cli.output import print_json
from reconciler.cli.privileges import as_owner, check_access
from reconciler.cli.session import log_action, settings_of
from reconciler.cli.start import StartSignals
from reconciler.config import (
    ConfigError,
    Configuration,
    effective,
    resolve_secrets,
    to_toml,
)
from reconciler.store.errors import StoreError, StoreUnavailableError
from reconciler.systemd.listen_fds import passed_socket
from reconciler.systemd.notify import Notifier, forget
from reconciler.telemetry.logging import LogSystem
from reconciler.telemetry.redact import SHORTEST_SECRET

if TYPE_CHECKING:
    from reconciler.daemon.certificates import Certificates


@app.command()
def run(context: typer.Context, config: ConfigOption = None) -> None:
    """Run the daemon in the foreground, with its log on stdout."""
    early = StartSignals.present()
    settings, path = settings_of(chosen(context, config))
    try:
        secrets = resolve_secrets(settings, os.environ)
    except ConfigError as error:
        raise CommandError(CONFIG, *error.problems) from None
    early.is_open = True
    logs = LogSystem(level=settings.log.level, format=settings.log.format, stream=sys.stdout)
    logs.hide(secrets.all_values())
    logs.logger.info("starting", version=__version__, config=str(path), pid=os.getpid())
    from reconciler.daemon.certificates import load_certificates  # noqa: PLC0415 (after the log)

    certificates, findings = load_certificates(settings)
    if findings.problems or findings.unreadable:
        logs.close(timeout=2.0)
        raise CommandError(CONFIG, *findings.problems, *findings.unreadable)
    present = Configuration(settings, secrets, certificates.fingerprints)
    faulthandler.enable()  # systemd's watchdog sends SIGABRT: stderr then has the stacks
    try:
        survived = _serve(present, certificates, path, logs, early)
    except StoreError as error:
        raise CommandError(FAILED, str(error)) from None
    except (OSError, ValueError) as error:
        raise CommandError(FAILED, _reason(error)) from None
    finally:
        logs.close(timeout=2.0)
    if not survived:
        raise CommandError(FAILED, "a part of the daemon has died; the log says which")


def _serve(
    present: Configuration,
    certificates: "Certificates",
    path: Path,
    logs: LogSystem,
    early: StartSignals,
) -> bool:
    from reconciler.store.open import daemon_lock, prepare  # noqa: PLC0415 (after the log)
    from reconciler.store.urls import store_file  # noqa: PLC0415

    settings, url = present.settings, present.secrets.store_url
    lock = daemon_lock(url)
    file = store_file(url)
    check_access(file, to_create=settings.store.migrate_on_start)

    def see_to_the_schema() -> None:
        migrate = settings.store.migrate_on_start
        for done in prepare(url, may_create=migrate, may_migrate=migrate, lock=lock):
            logs.logger.info("store_migrated", done=done)

    later = None
    try:
        # Root's files would lock the unit out of its own ledger: a root-owned spool file is never
        # drained. So the daemon works as the owner too.
        with as_owner(file or Path(settings.store.spool)):
            try:
                see_to_the_schema()
            except StoreUnavailableError as error:
                reason, later = str(error), see_to_the_schema
            if later is not None:  # callbacks are taken all the same
                logs.logger.error("store_unavailable", reason=reason)
            if early.is_stopping:
                return _stopped_early(logs)
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                return runner.run(_main(present, certificates, path, logs, early, later))
    finally:
        lock.release()


async def _main(
    present: Configuration,
    certificates: "Certificates",
    path: Path,
    logs: LogSystem,
    early: StartSignals,
    later: Callable[[], None] | None,
) -> bool:
    """Run the daemon.

    ``early`` has heard the signals until now; ``later``: sees to the schema of a
    store that could not be reached yet.
    """
    from reconciler.daemon.build import build_service  # noqa: PLC0415 (the heaviest import, after the log)
    from reconciler.daemon.reload import ConfigSource  # noqa: PLC0415 (after the log)
    from reconciler.store.open import open_store  # noqa: PLC0415
    from reconciler.store.postgres.wait_for_server import ServerWait, log_opened  # noqa: PLC0415

    notifier, listening = Notifier(os.environ), passed_socket(os.environ)
    forget(os.environ)
    stop = asyncio.Event()
    _obey_signals(stop)
    if early.is_stopping:
        return _stopped_early(logs)
    url = present.secrets.store_url
    store = await open_store(url, is_daemon=True, is_prepared=later is None)
    server_wait = None
    try:
        if later is None:
            await log_opened(store.database, logs.logger)
        else:
            server_wait = ServerWait(store.database, later, logs.logger)
        service = build_service(
            present,
            certificates,
            store,
            logs,
            source=ConfigSource(path, os.environ),
            server_wait=server_wait,
            notifier=notifier,
            listening=listening,
        )
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, service.reload)
        if early.wants_reload:
            service.reload()
        gc.freeze()  # or a full collection looks at all modules: every callback waits for 0.1 s
        return await service.run(stop)
    finally:
        await store.database.close()


def _stopped_early(logs: LogSystem) -> bool:
    logs.logger.info("stopping", reason="signal")
    return True


def _obey_signals(stop: asyncio.Event) -> None:
    """Stop on the first SIGTERM or SIGINT, and exit at once on the second."""

    def on_signal() -> None:
        if stop.is_set():
            os._exit(FAILED)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)


def _loop_factory() -> "type[asyncio.AbstractEventLoop] | None":
    try:
        import uvloop  # noqa: PLC0415 (not on every platform)
    except ImportError:
        return None
    return uvloop.Loop


def _reason(error: Exception) -> str:
    return f"cannot start: {reason_of(error) if isinstance(error, OSError) else error}"


@app.command("check-config")
def check_config(
    context: typer.Context, config: ConfigOption = None, json: JsonOption = False
) -> None:
    """Validate the configuration and print what is in effect.

    Secrets are resolved, to see that they are there, and not shown.
    """
    from reconciler.daemon.certificates import (  # noqa: PLC0415 (only here)
        load_certificates,
        look_at_chain,
    )

    settings, path = settings_of(chosen(context, config))
    try:
        secrets = resolve_secrets(settings, os.environ, unchecked_credentials=True)
    except ConfigError as error:
        raise CommandError(CONFIG, *error.problems) from None
    _, findings = load_certificates(settings)
    problems, notes = look_at_chain(settings)
    if findings.problems or problems:
        raise CommandError(CONFIG, *findings.problems, *problems)
    for key in secrets.unchecked:
        say(f"{key}: not checked; this credential can only be read inside the systemd unit")
    for key in secrets.short:
        say(
            f"{key}: warning: has fewer than {SHORTEST_SECRET} characters; it is easy to guess, "
            "and is not masked where it stands inside other text of the log"
        )
    for line in findings.unreadable:
        say(f"{line}; not checked")
    say(*notes)
    shown = effective(settings)
    if json:
        print_json(shown)
    else:
        sys.stdout.write(f"# {path} is valid. In effect:\n{to_toml(shown)}")


@app.command("init-db")
def init_db(context: typer.Context, config: ConfigOption = None) -> None:
    """Create the store, or migrate it to this version.

    Harmless when there is nothing to do.
    """
    path = chosen(context, config)
    settings, _ = settings_of(path)
    try:
        done = _made(resolve_secrets(settings, os.environ, only_store=True).store_url)
    except ConfigError as error:
        raise CommandError(CONFIG, *error.problems) from None
    except StoreError as error:
        raise CommandError(FAILED, str(error)) from None
    if done:
        log_action("init-db")
    say(*(done or ["the store is up to date"]))


def _made(url: str) -> list[str]:
    from reconciler.store.open import daemon_lock, prepare  # noqa: PLC0415
    from reconciler.store.urls import store_file  # noqa: PLC0415

    check_access(store_file(url), to_create=True)
    with as_owner(store_file(url)):
        with suppress(StoreError):  # raised unless it is up to date, which needs no lock
            return prepare(url, may_create=False, may_migrate=False)
        lock = daemon_lock(url)
        try:
            return prepare(url, may_create=True, may_migrate=True, lock=lock)
        finally:
            lock.release()
