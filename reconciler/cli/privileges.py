"""Changes the effective user: root works as the owner of the store.

A database, WAL, lock or spool file of root's would lock the daemon out of its own ledger.

The reasons: docs/decisions/023.
"""

import ctypes
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reconciler.cli.errors import FAILED, CommandError

_CAPABILITY_VERSION = 0x20080522
"""_LINUX_CAPABILITY_VERSION_3 of linux/capability.h: two words for each set."""

_DAC_OVERRIDE = 1 << 1
_DAC_READ_SEARCH = 1 << 2
_NET_BIND_SERVICE = 1 << 10


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


@contextmanager
def as_owner(path: Path | None) -> Iterator[None]:
    """Work as the owner of ``path``; afterwards as before.

    ``path`` is the store's file or a directory; where it is not there yet, the nearest directory
    above it counts. Only root changes: for anyone else, for what belongs to root, and for None (a
    store without a file), nothing happens. Inside, new files belong to the owner, and only what
    the owner may write can be written. Everything can still be read (the state of a dynamic user
    lies below a directory of root's), and any port be bound. That holds for the calling thread and
    those it starts, so no thread should outlive the block. A file that the user is to own, such as
    a copy, is written in ``as_user``. Raises CommandError where root may not change.

    The root of a container mostly lacks the right to just read everything (CAP_DAC_READ_SEARCH),
    but has the one to override all rights (CAP_DAC_OVERRIDE), and keeps that one. Then what the
    owner may not write can be written all the same.
    """
    owner = None if path is None or os.geteuid() != 0 else _nearest(path).stat()
    if path is None or owner is None or owner.st_uid == 0:
        yield
        return
    before = os.getegid(), os.getgroups()
    try:
        os.setgroups(_groups(owner.st_uid, owner.st_gid))
        os.setegid(owner.st_gid)
        os.seteuid(owner.st_uid)
    except OSError as error:  # a container without these capabilities, or without this user
        reason = f"{path} belongs to {_name(owner.st_uid)}, and this root may not work as that user"
        raise CommandError(FAILED, f"{reason}: {error.strerror}") from None
    try:
        _keep_capabilities()
        yield
    finally:
        os.seteuid(0)
        os.setegid(before[0])
        os.setgroups(before[1])


@contextmanager
def as_user() -> Iterator[None]:
    """Inside ``as_owner``: work as the user who runs the command for a while.

    For a file in a place where only that user may write. Only read the store meanwhile: files that
    SQLite makes beside a database get the database's owner, but other files do not. Threads that
    run already can no longer read everything afterwards.
    """
    uid, gid, groups = os.geteuid(), os.getegid(), os.getgroups()
    if uid == os.getuid():
        yield
        return
    os.seteuid(os.getuid())
    os.setegid(os.getgid())
    try:
        yield
    finally:
        os.setgroups(groups)
        os.setegid(gid)
        os.seteuid(uid)
        _keep_capabilities()


def check_access(path: Path | None, *, to_create: bool = False, read_only: bool = False) -> None:
    """Raise CommandError, naming the owner, if this user may not use the store at ``path``.

    Where there is no store yet, the right to write counts only if it is ``to_create``. A
    ``read_only`` command needs no right to write where the disk is mounted read-only.
    """
    if path is None or os.geteuid() == 0:
        return
    nearest = _nearest(path)
    wanted = {nearest: os.X_OK | (os.W_OK if to_create else 0)}
    if nearest == path:
        writes = 0 if read_only and _is_read_only_mount(path) else os.W_OK
        wanted = {path: os.R_OK | writes, path.parent: os.X_OK | writes}
    refused = next((place for place in wanted if not os.access(place, wanted[place])), None)
    if refused is None:
        return
    owner = nearest.stat().st_uid
    if owner == os.geteuid():
        raise CommandError(FAILED, _lacking(refused, wanted[refused]))
    name = _name(owner)
    also = (
        f" or as its owner (sudo -u {name})"
        if owner != 0 and not name.startswith("the user ")
        else ""
    )
    raise CommandError(
        FAILED,
        f"no permission: {path} belongs to {name}; run this command as root (sudo){also}",
    )


def _lacking(place: Path, wanted: int) -> str:
    """Return which right at ``place`` the owner of the store lacks, and how to get it."""
    rights = {os.R_OK: ("read", "r"), os.W_OK: ("written", "w"), os.X_OK: ("entered", "x")}
    lacking = [
        told for right, told in rights.items() if wanted & right and not os.access(place, right)
    ]
    words = " or ".join(word for word, _ in lacking)
    if place.stat().st_uid != os.geteuid():
        return f"no permission: {place} may not be {words} by you; it belongs to {_owner(place)}"
    if _is_read_only_mount(place):
        return f"no permission: {place} may not be {words}: its disk is mounted read-only"
    letters = "".join(letter for _, letter in lacking)
    return f"no permission: {place} may not be {words}, even by you; chmod u+{letters} allows it"


def _owner(place: Path) -> str:
    return _name(place.stat().st_uid)


def _is_read_only_mount(place: Path) -> bool:
    return bool(os.statvfs(place).f_flag & os.ST_RDONLY)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # such as a dynamic user while its unit does not run
        return f"the user {uid}"


def _nearest(path: Path) -> Path:
    """Return ``path``, or the nearest directory above it that exists and can be seen."""
    for place in (path, *path.parents):
        try:
            place.stat()
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue
        return place
    return Path("/")


def _groups(uid: int, gid: int) -> list[int]:
    try:
        return os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
    except KeyError:
        return [gid]


def kept(permitted: int) -> int:
    """Return which of the ``permitted`` capabilities root keeps while it works as the owner.

    The right to read everything, or where that is missing (a container's root has it seldom) the
    one to override every right: else a daemon could not read a secret again that it could at its
    start.
    """
    reading = _DAC_READ_SEARCH if permitted & _DAC_READ_SEARCH else _DAC_OVERRIDE
    return permitted & (reading | _NET_BIND_SERVICE)


def _keep_capabilities() -> None:
    """Regain the rights to read everything and to bind any port, as far as root has them.

    A change of the effective user removes all capabilities from the effective set only.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    header, data = _Header(_CAPABILITY_VERSION, 0), (_Data * 2)()
    if libc.capget(ctypes.byref(header), ctypes.byref(data)) == 0:
        data[0].effective = kept(data[0].permitted)
        libc.capset(ctypes.byref(header), ctypes.byref(data))  # if it fails, less can be read
