"""The alert rules pass promtool and agree with the catalogues and the runbook."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from reconciler.telemetry.event_catalogue import CATALOGUE as EVENTS
from reconciler.telemetry.metric_catalogue import BY_NAME, OTHER
from tests.monitoring.conftest import ROOT, SHIPPED

RUNBOOK = ROOT / "docs" / "runbook.md"
STORIES = Path(__file__).parent / "alerts.test.yml"
FIELDS = {event.name: {*event.fields, "level", "timestamp"} for event in EVENTS}
FROM_THE_LIBRARY = {
    "up", "process_resident_memory_bytes", "process_cpu_seconds_total",
}  # fmt: skip
OF_THE_TARGET = {"job", "instance", "le"}
QUIET_AT = "85m"

promtool = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    promtool is None, reason="promtool is not installed (Debian: apt-get install prometheus)"
)


def run(*words: str | Path) -> str:
    assert promtool is not None
    command = [promtool, *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def metrics_in(expression: str) -> set[str]:
    bare = re.sub(r'"[^"]*"', "", expression)
    return set(re.findall(r"\b(?:reconciler|process|python)_\w+|\bup\b", bare))


def is_known(metric: str) -> bool:
    histogram = BY_NAME.get(re.sub(r"_(bucket|sum|count)$", "", metric))
    is_part = histogram is not None and histogram.kind == "histogram"
    return metric in BY_NAME or is_part or metric in FROM_THE_LIBRARY


@needs_promtool
def test_prometheus_takes_the_rules() -> None:
    run("check", "rules", SHIPPED / "prometheus-alerts.yml")


@needs_promtool
def test_prometheus_takes_every_query_of_the_dashboard(
    queries: dict[str, str], tmp_path: Path
) -> None:
    said = {
        f"panel{number}": re.sub(r"\$__rate_interval", "5m", query)
        for number, query in enumerate(queries.values())
    }
    rules = [{"record": name, "expr": query} for name, query in said.items()]
    path = tmp_path / "dashboard.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    run("check", "rules", path)


@needs_promtool
def test_each_alert_fires_when_it_should_and_is_silent_when_all_is_well(
    prometheus: dict[str, Any], tmp_path: Path
) -> None:
    # promtool compares annotations too; what they say is not the matter here.
    bare = [
        {key: value for key, value in rule.items() if key != "annotations"}
        for rule in prometheus.values()
    ]
    rules = tmp_path / "rules.yml"
    rules.write_text(yaml.safe_dump({"groups": [{"name": "reconciler", "rules": bare}]}))
    stories = yaml.safe_load(STORIES.read_text())
    stories["rule_files"] = [str(rules)]
    for story in stories["tests"]:
        if story["alert_rule_test"] == "QUIET":
            story["alert_rule_test"] = [
                {"alertname": name, "eval_time": QUIET_AT, "exp_alerts": []} for name in prometheus
            ]
    path = tmp_path / "stories.yml"
    path.write_text(yaml.safe_dump(stories))
    run("test", "rules", path)


def test_for_every_alert_there_is_a_story_in_which_it_fires(prometheus: dict[str, Any]) -> None:
    stories = yaml.safe_load(STORIES.read_text())["tests"]
    fired = {
        test["alertname"]
        for story in stories
        if story["alert_rule_test"] != "QUIET"
        for test in story["alert_rule_test"]
        if test["exp_alerts"]
    }
    assert fired == set(prometheus)


def test_the_quiet_story_tells_of_every_metric_that_alerts_use(prometheus: dict[str, Any]) -> None:
    stories = yaml.safe_load(STORIES.read_text())["tests"]
    (quiet,) = (story for story in stories if story["name"] == "quiet")
    told = {metric for each in quiet["input_series"] for metric in metrics_in(each["series"])}
    used = {metric for rule in prometheus.values() for metric in metrics_in(rule["expr"])}
    assert told == used


def test_every_metric_of_rules_and_dashboard_exists(
    prometheus: dict[str, Any], queries: dict[str, str]
) -> None:
    expressions = {**{name: rule["expr"] for name, rule in prometheus.items()}, **queries}
    unknown = {
        f"{where}: {metric}"
        for where, expression in expressions.items()
        for metric in metrics_in(expression)
        if not is_known(metric)
    }
    assert unknown == set()
    assert all(metrics_in(expression) for expression in expressions.values())


def test_every_label_value_that_rules_and_dashboard_ask_for_exists(
    prometheus: dict[str, Any], queries: dict[str, str]
) -> None:
    wrong = []
    expressions = [*(rule["expr"] for rule in prometheus.values()), *queries.values()]
    for expression in expressions:
        for metric, selectors in re.findall(r"\b(reconciler_\w+)\{([^}]*)\}", expression):
            name = re.sub(r"_(bucket|sum|count)$", "", metric)
            labels = (BY_NAME.get(metric) or BY_NAME[name]).labels
            for label, asked in re.findall(r'(\w+)[=!]~?"([^"]*)"', selectors):
                if label in OF_THE_TARGET:
                    continue
                unknown = set(asked.split("|")) - {*labels.get(label, ()), OTHER}
                wrong += [f"{metric} {label}={value}" for value in unknown]
    assert wrong == []


def test_every_metric_is_on_the_dashboard(queries: dict[str, str]) -> None:
    shown = {
        name
        for query in queries.values()
        for metric in metrics_in(query)
        for name in (metric, re.sub(r"_(bucket|sum|count)$", "", metric))
    }
    assert BY_NAME.keys() - shown == {"reconciler_store_up"}  # without it the page is empty anyway


def test_every_alert_has_a_paragraph_in_the_runbook_and_every_paragraph_an_alert(
    prometheus: dict[str, Any], loki: dict[str, Any]
) -> None:
    headings = re.findall(r"^## (\w+)$", RUNBOOK.read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(prometheus)
    assert set(loki) <= set(prometheus)


def test_every_paragraph_says_what_it_means_what_to_look_at_and_what_to_do() -> None:
    for paragraph in RUNBOOK.read_text().split("\n## ")[1:]:
        for part in ("**Means.**", "**Look.**", "**Do.**"):
            assert paragraph.count(part) == 1, paragraph.splitlines()[0]


def test_every_alert_leads_to_its_paragraph_and_says_how_urgent_it_is(
    prometheus: dict[str, Any], loki: dict[str, Any]
) -> None:
    for alerts in (prometheus, loki):
        for name, rule in alerts.items():
            place = rule["annotations"]["runbook_url"]
            assert place == f"docs/runbook.md#{name.lower()}"
            assert rule["labels"]["severity"] in ("critical", "warning")
            assert rule["annotations"]["summary"].endswith(".")


def test_an_alert_is_as_urgent_by_the_log_as_by_the_metrics(
    prometheus: dict[str, Any], loki: dict[str, Any]
) -> None:
    for name, rule in loki.items():
        assert rule["labels"] == prometheus[name]["labels"], name


def test_every_event_and_field_of_the_rules_for_loki_exists(loki: dict[str, Any]) -> None:
    for name, rule in loki.items():
        for query in re.findall(r"\{[^}]*\} \| json \|[^\[]*\[", rule["expr"]):
            (asked,) = re.findall(r'\bevent=~?"([^"]*)"', query)
            fields = set(re.findall(r"\b(\w+)!?[=~]+\"", query)) - {"event", "unit", "__error__"}
            fields |= set(re.findall(r"\bunwrap (\w+)", query))
            for event in asked.split("|"):
                assert event in FIELDS, (name, event)
                assert fields <= FIELDS[event], (name, fields - FIELDS[event])
        by = re.findall(r"\bby \((\w+)\)", rule["expr"])
        templates = re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])
        assert set(templates) <= set(by), name


def test_the_rules_for_loki_are_whole_queries(loki: dict[str, Any]) -> None:
    """No tool of ours reads LogQL; this is the shape of every rule."""
    window = r"\[\d+[mh]\]"
    pipeline = r'\{unit="reconciler\.service"\}( \| [^|\[\]]+)+'
    metric = rf"(\w+_over_time\({pipeline} {window}\)|absent_over_time\({pipeline} {window}\))"
    outer = rf"(sum|min|max)( by \(\w+\) )?\({metric}\)( [<>=]+ [\d.]+)?"
    rule_of = re.compile(rf"\(*({outer}|{metric})\)*( (or|unless|and) \(*{outer}\)*)*")
    for name, rule in loki.items():
        expression = re.sub(r'"[^"]*"', lambda quoted: quoted[0].replace("|", "/"), rule["expr"])
        assert expression.count("(") == expression.count(")")
        assert rule_of.fullmatch(expression), name
