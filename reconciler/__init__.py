"""Notices the Assure callback that did not come, asks for it again, and settles every process."""

__version__ = "0.1.0"
