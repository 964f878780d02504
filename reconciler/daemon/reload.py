"""SIGHUP: reads the configuration again and puts all of it in force, or nothing."""

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from reconciler.config import (
    Change,
    ConfigError,
    Configuration,
    InForce,
    compare,
    in_force,
    load,
    resolve_secrets,
)
from reconciler.daemon.certificates import Certificates, load_certificates
from reconciler.daemon.clients import Clients
from reconciler.daemon.scheduler import Scheduler
from reconciler.runtime.bell import Bell
from reconciler.runtime.current_value import Current
from reconciler.telemetry.logging import LogSystem


class Witness(Protocol):
    """Somebody who is told when a reload begins and ends, such as the service manager."""

    def around_reload(self) -> AbstractContextManager[None]:
        """Return the block in which a reload is made."""
        ...


class Replaceable(Protocol):
    """All that a reload replaces."""

    async def replace(self, change: Change, certificates: Certificates) -> None:
        """Put ``change`` in force, or raise OSError or ValueError with nothing changed."""
        ...


class InUse:
    """All that a reload of this daemon replaces."""

    def __init__(
        self,
        current: Current[InForce],
        certificates: Current[Certificates],
        tls: Current[ssl.SSLContext | None],
        clients: Clients,
        scheduler: Scheduler,
        bells: Sequence[Bell],
        logs: LogSystem,
    ) -> None:
        """``tls`` is the public listener's. ``bells`` are rung after a reload: more may be due.

        A new ping, too, is to be seen to work.
        """
        self._current = current
        self._certificates = certificates
        self._tls = tls
        self._clients = clients
        self._scheduler = scheduler
        self._bells = bells
        self._logs = logs

    async def replace(self, change: Change, certificates: Certificates) -> None:
        """Put ``change`` in force, dropping no connection. Raises ValueError: nothing changed."""
        configuration = change.configuration
        clients = self._clients.prepare(change, certificates)
        # From here on nothing can fail, and nothing is awaited: nobody sees half of a change.
        self._current.value = in_force(configuration.settings, configuration.secrets)
        self._certificates.value = certificates
        self._tls.value = certificates.listener
        self._clients.use(clients)
        self._logs.set_level(configuration.settings.log.level)
        if self._current.value.access.is_open:
            self._logs.logger.warning("callbacks_unauthenticated")
        if configuration.secrets.short:
            self._logs.logger.warning("secret_short", keys=configuration.secrets.short)
        self._scheduler.reschedule()
        for bell in self._bells:
            bell.ring()


@dataclass(frozen=True, slots=True)
class ConfigSource:
    """From where the configuration is read."""

    path: Path
    environ: Mapping[str, str]

    def read(self, held: Mapping[str, str] | None = None) -> tuple[Configuration, Certificates]:
        """Return what is there now. Blocks. Raises ConfigError with every problem.

        ``held`` are the systemd credentials that a running daemon has.
        """
        settings = load(self.path, self.environ)
        certificates, findings = load_certificates(settings)
        problems = [*findings.problems, *findings.unreadable]
        try:
            secrets = resolve_secrets(settings, self.environ, held=held)
        except ConfigError as error:
            raise ConfigError([*error.problems, *problems]) from None
        if problems:
            raise ConfigError(problems)
        return Configuration(settings, secrets, certificates.fingerprints), certificates


class Reloader:
    """The part that reloads whenever it is asked, one reload after the other."""

    def __init__(
        self,
        source: ConfigSource,
        present: Configuration,
        in_use: Replaceable,
        witness: Witness,
        ready: asyncio.Event,
        logs: LogSystem,
    ) -> None:
        """``present`` is in force now. Nothing is reloaded before ``ready``."""
        self._source = source
        self._present = present
        self._in_use = in_use
        self._witness = witness
        self._ready = ready
        self._logs = logs
        self._log: FilteringBoundLogger = logs.logger
        self._asked = Bell("reload")
        self._is_stopping = False

    def ask(self) -> None:
        """Reload as soon as may be; asked several times meanwhile, once."""
        self._asked.ring()

    def stop(self) -> None:
        """End after the present reload, which puts nothing in force any more."""
        self._is_stopping = True
        self._ready.set()
        self._asked.ring()

    async def run(self) -> None:
        """Reload whenever asked, until ``stop``."""
        await self._ready.wait()
        while True:
            await self._asked.wait()
            if self._is_stopping:
                return
            with self._witness.around_reload():
                await self._reload()

    async def _reload(self) -> None:
        try:
            held = self._present.secrets.credentials
            read, certificates = await asyncio.to_thread(self._source.read, held)
            # It may have taken long, and nobody would close the connections that it opens now.
            if self._is_stopping:
                return
            # Hidden before anything is tried: the next line may have one of them in it.
            self._logs.hide(read.secrets.all_values())
            change = compare(self._present, read)
            await self._in_use.replace(change, certificates)
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
