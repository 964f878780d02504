"""Every timeline entry is logged under its own name."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import structlog
from structlog.testing import CapturingLogger
from structlog.typing import FilteringBoundLogger

from reconciler.ledger import Registration, Rules
from reconciler.store.announce import announce
from reconciler.store.inbox import Receipt
from reconciler.store.open import Store
from tests.clock import NOW


@pytest.fixture
def lines() -> CapturingLogger:
    return CapturingLogger()


@pytest.fixture
def log(lines: CapturingLogger) -> FilteringBoundLogger:
    every_level = structlog.make_filtering_bound_logger(0)
    log: FilteringBoundLogger = structlog.wrap_logger(
        lines, processors=[], wrapper_class=every_level
    )
    return log


async def test_each_entry_is_one_line_with_its_process_and_without_empty_members(
    store: Store,
    rules: Rules,
    receipt: Callable[..., Receipt],
    log: FilteringBoundLogger,
    lines: CapturingLogger,
) -> None:
    done = await store.registry.register([Registration("p1", "d1")], rules, NOW, whole=True)
    callback = receipt("p1", "mystery", dossier_id="d1")
    await store.inbox.put_many([callback])
    changes = [*done.changes, *await store.inbox.apply([callback], rules, NOW)]
    announce(log, changes)
    about = {"process_id": "p1", "dossier_id": "d1"}
    assert [(call.method_name, call.kwargs) for call in lines.calls] == [
        ("info", {"event": "process_registered", **about}),
        ("debug", {"event": "callback_applied", **about, "status": "mystery"}),
        (
            "warning",
            {"event": "status_unknown", **about, "status": "mystery", "source": "callback"},
        ),
    ]


async def test_a_callback_without_a_process_is_told_with_the_dossier_that_it_names(
    store: Store,
    rules: Rules,
    receipt: Callable[..., Receipt],
    log: FilteringBoundLogger,
    lines: CapturingLogger,
) -> None:
    await store.inbox.put_many([callback := receipt("p9", dossier_id="d9")])
    changes = await store.inbox.apply([callback], replace(rules, adopt_unknown=False), NOW)
    announce(log, changes)
    assert [call.kwargs for call in lines.calls] == [
        {
            "event": "callback_unmatched",
            "process_id": "p9",
            "dossier_id": "d9",
            "status": "accepted",
        }
    ]
