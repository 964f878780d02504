"""A PostgreSQL database that daemons of a test share."""

from typing import Any

from tests.postgres import Server


class Place:
    """A database of its own, with the variables that point a daemon at it."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.database = server.create()
        server.admin(f"ALTER DATABASE {self.database} OWNER TO ledger")
        url = server.url(self.database).replace("postgres@", "ledger@")
        self.environ = {
            "RECONCILER_STORE__URL": url,
            "RECONCILER_RECONCILE__CONFIRM_CALLBACKS": "false",  # the store is what is tested
        }

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return self._server.look(self.database, query)

    def is_all_applied(self, callbacks: int) -> bool:
        found = self.rows("SELECT count(*), count(outcome) FROM callbacks")
        return bool(found[0][0] >= callbacks and found[0][0] == found[0][1])

    def assert_each_is_there_once(self, acknowledged: set[str]) -> None:
        """No acknowledged callback is lost, and none was applied twice."""
        kept = self.rows("SELECT process_id, count(*) FROM callbacks GROUP BY 1")
        applied = self.rows(
            "SELECT process_id, count(*) FROM timeline WHERE event = 'callback_applied' GROUP BY 1"
        )
        settled = self.rows("SELECT process_id, duplicates FROM processes WHERE state = 'settled'")
        assert {count for _, count in kept} == {1}
        assert {count for _, count in applied} == {1}
        assert {duplicates for _, duplicates in settled} == {0}
        for found in (kept, applied, settled):
            assert acknowledged - {row[0] for row in found} == set()
