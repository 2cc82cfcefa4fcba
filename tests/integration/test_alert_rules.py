"""The alert rules, by Prometheus' own judgement: each fires where it should, and not where it should not.

The rule: what is fed and expected lies in ``alerts/``, a file an alert.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ingest.telemetry.metrics import SUPERVISOR, WORKERS
from tests.support.promtool import Promtool

RULES = Path(__file__).parents[2] / "docs" / "monitoring" / "alerts.yml"
CASES = Path(__file__).parent / "alerts"

LABELS = {metric.full_name: set(metric.labels) for metric in (*SUPERVISOR, *WORKERS)}

#: What Prometheus adds to every series, and to a histogram's.
ADDED = {"instance", "le"}


def alerts() -> list[str]:
    (group,) = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule["alert"] for rule in group["rules"]]


def cases(alert: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load((CASES / f"{alert}.yml").read_text(encoding="utf-8"))["tests"])


def test_the_rules_are_rules(promtool: Promtool) -> None:
    assert f"{len(alerts())} rules found" in promtool("check", "rules", RULES)


@pytest.mark.parametrize("alert", alerts())
def test_an_alert_fires_where_it_should_and_nowhere_else(promtool: Promtool, alert: str) -> None:
    assert "SUCCESS" in promtool("test", "rules", CASES / f"{alert}.yml")


def test_every_alert_has_its_cases_and_nothing_else_has() -> None:
    assert {path.stem for path in CASES.iterdir()} == set(alerts())


@pytest.mark.parametrize("alert", alerts())
def test_every_alert_is_expected_and_also_expected_not_to_come(alert: str) -> None:
    expected = [test["exp_alerts"] for case in cases(alert) for test in case["alert_rule_test"] if test["alertname"] == alert]
    assert any(expected), "it never fires"
    assert any(all(not test["exp_alerts"] for test in case["alert_rule_test"]) for case in cases(alert)), "nothing keeps it quiet"


@pytest.mark.parametrize("alert", alerts())
def test_cases_are_made_of_metrics_that_there_are(alert: str) -> None:
    for case in cases(alert):
        for series in case["input_series"]:
            name, _, labels = series["series"].rstrip("}").partition("{")
            given = {label.partition("=")[0].strip() for label in labels.split(",")}
            assert LABELS[name.removesuffix("_bucket")] == given - ADDED, series
