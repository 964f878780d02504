"""What a command beside the daemon needs: the configuration and the open store."""

import asyncio
import getpass
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from structlog.typing import FilteringBoundLogger

from reconciler.cli.errors import CONFIG, FAILED, CommandError
from reconciler.cli.privileges import as_owner, check_access
from reconciler.config import ConfigError, Settings, find_config, load, resolve_secrets, rules
from reconciler.ledger import Rules
from reconciler.runtime.clock import Clock
from reconciler.store.clock import StoreClock
from reconciler.store.errors import StoreError
from reconciler.store.open import Store, open_store, prepare
from reconciler.store.urls import store_file
from reconciler.telemetry.logging import LogSystem

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Session:
    """An open store, with the rules that go with it."""

    store: Store
    rules: Rules
    log: FilteringBoundLogger
    """Writes to stderr."""
    caller: str
    """The name under which what this command does is remembered."""
    now: Callable[[], int]
    """The time in UTC milliseconds, as the daemons on the store have it."""

    async def note(self, action: str, **fields: object) -> None:
        """Log an operator's action that concerns no single process, and remember it."""
        await self.store.registry.record_action(action, self.caller, self.now())
        self.log.info("operator_action", action=action, by=self.caller, **fields)


def settings_of(config: Path | None) -> tuple[Settings, Path]:
    """Return the configuration and where it was found."""
    try:
        path = find_config(config, os.environ, Path.cwd())
        return load(path, os.environ), path
    except ConfigError as error:
        raise CommandError(CONFIG, *error.problems) from None


def on_store(config: Path | None, work: Callable[[Session], Awaitable[T]]) -> T:
    """Run ``work`` on the store of ``config``, which must be there. Root works as its owner."""
    settings, _ = settings_of(config)
    try:
        url = resolve_secrets(settings, os.environ, only_store=True).store_url
    except ConfigError as error:
        raise CommandError(CONFIG, *error.problems) from None
    try:
        check_access(store_file(url))
        with as_owner(store_file(url)):
            prepare(url, may_create=False, may_migrate=False)
            return asyncio.run(_run(url, rules(settings), work))
    except StoreError as error:
        raise CommandError(FAILED, str(error)) from None


def log_action(action: str, **fields: object) -> None:
    """Log an operator's action of a command that has no session."""
    logs = LogSystem(level="info", format="auto", stream=sys.stderr)
    logs.logger.info("operator_action", action=action, by=caller_name(), **fields)
    logs.close(timeout=1.0)


async def _run(url: str, policy: Rules, work: Callable[[Session], Awaitable[T]]) -> T:
    async with _opened(url, policy) as session:
        return await work(session)


@asynccontextmanager
async def _opened(url: str, policy: Rules) -> AsyncIterator[Session]:
    logs = LogSystem(level="info", format="auto", stream=sys.stderr)
    try:
        store = await open_store(url, is_daemon=False)
        try:
            clock = StoreClock(store.database, Clock(), logs.logger)
            await clock.correct()
            yield Session(store, policy, logs.logger, caller_name(), clock.now)
        finally:
            await store.database.close()
    finally:
        logs.close(timeout=1.0)


def caller_name() -> str:
    """Return who runs this command, also through sudo."""
    if os.environ.get("SUDO_USER"):
        return os.environ["SUDO_USER"]
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
