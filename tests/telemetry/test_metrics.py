"""The catalogue of metrics agrees with the code and the document, whatever the input."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reconciler
from reconciler.inbound.checks import Rejection, check_text
from reconciler.inbound.tls import _ALERTS
from reconciler.ledger import SettledBy, State
from reconciler.telemetry import metric_catalogue as catalogue
from reconciler.telemetry.event_catalogue import CATALOGUE as EVENTS
from reconciler.telemetry.metric_catalogue import BY_NAME, CATALOGUE, OTHER
from reconciler.telemetry.metrics import Metrics, outcome_of

PACKAGE = Path(reconciler.__file__).parent
DOCUMENT = PACKAGE.parent / "docs" / "metrics.md"
UNITS = ("_seconds", "_bytes", "_total", "_info")
PLAIN = {
    "reconciler_commit_callbacks", "reconciler_spooled_callbacks", "reconciler_processes",
    "reconciler_breaker_state", "reconciler_outbox_pending", "reconciler_outbox_dead",
    "reconciler_connections_full", "reconciler_ready", "reconciler_store_up",
    "reconciler_instances",
}  # fmt: skip
"""Gauges of things and of yes or no, which have no unit."""

hostile = st.one_of(
    st.none(), st.text(max_size=40), st.integers(), st.binary(max_size=8), st.lists(st.text())
)


def series(metrics: Metrics) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
    return {
        (sample.name, tuple(sorted(sample.labels.items())))
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name.startswith("reconciler_")
    }


def total(metrics: Metrics, name: str, /, **labels: str) -> float:
    found = metrics.registry.get_sample_value(name, labels)
    assert found is not None, (name, labels)
    return found


def test_the_document_holds_exactly_the_rendered_table() -> None:
    _, _, rest = DOCUMENT.read_text("utf-8").partition("<!-- metrics: begin -->\n")
    table, _, _ = rest.partition("\n<!-- metrics: end -->")
    assert table == catalogue.table(), "python -m reconciler.telemetry.metric_catalogue prints it"


def test_every_metric_in_the_code_is_in_the_catalogue_and_every_one_of_it_is_in_the_code() -> None:
    own = PACKAGE / "telemetry" / "metric_catalogue.py"
    used = {
        name
        for path in PACKAGE.rglob("*.py")
        if path != own
        for name in re.findall(r'"(reconciler_\w+)"', path.read_text("utf-8"))
    }
    assert used == BY_NAME.keys()


def test_names_say_the_unit_and_counters_end_in_total() -> None:
    for metric in CATALOGUE:
        assert metric.name.startswith("reconciler_")
        assert (metric.kind == "counter") == metric.name.endswith("_total")
        assert metric.name in PLAIN or metric.name.endswith(UNITS), metric.name
        assert metric.meaning.endswith(".")
        assert "|" not in metric.meaning


def test_the_labels_have_the_words_of_the_rooms_they_tell_of() -> None:
    states = BY_NAME["reconciler_processes"].labels["state"]
    by = BY_NAME["reconciler_settlements_total"].labels["by"]
    assert (set(states), set(by)) == (set(State), set(SettledBy))


def test_every_reason_for_a_refusal_is_a_value_of_its_label() -> None:
    found = {
        ast.literal_eval(node.args[-1] if len(node.args) == 4 else node.args[1])
        for path in (PACKAGE / "inbound").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", None) == "Rejection"
        and isinstance(node.args[1], ast.Constant)
    }
    assert set(catalogue.HANDSHAKE_FAILURES) == {"proxy_protocol", "http_request", "timeout"} | {
        *_ALERTS.values()
    }
    of_flaws = {_rejected(text) for text in ("", "x" * 256, "\0", ".")}
    assert found | of_flaws == set(catalogue.REASONS)


def _rejected(process_id: str) -> str:
    with pytest.raises(Rejection) as caught:
        check_text("processId", process_id)
    return caught.value.code


def test_every_repeated_job_is_a_value_of_its_label() -> None:
    named = {
        statement.value.value
        for path in (PACKAGE / "daemon").glob("*.py")
        for job in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(job, ast.ClassDef)
        and any(isinstance(each, ast.AsyncFunctionDef) and each.name == "turn" for each in job.body)
        for statement in job.body
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "name"
        if isinstance(statement.value, ast.Constant)
    }
    assert named == set(BY_NAME["reconciler_job_failures_total"].labels["name"])


def test_every_event_that_is_counted_by_name_is_one() -> None:
    assert Metrics().counted <= {event.name for event in EVENTS}


def test_all_series_are_there_before_anything_happens() -> None:
    metrics = Metrics()
    assert total(metrics, "reconciler_settlements_total", by="notify") == 0
    assert total(metrics, "reconciler_assure_calls_total", verb="token", outcome="denied") == 0
    assert total(metrics, "reconciler_events_total", event="assure_path_suspect") == 0


@settings(deadline=None)  # the machine may be busy
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["debug", "info", "warning", "error", "critical"]),
            st.one_of(
                st.none(),
                st.text(max_size=20),
                st.sampled_from([event.name for event in EVENTS]),
                st.sampled_from(sorted(Metrics().counted)),
            ),
            st.dictionaries(
                st.sampled_from(["by", "job", "verb", "error", "reason", "event", "target"]),
                st.one_of(hostile, st.sampled_from(["fetch", "token", "callback", "sweep"])),
            ),
        ),
        max_size=10,
    )
)
def test_no_line_of_the_log_whatever_it_says_makes_a_series(
    lines: list[tuple[str, str | None, dict[str, Any]]],
) -> None:
    metrics = Metrics()
    before = series(metrics)
    for level, event, fields in lines:
        metrics.note(level, event, fields)
    assert series(metrics) == before


@settings(deadline=None)  # the machine may be busy
@given(st.one_of(st.none(), st.integers(0, 999)), st.one_of(st.none(), st.text(max_size=20)))
def test_every_outcome_of_a_call_is_a_value_of_its_label(
    http_status: int | None, error: str | None
) -> None:
    assert outcome_of(http_status, error) in catalogue.OUTCOMES


def test_calls_are_counted_by_what_was_called_and_what_came_of_it() -> None:
    metrics = Metrics()
    for verb, http_status, error in [
        ("fetch", 200, None), ("fetch", 404, None), ("notify", 429, None), ("fetch", 503, None),
        ("fetch", None, "timeout"), ("fetch", None, "dns"), ("token", 401, None),
        ("notify", 409, None), ("fetch", 200, "bad_encoding"), ("deliver", 200, None),
        ("ping", 200, None),
    ]:  # fmt: skip
        told = {"verb": verb, "http_status": http_status, "error": error, "duration_ms": 300}
        metrics.note("debug", "outbound_call", told)
    counted = {
        (verb, outcome): total(metrics, "reconciler_assure_calls_total", verb=verb, outcome=outcome)
        for verb in ("fetch", "notify", "token")
        for outcome in catalogue.OUTCOMES
    }
    assert {call for call, count in counted.items() if count == 1} == {
        ("fetch", "ok"), ("fetch", "not_found"), ("notify", "throttled"),
        ("fetch", "server_error"), ("fetch", "timeout"), ("fetch", "unreachable"),
        ("token", "denied"), ("notify", "refused"), ("fetch", "unreadable"),
    }  # fmt: skip
    assert sum(counted.values()) == 9
    assert total(metrics, "reconciler_assure_call_seconds_sum", verb="token") == 0.3


def test_warnings_are_counted_by_event_and_a_stranger_among_them_as_other() -> None:
    metrics = Metrics()
    metrics.note("warning", "assure_path_suspect", {})
    metrics.note("error", "no event of ours", {})
    metrics.note("info", "process_settled", {"by": "notify"})
    assert total(metrics, "reconciler_events_total", event="assure_path_suspect") == 1
    assert total(metrics, "reconciler_events_total", event=OTHER) == 1
    assert total(metrics, "reconciler_settlements_total", by="notify") == 1
    assert total(metrics, "reconciler_process_changes_total", change="settled") == 1


def test_deliveries_lost_callbacks_and_failed_jobs_are_counted() -> None:
    metrics = Metrics()
    for outcome, level in (("succeeded", "info"), ("failed", "warning"), ("dead", "error")):
        metrics.note(level, f"delivery_{outcome}", {"duration_ms": 20})
    metrics.note("error", "callback_not_durable", {"count": 7})
    metrics.note("error", "job_failed", {"job": "sweep"})
    metrics.note("info", "callback_spooled", {"process_id": "p"})
    for outcome in ("succeeded", "failed", "dead"):
        assert total(metrics, "reconciler_deliveries_total", outcome=outcome) == 1
    assert total(metrics, "reconciler_delivery_seconds_sum") == pytest.approx(0.06)
    assert total(metrics, "reconciler_callbacks_lost_total") == 7
    assert total(metrics, "reconciler_job_failures_total", name="sweep") == 1
    assert total(metrics, "reconciler_callbacks_kept_total", where="spool") == 1
