"""A disk that loses at a power cut what was not fsynced: ``forgetful_disk.c``, built and driven."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal, get_args

SOURCE = Path(__file__).with_name("forgetful_disk.c")

SECTOR = 512
"""Bytes that a disk writes as a whole."""

Stage = Literal["before", "half", "after"]
STAGES: tuple[Stage, ...] = get_args(Stage)


class NoCompilerError(Exception):
    """The disk cannot be built here; the text says why."""


def built(directory: Path) -> Path:
    """Build the library in ``directory`` and return its path. Raises NoCompilerError."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise NoCompilerError("there is no C compiler, which builds the disk that forgets")
    library = directory / "forgetful_disk.so"
    flags = ("-shared", "-fPIC", "-O1", "-Wall", "-Wno-unused-result", "-fvisibility=hidden")
    made = subprocess.run(
        [compiler, *flags, str(SOURCE), "-o", str(library), "-ldl", "-pthread"],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        raise NoCompilerError(f"{compiler} does not build {SOURCE.name}: {made.stderr.strip()}")
    return library


@dataclass(frozen=True)
class SyncDeath:
    """The process kills itself at its nth fsync of a path that contains ``pattern``."""

    pattern: str
    nth: int
    stage: Stage
    """How much of that fsync is durable."""

    def __str__(self) -> str:
        return f"{self.stage} fsync {self.nth} of {self.pattern}"


class ForgetfulDisk:
    """A directory for one process at a time, and the state to which a power cut takes it back."""

    def __init__(self, directory: Path, library: Path) -> None:
        """``directory`` gets two of its own; ``library`` is what ``built`` returned."""
        self.live = directory / "disk"
        self._durable = directory / "durable"
        self._library = library
        self.live.mkdir()
        self._make_all_durable()

    def environ(self, death: SyncDeath | None = None) -> dict[str, str]:
        """Return the variables with which a process works on this disk."""
        told = {
            "LD_PRELOAD": str(self._library),
            "FORGETFUL_LIVE": str(self.live),
            "FORGETFUL_DURABLE": str(self._durable),
        }
        if death is not None:
            told["FORGETFUL_DEATH"] = f"{death.pattern} {death.nth} {death.stage}"
        return told

    def cut_power(self, chance: Random | None = None) -> None:
        """Go back to what was fsynced. ``chance``: some sectors and names beyond that are kept.

        A real disk writes in any order what nobody has asked it to write.
        """
        before = Path(tempfile.mkdtemp(dir=self.live.parent))
        self._restore(self.live, before, chance)
        shutil.rmtree(self.live)
        before.rename(self.live)
        self._make_all_durable()

    def _restore(self, live: Path, target: Path, chance: Random | None) -> None:
        """Make ``target`` what a power cut leaves of the directory ``live``."""
        names = self._durable / "dir" / str(live.stat().st_ino)
        durable = {path.name: path for path in names.iterdir()} if names.is_dir() else {}
        present = {path.name: path for path in _entries(live)}
        for name in sorted(durable.keys() | present.keys()):
            kept, seen = durable.get(name), present.get(name)
            if (seen is not None and seen.is_dir()) or (kept is not None and kept.is_symlink()):
                if kept is not None or (chance is not None and chance.random() < 0.5):
                    (target / name).mkdir(mode=0o700)
                    if seen is not None:
                        self._restore(seen, target / name, chance)
                continue
            own = None if seen is None else self._bytes_of(seen)
            source = kept if chance is None else chance.choice((kept, own))
            if source is None:
                continue
            shutil.copy(source, target / name)
            if chance is not None and seen is not None and own is not None and own.samefile(source):
                _keep_some(seen, target / name, chance)

    def _bytes_of(self, seen: Path) -> Path:
        """Return the durable bytes of a file, whatever its durable name."""
        data = self._durable / "data" / str(seen.stat().st_ino)
        data.touch(mode=0o600)
        return data

    def _make_all_durable(self) -> None:
        shutil.rmtree(self._durable, ignore_errors=True)
        for kind in ("data", "dir", "new", "pin"):
            (self._durable / kind).mkdir(parents=True)
        self._keep(self.live)

    def _keep(self, directory: Path) -> None:
        names = self._durable / "dir" / str(directory.stat().st_ino)
        names.mkdir()
        for path in _entries(directory):
            inode = str(path.stat().st_ino)
            if path.is_dir():
                (names / path.name).symlink_to(inode)
                self._keep(path)
                continue
            data = self._durable / "data" / inode
            shutil.copy(path, data)
            os.link(path, self._durable / "pin" / inode)
            os.link(data, names / path.name)


def _entries(directory: Path) -> Iterator[Path]:
    """Iterate over what can be durable: SQLite's index of the WAL is shared memory."""
    return (path for path in directory.iterdir() if not path.name.endswith("-shm"))


def _keep_some(seen: Path, target: Path, chance: Random) -> None:
    """Put some sectors of ``seen`` into ``target`` that were written and not fsynced."""
    new, old = seen.read_bytes(), target.read_bytes()
    size = chance.choice((len(new), len(old)))
    mixed = bytearray(old[:size].ljust(size, b"\0"))
    for at in range(0, min(size, len(new)), SECTOR):
        sector = new[at : min(at + SECTOR, size)]
        if sector != mixed[at : at + len(sector)] and chance.random() < 0.5:
            mixed[at : at + len(sector)] = sector
    target.write_bytes(mixed)
