"""Reads the shipped rules and the dashboard once."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "config" / "monitoring"


@pytest.fixture(scope="session")
def prometheus() -> dict[str, Any]:
    """The alerts for Prometheus by name."""
    return _alerts("prometheus-alerts.yml")


@pytest.fixture(scope="session")
def loki() -> dict[str, Any]:
    """The alerts for Loki by name."""
    return _alerts("loki-rules.yml")


@pytest.fixture(scope="session")
def queries() -> dict[str, str]:
    """Every query of the dashboard, by the title of its panel and its letter."""
    dashboard = json.loads((SHIPPED / "grafana-dashboard.json").read_text())
    return {
        f"{panel['title']} {panel['id']} {target['refId']}": target["expr"]
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
    }


def _alerts(file: str) -> dict[str, Any]:
    (group,) = yaml.safe_load((SHIPPED / file).read_text())["groups"]
    alerts = {rule["alert"]: rule for rule in group["rules"]}
    assert len(alerts) == len(group["rules"]), "a name stands twice"
    return alerts
