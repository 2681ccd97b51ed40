# SPDX-License-Identifier: Apache-2.0
"""Many fireflies at once, which leave several in one message: each collector gets each of them once."""

import collections

import pytest

from lab.api_client import Api, line
from lab.collector import Collector
from lab.daemon_config import base_config
from lab.netns import Pair
from lab.waiting import until

PORT, HERE = 10515, 10516
CLOSED, OPEN4, OPEN6 = f"{Pair.FAR4}:{PORT}", f"{Pair.FAR4}:{PORT + 1}", f"[{Pair.FAR}]:{PORT}"
ONE_BY_ONE = "leave one by one"


@pytest.fixture
def sending(make_flowd, directory, pin_path):
    def start(pair, *collectors, **marker):
        config = base_config(directory, pin_path, **marker)
        if marker:
            config["plugins"]["perfsonar"] = {"experimentId": 4, "activityId": 5}
        else:
            del config["backends"]["marker"]
        config["log"] = {"level": "debug"}
        config["plugins"]["firefly"] = {"bindAddress": "127.0.0.1", "bindPort": HERE}
        config["backends"]["firefly"] = {"collectors": collectors, "sendToDestination": False}
        daemon = make_flowd(pair.near, config).start()
        daemon.api = Api(pair.near)
        return daemon

    return start


def burst(daemon, number):
    """Flows of many lengths, half of which end at once; their ports."""
    ports = [7 * n % 65535 + 1 for n in range(1, number + 1)]
    lines = []
    for port in ports:
        lines.append(line("start", Pair.NEAR, port, Pair.FAR, port % 1200 + 1))
        if port % 2 == 0:
            lines.append(line("end", Pair.NEAR, port, Pair.FAR, port % 1200 + 1))
    daemon.write_fifo("".join(lines))
    return ports


def assert_burst(collector, ports):
    """Starts and ends of each flow, each once, the start first."""
    states = collections.defaultdict(list)
    for one in collector.wait(len(ports) + sum(port % 2 == 0 for port in ports)):
        states[one.flow["src-port"]].append(one.state)
    assert states == {port: ["start", "end"] if port % 2 == 0 else ["start"] for port in ports}


@pytest.mark.parametrize("offload", [True, False])
def test_one_is_closed(sending, offload):
    """With and without what the interface can do; errors of one collector are its own."""
    joined = Pair(offload=offload)
    try:
        with Collector(joined.far, Pair.FAR4, PORT + 1) as four, Collector(joined.far, Pair.FAR, PORT) as six:
            daemon = sending(joined, CLOSED, OPEN4, OPEN6)
            ports = burst(daemon, 600)
            assert_burst(four, ports)
            assert_burst(six, ports)
            until(lambda: collectors(daemon)[CLOSED]["icmpErrors"], "an error")
            found = collectors(daemon)
            for name in (OPEN4, OPEN6):
                assert (found[name]["state"], found[name]["sent"], found[name]["failed"], found[name]["icmpErrors"],
                        found[name]["dropped"]) == ("up", 900, 0, 0, 0)
            assert found[CLOSED]["sent"] + found[CLOSED]["failed"] == 900
            daemon.stop()
    finally:
        joined.remove()


def collectors(daemon):
    return {one["name"]: one for one in daemon.api.module("firefly")["collectors"]}


def test_small_mtu(sending, pair):
    """Those that a packet does not hold are fragmented, as ever; that is found out once."""
    pair.near.ip("link", "set", "veth0", "mtu", 1280)
    with Collector(pair.far, Pair.FAR, PORT) as collector, pair.near.socket(2, 2) as sender:
        daemon = sending(pair, OPEN6)
        sent = [datagram(port, 1300 if port % 3 else 500) for port in range(1, 400)]
        for begin in range(0, len(sent), 50):
            daemon.freeze()
            for one in sent[begin:begin + 50]:
                sender.sendto(one, ("127.0.0.1", HERE))
            daemon.thaw()
        got = collector.wait(len(sent))
        assert sorted(one.datagram for one in got) == sorted(sent)
        assert daemon.log().count(ONE_BY_ONE) == 1, daemon.log()
        assert collectors(daemon)[OPEN6]["failed"] == 0


@pytest.mark.parametrize("strategy", ["label", "hopByHopDestination"])
@pytest.mark.parametrize("offload", [True, False])
def test_marked(sending, offload, strategy):
    """Where everything is marked, each firefly still comes as it was."""
    joined = Pair(offload=offload)
    try:
        with Collector(joined.far, Pair.FAR, PORT) as collector:
            daemon = sending(joined, OPEN6, markingStrategy=strategy)
            assert_burst(collector, burst(daemon, 400))
            found = daemon.api.status()["interfaces"][0]["packets"]
            assert found["marked"] > 0 and found["error"] == 0, found
            # A header does not fit what is still to be cut where the device computes no checksums (6.11 and later).
            assert found["mtu"] == 0 or not offload and strategy != "label", found
            daemon.stop()
    finally:
        joined.remove()


def test_source_address(sending, pair):
    """It is that which the host would use at the moment, whatever it was before."""
    with Collector(pair.far, Pair.FAR4, PORT + 1) as four, Collector(pair.far, Pair.FAR, PORT) as six:
        daemon = sending(pair, OPEN4, OPEN6)
        daemon.write_fifo(line("start", Pair.NEAR, 1, Pair.FAR, 2))
        before = [collector.wait(1)[0].sender[0] for collector in (four, six)]
        assert before[0] == Pair.NEAR4
        other = Pair.NEAR_OTHER if before[1] == Pair.NEAR else Pair.NEAR
        pair.near.ip("route", "add", f"{Pair.FAR}/128", "dev", "veth0", "src", other)
        pair.near.ip("address", "del", f"{Pair.NEAR4}/24", "dev", "veth0")
        pair.near.add_address("veth0", "192.0.2.9/24")
        daemon.write_fifo(line("end", Pair.NEAR, 1, Pair.FAR, 2))
        assert [collector.wait(2)[1].sender[0] for collector in (four, six)] == ["192.0.2.9", other]


def datagram(port, size):
    """A firefly of somebody else of this size."""
    text = ('<134>1 2026-01-01T00:00:00.000000+00:00 host.example.org flowd - firefly-json - {"version": 1, '
            '"flow-lifecycle": {"state": "start", "current-time": "2026-01-01T00:00:00.000000+00:00", '
            '"start-time": "2026-01-01T00:00:00.000000+00:00"}, "flow-id": {"afi": "ipv6", "src-ip": "2001:db8::1", '
            f'"dst-ip": "2001:db8::2", "protocol": "tcp", "src-port": {port}, "dst-port": 443}}, '
            '"context": {"experiment-id": 2, "activity-id": 1, "application": "test"}, "x": "')
    return (text + "x" * (size - len(text) - 2) + '"}').encode()
