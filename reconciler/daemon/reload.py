"""SIGHUP: read the configuration again, all or nothing, and say what came of it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from reconciler.config import (
    Change,
    ConfigError,
    Configuration,
    Secrets,
    Settings,
    compare,
    load,
    resolve_secrets,
)
from reconciler.daemon.certificates import check_files, fingerprints
from reconciler.telemetry.logging import LogSystem


def reading(settings: Settings, secrets: Secrets) -> Configuration:
    """Return the whole of one reading: the settings, the secrets and what the PEM files hold."""
    return Configuration(settings, secrets, fingerprints(settings))


class Reloader:
    """Reads the file again when asked, one time after the other, and has it applied."""

    def __init__(
        self,
        path: Path,
        environ: Mapping[str, str],
        present: Configuration,
        *,
        apply: Callable[[Change], Awaitable[None]],
        logs: LogSystem,
        around: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        """``apply`` takes all of a change or raises OSError or ValueError; ``around`` is entered
        for each reload, for whoever must be told of its begin and its end."""
        self._path = path
        self._environ = environ
        self._present = present
        self._apply = apply
        self._logs = logs
        self._log = logs.logger
        self._around = around
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Reload as soon as may be; asked several times meanwhile, once."""
        self._asked.set()

    async def run(self, ready: asyncio.Event, is_stopping: Callable[[], bool]) -> None:
        """Reload whenever asked, from ``ready`` on; not once the stop begins. Cancel it to end."""
        await ready.wait()
        while True:
            await self._asked.wait()
            self._asked.clear()
            if is_stopping():
                return
            with self._around():
                await self._reload(is_stopping)

    async def _reload(self, is_stopping: Callable[[], bool]) -> None:
        try:
            read = await asyncio.to_thread(self._read)
            # It may have taken long, and nobody would close the connections that it opens now.
            if is_stopping():
                return
            # Hidden before anything is tried: what is said next may have one of them in it.
            self._logs.hide(read.secrets.all_values())
            change = compare(self._present, read)
            await self._apply(change)
        except ConfigError as error:
            self._failed(*error.problems)
        except (OSError, ValueError) as error:
            self._failed(
                (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
            )
        except Exception as error:  # noqa: BLE001 (a task's border: the old configuration stays)
            self._log.error("config_reload_failed", exc_info=error)
        else:
            self._present = change.configuration
            self._tell(change)

    def _read(self) -> Configuration:
        settings = load(self._path, self._environ)
        held = self._present.secrets.credentials
        problems, unreadable = check_files(settings)
        try:
            secrets = resolve_secrets(settings, self._environ, held=held)
        except ConfigError as error:
            raise ConfigError([*error.problems, *problems, *unreadable]) from None
        if problems or unreadable:
            raise ConfigError([*problems, *unreadable])
        return reading(settings, secrets)

    def _failed(self, *problems: str) -> None:
        # Without the colon behind the key: "…token: x" looks like a secret to the log's redaction.
        told = [problem.replace(": ", " ", 1) for problem in problems]
        self._log.error("config_reload_failed", problems=told)

    def _tell(self, change: Change) -> None:
        for key in change.needs_restart:
            self._log.warning("setting_without_effect", key=key)
        self._log.info(
            "config_reloaded",
            changed=list(change.changed),
            needs_restart=list(change.needs_restart),
        )
