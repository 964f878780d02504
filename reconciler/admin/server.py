"""The admin listener: on TCP, or on a unix socket that only its owner can open."""

import errno
import logging
import os
import socket
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.log import server_logger
from structlog.typing import FilteringBoundLogger

from reconciler.admin.guard import guard
from reconciler.admin.requests import LARGEST_BODY
from reconciler.config import InForce, ListenAddress
from reconciler.runtime.clock import Clock
from reconciler.runtime.current_value import Current


class AdminServer:
    """Serves routes on one address, each behind the guard."""

    def __init__(
        self,
        routes: Sequence[web.RouteDef],
        listen: ListenAddress,
        current: Current[InForce],
        clock: Clock,
        log: FilteringBoundLogger,
    ) -> None:
        self.routes = routes
        self._listen = listen
        hosts = frozenset({listen.host.lower(), socket.gethostname().lower()})
        check = guard(current, hosts=hosts, is_unix=bool(listen.unix), clock=clock, log=log)
        app = web.Application(middlewares=[check], client_max_size=LARGEST_BODY)
        app.add_routes(routes)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            logger=_ServerLog(server_logger),
            shutdown_timeout=4.0,
            auto_decompress=False,
        )
        self.url = ""
        """Its base URL, with the port really bound; empty before ``start``."""

    async def start(self) -> None:
        """Listen. Raises OSError."""
        await self._runner.setup()
        if not self._listen.unix:
            await web.TCPSite(self._runner, self._listen.host, self._listen.port).start()
            host, port = self._runner.addresses[0][:2]
            self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
            return
        _clear(Path(self._listen.unix))
        before = os.umask(0o077)
        try:
            await web.UnixSite(self._runner, self._listen.unix).start()
        finally:
            os.umask(before)
        self.url = f"unix:{self._listen.unix}"

    async def stop(self) -> None:
        """Stop listening and remove the socket."""
        await self._runner.cleanup()
        if self._listen.unix and self.url:
            _remove(Path(self._listen.unix))


class _ServerLog(logging.LoggerAdapter[logging.Logger]):
    """Logs malformed requests at the level debug; aiohttp would log them as errors of ours."""

    def log(self, level: int, msg: object, *args: object, **more: Any) -> None:
        """Log ``msg``; of a malformed request without the exception, which repeats it."""
        if isinstance(more.get("exc_info"), HttpProcessingError):
            level, more = logging.DEBUG, {}
        super().log(level, msg, *args, **more)


def _clear(path: Path) -> None:
    """Remove the socket of an earlier run. Raises OSError if it is in use or no socket."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(errno.EEXIST, f"admin.listen: {path} is there and is no socket")
    with socket.socket(socket.AF_UNIX) as probe:
        if probe.connect_ex(str(path)) == 0:
            raise OSError(errno.EADDRINUSE, f"admin.listen: another server accepts on {path}")
    _remove(path)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)  # asyncio has done it already from Python 3.13 on
