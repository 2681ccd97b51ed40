# SPDX-License-Identifier: Apache-2.0
"""
What this kernel lets flowd do: a cell of the manual's table of kernels for each test.

Each test tries one thing as a user would see it and says in one word what came of it: "works", the
way that was taken, or what the refusal asks for. A refusal that does not say what is missing is a
failure, as is a packet without its mark. `make test-kernels` runs this on other kernels, collects
the words ($FLOWD_CELLS) and compares them with the manual.
"""

import json
import os
import re

import pytest

from lab.api_client import Api, event
from lab.daemon_config import base_config
from lab.frames import Frames, of_flow, split
from lab.netns import Pair
from test_failures import WITHOUT_PERFMON
from lab.traffic import Tcp, udp_socket
from lab.transfer import ended, make_file, send_file
from lab.waiting import until

STRATEGIES = ("label", "hopByHop", "destination", "hopByHopDestination")
DATAGRAMS = 20
FILE_SIZE = 300_000
SAMPLE_S = 15  # a sample is due ten times a second
# What a refusal has to name, and the word for it.
REFUSALS = ((r"update it to Linux (5\.\d+)", r"needs Linux \1"), (r"no TCX \((Linux 6\.6)\)", r"needs \1"))


@pytest.fixture
def cell(request):
    """Says what came of the test's row."""
    written = []
    parameters = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    title = request.function.row.format(**parameters)

    def write(text):
        written.append(text)
        if os.environ.get("FLOWD_CELLS"):
            with open(os.environ["FLOWD_CELLS"], "a", encoding="utf-8") as file:
                file.write(json.dumps({"row": title, "cell": text}) + "\n")

    yield write
    assert len(written) == 1 or request.node.failed, "one word for each row"


def row(title):
    """The row of the manual's table that a test fills; {} stands for its parameters."""
    def named(function):
        function.row = title
        return function

    return named


def refusal(daemon):
    """What the refusal of a daemon that ended asks for."""
    assert daemon.wait_exit() == 1, daemon.log()
    last = daemon.log().splitlines()[-1]
    for pattern, word in REFUSALS:
        match = re.search(pattern, last)
        if match:
            return match.expand(word)
    raise AssertionError(f"a refusal that names no remedy: {last}")


def start(daemon):
    """Starts it; returns whether it is ready, or has ended."""
    daemon.start(ready=False)
    until(lambda: re.search(r"\bready\b", daemon.log()) or not daemon.running(), "the start, or its end")
    return daemon.running()


def everything_is_marked(pair, api, directory, strategy):
    """
    A TCP transfer and datagrams, of which all arrive and all bear the mark that have room for it. The
    kernel hands TCP's data over whole, so only extension headers on full packets have none.
    """
    def announce(key):
        answer = api.post(event(*key[1:], protocol=key[0])).expect(201).json
        assert answer["backends"]["marker"] == "marked", answer

    path = make_file(directory / "file", FILE_SIZE)
    with Frames(pair.far, "veth1") as there, udp_socket(pair.far, Pair.FAR) as receiver, \
            udp_socket(pair.near, Pair.NEAR) as sender:
        sent = send_file(path, pair.near, pair.far, Pair.NEAR, Pair.FAR, announce)
        until(lambda: ended(there.packets(), sent.key), "the last segment")
        key = ("udp", Pair.NEAR, sender.getsockname()[1], Pair.FAR, receiver.getsockname()[1])
        announce(key)
        for _ in range(DATAGRAMS):
            sender.sendto(b"a datagram", (Pair.FAR, key[4]))
        until(lambda: len(of_flow(there.packets(), key)) == DATAGRAMS, "the datagrams")
        packets = there.packets()
    marked, unmarked = split(of_flow(packets, sent.key), strategy, "scitags")
    assert marked and all(one.size > 1500 - 16 and strategy != "label" for one in unmarked), (
        f"{len(marked)} segments marked, unmarked: {unmarked[:3]}")
    marked, unmarked = split(of_flow(packets, key), strategy, "scitags")
    assert len(marked) == DATAGRAMS and not unmarked


@row("`{strategy}`, `attach: {attach}`")
@pytest.mark.parametrize("attach", ["auto", "tc", "tcx"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_marks(pair, make_flowd, directory, pin_path, cell, strategy, attach):
    daemon = make_flowd(pair.near, base_config(directory, pin_path, markingStrategy=strategy, attach=attach))
    if not start(daemon):
        cell(refusal(daemon))
        return
    api = Api(pair.near)
    everything_is_marked(pair, api, directory, strategy)
    cell(api.status()["interfaces"][0]["attach"])


@row("`label` without `CAP_PERFMON`")
def test_without_perfmon(pair, make_flowd, directory, pin_path, cell):
    """A strict verifier takes a program for packets without extension headers and tags in band."""
    daemon = make_flowd(pair.near, base_config(directory, pin_path), prefix=WITHOUT_PERFMON).start()
    everything_is_marked(pair, Api(pair.near), directory, "label")
    assert ("CAP_PERFMON" in daemon.log()) == ("a simple program only" in daemon.log())
    cell("plain packets" if "a simple program only" in daemon.log() else "works")


@row("`hopByHop` without `CAP_PERFMON`")
def test_options_without_perfmon(pair, make_flowd, directory, pin_path, cell):
    daemon = make_flowd(pair.near, base_config(directory, pin_path, markingStrategy="hopByHop"),
                        prefix=WITHOUT_PERFMON)
    if not start(daemon):
        cell(refusal(daemon))
        return
    if "without CAP_PERFMON, which is missing: give it to flowd" in daemon.log():
        assert Api(pair.near).get("/readyz").status == 503
        cell("needs `CAP_PERFMON`")
        return
    everything_is_marked(pair, Api(pair.near), directory, "hopByHop")
    assert "the MTU of routes can't be read: CAP_PERFMON is missing" in daemon.log()
    cell("works")


@row("MTU of a packet's route")
def test_route_mtu(pair, make_flowd, directory, pin_path, cell):
    daemon = make_flowd(pair.near, base_config(directory, pin_path, markingStrategy="hopByHop"))
    if not start(daemon):
        cell(refusal(daemon))
        return
    cell("not read" if "the MTU of routes can't be read" in daemon.log() else "read")


def datagram_is_marked(pair, sender, receiver):
    """Sends one datagram of the flow and returns whether it arrives with the mark."""
    key = ("udp", Pair.NEAR, sender.getsockname()[1], Pair.FAR, receiver.getsockname()[1])
    with Frames(pair.far, "veth1") as there:
        sender.sendto(b"a datagram", (Pair.FAR, key[4]))
        until(lambda: of_flow(there.packets(), key), "the datagram")
        return bool(split(of_flow(there.packets(), key), "label", "scitags")[0])


@pytest.fixture
def flow(pair):
    """A sender and a receiver of datagrams, and the flow's event."""
    with udp_socket(pair.far, Pair.FAR) as receiver, udp_socket(pair.near, Pair.NEAR) as sender:
        yield sender, receiver, event(Pair.NEAR, sender.getsockname()[1], Pair.FAR, receiver.getsockname()[1])


@row("`kill -9`: marks go on, the next start takes over")
def test_kill(pair, make_flowd, directory, pin_path, cell, flow):
    sender, receiver, one = flow
    daemon = make_flowd(pair.near, base_config(directory, pin_path)).start()
    Api(pair.near).post(one).expect(201)
    daemon.kill()
    assert datagram_is_marked(pair, sender, receiver), "while flowd is dead"
    daemon.start()
    assert "took over the pinned maps" in daemon.log()
    assert len(Api(pair.near).flows()) == 1 and datagram_is_marked(pair, sender, receiver)
    cell("works")


@row("`onExit: keep`")
def test_keep(pair, make_flowd, directory, pin_path, cell, flow):
    sender, receiver, one = flow
    daemon = make_flowd(pair.near, base_config(directory, pin_path, onExit="keep")).start()
    Api(pair.near).post(one).expect(201)
    daemon.stop()
    assert datagram_is_marked(pair, sender, receiver), "while flowd is stopped"
    daemon.start()
    assert datagram_is_marked(pair, sender, receiver)
    cell("works")


def sample_of(api, identifier):
    return api.get(f"/v1/flows/{identifier}").expect(200).json.get("sample")


@row("`plugins.iperf3`")
def test_iperf3(pair, make_flowd, directory, cell):
    config = base_config(directory)
    config["plugins"]["iperf3"] = {"minDestinationPort": 8000, "maxDestinationPort": 9000}
    daemon = make_flowd(pair.near, config)
    assert start(daemon), daemon.log()
    api = Api(pair.near)
    with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR, port=8500) as connection:
        connection.connect()
        until(lambda: [one for one in api.flows() if one["srcPort"] == connection.sport], "the flow")
        connection.exchange()
    until(lambda: not api.flows(), "the flow's end")
    cell("works")


@row("`enrichers.skops`")
def test_skops(pair, make_flowd, directory, cell):
    config = base_config(directory)
    config["enrichers"] = {"period": 100, "skops": {}}
    config["flows"] = {"endOnClose": False}
    daemon = make_flowd(pair.near, config)
    assert start(daemon), daemon.log()
    api = Api(pair.near)
    with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as connection:
        identifier = api.post(event(Pair.NEAR, connection.sport, Pair.FAR, connection.port, protocol="tcp")).expect(
            201).json["id"]
        connection.connect()
        connection.exchange(10_000, 3_000)
        until(lambda: sample_of(api, identifier), "a sample")
    cell("works")


@row("`enrichers.skops`, connections from before flowd")
def test_skops_of_before(pair, make_flowd, directory, cell):
    """Sampled, or not: an older kernel takes the request to tell of them and does nothing."""
    config = base_config(directory)
    config["enrichers"] = {"period": 100, "skops": {}}
    with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as connection:
        connection.connect()
        daemon = make_flowd(pair.near, config)
        assert start(daemon), daemon.log()
        if "lets no program look at connections that are there" in daemon.log():
            cell("not sampled")
            return
        api = Api(pair.near)
        identifier = api.post(event(Pair.NEAR, connection.sport, Pair.FAR, connection.port, protocol="tcp")).expect(
            201).json["id"]

        def sampled():
            connection.exchange(10_000, 3_000)
            return sample_of(api, identifier)

        try:
            until(sampled, "a sample", timeout=SAMPLE_S)
        except AssertionError:
            cell("not sampled")
        else:
            cell("sampled")


@row("`enrichers.netlink`")
def test_netlink(pair, make_flowd, directory, cell):
    config = base_config(directory)
    config["enrichers"] = {"period": 100, "netlink": {}}
    make_flowd(pair.near, config).start()
    api = Api(pair.near)
    with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as connection:
        connection.connect()
        identifier = api.post(event(Pair.NEAR, connection.sport, Pair.FAR, connection.port, protocol="tcp")).expect(
            201).json["id"]
        connection.exchange(10_000, 3_000)
        until(lambda: (sample_of(api, identifier) or {}).get("usage", {}).get("sent", 0) >= 10_000, "a sample")
    cell("works")


@row("`flows.endOnClose`")
def test_end_by_the_kernel(pair, make_flowd, directory, cell):
    make_flowd(pair.near, base_config(directory)).start()
    api = Api(pair.near)
    with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as connection:
        connection.connect()
        api.post(event(Pair.NEAR, connection.sport, Pair.FAR, connection.port, protocol="tcp")).expect(201)
        connection.exchange()
        assert api.live() == 1
    until(lambda: api.live() == 0, "the end that the kernel tells of")
    cell("works")


@row("API and metrics")
def test_api_and_metrics(pair, make_flowd, directory, pin_path, cell, flow):
    config = base_config(directory, pin_path)
    config["backends"]["prometheus"] = {}
    make_flowd(pair.near, config).start()
    api = Api(pair.near)
    api.post(flow[2]).expect(201)
    assert api.get("/readyz").status == 200 and api.get("/openapi.json").status == 200
    text = Api(pair.near, port=9000).get("/metrics").expect(200).body.decode()
    assert "flowd_flows 1\n" in text and 'flowd_marker_interfaces{state="attached"} 1\n' in text
    cell("works")
