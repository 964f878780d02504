"""``check-db``: checks the whole store."""

from collections.abc import Iterable
from typing import Any

import typer

from reconciler.cli.app import ConfigOption, JsonOption, app, chosen
from reconciler.cli.errors import FAILED, CommandError, say
from reconciler.cli.output import plain, print_json, print_lines, progress_bar
from reconciler.cli.session import opened_store
from reconciler.store.maintenance.check import StoreCheck, damage
from reconciler.store.maintenance.invariants import Violation
from reconciler.store.revision import HEAD
from reconciler.store.sqlite.database import SqliteDatabase

MOST_SHOWN = 1_000
"""Findings that are printed one by one; the others are counted."""


class _Report:
    """Prints findings as they come, or collects them for one JSON document."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self.found = 0
        self.kept: list[dict[str, Any]] = []

    def add(self, findings: Iterable[Violation]) -> None:
        for finding in findings:
            self.found += 1
            if self.found > MOST_SHOWN:
                continue
            if self._as_json:
                self.kept.append(
                    {
                        "table": finding.table or None,
                        "processId": finding.process_id,
                        "what": finding.what,
                        "action": finding.action,
                    }
                )
            else:
                about = finding.process_id or "-"
                print_lines([f"{plain(about)}: {plain(finding.what)}; {finding.action}"])


@app.command("check-db")
def check_db(context: typer.Context, config: ConfigOption = None, json: JsonOption = False) -> None:
    """Check the whole store: the file, the schema, and the rules that every row obeys.

    Changes nothing, and the daemon may run meanwhile. Ends with 1 when something is wrong; each
    finding names the process and what to do.
    """
    report = _Report(as_json=json)
    with opened_store(chosen(context, config), read_only=True) as session:
        database = session.store.database
        check = StoreCheck(database)
        with progress_bar() as progress:
            task = progress.add_task("the file", total=None)
            if isinstance(database, SqliteDatabase):
                report.add(damage(database.path))
            report.add(session.run(check.schema()))
            progress.update(task, description="the rows", total=session.run(check.count()))
            for findings in session.each(check.pages()):
                report.add(findings)
                progress.update(task, completed=sum(check.rows.values()))
    rows = check.rows
    if json:
        more = report.found - len(report.kept)
        print_json(
            {
                "ok": not report.found,
                "revision": HEAD,
                "rows": rows,
                "findings": report.kept,
                "more": more,
            }
        )
    looked = ", ".join(f"{count} {table}" for table, count in rows.items())
    if report.found > MOST_SHOWN and not json:
        say(f"{report.found - MOST_SHOWN} more")
    if report.found:
        raise CommandError(FAILED, f"{report.found} findings in {looked}")
    if not json:
        say(f"nothing is wrong: {looked}")
