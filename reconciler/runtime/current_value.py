"""A holder for one value that is replaced whole, such as the configuration in force."""

from typing import Generic, TypeVar

T = TypeVar("T")


class Current(Generic[T]):
    """Holds the value in force. Parts read ``value`` once when they begin something."""

    def __init__(self, value: T) -> None:
        self.value = value
