"""No sentence of documents, docstrings and comments begins with What, Who or Whoever.

Such a sentence makes its reader wait for the subject.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_HEADING = re.compile(r"^#.*$", re.MULTILINE)
_DELAYED = re.compile(r"(?:^|[.!?]\s+)(?:[-|*#\d. ]+)?(?:What|Who|Whoever)\b[^.]*", re.MULTILINE)


def texts(source: str) -> Iterator[str]:
    """Yield the docstrings and attribute docstrings of a module, and its blocks of comments."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield " ".join(str(node.value.value).split())
    block, last = list[str](), 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if token.start[0] != last + 1:
                yield " ".join(block)
                block = []
            block.append(token.string.lstrip("# "))
            last = token.start[0]
    yield " ".join(block)


def delayed(text: str) -> list[str]:
    """Return the sentences that begin so."""
    return [found[0].strip() for found in _DELAYED.finditer(text)]


def test_no_sentence_of_a_document_delays_its_subject(documents: list[Any]) -> None:
    found = [
        f"{document.name}: {sentence}"
        for document in documents
        if document.name != "CHANGELOG.md"  # which is history
        for sentence in delayed(_HEADING.sub("\n\n", document.prose))
    ]
    assert found == []


@pytest.mark.parametrize("folder", ["reconciler", "tests", "benchmarks"])
def test_no_docstring_or_comment_delays_its_subject(folder: str, root: Path) -> None:
    found = [
        f"{path.relative_to(root)}: {sentence}"
        for path in sorted((root / folder).rglob("*.py"))
        for text in texts(path.read_text())
        for sentence in delayed(text)
    ]
    assert found == []


def test_a_delayed_subject_is_found_wherever_a_sentence_begins() -> None:
    source = (
        '"""Fine. What comes late."""\nx = 1\n"""Whoever reads."""\n# Fine, and\n# what. Who?\n'
    )
    assert [delayed(text) for text in texts(source) if delayed(text)] == [
        [". What comes late"],
        ["Whoever reads"],
        [". Who?"],
    ]
    assert delayed("fine\n- Who does\nsay what is") == ["- Who does\nsay what is"]
