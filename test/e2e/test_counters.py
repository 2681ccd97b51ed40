# SPDX-License-Identifier: Apache-2.0
"""
Every counter that the sources declare is in the status, in the metrics and in what flowctl prints, with
the same number; and these have no other. test/lint/counters.py holds the manual to the same rows.
"""

import importlib.util
import pathlib
import re
import socket

import pytest

from lab.api_client import Api, event, line
from lab.daemon_config import base_config
from lab.exposition import scrape
from lab.flowd_process import FLOWCTL, one_shot
from lab.netns import Pair
from lab.numbers import numbers
from lab.traffic import Tcp
from lab.waiting import until

_PATH = pathlib.Path(__file__).parents[1] / "lint" / "counters.py"
_SPEC = importlib.util.spec_from_file_location("counters", _PATH)
COUNTERS = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(COUNTERS)

IPERF3_PORT = 5201
# Numbers in the status that count nothing, or what stands elsewhere too.
NO_COUNTERS = (r"uptime|interfaces\.\w+\.index|modules\.plugin\.namedPipe\.malformed|"
               r"modules\.plugin\.firefly\.senders\..*")
EVENTS = r"events\.(\w+)\.(start|end|ongoing)\.(\w+)"
# Metrics of what the status has in words, and of events, which have no rows.
NO_ROWS = {"flowd_build_info", "flowd_ready", "flowd_module_up", "flowd_marker_interfaces", "flowd_marker_shadowed",
           "flowd_events_total"}
# The request for the metrics counts itself.
OWN = {"modules.backend.prometheus.connections", "modules.backend.prometheus.scrapes.underWay"}


def places(row):
    """Of each object that has the row: what its path matches. Its last group is the common label."""
    for where in row.place.where:
        pattern = {0: "()", 1: r"events\.(\w+)\.", 2: r"interfaces\.(\w+)\.packets\.",
                   3: r"modules\.\w+\.(\w+)\.",
                   4: r"modules\.backend\.firefly\.collectors\.(.+)\."}[len(where)]
        if len(where) == 3:
            pattern = pattern.replace(r"\w+\.(\w+)", rf"{where[1]}\.({where[2]})")
        yield pattern + re.escape(row.key)


def paired(status, metrics):
    """Path to (number in the status, number in the metrics, series)."""
    found = {}
    for row in COUNTERS.rows():
        for pattern in places(row):
            paths = [match for match in (re.fullmatch(pattern, path) for path in status) if match]
            assert paths, (row, "is not in the status")
            for match in paths:
                labels = dict(row.labels)
                if row.place.label:
                    labels[row.place.label] = "" if row.key == "packetsOfNoFlow" else match[1]
                value = metrics.samples.get((row.metric, frozenset(labels.items())))
                assert value is not None, (row, labels, "is not in the metrics")
                assert match[0] not in found, (row, "is there twice")
                found[match[0]] = (status[match[0]], value * (1000 if row.is_time else 1),
                                   (row.metric, frozenset(labels.items())))
    for path, number in status.items():
        match = re.fullmatch(EVENTS, path)
        if match:
            labels = dict(zip(("plugin", "state", "result"), match.groups()))
            series = ("flowd_events_total", frozenset(labels.items()))
            found[path] = (number, metrics.samples[series], series)
    return found


@pytest.fixture
def everything(pair, make_flowd, directory, pin_path):
    """A daemon with every module, and something to count for each."""
    config = base_config(directory, pin_path)
    config["plugins"].update(
        iperf3={"minDestinationPort": IPERF3_PORT, "maxDestinationPort": IPERF3_PORT},
        netlink={"experiment": 3, "activity": 5, "period": 500}, perfsonar={}, firefly={})
    config["backends"].update(firefly={"collectors": [Pair.FAR4]}, prometheus={}, log={"path": str(directory / "flows")})
    config["enrichers"] = {"period": 100, "netlink": {}, "skops": {}}
    daemon = make_flowd(pair.near, config).start()
    api = Api(pair.near)
    daemon.write_fifo(line("start", Pair.NEAR, 1, Pair.FAR, 2) + "no line\n")
    with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR, port=IPERF3_PORT) as connection:
        connection.connect()
        connection.exchange(10_000, 10_000)
        api.post(event(Pair.NEAR, connection.sport, Pair.FAR, IPERF3_PORT + 1, protocol="tcp")).expect(201)
        until(lambda: api.status()["flows"]["started"] >= 3, "the flows")
    with pair.near.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"no firefly", ("127.0.0.1", 10514))
    until(lambda: api.status()["events"]["firefly"]["malformed"] == 1, "the datagram")
    return daemon, api


def test_status_and_metrics(pair, everything):
    _, api = everything
    exporter = Api(pair.near, port=9000)
    scrape(exporter)

    def differing():
        before = dict(numbers(api.status()))
        metrics = scrape(exporter)
        after = paired(dict(numbers(api.status())), metrics)
        found = {}
        for path, (number, value, series) in after.items():
            low, high = sorted((number, before.get(path, 0)))
            if not low - 1e-9 <= value <= high + 1e-9 + (path in OWN):
                found[path] = (before.get(path), value, number, series)
        return found

    until(lambda: not differing(), lambda: f"the same numbers: {differing()}")
    counted = paired(dict(numbers(api.status())), scrape(exporter))
    for path in ("modules.plugin.namedPipe.lines", "events.namedPipe.malformed", "flows.live",
                 "modules.plugin.api.answers.2xx", "modules.plugin.iperf3.records", "modules.plugin.netlink.scans",
                 "modules.plugin.firefly.received", "modules.plugin.firefly.rejected.header",
                 "modules.plugin.firefly.sendersKnown",
                 "modules.backend.marker.entries", "interfaces.veth0.packets.marked",
                 "modules.backend.firefly.toDestination.sent", "modules.backend.log.lines",
                 "modules.backend.prometheus.scrapes.served", "modules.enricher.skops.records"):
        assert counted[path][0] > 0, path


def test_nothing_else(pair, everything):
    _, api = everything
    exporter = Api(pair.near, port=9000)
    metrics = scrape(exporter)
    status = dict(numbers(api.status()))
    counted = paired(status, metrics)
    assert [path for path in status if path not in counted and not re.fullmatch(NO_COUNTERS, path)] == []
    known = {series for _, _, series in counted.values()}
    assert [series for series in metrics.samples
            if series not in known and series[0].startswith("flowd_") and series[0] not in NO_ROWS] == []


def test_flowctl(pair, everything, directory):
    _, api = everything
    printed = one_shot(directory, "status", program=FLOWCTL, prefix=["nsenter", f"--net={pair.near.path}"]).stdout
    for row in COUNTERS.rows():
        word = row.key.partition(".")[2] if row.place.where == [()] and "." in row.key else row.key
        first = word.partition(".")[0]
        assert re.search(rf"\b{re.escape(first)}=", printed) or row.key == "logLinesDropped", row
    assert "dropped 0 lines" in printed
    assert api.live() >= 1
