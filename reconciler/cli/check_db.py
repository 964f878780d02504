"""``check-db``: is the store sound?"""

from collections.abc import Iterable
from typing import Any

import typer

from reconciler.cli.app import ConfigOption, JsonOption, app, chosen
from reconciler.cli.errors import FAILED, CommandError, complain
from reconciler.cli.output import plain, print_json, print_lines, progress_bar
from reconciler.cli.session import opened_store
from reconciler.store.maintenance.check import StoreCheck, damage
from reconciler.store.maintenance.invariants import Violation
from reconciler.store.revision import HEAD
from reconciler.store.sqlite.database import SqliteDatabase

MOST_TOLD = 1_000
"""Findings that are told one by one; the others are counted."""


class _Report:
    """Prints findings as they come, or keeps them for one JSON."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self.found = 0
        self.told: list[dict[str, Any]] = []

    def add(self, findings: Iterable[Violation]) -> None:
        for finding in findings:
            self.found += 1
            if self.found > MOST_TOLD:
                continue
            if self._as_json:
                self.told.append(
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
    """Look through the whole store: the file, the schema, and the rules that every row obeys.

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
        more = report.found - len(report.told)
        print_json(
            {
                "ok": not report.found,
                "revision": HEAD,
                "rows": rows,
                "findings": report.told,
                "more": more,
            }
        )
    looked = ", ".join(f"{count} {table}" for table, count in rows.items())
    if report.found > MOST_TOLD and not json:
        complain(f"{report.found - MOST_TOLD} more")
    if report.found:
        raise CommandError(FAILED, f"{report.found} findings in {looked}")
    if not json:
        complain(f"nothing is wrong: {looked}")
