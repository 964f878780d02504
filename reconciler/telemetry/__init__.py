"""The log with its catalogue of events and its redaction, and the metrics.

Importing the package imports nothing; structlog comes with ``reconciler.telemetry.logging``.
"""
