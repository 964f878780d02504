"""Backoff: the base doubles up to its maximum, the jitter only adds; whose policy counts."""

from hypothesis import given
from hypothesis import strategies as st

from reconciler.ledger import Backoff, Policy, Rules
from reconciler.ledger.policy import HOUR, MINUTE, SECOND

backoffs = st.builds(
    Backoff,
    initial=st.integers(SECOND, HOUR),
    factor=st.floats(1, 10),
    max=st.integers(SECOND, 24 * HOUR),
    jitter=st.floats(0, 1),
)


def test_the_waits_between_rounds_double_up_to_the_maximum() -> None:
    backoff = Backoff(initial=5 * MINUTE, factor=2.0, max=HOUR, jitter=0.0)
    waits = [backoff.delay(n, "any") // MINUTE for n in range(1, 8)]
    assert waits == [5, 10, 20, 40, 60, 60, 60]


def test_the_defaults_are_those_of_the_contract() -> None:
    policy = Policy()
    assert policy.backoff == Backoff(initial=300_000, factor=2.0, max=3_600_000, jitter=0.1)
    assert policy.callback_timeout == 900_000
    assert policy.notify_grace == 120_000
    assert policy.give_up_after == 1_209_600_000
    assert policy.confirm_callbacks
    assert list(policy.ladder) == ["notify", "fetch"]


@given(backoffs, st.integers(1, 10_000), st.text(max_size=20))
def test_the_jitter_only_adds(backoff: Backoff, n: int, seed: str) -> None:
    base = min(backoff.initial, backoff.max)
    delay = backoff.delay(n, seed)
    assert base <= delay <= round(backoff.max * (1 + backoff.jitter))
    plain = Backoff(backoff.initial, backoff.factor, backoff.max, jitter=0.0).delay(n, seed)
    assert plain <= delay <= round(plain * (1 + backoff.jitter)) + 1


@given(backoffs, st.integers(1, 1_000))
def test_a_later_round_never_waits_less_before_its_jitter(backoff: Backoff, n: int) -> None:
    plain = Backoff(backoff.initial, backoff.factor, backoff.max, jitter=0.0)
    assert plain.delay(n, "any") <= plain.delay(n + 1, "any")


@given(backoffs, st.integers(1, 100), st.text(max_size=20))
def test_the_same_history_gives_the_same_due_time(backoff: Backoff, n: int, seed: str) -> None:
    assert backoff.delay(n, seed) == backoff.delay(n, seed)


def test_the_jitter_spreads_a_herd() -> None:
    delays = {Backoff().delay(1, f"process-{n}") for n in range(1_000)}
    assert len(delays) > 900
    assert max(delays) - min(delays) > 0.09 * 5 * MINUTE


@given(backoffs)
def test_the_retries_of_a_call_double_from_a_tenth_of_the_initial_wait(backoff: Backoff) -> None:
    first, second, third = (backoff.retry(n) for n in (1, 2, 3))
    assert first == backoff.initial // 10
    assert (second, third) == (2 * first, 4 * first)


@given(backoffs, st.integers(1, 40))
def test_a_retry_never_waits_longer_than_the_initial_wait(backoff: Backoff, n: int) -> None:
    assert 0 < backoff.retry(n) <= backoff.initial
    assert backoff.retry(n) <= backoff.retry(n + 1)
    assert backoff.retry(40) == backoff.initial


def test_the_policy_of_a_provider_is_found_in_any_case_of_letters() -> None:
    own = Policy(callback_timeout=MINUTE)
    rules = Rules(providers={"readid": own})
    assert rules.policy("ReadID") is rules.policy("readid") is own
    assert rules.policy("onfido") is rules.policy(None) is rules.default


def test_a_status_in_neither_list_is_unknown() -> None:
    rules = Rules()
    assert rules.is_unknown("weird")
    assert not rules.is_unknown("Accepted")
    assert not rules.is_unknown("not_matched")
    assert not rules.is_unknown("processing")
