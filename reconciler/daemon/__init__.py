"""Builds one daemon from the configuration, runs its parts, reloads and stops them."""
