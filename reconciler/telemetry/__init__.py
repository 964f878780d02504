"""What the daemon tells of itself: the log, its catalogue of events, and what may not be in it.

Importing the package imports nothing; structlog comes with ``reconciler.telemetry.logging``.
"""
