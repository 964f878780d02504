"""The errors of the store."""


class StoreError(Exception):
    """The store cannot be opened or used. Its text is one line that says what to do."""


class StoreAbsentError(StoreError):
    """There is no store yet, and none may be created."""


class StoreUnavailableError(StoreError):
    """The store cannot take a write now; it may a moment later."""


class StoreConflictError(StoreUnavailableError):
    """The transaction conflicted with another one; it can be repeated at once."""
