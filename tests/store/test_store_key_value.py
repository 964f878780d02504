"""Single values under a name."""

from reconciler.store.open import Store


async def test_a_value_is_kept_until_it_is_replaced(store: Store) -> None:
    assert await store.key_values.get("a") is None
    for name, value in (("a", "1"), ("b", "2"), ("b", "3"), ("c", "4")):
        await store.key_values.put(name, value)
    assert [await store.key_values.get(name) for name in "abcd"] == ["1", "3", "4", None]
