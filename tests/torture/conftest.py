"""Fixtures of the crash tests."""

from pathlib import Path

import pytest

from tests.torture.disk import NoCompilerError, built


@pytest.fixture(scope="session")
def library_or_reason(tmp_path_factory: pytest.TempPathFactory) -> Path | str:
    """The disk that forgets, or why it cannot be built."""
    try:
        return built(tmp_path_factory.mktemp("disk"))
    except NoCompilerError as reason:
        return str(reason)


@pytest.fixture
def library(library_or_reason: Path | str) -> Path:
    """The disk that forgets; skips where it cannot be built."""
    if isinstance(library_or_reason, str):
        pytest.skip(library_or_reason)
    return library_or_reason


@pytest.fixture
def library_if_any(library_or_reason: Path | str) -> Path | None:
    """The disk that forgets; without it daemons die at fewer moments."""
    return None if isinstance(library_or_reason, str) else library_or_reason
