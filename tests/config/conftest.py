from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from reconciler.config import ConfigError, Settings, load

Loader = Callable[..., Settings]
Problems = Callable[..., list[str]]


@pytest.fixture
def load_text(tmp_path: Path) -> Loader:
    """Load a configuration from the text of a file and an environment."""

    def load_it(text: str = "", environ: Mapping[str, str] | None = None) -> Settings:
        path = tmp_path / "reconciler.toml"
        path.write_text(text)
        return load(path, environ or {})

    return load_it


@pytest.fixture
def problems_of(load_text: Loader) -> Problems:
    """Return the lines that a configuration is refused with."""

    def refuse(text: str = "", environ: Mapping[str, str] | None = None) -> list[str]:
        with pytest.raises(ConfigError) as refusal:
            load_text(text, environ)
        return list(refusal.value.problems)

    return refuse
