"""The ways in which a daemon dies, drawn by a seed."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Literal, get_args

from tests.torture.application import ArrivalDeath
from tests.torture.disk import STAGES, SyncDeath
from tests.torture.relay import CommitDeath

Kind = Literal["commit", "load", "start", "spool", "drain", "delivery"]
KINDS: tuple[Kind, ...] = get_args(Kind)

Moment = SyncDeath | CommitDeath | ArrivalDeath


@dataclass(frozen=True)
class Death:
    """When a daemon dies: at ``moment``, or when all of the rest has happened."""

    kind: Kind
    start: float | None = None
    """Seconds after its start, ready or not; None: once all of the following has happened."""
    acknowledged: int = 1
    """Callbacks that the store has taken."""
    spooled: int = 0
    """Callbacks that were acknowledged after that while the store cannot be used."""
    later: float = 0.0
    """Seconds after these, in which the store can be used again."""
    moment: Moment | None = None

    def __str__(self) -> str:
        if self.start is not None:
            return f"start: after {self.start:.2f} s"
        by_itself = f"{self.moment}, at the latest " if self.moment else ""
        spooled = f" and {self.spooled} in the spool" if self.spooled else ""
        later = f" and {self.later * 1000:.0f} ms" if self.later else ""
        return f"{self.kind}: {by_itself}after {self.acknowledged} callbacks{spooled}{later}"


def deaths(chance: Random, *, on_disk: bool, commits: bool) -> Iterator[Death]:
    """Draw deaths for ever, of each kind as many.

    ``on_disk``: there is a disk at whose fsync a daemon can die; ``commits``: there are commits.
    """
    while True:
        for kind in chance.sample(KINDS, len(KINDS)):
            yield _death(kind, chance, on_disk=on_disk, commits=commits)


def _death(kind: Kind, chance: Random, *, on_disk: bool, commits: bool) -> Death:
    acknowledged, spooled = chance.randint(1, 30), chance.randint(1, 40)
    if kind == "start":
        start, moment = chance.uniform(0.05, 1.2), _moment("*", 12, chance, on_disk, commits)
        if moment is None or chance.random() < 0.5:
            return Death(kind, start=start)
        return Death(kind, moment=moment)
    if kind == "commit":
        return Death(kind, acknowledged=80, moment=_moment("-wal", 60, chance, on_disk, commits))
    if kind == "load":
        return Death(kind, acknowledged=2 * acknowledged, later=chance.uniform(0, 0.02))
    if kind == "delivery":
        return Death(kind, acknowledged=80, moment=ArrivalDeath(2 * acknowledged))
    if kind == "spool":
        moment = _moment("spool", 10, chance, on_disk, commits=False)
        return Death(kind, acknowledged=acknowledged, spooled=spooled, moment=moment)
    # Or at the removal of a drained file, which a power cut undoes.
    moment = _moment("spool", 16, chance, on_disk, commits=False)
    later = chance.uniform(0.01, 1.2)
    return Death(
        kind,
        acknowledged=acknowledged,
        spooled=spooled,
        later=later,
        moment=moment if chance.random() < 0.5 else None,
    )


def _moment(
    pattern: str, most: int, chance: Random, on_disk: bool, commits: bool
) -> SyncDeath | CommitDeath | None:
    nth = chance.randint(1, most)
    if commits:
        return CommitDeath(nth, chance.choice(("before", "after")))
    return SyncDeath(pattern, nth, chance.choice(STAGES)) if on_disk else None
