"""The catalogue of events agrees with the code and with docs/logs.md."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import reconciler
from reconciler.telemetry import event_catalogue as events
from reconciler.telemetry.events import RANK
from reconciler.telemetry.redact import TEXTS_OF_OTHERS, names_a_secret

PACKAGE = Path(reconciler.__file__).parent
DOCUMENT = PACKAGE.parent / "docs" / "logs.md"
METHODS = {"debug", "info", "warning", "error", "critical", "exception"}
CATALOGUE = {event.name: event for event in events.CATALOGUE}
CONTRACT = [
    "ready", "callback_received", "callback_rejected", "process_registered", "process_overdue",
    "notify_requested", "notify_failed", "status_fetched", "fetch_failed", "process_settled",
    "process_gone", "process_expired", "status_conflict", "status_unknown", "callback_mismatch",
    "downtime_detected", "callback_path_suspect", "assure_path_suspect", "breaker_opened",
    "breaker_closed", "delivery_succeeded", "delivery_failed", "delivery_dead",
    "store_unavailable", "spool_drained", "operator_action", "summary",
    "stopping", "stopped",
]  # fmt: skip


@dataclass(frozen=True)
class Use:
    """One place in the code that names an event."""

    place: str
    name: str | None
    """None: an f-string or the like, whose value nobody can look up."""
    level: str | None
    """None: decided at run time, or a timeline entry."""
    fields: frozenset[str]


def uses_in(source: str, file: str) -> list[Use]:
    uses: list[Use] = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        place = f"{file}:{node.lineno}"
        if isinstance(node.func, ast.Name) and node.func.id == "Entry":
            event = _argument(node, 0, "event")
            fields = _keys(_argument(node, 1, "fields"))
            uses += [Use(place, name, None, fields) for name in _names(event)]
        elif isinstance(node.func, ast.Attribute) and _is_log(node.func.value):
            event, level = _log_call(node, node.func.attr)
            fields = frozenset(keyword.arg for keyword in node.keywords if keyword.arg)
            uses += [Use(place, name, level, fields) for name in _names(event)]
    return uses


def _is_log(receiver: ast.expr) -> bool:
    """``log``, ``self._log``, ``logs.logger``, and what ``bind`` makes of one."""
    if isinstance(receiver, ast.Call) and isinstance(receiver.func, ast.Attribute):
        return receiver.func.attr == "bind" and _is_log(receiver.func.value)
    if isinstance(receiver, ast.Attribute):
        return receiver.attr.endswith(("log", "logger"))
    return isinstance(receiver, ast.Name) and receiver.id.endswith(("log", "logger"))


def _log_call(node: ast.Call, method: str) -> tuple[ast.expr | None, str | None]:
    if method == "log":
        return _argument(node, 1, "event"), _level(node.args[0])
    if method in METHODS:
        return _argument(node, 0, "event"), "error" if method == "exception" else method
    return None, None


def _level(node: ast.expr) -> str | None:
    if isinstance(node, ast.Attribute) and node.attr.lower() in METHODS:
        return node.attr.lower()  # logging.WARNING
    if isinstance(node, ast.Constant):
        return next(name for name, rank in RANK.items() if rank == node.value)
    return None


def _argument(node: ast.Call, position: int, keyword: str) -> ast.expr | None:
    if len(node.args) > position:
        return node.args[position]
    return next((each.value for each in node.keywords if each.arg == keyword), None)


def _names(node: ast.expr | None) -> Iterator[str | None]:
    match node:
        case ast.Constant(value=str(name)):
            yield name
        case ast.IfExp(body=body, orelse=orelse):
            yield from _names(body)
            yield from _names(orelse)
        case ast.JoinedStr() | ast.BinOp():
            yield None
        case _:  # a variable: the literal stands where it was made, in an Entry
            return


def _keys(node: ast.expr | None) -> frozenset[str]:
    keys = node.keys if isinstance(node, ast.Dict) else []
    return frozenset(str(key.value) for key in keys if isinstance(key, ast.Constant))


@pytest.fixture(scope="module")
def uses() -> list[Use]:
    files = sorted(PACKAGE.rglob("*.py"))
    return [
        use
        for file in files
        for use in uses_in(file.read_text("utf-8"), str(file.relative_to(PACKAGE.parent)))
    ]


def test_every_event_name_in_the_code_is_a_literal(uses: list[Use]) -> None:
    assert [use.place for use in uses if use.name is None] == []


def test_every_event_in_the_code_is_in_the_catalogue(uses: list[Use]) -> None:
    missing = [f"{use.place} {use.name}" for use in uses if use.name and use.name not in CATALOGUE]
    assert not missing, "\n".join(missing)


def test_every_event_is_logged_at_the_level_of_the_catalogue(uses: list[Use]) -> None:
    wrong = [
        f"{use.place} {use.name} at {use.level}, catalogue: {CATALOGUE[use.name].level}"
        for use in uses
        if use.name in CATALOGUE
        and use.level
        and CATALOGUE[use.name].level not in ("any", use.level)
    ]
    assert not wrong, "\n".join(wrong)


def test_every_field_in_the_code_is_in_the_catalogue(uses: list[Use]) -> None:
    wrong = []
    for use in uses:
        if use.name in CATALOGUE:
            told = {"error" if field == "exc_info" else field for field in use.fields}
            unknown = told - set(CATALOGUE[use.name].fields)
            wrong += [f"{use.place} {use.name} {field}" for field in sorted(unknown)]
    assert not wrong, "\n".join(wrong)


def test_every_event_of_the_catalogue_is_in_the_code(uses: list[Use]) -> None:
    unused = CATALOGUE.keys() - {use.name for use in uses}
    assert not unused, "\n".join(sorted(unused))


def test_the_catalogue_has_every_event_of_the_contract_and_each_once() -> None:
    assert [name for name in CONTRACT if name not in CATALOGUE] == []
    assert len(CATALOGUE) == len(events.CATALOGUE)


def test_the_level_of_an_event_is_the_catalogue_s_and_info_for_an_unknown_one() -> None:
    assert events.level_of("store_unavailable") == 40
    assert events.level_of("nobody_knows") == 20


def test_no_field_of_the_catalogue_would_always_be_redacted() -> None:
    fields = {field for event in events.CATALOGUE for field in event.fields}
    assert [field for field in sorted(fields) if names_a_secret(field)] == []


def test_the_text_of_an_exception_is_logged_only_where_credentials_are_looked_for() -> None:
    wrong = {
        f"{path.relative_to(PACKAGE)}: {field}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for field in fields_with_an_exception(path.read_text("utf-8")) - TEXTS_OF_OTHERS
    }
    assert wrong == set()


def test_the_text_of_an_exception_is_found_in_a_log_call() -> None:
    source = """
log.error("a", reason=str(error), path=str(path), count=len(str(error)))
try: ...
except OSError as trouble:
    self._log.warning("b", note=f"no {trouble}", kind=type(trouble).__name__)
"""
    assert fields_with_an_exception(source) == {"reason", "count", "note"}


def fields_with_an_exception(source: str) -> set[str]:
    tree = ast.parse(source)
    exceptions = _exceptions(tree)
    return {
        keyword.arg
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and _is_log(node.func.value)
        for keyword in node.keywords
        if keyword.arg and _tells(keyword.value, exceptions)
    }


def _exceptions(tree: ast.Module) -> set[str]:
    """Return the names that exceptions have in a file."""
    caught = {node.name for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler)}
    return {"error"} | {name for name in caught if name}


def _tells(value: ast.expr, exceptions: set[str]) -> bool:
    """Tell whether ``value`` has the text of an exception in it: ``str(error)``, f"{error}"."""
    for node in ast.walk(value):
        told: ast.expr | None = None
        if isinstance(node, ast.FormattedValue):
            told = node.value
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"str", "repr"}:
            told = _argument(node, 0, "object")
        if isinstance(told, ast.Name) and told.id in exceptions:
            return True
    return False


def test_every_event_says_what_it_means_and_what_to_do() -> None:
    for event in events.CATALOGUE:
        for text in (event.meaning, event.action):
            assert text.endswith((".", "?")), event.name
            assert "|" not in text, event.name  # it would break the table


def test_the_document_holds_exactly_the_rendered_table() -> None:
    document = DOCUMENT.read_text("utf-8")
    _, _, rest = document.partition("<!-- events: begin -->\n")
    table, _, _ = rest.partition("\n<!-- events: end -->")
    assert table == events.table(), "python -m reconciler.telemetry.event_catalogue prints it"


def test_the_walk_finds_every_way_of_naming_an_event() -> None:
    source = """
log.info("a", x=1)
self._log.bind(y=2).warning("b" if late else "c")
log.log(logging.ERROR, "d"); log.log(level, "e"); log.log(10, "f")
self.log.exception("g", exc_info=error)
Entry("h", {"status": 1}); Entry(event="i")
log.debug(f"j{k}")
log.info(entry.event)
logs.logger.info("k")
catalogue.info("not a log"); math.log(2, "nor this")
"""
    found = {(use.name, use.level, use.fields) for use in uses_in(source, "x.py")}
    none: frozenset[str] = frozenset()
    assert found == {
        ("a", "info", frozenset({"x"})),
        ("b", "warning", none),
        ("c", "warning", none),
        ("d", "error", none),
        ("e", None, none),
        ("f", "debug", none),
        ("g", "error", frozenset({"exc_info"})),
        ("h", None, frozenset({"status"})),
        ("i", None, none),
        (None, "debug", none),
        ("k", "info", none),
    }
