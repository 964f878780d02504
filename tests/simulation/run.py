"""One run: a seed, a world, one daemon after the other, and the invariants at its end."""

import gc
import logging
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from random import Random

from reconciler.config import Configuration, load, resolve_secrets
from reconciler.store.open import prepare
from tests.simulation.application import Application
from tests.simulation.assure import Assure
from tests.simulation.daemon import AUTHORIZATION, Daemon, Servers
from tests.simulation.disk import Disk
from tests.simulation.invariants import Evidence, violations
from tests.simulation.plan import DAY, END, Callback, Ending, Plan, Subject, Window, plan_of
from tests.simulation.virtual_time import World

ERRORS = {
    "locked": "database is locked",
    "io": "disk I/O error",
    "full": "database or disk is full",
}

RESTART = 2.0
"""Seconds after which a daemon that has ended by itself is started again."""

RETRY = 60.0
"""Seconds after which the application registers a process again."""


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one run."""

    seed: int
    violations: tuple[str, ...]
    log: str
    days: float
    """Virtual days that passed."""
    daemons: int

    @property
    def digest(self) -> str:
        """A digest of the log: two runs of one seed have the same."""
        return sha256(self.log.encode()).hexdigest()[:16]


class _Run:
    def __init__(self, seed: int, folder: Path) -> None:
        self._plan = plan_of(seed)
        self._folder = folder
        self._draw = Random(f"run {seed}")
        self._world = World()
        self._disk = Disk(self._draw)
        self._assure = Assure(self._plan, self._world, self._draw, self._post)
        self._application = Application(self._plan, self._world, self._draw)
        self._faults: list[str] = []
        self._daemon: Daemon | None = None
        self._daemons: list[Daemon] = []
        self._store = folder / "store.db"

    def run(self) -> list[str]:
        """Return the violations."""
        plan, world = self._plan, self._world
        for subject in plan.subjects:
            if subject.registered_at is not None:
                world.at(subject.registered_at, lambda s=subject: self._register(s))  # type: ignore[misc]
        for window in plan.disk:
            world.at(window.begin, lambda w=window: self._break(w))  # type: ignore[misc]
            world.at(window.end, self._mend)
        for at, by in plan.jumps:
            world.at(at, lambda by=by: self._set_clock(by))  # type: ignore[misc]
        configuration = configuration_of(plan, self._folder)
        while world.now < END:
            ending = next((each for each in plan.endings if each.at > world.now), None)
            self._live(configuration, ending)
            is_planned = ending is not None and world.now >= ending.at
            away = ending.away if ending is not None and is_planned else RESTART
            world.pass_until(min(world.now + away, END))
        return self._faults + violations(self._evidence())

    def _live(self, configuration: Configuration, ending: Ending | None) -> None:
        number = len(self._daemons)
        daemon = Daemon(
            number,
            configuration,
            self._store,
            self._world,
            self._disk,
            Servers(self._assure, self._application),
            self._draw,
            self._faults,
        )
        self._daemons.append(daemon)
        self._daemon = daemon
        self._world.say("machine", f"start {number}")
        try:
            daemon.run(ending, END)
        finally:
            self._daemon = None

    def _post(self, subject: Subject, callback: Callback) -> None:
        if self._daemon is not None and self._daemon.is_ready:
            self._daemon.take(subject, callback)
        else:
            self._world.say("callback", f"{subject.process_id} {callback.status} -> nobody")

    def _register(self, subject: Subject) -> None:
        if any(subject.process_id in daemon.registered for daemon in self._daemons):
            return
        if self._daemon is not None and self._daemon.is_ready:
            self._daemon.register(subject)
        self._world.after(RETRY, lambda: self._register(subject))

    def _break(self, window: Window) -> None:
        self._world.say("disk", window.fault)
        if window.fault == "slow":
            self._disk.is_slow = True
        else:
            self._disk.error = ERRORS[window.fault]

    def _mend(self) -> None:
        self._world.say("disk", "well")
        self._disk.error, self._disk.is_slow = None, False
        self._world.wake()

    def _set_clock(self, by: int) -> None:
        self._world.say("machine", f"the clock is set by {by / 1000:.0f} s")
        self._world.wall_offset += by
        self._world.wake()

    def _evidence(self) -> Evidence:
        return Evidence(
            plan=self._plan,
            store=self._store,
            facts=self._assure.facts,
            told=self._application.told,
            acknowledged=[each for daemon in self._daemons for each in daemon.acknowledged],
            lines=self._world.lines,
        )

    def forget(self) -> None:
        """Let go of the daemons."""
        for daemon in self._daemons:
            daemon.forget()

    def result(self, seed: int, found: list[str]) -> Result:
        """Return the result of a run that is over."""
        log = "\n".join(self._world.lines)
        return Result(seed, tuple(found), log, self._world.now / DAY, len(self._daemons))


def simulate(seed: int) -> Result:
    """Make one run."""
    with _folder() as folder, _silence():
        run = _Run(seed, folder)
        try:
            return run.result(seed, run.run())
        finally:
            run.forget()


@contextmanager
def _silence() -> Iterator[None]:
    """Let nothing be said of what killed daemons have left behind in memory."""
    pools = logging.getLogger("sqlalchemy.pool")
    before, level = sys.unraisablehook, pools.level
    sys.unraisablehook = lambda _: None
    pools.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            gc.disable()  # a run is short, and the collector would close the dead in its middle
            yield
            gc.collect()
    finally:
        gc.enable()
        sys.unraisablehook = before
        pools.setLevel(level)


@contextmanager
def _folder() -> Iterator[Path]:
    """Lend a folder with an empty store; in memory, where the system has such a disk.

    The effect of a power cut on a disk is tested in tests/torture.
    """
    memory = Path("/dev/shm")
    parent = memory if memory.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="simulation-", dir=parent) as name:
        folder = Path(name)
        (folder / "store.db").write_bytes(_empty_store())
        yield folder


@cache
def _empty_store() -> bytes:
    folder = Path(tempfile.mkdtemp(prefix="simulation-"))
    try:
        store = folder / "store.db"
        prepare(f"sqlite:///{store}", may_create=True, may_migrate=True)
        return store.read_bytes()
    finally:
        shutil.rmtree(folder)


def configuration_of(plan: Plan, folder: Path) -> Configuration:
    """Return the configuration of the daemons of a run."""
    environ = {
        "RECONCILER_ADMIN__LISTEN": "",
        "RECONCILER_LISTENER__AUTHORIZATION": f'["{AUTHORIZATION}"]',
        "RECONCILER_ASSURE__BASE_URL": "https://assure.example.com",
        "RECONCILER_ASSURE__TOKEN_URL": "https://assure.example.com/token",
        "RECONCILER_ASSURE__CLIENT_ID": "simulation",
        "RECONCILER_ASSURE__CLIENT_SECRET": "simulation-secret",
        "RECONCILER_DELIVERY__URL": "https://application.example.com/results",
        "RECONCILER_DELIVERY__SECRET": "whsec_c2ltdWxhdGlvbi1zaW11bGF0aW9uLXNpbXVsYXRpb24=",
        "RECONCILER_DELIVERY__GIVE_UP_AFTER": "200d",
        "RECONCILER_RETENTION__SETTLED": "400d",
        "RECONCILER_RETENTION__CALLBACKS": "400d",
        "RECONCILER_STORE__URL": f"sqlite:///{folder / 'store.db'}",
        "RECONCILER_STORE__SPOOL": str(folder / "spool"),
        **plan.environ,
    }
    settings = load(None, environ)
    return Configuration(settings, resolve_secrets(settings, {}), {})
