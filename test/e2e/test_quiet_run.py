# SPDX-License-Identifier: Apache-2.0
"""
An ordinary run counts nothing as gone wrong: every number in the status and in the metrics is 0 but
those that are listed here. So a counter that tells what did not happen is found, and a new one has to
be listed or stay 0.
"""

import re

import pytest

from lab.api_client import Api, event, line
from lab.collector import Collector
from lab.daemon_config import base_config
from lab.exposition import Metrics
from lab.netns import Pair
from lab.numbers import numbers
from lab.traffic import Tcp
from lab.waiting import until

COLLECTOR_PORT = 10515
FOUND_PORT = 5201  # of connections that the plugins find by themselves

# What an ordinary run counts: work that was done, and what there is at the moment.
STATUS = [
    r"uptime", r"flows\.(live|max|started|ended)",
    r"events\.(api|namedPipe)\.start\.(started|known)", r"events\.(api|namedPipe)\.end\.ended",
    r"events\.(api|namedPipe)\.ongoing\.known", r"events\.close\.end\.ended",
    r"events\.(netlink|iperf3)\.(start\.(started|known)|end\.ended|ongoing\.known)",
    r"interfaces\.veth0\.index", r"interfaces\.veth0\.packets\.(marked|not-ipv6|other-protocol)",
    r"closures\.(notifications|ended)",
    r"modules\.backend\.marker\.(entries|packetsOfNoFlow)",
    r"modules\.backend\.prometheus\.(connections|connectionsAccepted|answers\.2xx|scrapes\.served|series)",
    r"modules\.backend\.firefly\.collectors\.[\d.:]+\.sent",
    r"modules\.backend\.log\.lines",
    # A flow may be announced before its socket is there, and be asked for when that is closed.
    r"modules\.enricher\.netlink\.(watched|samples|withoutSocket)",
    r"modules\.enricher\.skops\.(watched|samples|records|unwanted)",
    # Connections that are no flow, such as those to the API, and those of other namespaces.
    r"modules\.enricher\.skops\.(withoutFlow|elsewhere)",
    r"modules\.plugin\.namedPipe\.lines",
    r"modules\.plugin\.api\.(connections|connectionsAccepted|answers\.2xx)",
    r"modules\.plugin\.iperf3\.(records|unwanted|elsewhere)",
    r"modules\.plugin\.netlink\.(known|seen|ignored|started|ended|scans|lastScanMs|networks\w*)",
]
METRICS = [
    r"flowd_(build_info|ready|flows|flows_max|flows_started_total|flows_ended_total)\b.*",
    r"flowd_events_total .*result=(started|known|ended)\b.*",
    r"flowd_closure_(notifications|ended_flows)_total", r"flowd_module_up .*",
    r"flowd_marker_packets_total .*result=(marked|not-ipv6|other-protocol|no-flow)",
    r"flowd_marker_interfaces state=attached", r"flowd_marker_entries",
    r"flowd_prometheus_(scrapes_total result=served|scrapes_under_way|series)",
    r"flowd_http_answers_total class=2xx.*", r"flowd_http_(connections_total|open_connections) .*",
    r"flowd_fireflies_total destination=[\d.:]+,result=sent",
    r"flowd_flow_log_lines_total result=written",
    r"flowd_samples_total .*result=(taken|without-socket|without-flow)",
    r"flowd_sockops_records_total .*result=read", r"flowd_sockops_passed_over_total .*",
    r"flowd_watched_flows .*", r"flowd_fifo_lines_total", r"flowd_scans_total result=done",
    r"flowd_scan_(duration_seconds|(known|seen|ignored)_connections|ignored_networks\w*)",
    r"flowd_scan_flows_total result=(started|ended)",
    r"process_.*", r"flow_tcp_.*",
]


def gone_wrong(counted, ordinary):
    """What is not 0 and not listed."""
    expressions = [re.compile(one) for one in ordinary]
    return {path: value for path, value in counted
            if value != 0 and not any(one.fullmatch(path) for one in expressions)}


def series(text):
    for (name, labels), value in Metrics(text).samples.items():
        written = ",".join(f"{key}={its}" for key, its in sorted(labels))
        yield f"{name} {written}".strip(), value


class Run:
    """What an ordinary host does with its connections."""

    def __init__(self, pair, daemon, fireflies):
        self.pair, self.daemon, self.fireflies = pair, daemon, fireflies
        self.api = Api(pair.near)
        self.spaces = {Pair.NEAR: pair.near, Pair.NEAR_OTHER: pair.near, Pair.FAR: pair.far,
                       Pair.NEAR4: pair.near, Pair.FAR4: pair.far}
        self.ended = 0

    def wait_end(self):
        self.ended += 1
        self.fireflies.wait(self.ended, "end")

    def transfer(self, client, server, reverse=False, fifo=False, announced_end=None, first="client",
                 port=0):
        """One connection and its flow, which ends by a DELETE, by a line, or with its sockets."""
        with Tcp(self.spaces[client], self.spaces[server], client, server, port=port) as connection:
            before = self.api.status()["flows"]["started"]
            connection.connect()
            ends = [(client, connection.sport), (server, connection.port)]
            flow = [*ends[1], *ends[0]] if reverse else [*ends[0], *ends[1]]
            if fifo:
                self.daemon.write_fifo(line("start", *flow, protocol="tcp"))
            elif port != FOUND_PORT:
                self.api.post(event(*flow, protocol="tcp")).expect(201)
                self.api.post(event(*flow, protocol="tcp", state="ongoing")).expect(200)
            until(lambda: self.api.status()["flows"]["started"] > before, "the flow")
            connection.exchange(100_000, 100_000)
            if announced_end == "line":
                self.daemon.write_fifo(line("end", *flow, protocol="tcp"))
                self.wait_end()
            elif announced_end == "delete":
                self.api.delete(f"/v1/flows/{self.api.flows()[0]['id']}").expect(200)
                self.wait_end()
            else:
                one, other = connection.client, connection.server
                if first == "server":
                    one, other = other, one
                told = self.api.status()["closures"]["notifications"]
                one.close()
                assert other.recv(1) == b""
                if self.pair.far not in (self.spaces[client], self.spaces[server]):
                    until(lambda: self.api.status()["closures"]["notifications"] > told, "the first close")
        if announced_end is None:
            self.wait_end()

    def datagrams(self):
        with self.pair.near.socket(10, 2) as near, self.pair.far.socket(10, 2) as far:
            near.bind((Pair.NEAR, 0))
            far.bind((Pair.FAR, 0))
            key = (Pair.NEAR, near.getsockname()[1], Pair.FAR, far.getsockname()[1])
            started = self.api.status()["flows"]["started"]
            self.daemon.write_fifo(line("start", *key))
            until(lambda: self.api.status()["flows"]["started"] > started, "the flow")
            for _ in range(10):
                near.sendto(b"x" * 1000, far.getsockname()[:2])
                assert far.recv(2000)
            self.daemon.write_fifo(line("end", *key))
            self.wait_end()


@pytest.mark.parametrize("plugins", [
    {}, {"netlink": {"experiment": 3, "activity": 5, "period": 500, "internalNetworks": ["127.0.0.0/8"],
                     "ignorePrivate": False}},
    {"iperf3": {"minDestinationPort": FOUND_PORT, "maxDestinationPort": FOUND_PORT}},
], ids=["announced", "scanned", "told by sk_ops"])
@pytest.mark.parametrize("enrichers", [{}, {"netlink": {}}, {"skops": {}}], ids=["", "netlink", "skops"])
def test_an_ordinary_run(pair, make_flowd, directory, pin_path, plugins, enrichers):
    config = base_config(directory, pin_path)
    config["plugins"].update(plugins)
    config["backends"].update({
        "firefly": {"sendToDestination": False, "enrich": bool(enrichers),
                    "collectors": [f"{Pair.FAR4}:{COLLECTOR_PORT}"]},
        "prometheus": {}, "log": {"path": str(directory / "flows")}})
    config["enrichers"] = {"period": 50, **enrichers}
    daemon = make_flowd(pair.near, config).start()
    with Collector(pair.far, Pair.FAR4, COLLECTOR_PORT) as fireflies:
        run = Run(pair, daemon, fireflies)
        if plugins:
            for first in ("client", "server"):
                run.transfer(Pair.NEAR, Pair.FAR, port=FOUND_PORT, first=first)
        else:
            run.transfer(Pair.NEAR, Pair.FAR)
            run.transfer(Pair.NEAR, Pair.FAR, first="server")
            run.transfer(Pair.FAR, Pair.NEAR, fifo=True)
            run.transfer(Pair.NEAR4, Pair.FAR4, reverse=True)
            for reverse in (False, True):
                for first in ("client", "server"):
                    run.transfer(Pair.NEAR, Pair.NEAR_OTHER, reverse=reverse, first=first)
            for how in ("line", "delete"):
                run.transfer(Pair.NEAR, Pair.FAR, announced_end=how)
                run.transfer(Pair.NEAR, Pair.NEAR_OTHER, announced_end=how)
            run.datagrams()
        api = run.api
        assert api.live() == 0
        api.get("/readyz").expect(200)
        metrics = Api(pair.near, port=9000)
        metrics.get("/metrics").expect(200)
        # How many flows wait for their connection is what a look, each second or so, has found.
        until(lambda: not {"lingering", "waiting"} & {key for key, value in api.status()["closures"].items() if value},
              "nothing that waits")
        assert gone_wrong(numbers(api.status()), STATUS) == {}
        assert gone_wrong(series(metrics.get("/metrics").expect(200).body.decode()), METRICS) == {}
        assert not re.search(r" (warning|error) ", daemon.log()), daemon.log()
