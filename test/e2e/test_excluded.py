# SPDX-License-Identifier: Apache-2.0
"""excludeNetworks: flows with both ends in them send no fireflies, and others do."""

import pytest

from lab.api_client import Api, event
from lab.collector import Collector
from lab.daemon_config import base_config
from lab.flowd_process import one_shot
from lab.netns import Pair

PORT = 10515
# Both ends in one network, in two of them, one end only, and none; an IPv6 and an IPv4 of each.
ENDS = {
    1: ("2001:db8:1::1", "2001:db8:1::2", True), 2: ("2001:db8:1::1", "2001:db8:2::1", True),
    3: ("2001:db8:1::1", "2001:db8:3::1", False), 4: ("2001:db8:3::1", "2001:db8:2::1", False),
    5: ("198.51.100.1", "198.51.100.2", True), 6: ("203.0.113.129", "198.51.100.2", True),
    7: ("198.51.100.1", "203.0.113.1", False), 8: ("203.0.113.1", "203.0.113.2", False),
}
NETWORKS = ["2001:db8:1::/48", "2001:db8:2::/48", "198.51.100.0/24", "203.0.113.128/25"]


@pytest.fixture
def daemon(pair, make_flowd, directory):
    config = base_config(directory)
    config["backends"]["firefly"] = {"sendToDestination": True, "collectors": [f"{Pair.FAR4}:{PORT}"],
                                     "excludeNetworks": NETWORKS}
    made = make_flowd(pair.near, config).start()
    made.api = Api(pair.near)
    return made


def announce(daemon, port):
    src, dst, _ = ENDS[port]
    return daemon.api.post(event(src, port, dst, 2)).expect(201).json["backends"]["firefly"]


def test_flows_between_excluded_networks(pair, daemon):
    excluded = {port for port, ends in ENDS.items() if ends[2]}
    with Collector(pair.far, Pair.FAR4, PORT) as collector:
        said = {port: announce(daemon, port) for port in ENDS}
        assert {port for port, word in said.items() if word == "excluded"} == excluded, said
        for one in daemon.api.flows():
            daemon.api.delete(f"/v1/flows/{one['id']}").expect(200, 204)
        got = collector.wait(2 * (len(ENDS) - len(excluded)))
        assert {(one.flow["src-port"], one.state) for one in got} == {
            (port, state) for port in ENDS if port not in excluded for state in ("start", "end")}
        # Whatever became of those to the destinations: there were none of excluded flows.
        assert daemon.api.module("firefly")["excluded"] == 2 * len(excluded)
        counts = daemon.api.module("firefly")["toDestination"]
        assert counts["sent"] + counts["failed"] == 2 * (len(ENDS) - len(excluded))


def test_reload(pair, daemon):
    with Collector(pair.far, Pair.FAR4, PORT) as collector:
        assert announce(daemon, 1) == "excluded"
        daemon.config["backends"]["firefly"]["excludeNetworks"] = ["2001:db8:3::/48"]
        daemon.reload(daemon.config, expect="reloaded")
        (flow,) = daemon.api.flows()
        daemon.api.delete(f"/v1/flows/{flow['id']}").expect(200, 204)
        assert collector.wait(1)[0].state == "end"
        assert announce(daemon, 2) == "sent"


@pytest.mark.parametrize("network,word", [("2001:db8::1/32", "bits"), ("192.0.2.0/33", "192.0.2.0/33"), ("here", "here")])
def test_what_is_no_network(directory, network, word):
    config = directory / "config.json"
    config.write_text('{"backends": {"firefly": {"excludeNetworks": ["%s"]}}}' % network)
    done = one_shot(directory, "-c", config, "check")
    assert done.returncode == 2 and "backends.firefly.excludeNetworks" in done.stderr and word in done.stderr, done
