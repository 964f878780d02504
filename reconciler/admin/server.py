"""The admin listener: on TCP, or on a unix socket that only its owner can open."""

import os
import socket
from pathlib import Path

from aiohttp import web
from structlog.typing import FilteringBoundLogger

from reconciler.admin.api import Api
from reconciler.admin.guard import guard

LARGEST_BODY = 4 * 1024 * 1024


class AdminServer:
    """Serves ``api`` on one address."""

    def __init__(
        self,
        api: Api,
        *,
        host: str,
        port: int,
        unix_path: str | None,
        token: str | None,
        log: FilteringBoundLogger,
    ) -> None:
        self._host = host
        self._port = port
        self._unix_path = unix_path
        hosts = frozenset({host.lower(), socket.gethostname().lower()})
        check = guard(token=token, hosts=hosts, is_unix=unix_path is not None, log=log)
        app = web.Application(middlewares=[check], client_max_size=LARGEST_BODY)
        app.add_routes(api.routes())
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=4.0)
        self.url = ""
        """Where it is reached, with the port really bound."""

    async def start(self) -> None:
        """Listen. Raises OSError."""
        await self._runner.setup()
        if self._unix_path is None:
            await web.TCPSite(self._runner, self._host, self._port).start()
            host, port = self._runner.addresses[0][:2]
            self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
            return
        _remove(self._unix_path)
        before = os.umask(0o077)
        try:
            await web.UnixSite(self._runner, self._unix_path).start()
        finally:
            os.umask(before)
        self.url = f"unix:{self._unix_path}"

    async def stop(self) -> None:
        """Close."""
        await self._runner.cleanup()
        if self._unix_path is not None:
            _remove(self._unix_path)


def _remove(path: str) -> None:
    """Remove a socket that an earlier run has left."""
    Path(path).unlink(missing_ok=True)
