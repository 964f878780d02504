"""A coming version of the schema: our migrations, and one more that a test writes."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

from reconciler.store.postgres.migrate import migrate_postgres
from reconciler.store.revision import HEAD, MIGRATIONS
from reconciler.store.sqlite.migrate import migrate_sqlite
from reconciler.store.urls import is_postgres, postgres_url, sqlite_path
from tests.store.conftest import PATIENCE

NEXT = "9000"
"""The revision after HEAD."""


def copied(directory: Path) -> Path:
    """Return a copy of our migrations in ``directory``."""
    ignored = shutil.ignore_patterns("__pycache__")
    return shutil.copytree(MIGRATIONS, directory / "scripts", ignore=ignored)


def follow_up(directory: Path, body: str) -> Path:
    """Return a copy of our migrations in ``directory``, and a next one that does ``body``."""
    scripts = copied(directory)
    head = f'from alembic import op\n\nrevision = "{NEXT}"\ndown_revision = "{HEAD}"\n'
    code = "\n    ".join(dedent(body).strip().splitlines())
    script = scripts / "versions" / f"{NEXT}_next.py"
    script.write_text(f"{head}\n\ndef upgrade() -> None:\n    {code}\n")
    return scripts


def migrate(url: str, scripts: Path) -> None:
    """Migrate the store at ``url`` to ``NEXT``."""
    if is_postgres(url):
        migrate_postgres(*postgres_url(url), scripts, NEXT)
    else:
        migrate_sqlite(sqlite_path(url), scripts, NEXT)


def together(
    children: Callable[..., "subprocess.Popen[str]"], program: str, *arguments: object
) -> list[str]:
    """Run ``program`` in four processes at once; return what each one has said."""
    started = [children(program, *arguments) for _ in range(4)]
    for child in started:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in started:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    said = []
    for child in started:
        output, errors = child.communicate(timeout=PATIENCE)
        assert child.returncode == 0, errors
        said.append(output.strip())
    return sorted(said)
