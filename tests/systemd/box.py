"""A real systemd as PID 1 of namespaces of its own, on a view of this machine's file system.

Everything written in it goes to a tmpfs, its network is its own loopback, and everything is gone
when it is powered off. It needs root and systemd itself, nothing more.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

INIT = Path("/lib/systemd/systemd")
ENVIRON = (
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG=C.UTF-8",
    "RECONCILER_CONFIG=/etc/reconciler/reconciler.toml",  # as docs/install.md has it
)
PROGRAM = Path("/opt/reconciler")
"""The virtual environment of docs/install.md."""

CHECKOUT = Path("/srv/reconciler")
WRITTEN = Path("/run/written")
"""Shows what was written in the box, but for /run, /tmp and /dev, and nothing else."""

PATIENCE = 60.0
HOMES = (Path("/home"), Path("/root"), Path("/run"), Path("/tmp"), Path("/var/tmp"))
"""Not to be seen by a hardened unit, so what lies there is shown elsewhere."""

_BOOT = r"""
set -e
trap 'echo "cannot $doing" >&2' ERR
base=$1; shift
doing='make mounts private'; mount --make-rprivate /
doing='mount a tmpfs'; mount -t tmpfs -o mode=755 tmpfs "$base"
mkdir "$base/upper" "$base/work" "$base/root"
doing='mount an overlay of /'
mount -t overlay overlay -o "lowerdir=/,upperdir=$base/upper,workdir=$base/work" "$base/root"
cd "$base/root"
doing='mount proc, sys and cgroup2'
mount -t proc proc proc
mount --bind proc/sys proc/sys; mount -o remount,bind,ro proc/sys  # the kernel is not the box's
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
doing='make run, tmp and dev'
for place in run tmp dev etc/systemd; do mount -t tmpfs -o mode=755 tmpfs $place; done
chmod 1777 tmp
for device in null zero full random urandom tty; do
  : > dev/$device; mount --bind /dev/$device dev/$device
done
mkdir dev/shm dev/pts etc/systemd/system
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx; ln -s /proc/self/fd dev/fd
: > etc/fstab
mkdir run/written; mount --bind "$base/upper" run/written
doing='show it the program'
while [ $# -gt 0 ]; do
  mkdir -p ".$2"; mount --bind "$1" ".$2"; mount -o remount,bind,ro ".$2"; shift 2
done
doing='change the root'
mkdir -p .old; pivot_root . .old; cd /; umount -l /.old; rmdir /.old
mount --make-rshared /
trap - ERR
exec env -i container=box PATH="$PATH" \
  /lib/systemd/systemd --system --unit=basic.target --show-status=0 --log-target=journal
"""


class ImpossibleError(Exception):
    """This machine cannot run a systemd in namespaces; the text says why."""


class Box:
    """One booted systemd, with the program in ``/opt/reconciler``."""

    def __init__(self, directory: Path, checkout: Path) -> None:
        """Boot; ``checkout`` is shown as ``CHECKOUT``. Raises ImpossibleError."""
        _check()
        self._cursor = ""
        self._log = directory / "box.log"
        self._base = directory / "box"
        self._base.mkdir()
        self._cgroup = _cgroup2() / f"reconciler-box-{os.getpid()}-{time.monotonic_ns()}"
        try:
            self._cgroup.mkdir()
        except OSError as error:
            raise ImpossibleError(f"no cgroup can be made: {error.strerror}") from None
        try:
            self._process = self._boot(checkout)
            self.pid = self._init()
            self._put_program()
        except BaseException:
            self.close()
            raise

    def _boot(self, checkout: Path) -> "subprocess.Popen[bytes]":
        enter = f'echo $$ > "{self._cgroup}/cgroup.procs"; exec "$@"'
        namespaces = ("--mount", "--pid", "--fork", "--ipc", "--uts", "--net", "--cgroup")
        binds = [(checkout, CHECKOUT), *_interpreter()]
        with self._log.open("wb") as log:
            return subprocess.Popen(
                # setpriv and --kill-child: the box dies with us, whatever kills us.
                ["/bin/sh", "-c", enter, "sh", "setpriv", "--pdeathsig", "KILL"]
                + ["unshare", *namespaces, "--kill-child", "--propagation", "private"]
                + ["/bin/bash", "-c", _BOOT, "bash", str(self._base)]
                + [str(path) for bind in binds for path in bind],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _init(self) -> int:
        """Return the process id of the systemd, once it is up."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise ImpossibleError(_last_line(self._log))
            pid = self._child()
            if pid:
                self.pid = pid
                state = self.run("systemctl", "is-system-running", check=False).strip()
                if state == "running":
                    return pid
                assert state != "degraded", self.run("systemctl", "--failed", "--no-pager")
            time.sleep(0.05)
        raise AssertionError(f"systemd did not come up: {_last_line(self._log)}")

    def _child(self) -> int:
        """Return the process id of the systemd; 0 while it is not there."""
        try:
            children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
            pid = int((children.read_text().split() or ["0"])[-1])
            return pid if Path(f"/proc/{pid}/comm").read_text() == "systemd\n" else 0
        except (FileNotFoundError, ProcessLookupError):  # one of them is just ending
            return 0

    def _put_program(self) -> None:
        """Make what ``python3 -m venv`` and pip would make, around what is shown."""
        home = _home()
        python = f"python{sys.version_info.major}.{sys.version_info.minor}"
        self.write(f"{PROGRAM}/pyvenv.cfg", f"home = {home}/bin\n")
        if home != Path(sys.base_prefix) and sysconfig.get_config_var("Py_ENABLE_SHARED"):
            self.write("/etc/ld.so.conf.d/python.conf", f"{home}/lib\n")
            self.run("ldconfig")
        self.run("mkdir", "-p", f"{PROGRAM}/bin")
        self.run("ln", "-sf", f"{home}/bin/{python}", f"{PROGRAM}/bin/python3")
        self.run("ln", "-sf", f"{PROGRAM}/bin/reconciler", "/usr/local/bin/reconciler")
        script = (
            f"#!{PROGRAM}/bin/python3\nimport sys\nsys.path.insert(0, '{CHECKOUT}')\n"
            "from reconciler.cli import main\nmain()\n"
        )
        self.write(f"{PROGRAM}/bin/reconciler", script, mode="0755")
        told = self.run(f"{PROGRAM}/bin/reconciler", "--version")
        assert told.startswith("reconciler "), told

    def command(self, *words: str) -> list[str]:
        """Return the command line that runs ``words`` as root in the box, in the checkout."""
        enter = ["nsenter", "--target", str(self.pid), "--all", "--wd", "--"]
        return [*enter, "env", "-i", "-C", str(CHECKOUT), *ENVIRON, *words]

    def run(self, *words: str, check: bool = True, stdin: str = "") -> str:
        """Run a command in the box; return its stdout and stderr."""
        done = subprocess.run(
            self.command(*words),
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0 or not check, f"{words}: {done.returncode}: {done.stdout}"
        return done.stdout

    def show(self, prop: str, unit: str = "reconciler.service") -> str:
        """Return a property of a unit."""
        return self.run("systemctl", "show", "--property", prop, "--value", unit).strip()

    def forget(self) -> None:
        """Let the journal begin here."""
        self.run("journalctl", "--sync")
        told = self.run("journalctl", "--lines", "0", "--show-cursor", "--no-pager")
        self._cursor = told.rpartition("-- cursor: ")[2].strip()

    def journal(self, *options: str) -> str:
        """Return what the journal has of the daemon."""
        self.run("journalctl", "--sync")
        begin = ["--after-cursor", self._cursor] if self._cursor else []
        words = ["--unit", "reconciler.service", "--no-pager", *begin, *options]
        return self.run("journalctl", *words)

    def log(self) -> list[dict[str, Any]]:
        """Return what the daemon has logged, without what others say of it."""
        lines = self.journal("--output", "cat").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for something that only a look from outside can tell."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"{what} did not come: {self.log()[-5:]}"
            time.sleep(0.1)

    def write(self, path: str, text: str, mode: str = "0644") -> None:
        """Write a file in the box, as root, with the folders above it."""
        self.run("mkdir", "-p", str(Path(path).parent))
        self.run("sh", "-c", 'umask 077; cat > "$0" && chmod "$1" "$0"', path, mode, stdin=text)

    def close(self) -> None:
        """Power off; what does not obey is killed. Nothing is left, mounts and cgroups included."""
        process = getattr(self, "_process", None)
        if process is not None:
            if getattr(self, "pid", 0):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGRTMIN + 4)  # systemd's "power off"
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(20)
            if process.poll() is None:
                process.kill()
            process.wait()
        end = time.monotonic() + PATIENCE
        while self._cgroup.exists():
            for folder in sorted(self._cgroup.rglob("*/"), reverse=True):
                with contextlib.suppress(OSError):
                    folder.rmdir()
            try:
                self._cgroup.rmdir()
            except OSError:  # the last of them are still dying
                assert time.monotonic() < end, "the box has left processes behind"
                time.sleep(0.02)


def _check() -> None:
    if os.geteuid() != 0:
        raise ImpossibleError("only root may run a systemd in namespaces")
    for tool in (str(INIT), "unshare", "nsenter", "setpriv", "pivot_root", "systemctl"):
        if shutil.which(tool) is None:
            raise ImpossibleError(f"there is no {tool} (Debian: systemd and util-linux)")
    _cgroup2()


def _cgroup2() -> Path:
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split(" ")
        if kind == "cgroup2" and os.access(place, os.W_OK):
            return Path(place)
    raise ImpossibleError("there is no writable cgroup2 file system")


def _is_hidden(path: Path) -> bool:
    return any(path.is_relative_to(home) for home in HOMES)


def _home() -> Path:
    """Return where our Python is seen in the box."""
    prefix = Path(sys.base_prefix)
    return Path("/opt/python-of-tests") if _is_hidden(prefix) else prefix


def _interpreter() -> list[tuple[Path, Path]]:
    """Return what must be bound where, so that the hardened unit sees our Python and libraries."""
    prefix, home = Path(sys.base_prefix), _home()
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = Path(sysconfig.get_path("purelib"))
    binds = [(packages, PROGRAM / f"lib/{python}/site-packages")]
    return binds if prefix == Path("/usr") else [(prefix, home), *binds]


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
