"""The documents, read once."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True)
class Document:
    """One Markdown file."""

    path: Path
    text: str

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def prose(self) -> str:
        """Everything but the fenced blocks."""
        return _BLOCK.sub("", self.text)

    def blocks(self, language: str) -> list[str]:
        return [body for named, body in _BLOCK.findall(self.text) if named == language]

    def spans(self) -> list[str]:
        """Return the texts between single backticks."""
        return _SPAN.findall(self.prose)

    def section(self, heading: str) -> str:
        """The text below a heading of the second level."""
        return self.text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def documents() -> list[Document]:
    paths = [path for path in ROOT.rglob("*.md") if not _is_hidden(path)]
    return [Document(path, path.read_text()) for path in sorted(paths)]


@pytest.fixture(scope="session")
def readme() -> Document:
    return Document(ROOT / "README.md", (ROOT / "README.md").read_text())


@pytest.fixture(scope="session")
def targets() -> set[str]:
    """The targets of the Makefile."""
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(ROOT).parts)
