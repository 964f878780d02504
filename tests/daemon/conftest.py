"""The daemon's own parts, on the stage that the sweeper's tests have built."""

from tests.reconcile.conftest import empty_store, one, play

__all__ = ["empty_store", "one", "play"]
