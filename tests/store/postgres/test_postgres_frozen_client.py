"""A daemon that is frozen within a transaction loses its locks."""

import time
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine

from reconciler.store.postgres.database import DRIVER, begin_with_limits
from reconciler.store.urls import postgres_url
from tests.postgres import Databases
from tests.store.conftest import PATIENCE


def test_one_that_stops_between_two_messages_of_a_pipeline_loses_its_locks(
    databases: Databases, database: str
) -> None:
    if int(databases.look(database, "SHOW server_version_num")[0][0]) < 170_000:
        pytest.skip("PostgreSQL has transaction_timeout since 17")
    insert = "INSERT INTO facts VALUES (%s, %s)"
    databases.look(database, insert, ("row", "free"))
    address, _ = postgres_url(databases.url(database))
    engine = create_engine(address, connect_args=DRIVER)
    begin_with_limits(engine, "BEGIN", 1.0)
    free = "SELECT name FROM facts WHERE name = 'row' FOR UPDATE SKIP LOCKED"
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        connection.exec_driver_sql("SELECT 1")  # begins
        driver.pgconn.enter_pipeline_mode()
        driver.pgconn.send_query_params(b"UPDATE facts SET value = 'locked'", None)
        driver.pgconn.send_flush_request()
        driver.pgconn.flush()  # and no more: what would end the statement is never sent
        deadline = time.monotonic() + PATIENCE
        for is_free in (False, True):
            while bool(databases.look(database, free)) is not is_free:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        driver.close()
        with suppress(psycopg.Error):
            connection.invalidate()
    engine.dispose()
