"""The store's files are removed or replaced while it is open."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.ledger import Rules
from reconciler.store.errors import StoreUnavailableError
from reconciler.store.inbox import Receipt
from reconciler.store.open import Store


@pytest.fixture
def kind() -> str:
    """Files are SQLite's."""
    return "sqlite"


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
@pytest.mark.parametrize("how", ["removed", "replaced"])
@pytest.mark.fault("the store", "loses one of its three files", "store_replaced")
async def test_what_would_be_lost_is_refused(
    store: Store,
    path: Path,
    rules: Rules,
    receipt: Callable[..., Receipt],
    suffix: str,
    how: str,
) -> None:
    await store.inbox.put_many([receipt("p1")])
    file = path.with_name(path.name + suffix)
    aside = file.with_name("aside")
    file.rename(aside)
    if how == "replaced":
        shutil.copy(aside, file)
    late = receipt("p2")
    for refused in (
        store.database.check_identity(),
        store.inbox.put_many([late]),
        store.inbox.prove(),
        store.inbox.apply([late], rules, late.received_at),
        store.views.counts(),
    ):
        with pytest.raises(StoreUnavailableError, match=f"replaced: .*{file.name} was {how}"):
            await refused
    aside.replace(file)
    await store.database.check_identity()
    await store.inbox.put_many([late])
    assert len(await store.inbox.unapplied(late.received_at, 10)) == 2


async def test_a_store_that_is_emptied_and_checkpointed_is_the_same(
    store: Store, receipt: Callable[..., Receipt]
) -> None:
    for number in range(3):
        await store.inbox.put_many([receipt(f"p{number}")])
        await store.database.check_identity()
        assert await store.database.empty_wal()  # type: ignore[attr-defined]
