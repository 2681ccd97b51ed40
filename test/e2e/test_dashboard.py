# SPDX-License-Identifier: Apache-2.0
"""docs/dashboards: every expression is PromQL, and every metric in it is one that flowd exports."""

import json
import pathlib
import re
import subprocess

import pytest

from lab.api_client import Api
from lab.daemon_config import base_config
from lab.exposition import documented, scrape
from lab.programs import program
from lab.promql import metrics_in
from lab.waiting import DEADLINE_S

DASHBOARD = pathlib.Path(__file__).parents[2] / "docs" / "dashboards" / "flowd-grafana.json"


def expressions():
    """Those of all panels and variables, with Grafana's variables filled in."""
    document = json.loads(DASHBOARD.read_text())
    found = [target["expr"] for panel in document["panels"] for target in panel.get("targets", [])]
    variables = [one for one in document["templating"]["list"]]
    found += [re.fullmatch(r"label_values\((.*), \w+\)", one["definition"])[1]
              for one in variables if one["type"] == "query"]
    values = {one["name"]: "10" if one["type"] == "custom" else ".*" for one in variables}
    values["__rate_interval"] = "1m"
    return [re.sub(r"\$(\w+)", lambda name: values[name[1]], one) for one in found]


@pytest.mark.parametrize("expression,metrics", [
    ('sum by (a, b) (rate(x_total{c="d_e{",f=~"g"}[1m])) * 8', {"x_total"}),
    ("a / on (b) group_left (c) d and e or 1000", {"a", "d", "e"}),
    ("topk(5, quantile(0.5, a:b)) > bool 0", {"a:b"})])
def test_metrics_of_an_expression(expression, metrics):
    assert metrics_in(expression) == metrics


def test_expressions(directory):
    rules = directory / "rules.json"  # JSON is YAML
    rules.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": [
        {"record": f"panel:{number}", "expr": one} for number, one in enumerate(expressions())]}]}))
    done = subprocess.run([program("promtool"), "check", "rules", rules], capture_output=True, text=True,
                          timeout=DEADLINE_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(expressions())} rules found" in done.stdout


def test_metrics(make_flowd, pair, directory, pin_path):
    config = base_config(directory, pin_path)
    config["backends"].update(firefly={}, prometheus={})
    config["enrichers"] = {"netlink": {}}
    make_flowd(pair.near, config).start()
    exported = scrape(Api(pair.near, port=9000)).names() | documented().keys()
    for expression in expressions():
        metrics = metrics_in(expression)
        assert metrics and metrics <= exported, (expression, metrics - exported)
