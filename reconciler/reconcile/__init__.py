"""Finds what is due and calls Assure about it."""
