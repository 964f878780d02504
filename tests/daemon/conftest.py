"""The daemon's own parts, on the stage that the sweeper's tests have built."""

from tests.reconcile.conftest import one, play

__all__ = ["one", "play"]
