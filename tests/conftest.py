"""Fixtures of all tests."""

import gc
import os
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from reconciler.store.open import prepare
from tests.forks import Forks
from tests.postgres import FAST, TEST_SERVER, Databases, running_server


def pytest_configure() -> None:
    """Prepare what the children that tests start inherit.

    They keep bytecode, or each of them would compile the whole program, a quarter of its start.
    Ctrl-C reaches them: a shell that runs us in the background has SIGINT ignored.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False  # the tests themselves, for the other workers and next time
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the garbage collector off the tests while they are made, and afterwards."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Run one worker more than there are cores: many tests wait for a child or for a limit."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have the report of each test say which faults it shows (``tests/faults/table.py``)."""
    for item in items:
        item.user_properties += [("fault", mark.args) for mark in item.iter_markers("fault")]


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite store of this program's schema, to be copied: a migration costs a second."""
    path = tmp_path_factory.mktemp("empty") / "store.db"
    prepare(f"sqlite:///{path}", may_create=True, may_migrate=True)
    return path


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """Starts the program's processes."""
    made = Forks()
    yield made
    made.close()


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    """A PostgreSQL to make databases on: one of our own for each worker, or the one named."""
    if url := os.environ.get(TEST_SERVER):
        yield Databases(url)
        return
    with running_server(*FAST) as server:
        yield server
