"""`make mutants` says what it has seen: shown with breaks that cost next to nothing to try."""

import pytest

from tests.mutants import breaks
from tests.mutants.__main__ import try_all
from tests.mutants.breaks import Break, Edit
from tests.mutants.copies import ROOT, BreakError

LONGER = Edit("reconciler/ledger/policy.py", "SECOND = 1_000\n", "SECOND = 2_000\n")
SECOND = "from reconciler.ledger.policy import SECOND"
LOOKS = f"-c '{SECOND}; assert SECOND == 1000'"
SEES_NOTHING = "-c pass"


def said(*caught_by: str, edit: Edit = LONGER) -> list[bool]:
    rows = try_all([Break("a longer second", (edit,), caught_by)], lambda _: None)
    return [bool(noticed) for _, _, noticed, _ in rows]


@pytest.mark.parametrize("each", breaks.ALL, ids=lambda each: each.name)
def test_the_text_that_a_break_replaces_stands_in_the_code_once(each: Break) -> None:
    for edit in each.edits:
        text = (ROOT / edit.file).read_text()
        assert text.count(edit.old) == 1, edit
        compile(text.replace(edit.old, edit.new), edit.file, "exec")


def test_a_break_is_caught_only_by_a_command_that_fails_in_the_broken_copy() -> None:
    assert said(LOOKS, SEES_NOTHING) == [True, False]


@pytest.mark.parametrize(
    ("edit", "command", "told"),
    [
        (Edit(LONGER.file, "MINUTES", "HOURS"), LOOKS, "0 times"),
        (LONGER, "-c 'raise SystemExit(1)'", "without a break"),
        (LONGER, f"-c '{SECOND}; raise SystemExit(SECOND // 1000 * 5 - 5)'", "exit code 5"),
    ],
    ids=["a rotten break", "a command that always fails", "a command that tests nothing"],
)
def test_what_would_prove_nothing_is_an_error(edit: Edit, command: str, told: str) -> None:
    with pytest.raises(BreakError, match=told):
        said(command, edit=edit)


def test_a_break_that_nobody_is_to_catch_is_an_error() -> None:
    with pytest.raises(BreakError, match="longer second"):
        said()
