"""Fixtures of the crash tests."""

from pathlib import Path

import pytest

from tests.torture.disk import NoCompilerError, built


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The disk that forgets; skips where it cannot be built."""
    try:
        return built(tmp_path_factory.mktemp("disk"))
    except NoCompilerError as reason:
        pytest.skip(str(reason))
