"""Everything that the documents name in backticks exists: keys, commands, files, identifiers."""

import re
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer

from reconciler import cli
from reconciler.admin.build import document
from reconciler.cli import errors
from reconciler.cli.app import app
from reconciler.config import load
from reconciler.config.models import Settings
from reconciler.config.schema import locate
from reconciler.config.urls import REDACTED
from tests.postgres import TEST_SERVER

_PATH = re.compile(r"\.?\w[\w.-]*(/[\w.-]+)*/?")
_FILE = re.compile(r".*(/|\.(py|md|toml))$")
_IDENTIFIER = re.compile(r"[a-z]+(_[a-z0-9]+)+|[a-z]+([A-Z][a-z]+)+|[A-Z][a-z]+([A-Z][a-z]+)+")


@pytest.fixture(scope="module")
def options() -> dict[str, set[str]]:
    """The options of each command."""
    cli._register()
    group: Any = typer.main.get_command(app)
    return {
        name: {option for parameter in command.params for option in parameter.opts}
        for name, command in group.commands.items()
    }


@pytest.fixture(scope="module")
def words(root: Path) -> set[str]:
    """Every word of the code, of the sample configuration and of the build file."""
    mine = Path(__file__).parent
    files = [root / "pyproject.toml", *(root / "config").glob("*.toml")]
    for folder in ("reconciler", "tests", "benchmarks"):
        files += [path for path in (root / folder).rglob("*.py") if mine not in path.parents]
    return {word for path in files for word in re.findall(r"\w+", path.read_text())}


@pytest.fixture(scope="module")
def spans(documents: list[Any]) -> list[tuple[Any, str]]:
    """Every span with its document; the changelog may name what is gone."""
    told = [document for document in documents if document.name != "CHANGELOG.md"]
    return [(document, span) for document in told for span in document.spans()]


Spans = list[tuple[Any, str]]


def unknown(spans: Spans, is_wrong: Callable[[Any, str], bool]) -> list[str]:
    return sorted(
        {f"{document.name}: {span}" for document, span in spans if is_wrong(document, span)}
    )


def is_no_key(path: tuple[str, ...]) -> bool:
    field, beyond = locate(path)
    return field is None or bool(beyond)


def test_every_configuration_key_is_one(spans: Spans) -> None:
    def is_wrong(_: Any, span: str) -> bool:
        if re.fullmatch(r"\[[a-z_.]+\]", span) and span != REDACTED:
            return is_no_key(tuple(span.strip("[]").split(".")))
        path = tuple(span.split("."))
        is_dotted = re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", span) and not _FILE.fullmatch(span)
        return bool(is_dotted) and path[0] in Settings.model_fields and is_no_key(path)

    assert unknown(spans, is_wrong) == []


def test_every_environment_variable_is_one(spans: Spans) -> None:
    def is_wrong(_: Any, span: str) -> bool:
        name = re.fullmatch(r"\$?RECONCILER_([A-Z_]+)(=.*)?", span)
        if not name or name[1] == "CONFIG" or name[0] == TEST_SERVER:
            return False
        return is_no_key(tuple(name[1].lower().split("__")))

    assert unknown(spans, is_wrong) == []


def test_every_command_and_option_is_one(spans: Spans, options: dict[str, set[str]]) -> None:
    # --quick is of ``python -m benchmarks``.
    anywhere = {"--version", "--help", "--quick"}.union(*options.values())

    def is_wrong(_: Any, span: str) -> bool:
        given = {word.partition("=")[0] for word in span.split() if word.startswith("--")}
        command = re.match(r"(?:\.venv/bin/)?reconciler ([a-z][a-z-]*)", span)
        if command:
            return not given <= options.get(command[1], set())
        return span.startswith("--") and not given <= anywhere

    assert unknown(spans, is_wrong) == []


def test_every_module_that_is_to_be_run_is_one(spans: Spans) -> None:
    def is_wrong(_: Any, span: str) -> bool:
        module = re.match(r"(?:\.venv/bin/)?python -m ([\w.]+)", span)
        return module is not None and find_spec(module[1]) is None

    assert unknown(spans, is_wrong) == []


def test_every_make_target_is_one(spans: Spans, targets: set[str]) -> None:
    def is_wrong(_: Any, span: str) -> bool:
        return span.startswith("make ") and span.split()[1] not in targets

    assert unknown(spans, is_wrong) == []


def test_every_path_of_the_api_is_one(spans: Spans) -> None:
    paths = document()["paths"]

    def is_wrong(_: Any, span: str) -> bool:
        call = re.fullmatch(r"(GET|POST|PUT|DELETE) (/[^?]*)(\?.*)?", span)
        return call is not None and call[1].lower() not in paths.get(call[2], {})

    assert unknown(spans, is_wrong) == []


def test_every_file_is_there(spans: Spans, root: Path) -> None:
    def is_wrong(document: Any, span: str) -> bool:
        if not (_PATH.fullmatch(span) and _FILE.fullmatch(span)) and not span.startswith("tests/"):
            return False
        places = (root, root / "reconciler", document.path.parent)
        return not any((place / span).exists() for place in places)

    assert unknown(spans, is_wrong) == []


def test_every_identifier_occurs_in_the_code(spans: Spans, words: set[str]) -> None:
    def is_wrong(_: Any, span: str) -> bool:
        return bool(_IDENTIFIER.fullmatch(span)) and span not in words

    assert unknown(spans, is_wrong) == []


def test_the_configuration_of_the_readme_is_valid(readme: Any, tmp_path: Path) -> None:
    path = tmp_path / "reconciler.toml"
    for text in readme.blocks("toml"):
        path.write_text(text)
        load(path, {})
        # The lines that are commented out must be usable too.
        path.write_text(re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE))
        load(path, {})


def test_the_readme_names_every_command(readme: Any, options: dict[str, set[str]]) -> None:
    assert set(_first_column(readme, "command")) == options.keys()


def test_the_readme_names_every_exit_code(readme: Any) -> None:
    codes = {str(value) for name, value in vars(errors).items() if name.isupper()}
    assert set(_first_column(readme, "exit code")) == codes | {"0"}


def test_the_architecture_names_every_room_and_what_it_imports(
    documents: list[Any], root: Path
) -> None:
    (architecture,) = (each for each in documents if each.name == "docs/architecture.md")
    rows = re.findall(r"^\| `(\w+)/` \| .+ \|(.*) \|$", architecture.section("Rooms"), re.MULTILINE)
    told = {room: set(re.findall(r"`(\w+)/`", imports)) for room, imports in rows}
    rooms = {path.parent.name for path in (root / "reconciler").glob("*/__init__.py")}
    assert told.keys() == rooms
    told["daemon"] = rooms - told["daemon"] - {"daemon"}  # it says "all but"
    assert told == {room: _imported_by(root / "reconciler" / room) - {room} for room in rooms}


def _imported_by(room: Path) -> set[str]:
    found = (
        re.findall(r"^ *(?:from|import) reconciler\.(\w+)", path.read_text(), re.MULTILINE)
        for path in room.rglob("*.py")
    )
    return {name for names in found for name in names}


def test_contributing_says_in_which_file_each_of_twenty_behaviours_is(
    documents: list[Any], root: Path
) -> None:
    (contributing,) = (each for each in documents if each.name == "CONTRIBUTING.md")
    _, _, table = contributing.text.partition("\n### Where is it done?\n")
    rows = re.findall(
        r"^\| (.+) \| (`reconciler/.+`) \|$", table.partition("\n## ")[0], re.MULTILINE
    )
    assert len({behaviour for behaviour, _ in rows}) >= 20
    named = [file for _, files in rows for file in re.findall(r"`([^`]+)`", files)]
    assert [file for file in named if not (root / file).is_file()] == []


def _first_column(readme: Any, heading: str) -> Iterator[str]:
    """Yield what the rows of the table with this heading are about."""
    _, _, table = readme.section("Day two").partition(f"| {heading} |")
    for row in table.split("\n\n", 1)[0].splitlines()[2:]:
        first = row.split("|")[1]
        yield from re.findall(r"`([^`]+)`", first) or [first.strip()]
