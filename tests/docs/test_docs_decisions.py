"""Decision records have one form, stand in the index, and are named by the code they explain."""

import re
from pathlib import Path

import pytest

SECTIONS = ["Context", "Decision", "Consequences"]
MOST_WORDS = 400
"""Of one record: a page."""


@pytest.fixture(scope="module")
def records(root: Path) -> list[Path]:
    return sorted((root / "docs" / "decisions").glob("[0-9]*.md"))


@pytest.fixture(scope="module")
def mentions(root: Path) -> dict[str, set[str]]:
    """The numbers of the records that code mentions, each with the files."""
    found: dict[str, set[str]] = {}
    for path in (root / "reconciler").rglob("*.py"):
        for number in re.findall(r"docs/decisions/(\w*)", path.read_text()):
            found.setdefault(number, set()).add(path.relative_to(root).as_posix())
    return found


def test_the_numbers_of_the_records_have_no_gap(records: list[Path]) -> None:
    numbers = [path.name.partition("-")[0] for path in records]
    assert numbers == [f"{number:03}" for number in range(1, len(records) + 1)]


def test_every_record_has_its_title_its_status_and_its_sections(records: list[Path]) -> None:
    for path in records:
        text = path.read_text()
        number = path.name.partition("-")[0]
        assert re.match(rf"# {number}\. \S.*[^.]\n\nStatus: (accepted|replaced by \d+)\.\n\n", text)
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == SECTIONS, path.name
        assert len(text.split()) <= MOST_WORDS, path.name


def test_every_record_is_in_the_index_with_its_title(records: list[Path]) -> None:
    index = (records[0].parent / "README.md").read_text()
    rows = re.findall(r"^\| \[(\d+)\]\((.+)\) \| (.+) \|$", index, re.MULTILINE)
    titles = [path.read_text().partition("\n")[0].removeprefix("# ") for path in records]
    assert [(f"{number}. {title}", file) for number, file, title in rows] == [
        (title, path.name) for title, path in zip(titles, records, strict=True)
    ]


def test_every_record_is_named_by_code_and_code_names_no_other(
    records: list[Path], mentions: dict[str, set[str]]
) -> None:
    numbers = {path.name.partition("-")[0] for path in records}
    assert {number: files for number, files in mentions.items() if number not in numbers} == {}
    assert numbers - mentions.keys() == set()
