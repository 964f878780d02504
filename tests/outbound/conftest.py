"""Outgoing calls, against the Assure that its client's tests play."""

from tests.assure.conftest import room

__all__ = ["room"]
