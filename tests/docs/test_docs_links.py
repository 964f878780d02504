"""Links lead somewhere, and no document tells on what machine it was written."""

import re
import sys
import tempfile
from pathlib import Path
from typing import Any

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_ELSEWHERE = ("http://", "https://", "mailto:")


def anchors(document: Any) -> set[str]:
    """The anchors that GitHub gives to the headings."""
    headings = (heading.lower() for heading in _HEADING.findall(document.prose))
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in headings}


def test_every_relative_link_leads_to_a_file_and_an_anchor_that_are_there(
    documents: list[Any],
) -> None:
    known = {document.path: anchors(document) for document in documents}
    broken = []
    for document in documents:
        for target in _LINK.findall(document.prose):
            if target.startswith(_ELSEWHERE):
                continue
            file, _, anchor = target.partition("#")
            path = (document.path.parent / file).resolve() if file else document.path
            if not path.exists() or (anchor and anchor not in known.get(path, set())):
                broken.append(f"{document.name}: {target}")
    assert broken == []


def test_the_index_links_every_document(documents: list[Any], root: Path) -> None:
    (index,) = (each for each in documents if each.name == "docs/index.md")
    linked = {
        (index.path.parent / target.partition("#")[0]).resolve()
        for target in _LINK.findall(index.prose)
    }
    told = [
        each.path
        for each in documents
        if each.path.parent in {root, root / "docs"} and each != index
    ]
    assert [path.name for path in told if path.resolve() not in linked] == []


def test_no_document_names_a_place_of_the_machine_it_was_written_on(
    documents: list[Any], root: Path
) -> None:
    places = {root, root.parent, Path.home(), Path(tempfile.gettempdir()), Path(sys.prefix)}
    ours = [f"{place}/" for place in places if place.parent != place]
    told = [
        f"{document.name}: {place}"
        for document in documents
        for place in ours
        if place in document.text
    ]
    assert told == []
