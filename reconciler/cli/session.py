"""The session of a command: the configuration, the open store, and the user."""

import asyncio
import getpass
import os
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from reconciler.cli.errors import CONFIG, FAILED, USAGE, CommandError
from reconciler.cli.privileges import as_owner, check_access
from reconciler.config import (
    ConfigError,
    Secrets,
    Settings,
    find_config,
    in_force,
    load,
    resolve_secrets,
)
from reconciler.operations import Actor
from reconciler.runtime.clock import Clock
from reconciler.runtime.current_value import Current
from reconciler.store.clock import StoreClock
from reconciler.store.errors import StoreError
from reconciler.store.open import Store, open_store, prepare
from reconciler.store.paging import BadCursorError
from reconciler.store.urls import store_file
from reconciler.telemetry.logging import LogSystem

T = TypeVar("T")


class Session:
    """An open store and the user who works on it; runs one coroutine at a time."""

    def __init__(
        self, runner: asyncio.Runner, settings: Settings, store_url: str, actor: Actor
    ) -> None:
        self._runner = runner
        self.settings = settings
        self.store_url = store_url
        self.actor = actor

    @property
    def store(self) -> Store:
        """The open store."""
        return self.actor.store

    def now(self) -> int:
        """Return the time in UTC milliseconds, as the daemons on the store have it."""
        return self.actor.clock.now()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what ``work`` returns. Ctrl-C cancels it and raises KeyboardInterrupt."""
        return self._runner.run(work)

    def each(self, items: AsyncIterator[T]) -> Iterator[T]:
        """Yield what ``items`` yields."""
        end = object()

        async def following() -> T | object:
            return await anext(items, end)

        while (item := self.run(following())) is not end:
            yield item  # type: ignore[misc]  # it is not ``end``


@contextmanager
def opened_store(config: Path | None, *, read_only: bool = False) -> Iterator[Session]:
    """Open the store of ``config``, which must be there. Root works as its owner.

    Inside, StoreError and BadCursorError end the command with one line.
    """
    settings, _ = settings_of(config)
    secrets = store_secrets(settings)
    file = store_file(secrets.store_url)
    try:
        check_access(file, read_only=read_only)
        with as_owner(file):
            prepare(secrets.store_url, may_create=False, may_migrate=False)
            with _opened(settings, secrets, read_only=read_only) as session:
                yield session
    except StoreError as error:
        raise CommandError(FAILED, str(error)) from None
    except BadCursorError as error:
        raise CommandError(USAGE, str(error)) from None


@contextmanager
def _opened(settings: Settings, secrets: Secrets, *, read_only: bool) -> Iterator[Session]:
    with closing(_StderrLog()) as logs, asyncio.Runner() as runner:
        store = runner.run(open_store(secrets.store_url, is_daemon=False, read_only=read_only))
        try:
            clock = StoreClock(store.database, Clock(), logs.logger)
            runner.run(clock.correct())
            current = Current(in_force(settings, secrets))
            actor = Actor(user_name(), store, current, clock, logs.logger)
            yield Session(runner, settings, secrets.store_url, actor)
        finally:
            runner.run(store.database.close())


def settings_of(config: Path | None) -> tuple[Settings, Path]:
    """Return the configuration and where it was found."""
    try:
        path = find_config(config, os.environ, Path.cwd())
        return load(path, os.environ), path
    except ConfigError as error:
        raise CommandError(CONFIG, *error.problems) from None


def store_secrets(settings: Settings) -> Secrets:
    """Return the store's URL, the only secret that such a command needs."""
    try:
        return resolve_secrets(settings, os.environ, only_store=True)
    except ConfigError as error:
        raise CommandError(CONFIG, *error.problems) from None


def user_name() -> str:
    """Return the name of the user who runs this command, also through sudo."""
    if os.environ.get("SUDO_USER"):
        return os.environ["SUDO_USER"]
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def log_action(action: str, **fields: object) -> None:
    """Log an action of the user in a command that has no session."""
    with closing(_StderrLog()) as logs:
        logs.logger.info("operator_action", action=action, by=user_name(), **fields)


class _StderrLog(LogSystem):
    """A log on stderr, for stdout carries data only."""

    def __init__(self) -> None:
        super().__init__(level="info", format="auto", stream=sys.stderr)

    def close(self, timeout: float = 1.0) -> None:
        """Write what is queued, ``timeout`` seconds at most."""
        super().close(timeout)
