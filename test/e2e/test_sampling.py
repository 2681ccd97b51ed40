# SPDX-License-Identifier: Apache-2.0
"""enrichers.netlink: which sockets are asked for, how often, and how that is spread."""

import contextlib
import socket

import pytest

from lab.api_client import Api, event
from lab.daemon_config import base_config
from lab.netns import Pair
from lab.traffic import Tcp
from lab.waiting import until

PERIOD_MS = 200


@pytest.fixture
def sampling(make_flowd, pair, directory):
    """A daemon on the near side that samples, with its API client."""

    def start(period=PERIOD_MS, **options):
        config = base_config(directory)
        config["enrichers"] = {"period": period, "netlink": options}
        daemon = make_flowd(pair.near, config).start()
        daemon.api = Api(pair.near)
        return daemon

    return start


def counters(daemon):
    return next(one for one in daemon.api.status()["modules"] if one["kind"] == "enricher")


def announce(daemon, *flow, protocol="tcp"):
    return daemon.api.post(event(*flow, protocol=protocol)).expect(201).json["id"]


@contextlib.contextmanager
def connected(pair, count, source=Pair.NEAR, target=Pair.FAR):
    """Connections from the near side, as 4-tuples."""
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(pair.far.socket(family, socket.SOCK_STREAM))
        listener.bind((target, 0))
        listener.listen(count)
        port = listener.getsockname()[1]
        flows = []
        for _ in range(count):
            client = stack.enter_context(pair.near.socket(family, socket.SOCK_STREAM))
            client.bind((source, 0))
            client.connect((target, port))
            stack.enter_context(listener.accept()[0])
            flows.append((source, client.getsockname()[1], target, port))
        yield flows


@pytest.mark.parametrize("near", ["client", "server"])
@pytest.mark.parametrize("source,target", [(Pair.NEAR, Pair.FAR), (Pair.NEAR4, Pair.FAR4)])
@pytest.mark.parametrize("turned", [False, True])
def test_the_local_end_is_asked_for(sampling, pair, source, target, near, turned):
    daemon = sampling()
    client, server = (pair.near, pair.far) if near == "client" else (pair.far, pair.near)
    ends = (source, target) if near == "client" else (target, source)
    with Tcp(client, server, *ends) as connection:
        connection.connect()
        flow = (ends[0], connection.sport, ends[1], connection.port)
        announce(daemon, *(flow[2:] + flow[:2] if turned else flow))
        until(lambda: counters(daemon)["samples"] >= 3, "three samples")
        assert counters(daemon)["withoutSocket"] == counters(daemon)["unanswered"] == 0


def test_ipv4_in_a_socket_of_both_families(sampling, pair):
    daemon = sampling()
    with pair.near.socket(socket.AF_INET6, socket.SOCK_STREAM) as listener, \
            pair.far.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
        listener.bind(("::", 0))
        listener.listen(1)
        port = listener.getsockname()[1]
        client.bind((Pair.FAR4, 0))
        client.connect((Pair.NEAR4, port))
        with listener.accept()[0]:
            announce(daemon, Pair.FAR4, client.getsockname()[1], Pair.NEAR4, port)
            until(lambda: counters(daemon)["samples"] >= 2, "two samples")
            assert counters(daemon)["withoutSocket"] == 0


@pytest.mark.parametrize("near", ["client", "server"])
def test_a_socket_that_is_bound_to_an_interface(sampling, pair, near):
    """The kernel finds it only for who names the interface, which is looked for once."""
    daemon = sampling()
    client, server = (pair.near, pair.far) if near == "client" else (pair.far, pair.near)
    ends = (Pair.NEAR, Pair.FAR) if near == "client" else (Pair.FAR, Pair.NEAR)
    with Tcp(client, server, *ends) as connection:
        (connection.client if near == "client" else connection.listener).setsockopt(
            socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"veth0")
        connection.connect()
        flow_id = announce(daemon, ends[0], connection.sport, ends[1], connection.port)
        until(lambda: counters(daemon)["samples"] >= 5, "five samples")
        assert counters(daemon)["withoutSocket"] == 0
        assert daemon.api.get(f"/v1/flows/{flow_id}").json["sample"]["state"] == "established"


def test_what_has_no_connection(sampling, pair):
    """A flow whose socket is not there yet is asked for in vain, a listener is none, UDP is let be."""
    daemon = sampling()
    with pair.near.socket(socket.AF_INET6, socket.SOCK_STREAM) as listener:
        listener.bind((Pair.NEAR, 0))
        listener.listen(1)
        announce(daemon, Pair.FAR, 9, Pair.NEAR, listener.getsockname()[1])
        announce(daemon, Pair.NEAR, 9, Pair.FAR, 9, protocol="udp")
        announce(daemon, "2001:db8::1", 9, "2001:db8::2", 9)
        until(lambda: counters(daemon)["withoutSocket"] >= 3, "three questions")
        said = counters(daemon)
    assert (said["watched"], said["samples"], said["unanswered"]) == (2, 0, 0)


@pytest.mark.parametrize("state,wanted", [("ESTABLISHED", True), ("FIN_WAIT_2", False)])
def test_only_states_that_are_wanted(sampling, pair, state, wanted):
    daemon = sampling(state=1 << {"ESTABLISHED": 1, "FIN_WAIT_2": 5}[state])
    with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as connection:
        connection.connect()
        announce(daemon, Pair.NEAR, connection.sport, Pair.FAR, connection.port)
        asked, other = ("samples", "withoutSocket") if wanted else ("withoutSocket", "samples")
        until(lambda: counters(daemon)[asked] >= 2, "two questions")
        assert counters(daemon)[other] == 0


def test_a_turn_is_spread_over_the_period(sampling, pair):
    """Every flow once a period, some at a time: seen from outside, the count never jumps by them all."""
    flows, period_ms = 400, 1000
    daemon = sampling(period_ms)
    with connected(pair, flows) as connections:
        for flow in connections:
            announce(daemon, *flow)
        first = until(lambda: counters(daemon)["samples"], "the first sample")
        seen = {first}

        def look():
            seen.add(counters(daemon)["samples"])
            return max(seen) >= first + 3 * flows

        until(look, "three samples of each", interval=0.005)
        assert len(seen) >= 20, sorted(seen)


def test_flows_that_come_and_go(sampling, pair):
    """After any number of them, those that are live are sampled, and no other is remembered."""
    daemon = sampling()
    with connected(pair, 3) as connections:
        for flow in connections:
            announce(daemon, *flow)
        for port in range(1000, 1600):
            announce(daemon, Pair.NEAR, port, Pair.FAR, 9)
            daemon.api.post(event(Pair.NEAR, port, Pair.FAR, 9, state="end", protocol="tcp"))
        until(lambda: counters(daemon)["watched"] == 3, "the ended ones to be forgotten")
        before = counters(daemon)["samples"]
        until(lambda: counters(daemon)["samples"] >= before + 6, "samples of those that live")
