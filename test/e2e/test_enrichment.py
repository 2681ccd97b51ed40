# SPDX-License-Identifier: Apache-2.0
"""TCP statistics where users see them: in fireflies, in the API and in `flowctl top`."""

import json
import re
import socket
import struct
import subprocess
import threading

import pytest

from lab.api_client import Api, event, line
from lab.collector import Collector
from conftest import base_config
from lab.flowd_process import FLOWCTL, one_shot
from lab.long_path import LongPath
from lab.netns import Pair
from lab.traffic import Tcp
from lab.waiting import DEADLINE_S, until

PERIOD_MS = 100
COOKIE = 37  # bytes that iperf3 sends on each stream before the data
DATA_PORT = 45000
COLLECTOR_PORT = 10515
LONG_DELAY_S = 0.1  # one way
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


@pytest.fixture
def enriching(make_flowd, pair, directory):
    """A daemon on the near side that samples and sends fireflies to the far side."""

    def start(period=PERIOD_MS, enrichers=None, flows=None, plugins=None, **firefly):
        config = base_config(directory)
        config["plugins"].update(plugins or {})
        config["enrichers"] = {"period": period, **({"netlink": {}} if enrichers is None else enrichers)}
        config["flows"] = flows or {"endOnClose": True}
        config["backends"] = {"firefly": {"sendToDestination": False,
                                          "collectors": [f"{Pair.FAR4}:{COLLECTOR_PORT}"], **firefly}}
        daemon = make_flowd(pair.near, config).start()
        daemon.api = Api(pair.near)
        return daemon

    return start


def collector(pair, size_max=1400):
    return Collector(pair.far, Pair.FAR4, COLLECTOR_PORT, size_max=size_max)


def sample_of(daemon, flow_id):
    return daemon.api.get(f"/v1/flows/{flow_id}").expect(200).json.get("sample")


def announce(daemon, connection, **members):
    return daemon.api.post(event(connection.source, connection.sport, connection.target, connection.port,
                                 protocol="tcp", **members)).expect(201).json["id"]


# -- against iperf3 -------------------------------------------------------------------------------

class Transfer:
    """An iperf3 run from the near to the far side (or back) and the flow of its data stream."""

    def __init__(self, pair, daemon, *arguments):
        self._server = pair.far.popen(["iperf3", "-s", "-1", "-B", pair.FAR, "--forceflush"],
                                      stdout=subprocess.PIPE, text=True)
        while "listening" not in self._server.stdout.readline():
            assert self._server.poll() is None
        self.flow_id = daemon.api.post(event(pair.NEAR, DATA_PORT, pair.FAR, 5201, protocol="tcp")).expect(
            201).json["id"]
        self._client = pair.near.popen(
            ["iperf3", "-c", pair.FAR, "-B", pair.NEAR, "--cport", DATA_PORT, "-J", *arguments],
            stdout=subprocess.PIPE, text=True)

    def report(self):
        said = json.loads(self._client.communicate(timeout=DEADLINE_S)[0])
        assert "error" not in said, said
        return said

    def close(self):
        for process in (self._client, self._server):
            if process.poll() is None:
                process.kill()
            process.wait()
            process.stdout.close()


def transfer_wholly(pair, daemon, *arguments):
    """
    What iperf3 reports, and the flow's ongoing and end fireflies. iperf3 may end a test before its
    server has read the last block; then it is done again, because it is not known how much went over.
    """
    for _ in range(5):
        with collector(pair) as fireflies:
            transfer = Transfer(pair, daemon, *arguments)
            try:
                until(lambda: sample_of(daemon, transfer.flow_id), "a sample")
                said = transfer.report()
            finally:
                transfer.close()
            end = fireflies.wait(1, "end")[0].document
            ongoing = [one.document for one in fireflies.fireflies() if one.state == "ongoing"]
        stream = said["end"]["streams"][0]
        if stream["sender"]["bytes"] == stream["receiver"]["bytes"]:
            return stream, ongoing, end
    raise AssertionError("iperf3 lost the last block each time")


@pytest.mark.parametrize("direction", ["sends", "receives"])
def test_against_iperf3(enriching, pair, direction):
    """Every byte that iperf3 says went over the connection is in the last sample and at the end."""
    daemon = enriching(enrich=True)
    size = 8 << 20
    stream, ongoing, end = transfer_wholly(
        pair, daemon, "-n", size, "-b", "50M", "-l", "4K", *(["-R"] if direction == "receives" else []))
    name, other = ("sent", "received") if direction == "sends" else ("received", "sent")
    assert stream["sender"]["bytes"] >= size
    # The client sends the cookie whichever way the data goes.
    expected = stream["sender"]["bytes"] + (COOKIE if direction == "sends" else 0)
    assert 0 <= end["usage"][name] - expected <= 2, (end["usage"], stream)
    assert end["usage"][other] <= COOKIE + 2
    counts = [one["usage"][name] for one in ongoing]
    assert counts == sorted(counts) and len(set(counts)) >= 5
    assert expected / 2 < counts[-1] <= end["usage"][name]
    if direction == "sends":
        assert end["netlink"]["retrans"] == stream["sender"]["retransmits"]
        times = [one["netlink"]["rtt"] for one in ongoing]
        assert stream["sender"]["min_rtt"] / 4 <= sorted(times)[len(times) // 2] * 1000 <= \
            stream["sender"]["max_rtt"] * 4


class Losses:
    """Loses some data packets, and lets all but the data take longer, so that no data comes too late."""

    def __init__(self, *numbers):
        self._numbers, self._count = numbers, 0

    def __call__(self, packet):
        ports = struct.unpack_from("!HH", packet, 40)
        if packet[6] != socket.IPPROTO_TCP or DATA_PORT not in ports:
            return LONG_DELAY_S / 2
        self._count += len(packet) > 500
        return None if len(packet) > 500 and self._count in self._numbers else 0


def test_the_last_sample(make_flowd, directory):
    """
    Far away iperf3 exchanges results for several periods after the last byte was acknowledged: the
    last samples, in the API and in fireflies, say what its report says.
    """
    config = base_config(directory)
    config["enrichers"] = {"period": PERIOD_MS, "netlink": {}}
    config["backends"] = {"firefly": {"enrich": True, "sendToDestination": False,
                                      "collectors": [f"[{LongPath.NEAR}]:{COLLECTOR_PORT}"]}}
    with LongPath(LONG_DELAY_S, Losses(20, 21, 60)) as path, \
            Collector(path.near, LongPath.NEAR, COLLECTOR_PORT) as fireflies:
        daemon = make_flowd(path.near, config).start()
        daemon.api = Api(path.near)
        transfer = Transfer(path, daemon, "-n", 256 << 10, "-b", "1500K", "-l", "1K", "-N")
        samples = []
        try:
            def ended():
                answer = daemon.api.get(f"/v1/flows/{transfer.flow_id}")
                if answer.status == 200:
                    samples.append(answer.json.get("sample"))
                return answer.status == 404

            until(ended, "the flow's end")
            said = transfer.report()
        finally:
            transfer.close()
        end = fireflies.wait(1, "end")[0].document
        ongoing = [one.document for one in fireflies.fireflies() if one.state == "ongoing"][-1]
        daemon.stop()
    stream = said["end"]["streams"][0]
    assert stream["sender"]["bytes"] == stream["receiver"]["bytes"] == 256 << 10
    assert stream["sender"]["retransmits"] >= 3
    for usage, statistics in ((samples[-1]["usage"], samples[-1]), (ongoing["usage"], ongoing["netlink"]),
                              (end["usage"], end["netlink"])):
        assert 0 <= usage["sent"] - (256 << 10) - COOKIE <= 2, usage
        assert usage["received"] <= 2
        assert statistics["retrans"] == stream["sender"]["retransmits"]
        assert statistics["rtt"] == pytest.approx(stream["sender"]["mean_rtt"] / 1000, rel=0.1)
        assert statistics["rtt"] >= 2000 * LONG_DELAY_S


def test_against_iperf3_with_losses(enriching, pair):
    """Behind a narrow queue: retransmissions and the round-trip time of a queue that is full."""
    pair.near.run("tc", "qdisc", "add", "dev", "veth0", "root", "tbf", "rate", "80mbit", "burst", "64k",
                  "limit", "200k")
    daemon = enriching(enrich=True)
    with collector(pair) as fireflies:
        transfer = Transfer(pair, daemon, "-t", "2", "-i", "0.2", "-C", "bbr")
        try:
            until(lambda: sample_of(daemon, transfer.flow_id), "a sample")
            said = transfer.report()
        finally:
            transfer.close()
        end = fireflies.wait(1, "end")[0].document
        samples = [one.document for one in fireflies.fireflies() if one.state == "ongoing"]
    intervals = [one["streams"][0] for one in said["intervals"]]
    retransmits = said["end"]["streams"][0]["sender"]["retransmits"]
    assert retransmits > 0, "the queue dropped nothing: nothing was tested"
    assert samples[-1]["netlink"]["retrans"] <= end["netlink"]["retrans"]
    assert samples[0]["netlink"]["retrans"] <= retransmits <= end["netlink"]["retrans"]
    # Once the queue is full, both read the same round-trip times, though not at the same moments.
    theirs = [one["rtt"] / 1000 for one in intervals[3:-1]]
    ours = [one["netlink"]["rtt"] for one in samples[len(samples) // 3:]]
    assert min(theirs) / 2 <= sorted(ours)[len(ours) // 2] <= max(theirs) * 2, (ours, theirs)
    # Of what it wrote, iperf3 leaves some unsent; what the server got, this host has sent.
    assert said["end"]["streams"][0]["receiver"]["bytes"] <= end["usage"]["sent"] <= \
        said["end"]["streams"][0]["sender"]["bytes"] + COOKIE + 2


# -- against ss ------------------------------------------------------------------------------------

def bits(text):
    return float(text[:-3]) if text.endswith("bps") else float(text)


_MEMORY = {"r": "skmem_rmem_alloc", "rb": "skmem_rcv_buf", "t": "skmem_wmem_allow", "tb": "skmem_snd_buf",
           "f": "skmem_fwd_alloc", "w": "skmem_wmem_queued", "o": "skmem_opt_mem", "bl": "skmem_back_log",
           "d": "skmem_sock_drop"}
_SINCE = {"lastsnd", "lastrcv", "lastack"}


def parse_ss(text):
    """One socket of `ss -tinemH` as {field: value}, with flowd's names."""
    found = {}
    for name, value in re.findall(r"(?<!\S)([a-z_]+):([0-9][0-9./,]*(?:bps|ms)?)(?!\S)", text):
        if name == "rtt":
            found["rtt"], found["rtt_var"] = map(float, value.split("/"))
        elif name == "retrans":
            found["retrans"] = float(value.split("/")[1])
        elif name != "wscale":
            found[name] = bits(value.removesuffix("ms"))
    for name, value in re.findall(r"(?<!\S)(send|pacing_rate|delivery_rate) (\d+)bps", text):
        found[name] = float(value)
    for name, value in re.findall(r"([a-z]+)(\d+)", re.search(r"skmem:\(([^)]*)\)", text)[1]):
        found[_MEMORY[name]] = float(value)
    for name, value in re.findall(r"(bw|mrtt|pacing_gain|cwnd_gain):([0-9.]+)",
                                  (re.search(r"bbr:\(([^)]*)\)", text) or [""])[0]):
        found[f"bbr_{name}"] = float(value)
    found["opts"] = re.search(r"\) ((?:ts|sack|ecn|[a-z]+) .*?wscale:\S+)", text)[1]
    return found


def test_against_ss(enriching, pair):
    """100 connections, idle after they did different things: every field that both print agrees."""
    daemon = enriching(period=200)
    count = 100
    sockets, flows = [], {}
    listener = pair.far.socket(socket.AF_INET6, socket.SOCK_STREAM)
    sockets.append(listener)
    try:
        listener.bind((Pair.FAR, 0))
        listener.listen(count)
        port = listener.getsockname()[1]
        for number in range(count):
            client = pair.near.socket(socket.AF_INET6, socket.SOCK_STREAM)
            sockets.append(client)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"bbr" if number % 2 else b"cubic")
            client.bind((Pair.NEAR, 0))
            client.connect((Pair.FAR, port))
            server, _ = listener.accept()
            sockets.append(server)
            for sender, receiver, size in ((client, server, number * 700), (server, client, number * 90)):
                sender.sendall(b"x" * size)
                while size:
                    size -= len(receiver.recv(size))
            sport = client.getsockname()[1]
            flows[sport] = daemon.api.post(event(Pair.NEAR, sport, Pair.FAR, port, protocol="tcp")).expect(
                201).json["id"]

        def settled():
            """Two samples in a row that differ in nothing but in how long ago all happened."""
            first, second = settled.last, {
                one["srcPort"]: one.get("sample", {}) for one in
                daemon.api.get("/v1/flows?samples=true&limit=1000").expect(200).json["flows"]}
            settled.last = second
            keep = lambda sample: {k: v for k, v in sample.items() if k not in _SINCE | {"time"}}
            return len(second) == count and all(second.values()) and first and all(
                keep(first.get(sport, {})) == keep(second[sport]) and
                first[sport]["time"] != second[sport]["time"] for sport in second) and second

        settled.last = None
        samples = until(settled, "samples of idle connections", interval=0.5)
        shown = pair.near.run("ss", "-tinemOH", "dport", "=", f":{port}").stdout.splitlines()
        assert len(shown) == count
        compared = set()
        for line in shown:
            sport = int(re.search(r"\]:(\d+) ", line)[1])
            theirs, ours = parse_ss(line), samples[sport]
            for name, value in theirs.items():
                if name in _SINCE:
                    assert 0 <= value - ours[name] < 10_000, (name, value, ours[name])
                elif name == "opts":
                    assert ours["opts"] == value
                elif name in ours:
                    # ss cuts some numbers to a few digits.
                    assert ours[name] == pytest.approx(value, rel=1e-5, abs=0.0005), (name, line, ours)
                else:
                    continue
                compared.add(name)
        missing = {name for line in shown for name in parse_ss(line)} - compared
        assert missing <= {"ino", "sk", "uid"}, missing
        assert len(compared) >= 35, compared
    finally:
        for one in sockets:
            one.close()


# -- fireflies -------------------------------------------------------------------------------------

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


# -- flowctl top -----------------------------------------------------------------------------------

def top(pair, *arguments):
    return pair.near.run(FLOWCTL, *arguments)


def test_top_as_json(enriching, pair):
    """Two refreshes of two flows, one that sends and one that is of no socket."""
    daemon = enriching()
    with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as connection:
        busy = announce(daemon, connection.connect())
        idle = daemon.api.post(event(Pair.NEAR, 9, Pair.FAR, 9)).expect(201).json["id"]
        process = pair.near.popen([FLOWCTL, "--json", "top", "--interval", "0.5", "--count", "4"],
                                  stdout=subprocess.PIPE, text=True)
        until(lambda: connection.exchange() or process.poll() is not None, "its end")
        done = process.communicate()[0]
    documents = [json.loads(line) for line in done.splitlines()]
    assert len(documents) == 4 and process.returncode == 0
    assert all(one["live"] == 2 and {flow["id"] for flow in one["flows"]} == {busy, idle}
               for one in documents)
    first, last = documents[-1]["flows"]
    assert first["id"] == busy, "the fastest first"
    assert first["sentRate"] > 0 and first["receivedRate"] > 0 and first["rtt"] > 0
    assert (first["experiment"], first["activity"]) == (2, 17)
    assert documents[-1]["sentRate"] == first["sentRate"]
    assert last["id"] == idle and "rtt" not in last and "sentRate" not in last
    sent = [one["sent"] for document in documents for one in document["flows"] if "sent" in one]
    assert sent == sorted(sent) and sent[-1] <= connection.sent_by_client


def test_top_piped(enriching, pair):
    """One table after the other, without orders to a terminal."""
    daemon = enriching()
    with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as connection:
        announce(daemon, connection.connect())
        done = top(pair, "top", "--count", "2", "--interval", "0.2")
    assert "\033" not in done.stdout
    assert done.stdout.count(f"[{Pair.NEAR}]:{connection.sport}") == 2
    assert done.stdout.count("RTT") == 2


def test_top_errors(directory):
    for arguments in (["--interval", "0"], ["--interval", "x"], ["--count", "0"], ["--sort", "name"]):
        done = one_shot(directory, "top", *arguments, program=FLOWCTL)
        assert done.returncode == 2 and arguments[0] in done.stderr, done
    done = one_shot(directory, "list", "--count", "1", program=FLOWCTL)
    assert done.returncode == 2 and "top" in done.stderr
