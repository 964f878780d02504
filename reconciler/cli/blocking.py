"""Long work of a command that blocks its loop, on which nothing else runs."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt where the work is; the loop would hear it only after."""
    if threading.current_thread() is not threading.main_thread():  # no signal arrives there
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
