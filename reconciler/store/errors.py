"""The errors of the store."""


class StoreError(Exception):
    """The store cannot be opened or used. Its text is one line that says what to do."""


class StoreUnavailableError(StoreError):
    """The store cannot take a write now; it may a moment later."""


class StoreConflictError(StoreUnavailableError):
    """The transaction conflicted with another one; it can be repeated at once."""
