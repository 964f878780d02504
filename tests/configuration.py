"""The configuration in force, as tests want it."""

from reconciler.config import InForce, Secrets, in_force, load


def in_force_with(**changes: str) -> InForce:
    """Return the defaults with ``changes``, such as ``retention__settled="30d"``."""
    environ = {f"RECONCILER_{key.upper()}": value for key, value in changes.items()}
    return in_force(load(None, environ), Secrets(store_url=""))
