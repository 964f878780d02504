"""The settings become the ledger's rules."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from reconciler.config import Settings, load, rules
from reconciler.ledger.policy import Backoff, Policy, Rules, Verb

Loader = Callable[..., Settings]


def test_the_defaults_of_the_file_are_those_of_the_ledger() -> None:
    assert rules(load(None, {})) == replace(Rules(), adopt_unknown=False)


def test_every_key_reaches_the_rules(load_text: Loader) -> None:
    settings = load_text("""
        [assure]
        final_statuses = ["done"]
        pending_statuses = ["open"]
        [reconcile]
        callback_timeout = "1m"
        ladder = ["fetch"]
        notify_grace = "2s"
        confirm_callbacks = false
        backoff = { initial = "3s", factor = 4, max = "5s", jitter = 0.5 }
        give_up_after = "6d"
        [reconcile.providers.ReadID]
        backoff = { jitter = 0 }
        """)
    default = Policy(
        callback_timeout=60_000,
        ladder=(Verb.FETCH,),
        notify_grace=2_000,
        confirm_callbacks=False,
        backoff=Backoff(initial=3_000, factor=4.0, max=5_000, jitter=0.5),
        give_up_after=6 * 86_400_000,
    )
    assert rules(settings) == Rules(
        default=default,
        providers={"readid": replace(default, backoff=replace(default.backoff, jitter=0))},
        final_statuses=frozenset({"done"}),
        pending_statuses=frozenset({"open"}),
        adopt_unknown=False,
    )
    assert rules(settings).policy("READID").backoff.jitter == 0


@pytest.mark.parametrize(
    ("keys", "adopts"),
    [
        ("", False),
        ('authorization = ["Bearer a"]', True),
        ('allow_from = ["10.0.0.0/8"]', True),
        ('authorization = ["Bearer a"]\nunknown_process = "ignore"', False),
        ('trusted_proxies = ["10.0.0.0/8"]', False),
    ],
)
def test_unknown_processes_are_adopted_only_from_who_can_be_told_apart(
    load_text: Loader, keys: str, adopts: bool
) -> None:
    assert rules(load_text(f"[listener]\n{keys}")).adopt_unknown is adopts
