# SPDX-License-Identifier: Apache-2.0
"""
packaging/prometheus: the rules name only what flowd exports, and docs/monitoring.md has a section for each
alert. test/deploy has their tests, and a Prometheus that reads them.
"""

import re
import subprocess

import pytest

from lab.api_client import Api
from lab.daemon_config import base_config
from lab.exposition import documented, scrape
from lab.netns import Pair
from lab.programs import program
from lab.promql import grouped_by, matchers_in, metrics_in, selects
from lab.rules_file import ROOT, RULES, TESTS, rule_expressions, rules
from lab.waiting import DEADLINE_S
from test_dashboard import expressions

MONITORING = ROOT / "docs" / "monitoring.md"
# What Prometheus adds by itself.
ADDED = {"job", "instance"}


def test_rules():
    done = subprocess.run([program("promtool"), "check", "rules", RULES], capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rule_expressions())} rules found" in done.stdout


@pytest.mark.parametrize("alert", sorted(rules("alert")))
def test_each_alert(alert):
    """It has a test that expects it, a severity, and a section of the manual."""
    text = rules("alert")[alert]
    assert f'alertname="{alert}"' in TESTS.read_text()
    severity = re.search(r"severity: (\w+)", text)[1]
    assert severity in ("critical", "warning")
    assert re.search(r"manual: (\S+)", text)[1] == f"monitoring.md#{alert.lower()}"
    headings = re.findall(r"(?m)^### (\w+)\n\n(.*)", MONITORING.read_text())
    assert [first.split(",")[0] for heading, first in headings if heading == alert] == [severity.capitalize()]


@pytest.mark.parametrize("expression,matchers", [
    ('sum by (a) (rate(x{b="c",d!~"e|f"}[1m])) / y', [("x", [("b", "=", "c"), ("d", "!~", "e|f")])])])
def test_matchers_of_an_expression(expression, matchers):
    assert matchers_in(expression) == matchers and grouped_by(expression) == {"a"}
    assert selects({"b": "c"}, matchers[0][1]) and not selects({"b": "c", "d": "f"}, matchers[0][1])


@pytest.fixture
def exporting(pair, make_flowd, directory, pin_path):
    """A daemon with every module that the rules are about."""
    config = base_config(directory, pin_path)
    config["plugins"].update(firefly={}, netlink={"experiment": 3, "activity": 5})
    config["backends"].update(firefly={"collectors": [Pair.FAR4]}, log={"path": str(directory / "flows")}, prometheus={})
    config["enrichers"] = {"netlink": {}}
    return make_flowd(pair.near, config).start()


def series_of(metrics):
    """Name to the labels of each of its series; those of a flow are there without a flow, too."""
    found = {}
    for name, labels in metrics.samples:
        found.setdefault(name, []).append(dict(labels))
    for name in documented():
        found.setdefault(name, [{"exp": "e", "act": "a", "src": "s", "dst": "d", "flow": "1:2"}])
    return {"up": [{"job": "flowd"}], **found}


def test_names_and_labels(pair, exporting):
    """Of the rules and of the dashboard: each selector finds a series, each grouping is by labels that there are."""
    series = series_of(scrape(Api(pair.near, port=9000)))
    recorded = set(rules("record"))
    every = rule_expressions() + expressions()
    labels = {label for its in series.values() for one in its for label in one} | ADDED
    asked = set()
    for expression in every:
        assert metrics_in(expression) <= series.keys() | recorded, expression
        assert grouped_by(expression) <= labels, expression
        for metric, matchers in matchers_in(expression):
            own = [matcher for matcher in matchers if matcher[0] not in ADDED]
            assert {label for label, _, _ in own} <= {label for one in series[metric] for label in one}, expression
            assert any(selects(one, own) for one in series[metric]), (expression, own)
            asked.add(metric)
    assert len(asked) > 10
