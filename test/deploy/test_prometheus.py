# SPDX-License-Identifier: Apache-2.0
"""packaging/prometheus: the rules pass their tests, and fire on what a real flowd says."""

import json
import subprocess

from lab.api_client import Api, event
from lab.daemon_config import base_config
from lab.netns import Pair
from lab.programs import program
from lab.prometheus_server import Prometheus
from lab.rules_file import RULES, TESTS, rule_expressions
from lab.waiting import DEADLINE_S


def test_tests_of_the_rules():
    done = subprocess.run([program("promtool"), "test", "rules", TESTS], capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 0 and "SUCCESS" in done.stdout, done.stdout + done.stderr


def test_alerts_of_a_running_flowd(pair, make_flowd, directory, pin_path):
    """A real Prometheus evaluates every rule without an error, and says what is wrong."""
    config = base_config(directory, pin_path)
    config["backends"].update(firefly={"sendToDestination": False}, prometheus={})
    daemon = make_flowd(pair.near, config).start()
    Api(pair.near).post(event(Pair.NEAR, 1, Pair.FAR, 2)).expect(201)
    broken = dict(config, flows={"tiemout": 5})
    with Prometheus(pair.near, directory, "localhost:9000", rules=[RULES]) as prometheus:
        prometheus.wait("instance:flowd_flows:ratio", lambda found: list(found.values()) == [1 / 262144], "the record")
        prometheus.wait("ALERTS", lambda found: found == {}, "nothing that is wrong")
        daemon.reload(broken, expect="reload refused")

        def pending(alert):
            return lambda found: [dict(one)["alertname"] for one in found] == [alert]

        prometheus.wait('ALERTS{alertstate="pending"}', pending("FlowdReloadRefused"), "the refused reload")
        daemon.config = config
        daemon.write_config()
        daemon.stop()
        prometheus.wait('ALERTS{alertstate="pending"}', pending("FlowdDown"), "the daemon that is gone")
        groups = prometheus.get("/api/v1/rules")["groups"]
        errors = [(rule["name"], rule["lastError"]) for group in groups for rule in group["rules"] if rule.get("lastError")]
        assert errors == [] and sum(len(group["rules"]) for group in groups) == len(rule_expressions()), json.dumps(groups)
