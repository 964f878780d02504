"""The places of the listener: how many connections are open, and which one gives way for another.

When all places are taken and somebody waits, first a connection gives way that was refused and
only lingers, then the one that has been idle longest. A busy one never does.
"""

from typing import Protocol


class Guest(Protocol):
    """A connection that holds a place."""

    def give_way(self) -> bool:
        """Close at once; False where a request or an answer may be on its way."""
        ...


class Waiting(Protocol):
    """Somebody who waits for a place while all are taken."""

    def retry(self) -> None:
        """Look whether there is a place now."""
        ...


class Place:
    """The place of one connection."""

    def __init__(self, places: "Places") -> None:
        self._places = places

    def busy(self) -> None:
        """Keep the place: a request has begun."""
        self._places.forget(self)

    def idle(self, guest: Guest) -> None:
        """Let ``guest`` give way for another, once it has been idle longest."""
        self._places.offer(self, guest, leaves=False)

    def leaving(self, guest: Guest) -> None:
        """Let ``guest`` give way before any that is idle: its last answer is written."""
        self._places.offer(self, guest, leaves=True)

    def free(self) -> None:
        """Give the place back; twice does no harm."""
        self._places.free(self)


class Places:
    """All places, most of them free."""

    def __init__(self, most: int, waiting: Waiting) -> None:
        self._most = most
        self._waiting = waiting
        self._taken: set[Place] = set()
        self._leaving: dict[Place, Guest] = {}
        self._idle: dict[Place, Guest] = {}
        """In the order in which they became idle."""

    @property
    def taken(self) -> int:
        """How many places are taken."""
        return len(self._taken)

    @property
    def are_taken(self) -> bool:
        """Whether no place is free."""
        return len(self._taken) >= self._most

    @property
    def are_busy(self) -> bool:
        """Whether no place is free, and nobody would give way."""
        return self.are_taken and not self._leaving and not self._idle

    def take(self) -> Place:
        """Return a place, which is busy at first."""
        place = Place(self)
        self._taken.add(place)
        return place

    def make_room(self) -> bool:
        """Have one connection give way; False where none can."""
        for guests in (self._leaving, self._idle):
            for place, guest in guests.items():
                if guest.give_way():
                    self.forget(place)
                    return True
        return False

    def offer(self, place: Place, guest: Guest, *, leaves: bool) -> None:
        """Note that ``guest`` can give way from now on."""
        self.forget(place)
        (self._leaving if leaves else self._idle)[place] = guest
        if self.are_taken:
            self._waiting.retry()

    def forget(self, place: Place) -> None:
        """Note that who holds ``place`` cannot give way."""
        self._leaving.pop(place, None)
        self._idle.pop(place, None)

    def free(self, place: Place) -> None:
        """Give ``place`` to the next."""
        self.forget(place)
        if place in self._taken:
            self._taken.discard(place)
            self._waiting.retry()
