"""A ``replace`` for the dataclasses of this room, at a tenth of the cost of the standard one.

A transition is a chain of copies of a row with forty fields. ``dataclasses.replace`` reads and sets
each by its name; this one copies the whole ``__dict__``. Type checkers see the original and check
names and types.

The reasons: docs/decisions/020.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import replace as replace  # noqa: PLC0414 (so that it is an export)
else:

    def replace(value, /, **changes):
        """Return a copy of ``value``, a frozen dataclass without slots, with ``changes``.

        Raises TypeError for the name of no field.
        """
        fields = value.__dict__
        after = {**fields, **changes}
        if len(after) != len(fields):
            raise TypeError(f"no field of {type(value).__name__}: {changes.keys() - fields.keys()}")
        copy = object.__new__(type(value))
        object.__setattr__(copy, "__dict__", after)  # past the frozen class's own __setattr__
        return copy
