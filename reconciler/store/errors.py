"""Why the store cannot do what it was asked."""


class StoreError(Exception):
    """The store cannot be opened or used. The text is one line that says what to do."""


class StoreUnavailableError(StoreError):
    """The store did not take a write just now; it may a moment later."""


class StoreConflictError(StoreUnavailableError):
    """Another transaction was in the way of this one; it can be done again at once."""
