# SPDX-License-Identifier: Apache-2.0
"""TCP statistics of flows against those of iperf3 and ss."""

import json
import re
import socket
import struct
import subprocess

import pytest

from lab.api_client import Api, event, line
from lab.collector import Collector
from lab.daemon_config import base_config
from lab.enriching import COLLECTOR_PORT, PERIOD_MS, collector, sample_of
from lab.long_path import LongPath
from lab.netns import Pair
from lab.waiting import DEADLINE_S, until

COOKIE = 37  # bytes that iperf3 sends on each stream before the data
DATA_PORT = 45000
LONG_DELAY_S = 0.1  # one way


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


def transfer_far_away(make_flowd, config, name):
    """What iperf3 reports, the samples that the API had, and the flow's last ongoing and end fireflies."""
    with LongPath(LONG_DELAY_S, Losses(20, 21, 60)) as path, \
            Collector(path.near, LongPath.NEAR, COLLECTOR_PORT) as fireflies:
        daemon = make_flowd(path.near, config, name=name).start()
        daemon.api = Api(path.near)
        transfer = Transfer(path, daemon, "-n", 256 << 10, "-b", "1500K", "-i", "0.1", "-l", "1K", "-N")
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
    return said["end"]["streams"][0], samples, ongoing, end


def test_the_last_sample(make_flowd, directory):
    """
    Far away iperf3 exchanges results for several periods after the last byte was acknowledged: the
    last samples, in the API and in fireflies, say what its report says.
    """
    config = base_config(directory)
    config["enrichers"] = {"period": PERIOD_MS, "netlink": {}}
    config["backends"] = {"firefly": {"enrich": True, "sendToDestination": False,
                                      "collectors": [f"[{LongPath.NEAR}]:{COLLECTOR_PORT}"]}}
    for number in range(5):
        stream, samples, ongoing, end = transfer_far_away(make_flowd, config, f"flowd-{number}")
        # As in transfer_wholly(). From 3.16 on iperf3 looks only now and then whether all is sent.
        total = stream["sender"]["bytes"]
        if total == stream["receiver"]["bytes"]:
            break
    assert total == stream["receiver"]["bytes"] >= 256 << 10
    assert stream["sender"]["retransmits"] >= 3
    # Of the whole transfer: where the path is late for a while, its mean is not the last sample's.
    shortest, longest = (stream["sender"][which] / 1000 for which in ("min_rtt", "max_rtt"))
    for usage, statistics in ((samples[-1]["usage"], samples[-1]), (ongoing["usage"], ongoing["netlink"]),
                              (end["usage"], end["netlink"])):
        assert 0 <= usage["sent"] - total - COOKIE <= 2, usage
        assert usage["received"] <= 2
        assert statistics["retrans"] == stream["sender"]["retransmits"]
        assert 0.9 * shortest <= statistics["rtt"] <= 1.1 * longest
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
