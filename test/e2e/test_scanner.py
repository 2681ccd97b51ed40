# SPDX-License-Identifier: Apache-2.0
"""plugins.netlink: which connections become flows by themselves, and when they end."""

import contextlib
import json
import socket
import struct
import threading

import pytest

from lab.api_client import Api, event
from lab.collector import Collector
from lab.daemon_config import base_config
from lab.flowd_process import one_shot
from lab.netns import Pair
from lab.traffic import Tcp
from lab.waiting import until

PERIOD_MS = 100
TAG = {"experiment": 9, "activity": 4}
RESET = struct.pack("ii", 1, 0)


@pytest.fixture
def scanning(make_flowd, pair, directory):
    """A daemon on the near side that scans, with its API client."""

    def start(end_on_close=True, **options):
        config = base_config(directory)
        config["flows"] = {"endOnClose": end_on_close}
        # The API's own connections are on the loopback.
        networks = ["127.0.0.0/8", *options.pop("internalNetworks", [])]
        config["plugins"]["netlink"] = {**TAG, "period": PERIOD_MS, "ignorePrivate": False,
                                        "internalNetworks": networks, **options}
        daemon = make_flowd(pair.near, config).start()
        daemon.api = Api(pair.near)
        return daemon

    return start


def scanner(daemon):
    return next(one for one in daemon.api.status()["modules"] if one["name"] == "netlink")


def wait_scans(daemon, count=2):
    """Returns when that many scans have begun and ended since the call."""
    before = scanner(daemon)["scans"]
    until(lambda: scanner(daemon)["scans"] > before + count, "scans")


def flow_of(daemon, connection):
    ports = {connection.sport, connection.port}
    return next((one for one in daemon.api.flows() if {one["srcPort"], one["dstPort"]} == ports), None)


def wait_flow(daemon, connection):
    return until(lambda: flow_of(daemon, connection), "the connection's flow")


@pytest.mark.parametrize("end_on_close", [True, False])
@pytest.mark.parametrize("near", ["client", "server"])
@pytest.mark.parametrize("source,target", [(Pair.NEAR, Pair.FAR), (Pair.NEAR4, Pair.FAR4)])
def test_new_connections(scanning, pair, source, target, near, end_on_close):
    """What is there at the start is known; what comes later is announced, and ends when it closes."""
    client, server = (pair.near, pair.far) if near == "client" else (pair.far, pair.near)
    ends = (source, target) if near == "client" else (target, source)
    with Tcp(client, server, *ends) as old, Tcp(client, server, *ends) as new:
        old.connect()
        daemon = scanning(end_on_close)
        new.connect()
        flow = wait_flow(daemon, new)
        assert {name: flow[name] for name in TAG} == TAG and flow["plugin"] == "netlink"
        assert flow["src"] == source and flow["dst"] == target, "this host's end is the source"
        assert {flow["srcPort"], flow["dstPort"]} == {new.sport, new.port}
        wait_scans(daemon)
        assert [one["id"] for one in daemon.api.flows()] == [flow["id"]]
        new.exchange()
        for one in (new.client, new.server):
            one.close()
        until(lambda: daemon.api.live() == 0, "the flow's end")
        assert scanner(daemon)["known"] >= 1
    until(lambda: scanner(daemon)["known"] == 0, "the other one to be forgotten")
    assert daemon.api.status()["flows"]["started"] == 1


@contextlib.contextmanager
def mapped(pair):
    """An IPv6 socket of the near side that carries IPv4."""
    with pair.far.socket(socket.AF_INET, socket.SOCK_STREAM) as listener, \
            pair.near.socket(socket.AF_INET6, socket.SOCK_STREAM) as client:
        listener.bind((Pair.FAR4, 0))
        listener.listen(1)
        client.bind(("::ffff:" + Pair.NEAR4, 0))
        client.connect(("::ffff:" + Pair.FAR4, listener.getsockname()[1]))
        with listener.accept()[0]:
            yield client.getsockname()[1]


@pytest.mark.parametrize("options,seen", [
    ({}, {"ipv4", "ipv6", "mapped"}),
    ({"ignorePrivate": True}, {"ipv4", "mapped"}),
    ({"internalNetworks": ["192.0.2.0/24"]}, {"ipv6"}),
    ({"internalNetworks": ["192.0.2.2"]}, {"ipv6"}),
    ({"internalNetworks": ["192.0.2.1", "fd00:f10::1"]}, {"ipv4", "ipv6", "mapped"}),
    ({"internalNetworks": ["fd00:f10::/64"]}, {"ipv4", "mapped"}),
    ({"internalNetworks": ["fd00:f10::2/128", "0.0.0.0/0"]}, set()),
    ({"ignorePrivate": True, "internalNetworks": ["192.0.2.0/24"]}, set()),
])
def test_ignored_networks(scanning, pair, options, seen):
    """By the remote address, in the kernel: what is ignored is not even read."""
    daemon = scanning(**options)
    with Tcp(pair.near, pair.far, Pair.NEAR4, Pair.FAR4) as ipv4, \
            Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as ipv6:
        ports = {ipv4.connect().sport: "ipv4", ipv6.connect().sport: "ipv6"}
        with mapped(pair) as port:
            ports[port] = "mapped"
            until(lambda: daemon.api.live() >= len(seen), "the flows")
            wait_scans(daemon)
            assert {ports[one["srcPort"]] for one in daemon.api.flows()} == seen
            said = scanner(daemon)
            assert said["seen"] == said["known"] == len(seen) and said["ignored"] == 0
            assert said["networksInKernel"] == said["networks"]


def test_more_networks_than_the_kernel_takes(scanning, pair):
    """Those that find no room in its filter are compared by flowd."""
    networks = [f"2001:db8:{i:x}::/48" for i in range(3000)] + ["fd00:f10::2/128"]
    daemon = scanning(internalNetworks=networks)
    with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as ignored, \
            Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR_OTHER) as other:
        ignored.connect()
        wait_flow(daemon, other.connect())
        wait_scans(daemon)
        said = scanner(daemon)
        assert daemon.api.live() == 1 and said["ignored"] == 1
        assert 0 < said["networksInKernel"] < said["networks"] == 3002


def test_what_somebody_else_announces(scanning, pair):
    """A tool's word counts, whichever end it names as source, before and after the connection is met."""
    daemon = scanning()
    with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as before, \
            Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as after, \
            Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as turned:
        daemon.api.post(event(Pair.FAR, before.port, Pair.NEAR, before.sport, protocol="tcp")).expect(201)
        before.connect()
        for one in (after.connect(), turned.connect()):
            wait_flow(daemon, one)
        daemon.api.post(event(Pair.NEAR, after.sport, Pair.FAR, after.port, protocol="tcp")).expect(201, 200)
        daemon.api.post(event(Pair.FAR, turned.port, Pair.NEAR, turned.sport, protocol="tcp")).expect(201)
        until(lambda: daemon.api.live() == 3, "the scanner's own flow to give way")
        wait_scans(daemon)
        flows = daemon.api.flows()
        assert len(flows) == 3 and {one["experiment"] for one in flows} == {2}
    until(lambda: daemon.api.live() == 0, "all ends")


def test_restart(scanning, pair):
    """Flows of the process before are the same flows; one that closed meanwhile is gone."""
    daemon = scanning()
    with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as stays, \
            Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as closes:
        flow = wait_flow(daemon, stays.connect())
        wait_flow(daemon, closes.connect())
        daemon.kill()
        for one in (closes.client, closes.server):
            one.close()
        daemon.start()
        daemon.api = Api(pair.near)
        until(lambda: daemon.api.live() == 1, "the end of what closed")
        wait_scans(daemon)
        kept = daemon.api.flows()
        assert [(one["id"], one["startTime"]) for one in kept] == [(flow["id"], flow["startTime"])]
    until(lambda: daemon.api.live() == 0, "the other end")


def test_restart_without_end_on_close(scanning, pair):
    """The scanner itself ends what closed meanwhile."""
    daemon = scanning(end_on_close=False)
    with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as connection:
        wait_flow(daemon, connection.connect())
        daemon.kill()
    daemon.start()
    daemon.api = Api(pair.near)
    until(lambda: daemon.api.live() == 0, "the end")
    assert daemon.api.status()["events"]["netlink"]["end"] == {"ended": 1}


def test_restart_with_another_configuration(scanning, pair):
    """Flows of the process before get the new tag, and end where their network is ignored now."""
    daemon = scanning()
    with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as ignored, \
            Tcp(pair.near, pair.far, Pair.NEAR4, Pair.FAR4) as kept:
        before = [wait_flow(daemon, one.connect()) for one in (ignored, kept)]
        daemon.stop()
        options = daemon.config["plugins"]["netlink"]
        options["internalNetworks"].append("fd00:f10::/64")
        options["experiment"] = 11
        daemon.start()
        daemon.api = Api(pair.near)
        flow = until(lambda: next((one for one in daemon.api.flows() if one["experiment"] == 11), None),
                     "the new tag")
        until(lambda: daemon.api.live() == 1, "the other one's end")
        wait_scans(daemon)
        assert daemon.api.flows() == [flow] and flow["srcPort"] == kept.sport
        assert flow["id"] not in {one["id"] for one in before}
        assert scanner(daemon)["known"] == 1
    until(lambda: daemon.api.live() == 0, "the end")


def test_reloads_more_often_than_scans(scanning, pair):
    """A reload does not put the next scan off."""
    daemon = scanning(period=1000)
    before = scanner(daemon)["scans"]

    def scanned():
        daemon.reload(daemon.config, "reloaded")
        return scanner(daemon)["scans"] > before + 1

    until(scanned, "two scans")


@pytest.mark.parametrize("end_on_close", [True, False])
def test_a_port_that_is_used_again(scanning, pair, end_on_close):
    """Another connection with the same addresses and ports is another flow."""
    daemon = scanning(end_on_close)
    with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as former:
        first = wait_flow(daemon, former.connect())
        daemon.freeze()
        former.abort()
        with pair.near.socket(socket.AF_INET6, socket.SOCK_STREAM) as client:
            client.bind((Pair.NEAR, former.sport))
            client.connect((Pair.FAR, former.port))
            daemon.thaw()
            until(lambda: scanner(daemon)["reused"] == 1, "the new socket")
            second = wait_flow(daemon, former)
            assert second["id"] != first["id"] and daemon.api.live() == 1
            assert daemon.api.status()["flows"]["started"] == 2
    until(lambda: daemon.api.live() == 0, "the end")


def test_counts_of_a_port_that_is_used_again(scanning, pair):
    """The former flow's end does not tell those of the connection that has taken its ports over."""
    daemon = scanning(end_on_close=False)
    daemon.stop()
    daemon.config["enrichers"] = {"period": 100, "netlink": {}}
    daemon.config["backends"] = {"firefly": {"sendToDestination": False,
                                             "collectors": [f"{Pair.FAR4}:10514"]}}
    daemon.start()
    daemon.api = Api(pair.near)
    with Collector(pair.far, Pair.FAR4) as fireflies, \
            Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as former:
        wait_flow(daemon, former.connect())
        former.exchange(size=10)
        daemon.freeze()
        former.abort()
        with pair.near.socket(socket.AF_INET6, socket.SOCK_STREAM) as client:
            client.bind((Pair.NEAR, former.sport))
            client.connect((Pair.FAR, former.port))
            client.sendall(bytes(5000))
            daemon.thaw()
            end = fireflies.wait(1, "end")[0].document
            assert end.get("usage", {"sent": 0})["sent"] <= 11, "of the former one, or nothing"


def test_both_ends_on_this_host(scanning, pair):
    """One flow, from the end that connected."""
    daemon = scanning()
    with Tcp(pair.near, pair.near, Pair.NEAR, Pair.NEAR_OTHER) as connection:
        connection.connect()
        wait_flow(daemon, connection)
        wait_scans(daemon)
        assert daemon.api.live() == 1
        connection.server.close()
        wait_scans(daemon)
        assert daemon.api.live() == 1, "one end is there"
    until(lambda: daemon.api.live() == 0, "the end")


def test_a_connection_between_two_scans_is_not_met(scanning, pair):
    daemon = scanning(period=60000)
    with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as short:
        short.connect().exchange()
    daemon.config["plugins"]["netlink"]["period"] = PERIOD_MS
    daemon.reload(daemon.config, "reloaded")
    wait_scans(daemon)
    assert daemon.api.status()["flows"]["started"] == 0


def test_listeners_and_half_open_ones_are_no_connections(scanning, pair):
    daemon = scanning()
    with pair.near.socket(socket.AF_INET6, socket.SOCK_STREAM) as listener, \
            pair.near.socket(socket.AF_INET6, socket.SOCK_STREAM) as waiting:
        listener.bind((Pair.NEAR, 0))
        listener.listen(1)
        pair.far.run("ip", "-6", "route", "add", "blackhole", "2001:db8::/32")
        pair.near.ip("route", "add", "2001:db8::/32", "via", Pair.FAR)
        waiting.setblocking(False)
        with pytest.raises(BlockingIOError):
            waiting.connect(("2001:db8::1", 9))
        wait_scans(daemon)
        assert daemon.api.live() == 0 and scanner(daemon)["known"] == 0


def test_a_connection_that_its_host_has_half_closed(scanning, pair):
    """It is not in the kernel's list of established ones any more, and goes on all the same."""
    daemon = scanning(end_on_close=False)
    with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as connection:
        flow = wait_flow(daemon, connection.connect())
        connection.client.shutdown(socket.SHUT_WR)
        until(lambda: scanner(daemon)["missed"] >= 2, "it to be asked for")
        assert daemon.api.get(f"/v1/flows/{flow['id']}").status == 200
    until(lambda: daemon.api.live() == 0, "the end")


@pytest.mark.parametrize("restarted", [False, True])
def test_a_half_closed_one_of_an_interface(scanning, pair, restarted):
    """The kernel finds its socket only for who names the interface, which a former process knew."""
    daemon = scanning(end_on_close=False)
    with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as connection:
        connection.client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"veth0")
        flow = wait_flow(daemon, connection.connect())
        connection.client.shutdown(socket.SHUT_WR)
        if restarted:
            daemon.kill()
            daemon.start()
            daemon.api = Api(pair.near)
        until(lambda: scanner(daemon)["missed"] >= 2, "it to be asked for")
        assert daemon.api.get(f"/v1/flows/{flow['id']}").status == 200
    until(lambda: daemon.api.live() == 0, "the end")


def churn(pair, port, ending):
    """Connections that come and go, a hundred at a time; each second one is aborted."""
    held, number = [], 0
    with pair.near.entered():
        while not ending.is_set():
            with contextlib.suppress(OSError):
                held.append(socket.create_connection((Pair.FAR, port), 10))
            if len(held) > 100:
                number += 1
                if number % 2:
                    held[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                held.pop(0).close()
    for one in held:
        one.close()


def serve(listener, ending):
    """Accepts, and closes the oldest of many; at the end every one, also those that still wait."""
    listener.settimeout(0.1)
    held = []
    while True:
        try:
            held.append(listener.accept()[0])
        except TimeoutError:
            if ending.is_set():
                break
        if len(held) > 200:
            held.pop(0).close()
    for one in held:
        one.close()


@pytest.mark.parametrize("end_on_close", [True, False])
def test_others_that_come_and_go(scanning, pair, end_on_close):
    """While the kernel's table changes under the dumps, no live flow ends, and none is left behind."""
    daemon = scanning(end_on_close, period=100)
    ending, all_gone = threading.Event(), threading.Event()
    with contextlib.ExitStack() as stack:
        lasting = [stack.enter_context(Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR_OTHER)).connect()
                   for _ in range(30)]
        ids = {wait_flow(daemon, one)["id"] for one in lasting}
        listener = stack.enter_context(pair.far.socket(socket.AF_INET6, socket.SOCK_STREAM))
        listener.bind((Pair.FAR, 0))
        listener.listen(500)
        port = listener.getsockname()[1]
        server = threading.Thread(target=serve, args=(listener, all_gone), daemon=True)
        clients = [threading.Thread(target=churn, args=(pair, port, ending), daemon=True)
                   for _ in range(2)]
        for one in (server, *clients):
            one.start()
        try:
            wait_scans(daemon, 15)
        finally:
            for signal_, workers in ((ending, clients), (all_gone, [server])):
                signal_.set()
                for one in workers:
                    one.join()
        assert ids <= {one["id"] for one in daemon.api.flows()}
        until(lambda: {one["id"] for one in daemon.api.flows()} == ids, "the others' ends")
        assert daemon.api.status()["flows"]["started"] > len(ids), "no other was met: nothing was tested"
    until(lambda: daemon.api.live() == 0 and scanner(daemon)["known"] == 0, "all ends")


@pytest.mark.parametrize("text,words", [
    ("192.0.2.1/24", ["192.0.2.0/24"]), ("192.0.2.0/33", ["0-32"]), ("example.org", ["192.0.2.0/24"])])
def test_networks_that_are_none(directory, text, words):
    config = base_config(directory)
    config["plugins"]["netlink"] = {"internalNetworks": ["2001:db8::/32", text]}
    path = directory / "config.json"
    path.write_text(json.dumps(config))
    done = one_shot(directory, "-c", path, "check")
    assert done.returncode == 2, done
    for word in ["plugins.netlink.internalNetworks[1]", text, *words]:
        assert word in done.stdout + done.stderr, (word, done)
