"""What all tests stand on."""

import signal


def pytest_configure() -> None:
    """Let Ctrl-C reach the children that tests start.

    A shell that runs us in the background has SIGINT ignored, and a child inherits that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
