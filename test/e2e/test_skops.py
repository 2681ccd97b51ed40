# SPDX-License-Identifier: Apache-2.0
"""enrichers.skops: samples of live flows' sockets from an sk_ops program."""

import socket

import pytest

from lab.api_client import Api, event
from lab.daemon_config import base_config
from lab.kernel_bpf import watched_in_kernel
from lab.netns import Pair
from test_failures import WITHOUT_PERFMON, detail, holds
from lab.traffic import Tcp
from lab.waiting import until

MOMENTARY = {"lastsnd", "lastrcv", "lastack", "state", "time"}


@pytest.fixture
def sampling(make_flowd, pair, directory):
    """A daemon with an enricher on the near side. Several have ports of their own."""

    def start(enricher="skops", options=None, period=100, port=7777, prefix=(), **changes):
        config = base_config(directory)
        config["stateDir"] = str(directory / f"state-{enricher}")
        config["flows"] = {"endOnClose": False}
        config["plugins"] = {"api": {"bindAddress": "127.0.0.1", "bindPort": port}}
        config["enrichers"] = {"period": period, enricher: options or {}}
        config.update(changes)
        daemon = make_flowd(pair.near, config, name=enricher, prefix=prefix).start()
        daemon.api = Api(pair.near, port=port)
        return daemon

    return start


def announce(daemon, connection, source=None, target=None):
    return daemon.api.post(event(source or connection.source, connection.sport,
                                 target or connection.target, connection.port,
                                 protocol="tcp")).expect(201).json["id"]


def sample(daemon, flow_id):
    return daemon.api.get(f"/v1/flows/{flow_id}").expect(200).json.get("sample")


def sampled(daemon):
    return daemon.api.module("skops")["samples"]


@pytest.mark.parametrize("near,far", [(Pair.NEAR, Pair.FAR), (Pair.NEAR4, Pair.FAR4)])
def test_a_change_of_state_agrees_with_sock_diag(sampling, pair, near, far):
    """What sock_diag says of an idle connection, the program says the moment it begins to close."""
    asked = sampling("netlink", port=7778)
    told = sampling("skops", {"strategy": "transition"})
    with Tcp(pair.near, pair.far, near, far) as connection:
        connection.connect()
        asked_id, told_id = announce(asked, connection), announce(told, connection)
        connection.exchange(200_000, 3_000)
        connection.exchange(1, 1)
        first = until(lambda: sample(asked, asked_id), "a sample")
        idle = until(lambda: (now := sample(asked, asked_id)) and now["time"] > first["time"]
                     and now["bytes_acked"] >= 200_001 and now, "a sample of the idle connection")
        # The other end does not answer: each answer would change the state, and the numbers, again.
        pair.far.run("nft", "add table inet lost; "
                            "add chain inet lost input { type filter hook input priority 0; policy drop; }")
        connection.client.shutdown(socket.SHUT_WR)
        seen = until(lambda: sample(told, told_id), "a sample where the state changes")
        assert seen["state"] == "fin-wait-1"
        shared = {name for name in idle if name in seen} - MOMENTARY
        different = {name: (idle[name], seen[name]) for name in shared if idle[name] != seen[name]}
        assert not different
        # What an algorithm says of itself only sock_diag passes on.
        missing = {name for name in idle if name not in seen and not name.startswith("bbr_")} - MOMENTARY
        assert not missing
        assert len(shared) > 30


def test_poll(sampling, pair):
    """While a connection sends it is sampled, at most once a period."""
    daemon = sampling(period=100)
    with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as connection:
        connection.connect()
        flow_id = announce(daemon, connection)
        connection.exchange()
        first = until(lambda: sample(daemon, flow_id) or connection.exchange(), "a sample")
        assert first["state"] == "established" and first["rtt"] > 0 and first["cong"]
        connection.exchange(50_000)
        until(lambda: connection.exchange() or
              sample(daemon, flow_id)["bytes_acked"] > 50_000, "a later sample")


def test_at_most_once_a_period(sampling, pair):
    daemon = sampling(period=60_000)
    with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as connection:
        flow_id = announce(daemon, connection)
        connection.connect()
        for _ in range(30):
            connection.exchange()
        until(lambda: sample(daemon, flow_id), "a sample")
        assert sampled(daemon) <= 3, "when it began, and once or twice in a minute"


@pytest.mark.parametrize("strategy", ["poll", "transition"])
def test_the_last_sample(sampling, pair, strategy):
    """A socket that closes is sampled once more, whichever strategy: with all that it sent."""
    daemon = sampling(options={"strategy": strategy, "debugMode": True}, period=60_000)
    with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as connection:
        flow_id = announce(daemon, connection)
        connection.connect()
        connection.exchange(123_456, 789)
    last = until(lambda: (now := sample(daemon, flow_id)) and now["state"] == "closed" and now, "the last")
    assert 123_456 <= last["bytes_acked"] <= 123_458
    assert 789 <= last["bytes_received"] <= 790


def test_ipv4_in_a_socket_of_both_families(sampling, pair):
    daemon = sampling()
    with pair.near.socket(socket.AF_INET6, socket.SOCK_STREAM) as listener, \
            pair.far.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
        listener.bind(("::", 0))
        listener.listen(1)
        client.bind((Pair.FAR4, 0))
        port, sport = listener.getsockname()[1], client.getsockname()[1]
        flow_id = daemon.api.post(event(Pair.FAR4, sport, Pair.NEAR4, port,
                                        protocol="tcp")).expect(201).json["id"]
        client.connect((Pair.NEAR4, port))
        until(lambda: sample(daemon, flow_id), "a sample of the accepted socket")
        listener.accept()[0].close()


def test_a_connection_that_was_there_before(sampling, pair):
    """It gets its callbacks at start, where the kernel lets a program set them (Linux 6.11)."""
    with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as connection:
        connection.connect()
        daemon = sampling(period=100)
        if "lets no program look at" in daemon.log():
            pytest.skip("this kernel can't switch callbacks on for connections that are there")
        flow_id = announce(daemon, connection)
        until(lambda: connection.exchange() or sample(daemon, flow_id), "a sample")


def test_the_whole_tuple_counts(sampling, pair):
    """Of two connections with the same ports the one that was announced is sampled."""
    daemon = sampling(period=100)
    with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR, 9000, 8000) as one, \
            Tcp(pair.near, pair.far, Pair.NEAR_OTHER, Pair.FAR_OTHER, 9000, 8000) as other:
        flow_id = announce(daemon, one)
        other.connect().exchange(5_000)
        one.connect().exchange()
        until(lambda: one.exchange() or sample(daemon, flow_id), "a sample")
        unwanted = daemon.api.module("skops")["unwanted"]
        until(lambda: other.exchange() or daemon.api.module("skops")["unwanted"] > unwanted,
              "the other one's turn")
        assert daemon.api.module("skops")["withoutFlow"] == 0
        assert sample(daemon, flow_id)["bytes_acked"] < 5_000


def test_watched_connections(sampling, pair):
    """Both directions of a connection are watched as one, until the last of its flows has ended."""
    daemon = sampling()
    with Tcp(pair.near, pair.near, Pair.NEAR, Pair.NEAR_OTHER) as connection:
        connection.connect()
        there = announce(daemon, connection)
        assert watched_in_kernel(daemon) == 1
        back = daemon.api.post(event(connection.target, connection.port, connection.source,
                                     connection.sport, protocol="tcp")).expect(201).json["id"]
        assert watched_in_kernel(daemon) == 1
        daemon.api.delete(f"/v1/flows/{there}").expect(200, 204)
        assert watched_in_kernel(daemon) == 1
        connection.exchange()
        until(lambda: connection.exchange() or sample(daemon, back), "a sample")
        daemon.api.delete(f"/v1/flows/{back}").expect(200, 204)
        assert watched_in_kernel(daemon) == 0
        assert daemon.api.module("skops")["watched"] == 0


def test_a_right_is_missing(sampling, pair):
    daemon = sampling(prefix=WITHOUT_PERFMON)
    holds(detail(pair.near), "without enrichers.skops", "missing: CAP_PERFMON;")
    assert daemon.api.module("skops")["state"] == "failed"
