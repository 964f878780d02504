"""Performance figures of the daemon: ratios taken in one run, and sizes. See README.md here."""
