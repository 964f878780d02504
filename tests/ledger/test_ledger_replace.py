"""Our ``replace`` does the same as the standard one."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.ledger import Outcome, State, TrackedProcess, Verb
from reconciler.ledger.process import Lease
from reconciler.ledger.replace import replace

PROCESS = TrackedProcess(process_id="p", dossier_id="d", registered_at=1, timeout_from=1)
VALUES: list[Any] = [
    PROCESS,
    Lease(owner="me", verb=Verb.FETCH, begun_at=1, until=2),
    Outcome(PROCESS),
]


@given(value=st.sampled_from(VALUES), data=st.data())
def test_a_copy_is_that_of_the_original(value: Any, data: st.DataObject) -> None:
    names = [field.name for field in dataclasses.fields(value)]
    changes = data.draw(st.dictionaries(st.sampled_from(names), st.none() | st.integers()))
    before = dataclasses.asdict(value)
    copy = replace(value, **changes)
    expected = dataclasses.replace(value, **changes)
    assert (copy, repr(copy), type(copy)) == (expected, repr(expected), type(expected))
    assert dataclasses.asdict(value) == before


@pytest.mark.parametrize("value", VALUES)
def test_the_name_of_no_field_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="statuss"):
        replace(value, statuss="accepted")


def test_a_copy_is_as_frozen_as_its_original() -> None:
    copy = replace(PROCESS, state=State.OVERDUE)
    with pytest.raises(dataclasses.FrozenInstanceError):
        copy.state = State.WAITING  # type: ignore[misc]
    assert hash(copy) == hash(dataclasses.replace(PROCESS, state=State.OVERDUE))
