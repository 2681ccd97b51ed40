# SPDX-License-Identifier: Apache-2.0
"""TCP statistics in fireflies: which, how often, and the final counts."""

import json
import socket
import struct
import threading

import pytest

from lab.api_client import event, line
from lab.daemon_config import base_config
from lab.enriching import COLLECTOR_PORT, announce, collector, sample_of
from lab.flowd_process import one_shot
from lab.netns import Pair
from lab.traffic import Tcp
from lab.waiting import until

# Of flowd 1.1, and in its units.
LEAN = {"rtt", "minrtt", "bytes_sent", "bytes_acked", "bytes_received", "retrans", "cwnd", "mss"}
# Those of its names that fireflies in the compatible mode have under another one.
LEAN_ONLY = {"minrtt", "cwnd", "mss", "rtt_var", "busy", "rcvmss", "ssthresh", "lastsnd", "lastrcv",
             "lastack", "notsent", "app_limited", "retrans_out"}
# In every firefly of ordinary length, and what follows as far as there is room.
COMPATIBLE = set("""
    snd_cwnd snd_mss snd_ssthresh rttvar min_rtt rcv_mss rcv_rtt snd_wscale rcv_wscale busy_time
    total_retrans retransmits last_data_sent last_data_recv last_ack_recv last_ack_sent notsent_bytes
    opts reordering probes fackets ca_state backoff max_pacing_rate delivery_rate_app_limited
    rtt state cong pmtu retrans ato rto lost pacing_rate rwnd_limited bytes_received unacked sacked
    bytes_acked delivery_rate sndbuf_limited""".split())
COMPATIBLE_REST = {"segs_out", "segs_in", "rcv_space", "advmss", "data_segs_out", "data_segs_in",
                   "rcv_ssthresh"}
# Where the source and the destination are, and who sends; a name of this host or of the other one.
NEAR, FAR, OTHER = Pair.NEAR, Pair.FAR, Pair.NEAR_OTHER


@pytest.mark.parametrize("mode,size_max,wanted,unwanted", [
    ("lean", 1400, LEAN, {"skmem_snd_buf", "opts", "total_rto"}),
    ("compatible", 1400, {"rtt", "snd_cwnd", "total_retrans"}, LEAN_ONLY | {"total_rto", "skmem_snd_buf"}),
    ("", 65507, LEAN | {"opts", "skmem_snd_buf", "total_rto", "notsent"}, set())])
def test_modes(enriching, pair, mode, size_max, wanted, unwanted):
    daemon = enriching(enrich=True, enrichmentMode=mode)
    with collector(pair, size_max) as fireflies, \
            Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as connection:
        connection.connect().exchange()
        flow_id = announce(daemon, connection, application="x" * 55)
        ongoing = fireflies.wait(3, "ongoing")
        sample = sample_of(daemon, flow_id)
    for one in ongoing:
        statistics = one.document["netlink"]
        assert wanted <= set(statistics), wanted - set(statistics)
        assert not unwanted & set(statistics)
        assert set(one.document["usage"]) == {"sent", "received"}
        assert not any(isinstance(value, (dict, list)) for value in statistics.values())
        if mode != "compatible":
            assert set(statistics) <= set(sample) - {"time", "usage"}
    if mode == "":
        assert set(statistics) == set(sample) - {"time", "usage"}


def test_names_of_the_compatible_mode(enriching, pair):
    """
    Every name that flowd's and flowd-go's fireflies have, in an ordinary firefly, with their units:
    the round-trip time in ms, the smallest one as the kernel counts it.
    """
    daemon = enriching(enrich=True, enrichmentMode="compatible")
    with collector(pair) as fireflies, Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as connection:
        connection.connect().exchange(400_000)
        flow_id = announce(daemon, connection)
        fireflies.wait(1, "ongoing")
        connection.exchange(400_000)
        taken = sample_of(daemon, flow_id)["time"]
        until(lambda: sample_of(daemon, flow_id)["time"] > taken, "a sample")
        sample = sample_of(daemon, flow_id)
        daemon.api.delete(f"/v1/flows/{flow_id}")
        end = fireflies.wait(1, "end")[0]
    found = [one for one in fireflies.fireflies() if one.state == "ongoing"] + [end]
    for one in found:
        statistics = one.document["netlink"]
        assert COMPATIBLE <= set(statistics), COMPATIBLE - set(statistics)
        assert set(statistics) <= COMPATIBLE | COMPATIBLE_REST
    assert 0 < sample["minrtt"] <= sample["rtt"] * 2
    assert statistics["min_rtt"] == round(sample["minrtt"] * 1000)
    assert statistics["snd_cwnd"] == sample["cwnd"] and statistics["snd_mss"] == sample["mss"]
    assert 0 < statistics["rtt"] < 1000 and statistics["rtt"] < statistics["rto"]
    assert statistics["busy_time"] == int(statistics["busy_time"]) > 0


def test_what_is_left_out(enriching, pair):
    """A long application leaves little room: the fields that stay are the first, in the same order."""
    daemon = enriching(enrich=True, enrichmentMode="compatible")
    orders = {}
    with collector(pair) as fireflies:
        for length in (1, 55):
            with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as connection:
                connection.connect().exchange()
                announce(daemon, connection, application="x" * length)
                found = until(lambda: [one for one in fireflies.fireflies() if one.state == "ongoing" and
                                       one.flow["src-port"] == connection.sport], "an ongoing one")
                orders[length] = list(found[0].document["netlink"])
                assert found[0].document["usage"]
    assert orders[1][0] == orders[55][0] == "rtt"
    assert len(orders[55]) < len(orders[1])
    assert orders[55] == orders[1][:len(orders[55])]


def test_ongoing_once_a_period(enriching, pair):
    """As many as samples, none without enrich, and a start has no statistics before a sample."""
    daemon = enriching(enrich=True, period=300)
    with collector(pair) as fireflies, Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as connection:
        connection.connect().exchange()
        flow_id = announce(daemon, connection)
        ongoing = fireflies.wait(5, "ongoing")
        times = [one.current_time for one in ongoing]
        # One may be late, and the next in time again.
        assert (times[-1] - times[0]).total_seconds() > 0.3 * (len(times) - 1) - 0.3
        daemon.config["backends"]["firefly"]["enrich"] = False
        daemon.reload(daemon.config, "reloaded")
        before = len([one for one in fireflies.fireflies() if one.state == "ongoing"])
        taken = sample_of(daemon, flow_id)["time"]
        until(lambda: sample_of(daemon, flow_id)["time"] > taken, "a sample")
        taken = sample_of(daemon, flow_id)["time"]
        until(lambda: sample_of(daemon, flow_id)["time"] > taken, "another sample")
        daemon.api.delete(f"/v1/flows/{flow_id}")
        end = fireflies.wait(1, "end")[0]
        assert end.document["usage"]["sent"] == connection.sent_by_client
        assert len([one for one in fireflies.fireflies() if one.state == "ongoing"]) <= before + 1
    assert "usage" not in fireflies.wait(1, "start")[0].document


# Where the source and the destination are, and who sends; a name of this host or of the other one.
NEAR, FAR, OTHER = Pair.NEAR, Pair.FAR, Pair.NEAR_OTHER


@pytest.mark.parametrize("enrichers", [{}, {"netlink": {}}, {"skops": {}},
                                       {"skops": {"strategy": "transition"}}],
                         ids=["none", "netlink", "skops", "skops transition"])
@pytest.mark.parametrize("ended_by", ["close", "end"])
@pytest.mark.parametrize("client,server,source_is_client", [
    (NEAR, FAR, True), (NEAR, FAR, False), (FAR, NEAR, True), (FAR, NEAR, False),
    (NEAR, OTHER, True), (NEAR, OTHER, False),
], ids=["local client is source", "local client is destination", "remote client is source",
        "remote client is destination", "both local, client is source", "both local, server is source"])
def test_usage_is_the_sources(enriching, pair, enrichers, ended_by, client, server, source_is_client):
    """`sent` is what the flow's source sent, whichever end was sampled, in all that tells it."""
    daemon = enriching(enrich=True, enrichers=enrichers)
    spaces = {NEAR: pair.near, OTHER: pair.near, FAR: pair.far}
    with collector(pair) as fireflies:
        with Tcp(spaces[client], spaces[server], client, server) as connection:
            connection.connect()
            ends = [(client, connection.sport), (server, connection.port)]
            source, destination = ends if source_is_client else ends[::-1]
            flow_id = daemon.api.post(event(*source, *destination, protocol="tcp")).expect(201).json["id"]
            for _ in range(8):
                connection.exchange(500_000, 20_000)
            expected = {"sent": connection.sent_by_client, "received": connection.sent_by_server}
            if not source_is_client:
                expected = {"sent": expected["received"], "received": expected["sent"]}
            if "netlink" in enrichers:
                until(lambda: near((sample_of(daemon, flow_id) or {}).get("usage"), expected),
                      "the last sample")
                until(lambda: any(one.state == "ongoing" and near(one.document.get("usage"), expected)
                                  for one in fireflies.fireflies()), "the last ongoing firefly")
            if ended_by == "end":
                daemon.api.delete(f"/v1/flows/{flow_id}")
                fireflies.wait(1, "end")
        end = fireflies.wait(1, "end")[0].document
    assert near(end.get("usage"), expected), (end, expected)
    # The socket's own numbers are those of the local end.
    local_received = expected["received"] if source[0] != FAR else expected["sent"]
    assert 0 <= end["netlink"]["bytes_received"] - local_received <= 2, end["netlink"]
    for one in fireflies.fireflies():
        usage = one.document.get("usage")
        assert usage is None or usage["sent"] <= expected["sent"] + 2, (one.state, usage)
        assert usage is None or usage["received"] <= expected["received"] + 2, (one.state, usage)


def near(usage, expected):
    """The SYN and the FIN may count as a byte each."""
    return usage is not None and all(0 <= usage[name] - expected[name] <= 2
                                     for name in ("sent", "received"))


def test_usage_of_an_upload(enriching, pair):
    """50 MB that come in, announced from their source over there, as StoRM does: sent, not received."""
    daemon = enriching()
    size = 50 << 20
    with collector(pair) as fireflies:
        with Tcp(pair.far, pair.near, Pair.FAR, Pair.NEAR) as connection:
            connection.connect()
            daemon.write_fifo(line("start", Pair.FAR, connection.sport, Pair.NEAR, connection.port,
                                   protocol="tcp"))
            until(lambda: daemon.api.live() == 1, "the flow")
            pump = threading.Thread(target=connection.client.sendall, args=(bytes(size),))
            pump.start()
            left = size
            while left:
                part = len(connection.server.recv(1 << 20))
                assert part
                left -= part
            pump.join()
        end = fireflies.wait(1, "end")[0].document
    assert 0 <= end["usage"]["sent"] - size <= 2 and end["usage"]["received"] <= 2, end["usage"]


@pytest.mark.parametrize("enrichers", [{}, {"netlink": {}}, {"skops": {}}])
@pytest.mark.parametrize("ended_by", ["close", "end", "end without endOnClose", "another tag"])
def test_final_counts(enriching, pair, enrichers, ended_by):
    """A socket's close brings them with or without an enricher; at an end that is announced it is asked."""
    daemon = enriching(period=60000, enrichers=enrichers, flows={"endOnClose": "without" not in ended_by})
    with collector(pair) as fireflies:
        with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as connection:
            flow_id = announce(daemon, connection.connect())
            connection.exchange()
            if ended_by.startswith("end"):
                daemon.api.delete(f"/v1/flows/{flow_id}")
            elif ended_by == "another tag":
                announce(daemon, connection, activity=18)
            if ended_by != "close":
                fireflies.wait(1, "end")
        end = fireflies.wait(1, "end")[0].document
    assert 0 <= end["usage"]["sent"] - connection.sent_by_client <= 2
    assert 0 <= end["usage"]["received"] - connection.sent_by_server <= 2
    assert end["netlink"]["rtt"] > 0


def test_final_counts_for_a_collector_of_a_reload(enriching, pair):
    """Where nobody got fireflies before, nobody asked; and where the collector goes, one goes on without."""
    daemon = enriching(enrichers={}, collectors=[])
    collectors = [f"{Pair.FAR4}:{COLLECTOR_PORT}"]
    with collector(pair) as fireflies:
        for configured, count in (([], 0), (collectors, 1), ([], 1), (collectors, 2)):
            daemon.config["backends"]["firefly"]["collectors"] = configured
            daemon.reload(daemon.config)
            with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as connection:
                flow_id = announce(daemon, connection.connect())
                connection.exchange()
                daemon.api.delete(f"/v1/flows/{flow_id}").expect(200)
                if configured:
                    end = fireflies.wait(count, "end")[-1].document
                    assert 0 <= end["usage"]["sent"] - connection.sent_by_client <= 2


@pytest.mark.parametrize("ended_by", ["iperf3", "end", "another tag"])
def test_final_counts_of_ports_that_are_used_again(enriching, pair, ended_by):
    """
    The flow goes on after this end's close; then another connection takes its ports over, whose counts
    are not the flow's.
    """
    daemon = enriching(enrichers={}, plugins={"iperf3": {"maxSourcePort": 1}} if ended_by != "iperf3" else
                       {"iperf3": {"minSourcePort": 9300, "maxSourcePort": 9300}})
    with collector(pair) as fireflies, Tcp(pair.far, pair.near, Pair.FAR, Pair.NEAR, port=9300) as former:
        former.connect()
        if ended_by != "iperf3":
            daemon.api.post(event(Pair.NEAR, 9300, Pair.FAR, former.sport, protocol="tcp")).expect(201)
        until(lambda: daemon.api.live() == 1, "the flow")
        former.exchange(reply=300_000)
        former.server.close()
        until(lambda: sample_of(daemon, daemon.api.flows()[0]["id"]), "the counts of the close")
        daemon.freeze()
        former.client.close()
        with pair.far.socket(socket.AF_INET6, socket.SOCK_STREAM) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            client.bind((Pair.FAR, former.sport))
            client.connect((Pair.NEAR, 9300))
            server, _ = former.listener.accept()
            daemon.thaw()
            with server:
                if ended_by != "iperf3":
                    daemon.api.post(event(Pair.NEAR, 9300, Pair.FAR, former.sport, protocol="tcp",
                                          state="end" if ended_by == "end" else "start", activity=18)).expect(200, 201)
                end = fireflies.wait(1, "end")[0].document
    assert 0 <= end["usage"]["sent"] - 300_000 <= 2


def test_no_final_counts(enriching, pair):
    """Nothing is told of the connections of other hosts, of UDP, and of a port that only listens."""
    daemon = enriching(enrichers={})
    with collector(pair) as fireflies, pair.near.socket(socket.AF_INET6, socket.SOCK_STREAM) as listener:
        listener.bind((Pair.NEAR, 9300))
        listener.listen(1)
        for source, protocol in (("2001:db8::1", "tcp"), (Pair.NEAR, "udp"), (Pair.NEAR, "tcp")):
            flow = event(source, 9300, Pair.FAR, 2, protocol=protocol)
            daemon.api.post(flow).expect(201)
            daemon.api.post({**flow, "state": "end"}).expect(200)
        ends = [one.document for one in fireflies.wait(3, "end")]
    assert not any("usage" in one or "netlink" in one for one in ends)


@pytest.mark.parametrize("who", ["near", "far"])
def test_an_aborted_connection(enriching, pair, who):
    """What was under way may not have arrived: it does not count, and so no count ever goes down."""
    daemon = enriching(enrich=True)
    with collector(pair) as fireflies, Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as connection:
        announce(daemon, connection.connect())
        connection.exchange()
        pair.far.ip("-6", "route", "add", "blackhole", Pair.NEAR)
        connection.client.sendall(b"x" * 8000)
        until(lambda: [one for one in fireflies.fireflies()
                       if one.state == "ongoing" and one.document["netlink"]["bytes_sent"] > 8000],
              "a sample with bytes under way")
        aborting = connection.client if who == "near" else connection.server
        aborting.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if who == "far":
            pair.far.ip("-6", "route", "del", "blackhole", Pair.NEAR)
        aborting.close()
        if who == "far":
            with pytest.raises(ConnectionResetError):
                connection.client.recv(1)
            connection.client.close()
        end = fireflies.wait(1, "end")[0].document
        counts = [one.document["usage"]["sent"] for one in fireflies.fireflies() if one.state == "ongoing"]
    counts.append(end["usage"]["sent"])
    assert counts == sorted(counts), counts
    if who == "near":
        assert 0 <= counts[-1] - connection.sent_by_client <= 2, counts


def test_udp_has_no_statistics(enriching, pair):
    daemon = enriching(enrich=True)
    with collector(pair) as fireflies:
        flow = daemon.api.post(event(Pair.NEAR, 9, Pair.FAR, 9)).expect(201).json
        daemon.api.delete(f"/v1/flows/{flow['id']}")
        end = fireflies.wait(1, "end")[0].document
    assert "usage" not in end and "netlink" not in end


def test_enrich_without_an_enricher(directory):
    """It does nothing, which is said."""
    config = base_config(directory)
    config["backends"] = {"firefly": {"enrich": True}}
    path = directory / "config.json"
    path.write_text(json.dumps(config))
    done = one_shot(directory, "-c", path, "check")
    assert done.returncode == 0 and "warning: backends.firefly.enrich" in done.stderr, done
