"""The operations that the command line and the admin API share, and the JSON that both print."""

from reconciler.operations.actor import Actor
from reconciler.operations.deliveries import (
    Redelivered,
    redeliver,
    redeliver_dead,
    redeliver_since,
)
from reconciler.operations.processes import (
    Rechecked,
    forget,
    import_batch,
    recheck,
    recheck_overdue,
    register,
    track,
)

__all__ = [
    "Actor",
    "Rechecked",
    "Redelivered",
    "forget",
    "import_batch",
    "recheck",
    "recheck_overdue",
    "redeliver",
    "redeliver_dead",
    "redeliver_since",
    "register",
    "track",
]
