"""The revision of the schema: this program's, and how that of a store compares with it."""

from enum import Enum, auto
from pathlib import Path

from sqlalchemy import Connection

from reconciler.store.errors import StoreAbsentError, StoreError

HEAD = "0005"
"""The revision that this program reads and writes; a test holds it against the migrations."""

MIGRATIONS = Path(__file__).parent / "migrations"

OURS = {"alembic_version", "processes", "callbacks"}
"""Tables that every store of ours has."""


class SchemaState(Enum):
    """How the schema of a store compares with this program's."""

    ABSENT = auto()
    OLDER = auto()
    CURRENT = auto()


def compare(place: object, revision: str, head: str) -> SchemaState:
    """Return how ``revision``, found at ``place``, compares with ``head``.

    Raises StoreError for a newer one.
    """
    if revision > head:
        raise StoreError(
            f"the store {place} has schema {revision}, newer than this program's {head}; "
            "run the newer program, or restore a backup; nothing was changed"
        )
    return SchemaState.CURRENT if revision == head else SchemaState.OLDER


def check_may_change(
    place: object,
    state: SchemaState,
    revision: str | None,
    *,
    may_create: bool,
    may_migrate: bool,
) -> None:
    """Raise StoreError where the store at ``place`` needs a change that is not allowed."""
    if state is SchemaState.ABSENT and not may_create:
        raise StoreAbsentError(f"there is no store at {place}; `reconciler init-db` creates one")
    if state is SchemaState.OLDER and not may_migrate:
        raise StoreError(
            f"the store {place} has the older schema {revision}; run `reconciler init-db`"
        )


def upgrade(connection: Connection, place: object, scripts: Path, head: str) -> None:
    """Run the migrations up to ``head`` in the caller's transaction. Raises StoreError."""
    from alembic import command  # noqa: PLC0415 (a third of a second that a start must not pay)
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, head)
    except CommandError as error:
        raise StoreError(f"cannot migrate the store {place}: {error}") from error
