# SPDX-License-Identifier: Apache-2.0
"""Fireflies that come in: every sender's form, what is none, what comes back, and 600 real ones."""

import json
import re
import socket
import threading

import pytest

from lab.api_client import Api, line
from lab.capture import Capture
from lab.collector import DATA
from lab.daemon_config import base_config
from lab.labels import TAG_MASK, tag_bits
from lab.netns import Pair
from lab.traffic import Tcp
from lab.waiting import until

PORT = 10514
START = "2026-01-01T00:00:00.000000+00:00"
REASONS = ("header", "json", "type", "repeated", "missing", "version", "state", "time", "protocol", "address",
           "family", "port", "experiment", "activity")


def document(state="start", src="2001:db8::1", sport=1094, dst="2001:db8::2", dport=40000, tag=(2, 17),
             start=START, now=START, protocol="tcp", **members):
    """A firefly's object; now makes it one of its own."""
    lifecycle = {"state": state, "current-time": now, "start-time": start}
    if state == "end":
        lifecycle["end-time"] = now
    return {"version": 1, "flow-lifecycle": lifecycle,
            "flow-id": {"afi": "ipv6" if ":" in src else "ipv4", "src-ip": src, "dst-ip": dst, "protocol": protocol,
                        "src-port": sport, "dst-port": dport},
            "context": {"experiment-id": tag[0], "activity-id": tag[1], "application": "a v1"}, **members}


def at(second):
    return START.replace(":00.000000", f":{second:02}.000000")


def bare(**changes):
    return json.dumps(document(**changes)).encode()


class Sender:
    """Sends to flowd from inside a namespace."""

    def __init__(self, space, address="127.0.0.1", port=PORT):
        self.socket = space.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        self.target = address, port

    def __call__(self, datagram):
        self.socket.sendto(datagram if isinstance(datagram, bytes) else datagram.encode(), self.target)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def listener(api):
    """The plugin's part of the status (the backend bears the same name)."""
    return next(one for one in api.status()["modules"] if one["name"] == "firefly" and one["kind"] == "plugin")


def events(api):
    """How many fireflies have become events, by state."""
    counted = api.status()["events"]["firefly"]
    return {state: sum(counted[state].values()) for state in ("start", "end", "ongoing")}


@pytest.fixture
def listening(make_flowd, single, directory):
    """A daemon that listens for fireflies, with its API client."""

    def start(firefly=None, backends=None, **options):
        config = base_config(directory)
        config["plugins"]["firefly"] = firefly or {}
        config["backends"].update(backends or {})
        daemon = make_flowd(single, config, **options).start()
        daemon.api = Api(single)
        return daemon

    return start


def table_of(lines):
    """What is live behind these lines of a collector's log, and how many there are of each state."""
    live, counts = {}, {"start": 0, "end": 0, "ongoing": 0}
    for text in lines:
        firefly = json.loads(re.search(r"\{.*\}", text)[0])
        flow, context = firefly["flow-id"], firefly["context"]
        key = tuple(flow[name] for name in ("protocol", "src-ip", "src-port", "dst-ip", "dst-port"))
        state = firefly["flow-lifecycle"]["state"]
        counts[state] += 1
        if state == "end":
            live.pop(key, None)
        else:
            live[key] = context["experiment-id"], context["activity-id"], firefly["flow-lifecycle"]["start-time"]
    return {(*key, *value[:2]) for key, value in live.items()}, counts


def shown(flows):
    return {(one["protocol"], one["src"], one["srcPort"], one["dst"], one["dstPort"], one["experiment"],
             one["activity"]) for one in flows}


@pytest.mark.parametrize("form", ["as logged", "as sent", "bare"])
def test_600_real_ones(listening, single, form):
    lines = (DATA / "fireflies_2022.log").read_text(encoding="ascii").splitlines()
    expected, counts = table_of(lines)
    assert len(lines) == sum(counts.values()) == 600 and len(expected) > 100
    daemon = listening()
    with Sender(single) as send:
        for text in lines:
            send({"as logged": text, "as sent": "<134>" + text[text.index(" 1 2022-") + 1:],
                  "bare": text[text.index("{"):]}[form])
        until(lambda: events(daemon.api) == counts, lambda: f"600 events: {events(daemon.api)}")
    assert shown(daemon.api.flows()) == expected
    one = daemon.api.flows()[0]
    assert one["plugin"] == "firefly" and one["application"] == "flowd v0.1.2" and one["startTime"].startswith("2022-02-01")
    status = listener(daemon.api)
    assert status["received"] == 600 and status["droppedByKernel"] == 0
    assert not any(status["rejected"].values()) and not any(status[key] for key in ("own", "again", "late", "limited"))


@pytest.mark.parametrize("header", [
    f"<134>1 {START} host flowd - firefly-json - ", "<134>1  host flowd-go - firefly-json - ",
    "<134>1 - host xrootd - firefly-json - ", "<134>1 2026-01-01T00:00:00.000Z host dCache - firefly-json - ", "",
])
def test_each_senders_form(listening, single, header):
    """By IPv4 and IPv6 to one socket of both, with a newline or without."""
    daemon = listening(firefly={"bindAddress": "::"})
    assert listener(daemon.api)["listening"] == [f"[::]:{PORT}"]
    with Sender(single, "127.0.0.1") as four, Sender(single, "::1") as six:
        four(header.encode() + bare(sport=1))
        six(header.encode() + bare(sport=2, usage={"sent": 1}) + b"\n")
        six(header.encode() + bare(sport=3, tag=(1, 0)))
        six(header.encode() + bare(sport=4, tag=(0, 0), src="192.0.2.1", dst="192.0.2.2"))
        until(lambda: daemon.api.live() == 4, "the flows")
        assert {(one["srcPort"], one["scitag"]) for one in daemon.api.flows()} == {(1, 145), (2, 145), (3, 64), (4, 0)}
        assert {one["address"]: one["received"] for one in listener(daemon.api)["senders"]} == \
            {"127.0.0.1": 1, "::1": 3}
        six(header.encode() + bare(sport=1, state="end"))
        until(lambda: daemon.api.live() == 3, "the end of a flow")


def test_what_is_no_firefly(listening, single):
    """Counted by reason and told in the log, at most ten lines a second; nobody is answered."""
    good = document()
    bad = {"header": "hello", "json": "{", "type": json.dumps({**good, "version": "1"}), "missing": "{}",
           "repeated": '{"usage": {}, "usage": {}}', "version": json.dumps({**good, "version": 2}),
           "state": bare(state="over"), "time": bare(start="today"), "protocol": bare(protocol="sctp"),
           "address": bare(dst="host.example.org"), "family": bare(dst="192.0.2.1"), "port": bare(sport=0),
           "experiment": bare(tag=(1024, 1)), "activity": bare(tag=(1, 64))}
    assert set(bad) == set(REASONS)
    daemon = listening()
    with Sender(single) as send:
        for datagram in bad.values():
            send(datagram)
        for _ in range(200):
            send(b"\x00\xff\x1b[31m" * 400)
        send(b"")
        until(lambda: listener(daemon.api)["received"] == len(bad) + 201, "the datagrams")
        with pytest.raises(BlockingIOError):
            send.socket.recv(1, socket.MSG_DONTWAIT)
    status = listener(daemon.api)
    assert status["rejected"] == {**dict.fromkeys(REASONS, 1), "header": 202}
    assert status["senders"] == [{"address": "127.0.0.1", "received": len(bad) + 201, "rejected": len(bad) + 201,
                                  "limited": 0}]
    assert daemon.api.status()["events"]["firefly"]["malformed"] == len(bad) + 201
    assert sum(events(daemon.api).values()) == 0
    told = [one for one in daemon.log().splitlines() if "no firefly" in one]
    assert 0 < len(told) <= 40, len(told)
    assert "no firefly: header; from 127.0.0.1: hello" in told[0]
    assert "\x1b" not in daemon.log()


def test_rate_of_a_sender(listening, single):
    """Who sends too many loses what is too many; others are heard, and a reload takes the limit away."""
    daemon = listening(firefly={"bindAddress": "::", "senderRate": 100})
    with Sender(single, "127.0.0.1") as loud, Sender(single, "::1") as quiet:
        for number in range(1000):
            loud(bare(sport=1 + number))
        quiet(bare(sport=2000))
        until(lambda: listener(daemon.api)["received"] == 1001, "the datagrams")
        status = listener(daemon.api)
        assert 100 <= daemon.api.live() < 900 and status["limited"] == 1001 - daemon.api.live()
        assert {one["address"]: one["limited"] for one in status["senders"]} == \
            {"127.0.0.1": status["limited"], "::1": 0}
        config = json.loads((daemon.directory / "config.json").read_text())
        config["plugins"]["firefly"]["senderRate"] = 0
        daemon.reload(config)
        before = daemon.api.live()
        for number in range(1000):
            loud(bare(sport=3000 + number))
        until(lambda: daemon.api.live() == before + 1000, "all of them")


def test_more_senders_than_are_known(listening, single):
    daemon = listening(firefly={"bindAddress": "::"})
    single.ip("-6", "route", "add", "local", "2001:db8:5::/64", "dev", "lo")
    for number in range(1, 1500):
        with single.socket(socket.AF_INET6, socket.SOCK_DGRAM) as one:
            one.setsockopt(socket.IPPROTO_IPV6, 78, 1)  # IPV6_FREEBIND
            one.bind((f"2001:db8:5::{number:x}", 0))
            one.sendto(b"x" * (1 + number % 2), ("::1", PORT))
    until(lambda: listener(daemon.api)["received"] == 1499, "the datagrams")
    status = listener(daemon.api)
    assert status["sendersKnown"] == 1024 and len(status["senders"]) == 20


def test_what_the_kernel_drops(listening, single):
    """A daemon that stands still does not hear all of them; how many it says afterwards."""
    daemon = listening()
    daemon.freeze()
    sent = 60_000
    with Sender(single) as send:
        for number in range(sent):
            send(b"x" * 1000)
    daemon.thaw()

    def all_counted():
        status = listener(daemon.api)
        return status["received"] + status["droppedByKernel"] == sent and status["droppedByKernel"]

    assert until(all_counted, lambda: f"{sent} datagrams: {listener(daemon.api)}") < sent


def back_from(space, backwards, headers):
    """Another host's flowd, as far as it matters: what comes to its port goes back, perhaps in another order."""
    incoming = space.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    incoming.bind(("::1", 10600))
    incoming.settimeout(30)

    def run():
        datagrams = [incoming.recv(65536) for _ in range(2)]
        for datagram in reversed(datagrams) if backwards else datagrams:
            incoming.sendto(datagram if headers else datagram[datagram.index(b"{"):], ("::1", PORT))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, incoming


@pytest.mark.parametrize("way", ["collector", "destination", "both"])
@pytest.mark.parametrize("syslog", [True, False], ids=["with header", "bare"])
def test_own_ones_that_come_back(listening, way, syslog):
    """The listener is the collector, the destination, or both: nothing starts, and nothing is sent twice."""
    daemon = listening(firefly={"bindAddress": "::"}, backends={"firefly": {
        "collectors": [f"[::1]:{PORT}"] if way != "destination" else [],
        "sendToDestination": way != "collector", "prependSyslog": syslog}})
    copies = 2 if way == "both" else 1
    for number, pause in enumerate((True, False)):
        text = [line(state, "::1", 1 + number, "::1", 2) for state in ("start", "ongoing", "end")]
        if pause:
            daemon.write_fifo(text[0])
            until(lambda: listener(daemon.api)["own"] == copies, "the start that came back")
            daemon.write_fifo(text[1] + text[2])
        else:
            # The start comes back when the flow has ended.
            daemon.write_fifo("".join(text))
        until(lambda: listener(daemon.api)["own"] == 2 * copies * (number + 1),
              lambda: f"what came back: {listener(daemon.api)}, {daemon.api.status()}")
    assert daemon.api.live() == 0 and sum(events(daemon.api).values()) == 0
    assert daemon.api.status()["flows"]["started"] == 2
    assert listener(daemon.api)["received"] == 4 * copies


@pytest.mark.parametrize("backwards", [False, True], ids=["in order", "end first"])
@pytest.mark.parametrize("headers", [True, False], ids=["with header", "bare"])
def test_own_ones_that_another_host_passes_on(listening, single, backwards, headers):
    daemon = listening(firefly={"bindAddress": "::"}, backends={"firefly": {
        "collectors": ["[::1]:10600"], "sendToDestination": False}})
    thread, incoming = back_from(single, backwards, headers)
    with incoming:
        daemon.write_fifo(line("start", "2001:db8::1", 1, "2001:db8::2", 2) +
                          line("end", "2001:db8::1", 1, "2001:db8::2", 2))
        until(lambda: listener(daemon.api)["own"] == 2, "what came back")
        thread.join()
    assert daemon.api.live() == 0 and sum(events(daemon.api).values()) == 0


@pytest.mark.parametrize("complete", [True, False], ids=["complete", "with something missing"])
def test_two_that_relay_to_each_other(make_flowd, pair, directory, complete):
    """What one has sent or passed on comes back from the other, and ends there."""
    apis, daemons = [], []
    for space, other, name in ((pair.near, Pair.FAR4, "near"), (pair.far, Pair.NEAR4, "far")):
        place = directory / f"{name}-files"
        place.mkdir(mode=0o777)
        config = base_config(place)
        config["plugins"]["firefly"] = {"bindAddress": "0.0.0.0"}
        config["backends"]["firefly"] = {"collectors": [f"{other}:{PORT}"], "sendToDestination": False}
        daemons.append(make_flowd(space, config, name))
        daemons[-1].start()
        apis.append(Api(space))
    near, far = apis

    def passed_on(api):
        backend = next(one for one in api.status()["modules"] if one["name"] == "firefly" and one["kind"] == "backend")
        return backend["relay"]["passedOn"]

    def states():
        return [(listener(api)["own"], listener(api)["again"], passed_on(api), api.live()) for api in apis]

    # Announced here: the other one passes it on to here.
    daemons[0].write_fifo(line("start", "2001:db8::1", 1, "2001:db8::2", 2))
    until(lambda: states() == [(1, 0, 0, 1), (0, 0, 1, 1)], lambda: f"the start: {states()}")
    daemons[0].write_fifo(line("end", "2001:db8::1", 1, "2001:db8::2", 2))
    until(lambda: states() == [(2, 0, 0, 0), (0, 0, 2, 0)], lambda: f"the end: {states()}")
    # A firefly of somebody else: each passes it on once.
    with Sender(pair.near) as send:
        for number, state in enumerate(("start", "ongoing", "end")):
            sent = document(state=state, now=at(number))
            if not complete:
                del sent["version"], sent["flow-lifecycle"]["current-time"]
            send(json.dumps(sent))
            expected = [(2, number + 1, number + 1, state != "end"), (0, 0, number + 3, state != "end")]
            until(lambda: states() == expected, lambda: f"{state}: {states()}")  # pylint: disable=cell-var-from-loop


def test_own_ones_after_a_restart(listening, single):
    """The state file has when a flow began: what was sent before the restart is known again."""
    daemon = listening(firefly={"bindAddress": "::"}, backends={"firefly": {
        "collectors": ["[::1]:10600"], "sendToDestination": False}})
    with single.socket(socket.AF_INET6, socket.SOCK_DGRAM) as elsewhere:
        elsewhere.bind(("::1", 10600))
        elsewhere.settimeout(30)
        daemon.write_fifo(line("start", "2001:db8::1", 1, "2001:db8::2", 2))
        start = elsewhere.recv(65536)
        daemon.kill()
        daemon.start()
        api = Api(single)
        with Sender(single) as send:
            send(start)
            send(start[start.index(b"{"):].replace(b'"start"', b'"end"').replace(
                b'"start-time"', b'"end-time": "2026-01-01T00:00:00Z", "start-time"'))
            until(lambda: listener(api)["own"] == 2, "what came back")
        assert api.live() == 1


def test_a_message_that_comes_twice(listening, single):
    """By two ways, with another header: an event once. A sender without current-time may repeat itself."""
    daemon = listening()
    with Sender(single) as send:
        send(b"<134>1  host flowd-go - firefly-json - " + bare())
        send(b"<134>1 - other relay - firefly-json - " + bare())
        send(bare())
        timeless = document(state="ongoing", sport=5)
        del timeless["flow-lifecycle"]["current-time"]
        for _ in range(2):
            send(json.dumps(timeless))
        until(lambda: listener(daemon.api)["received"] == 5, "the datagrams")
    assert listener(daemon.api)["again"] == 2
    assert events(daemon.api) == {"start": 1, "ongoing": 2, "end": 0}


def test_late_ones(listening, single):
    """A start or ongoing behind the end of its flow makes no zombie; the next flow of its ports is one."""
    daemon = listening()
    with Sender(single) as send:
        send(bare())
        send(bare(state="end", now=at(5)))
        send(bare(state="ongoing", now=at(3)))
        send(bare(now=at(1)))
        until(lambda: listener(daemon.api)["late"] == 2, "the late ones")
        assert daemon.api.live() == 0
        send(bare(state="end", now=at(6)))
        send(bare(start=at(7), now=at(7)))
        until(lambda: daemon.api.live() == 1, "the next flow")
    assert daemon.api.status()["events"]["firefly"]["end"] == {"ended": 1, "unknown": 1} | {
        key: 0 for key in daemon.api.status()["events"]["firefly"]["end"] if key not in ("ended", "unknown")}


def test_one_that_timed_out(make_flowd, single, directory):
    """Who is heard again after the time-out is alive."""
    config = base_config(directory)
    config["plugins"]["firefly"] = {}
    config["flows"] = {"timeout": 1}
    make_flowd(single, config).start()
    api = Api(single)
    with Sender(single) as send:
        for number, state in enumerate(("start", "ongoing")):
            send(bare(state=state, now=at(number)))
            until(lambda: api.status()["flows"]["started"] == number + 1, "the flow")  # pylint: disable=cell-var-from-loop
            until(lambda: api.live() == 0, "the time-out")
    assert listener(api)["late"] == 0


def test_a_flow_that_another_plugin_found(listening, single):
    """Its transfer tool knows another time and a better tag, which counts."""
    daemon = listening()
    daemon.write_fifo(line("start", "2001:db8::1", 1094, "2001:db8::2", 40000, 1, 1, protocol="tcp"))
    until(lambda: daemon.api.live() == 1, "the flow")
    with Sender(single) as send:
        send(bare(tag=(2, 17)))
        until(lambda: daemon.api.flows()[0]["scitag"] == 145, "the other tag")
        send(bare(state="end", now=at(5)))
        until(lambda: daemon.api.live() == 0, "the end")


@pytest.mark.parametrize("client_is_source", [True, False], ids=["dCache", "XRootD"])
def test_marks(make_flowd, pair, directory, pin_path, client_is_source):
    """A server here, a client far away, whichever is named as source: what leaves this host is marked."""
    config = base_config(directory, pin_path)
    config["plugins"]["firefly"] = {}
    make_flowd(pair.near, config).start()
    api = Api(pair.near)
    with Tcp(pair.far, pair.near, Pair.FAR, Pair.NEAR) as connection, Sender(pair.near) as send, \
            Capture(pair.far, "veth1") as arriving:
        connection.connect()
        client, server = (Pair.FAR, connection.sport), (Pair.NEAR, connection.port)
        src, dst = (client, server) if client_is_source else (server, client)
        send(bare(src=src[0], sport=src[1], dst=dst[0], dport=dst[1]))
        until(lambda: api.live() == 1, "the flow")
        assert api.flows()[0]["src"] == src[0]
        before = len(arriving)
        connection.exchange(10_000, 100_000)

        def labels():
            return [one.label for one in arriving.packets(before) if one.src == Pair.NEAR]

        until(lambda: len(labels()) >= 5, "packets")
        assert all(label & TAG_MASK == tag_bits(2, 17) for label in labels())
    until(lambda: api.live() == 0, "the end with the socket")


def test_circle_after_a_flood(listening, single):
    """Its own listener twice among the collectors, and more at once than queues hold: it comes to an end."""
    daemon = listening(backends={"firefly": {
        "sendToDestination": False, "collectors": ["127.0.0.1:10514", "[::1]:10514", "127.0.0.1:10601"]}},
        firefly={"bindAddress": "::"})
    with Sender(single) as send:
        for number in range(300_000):
            send(bare(sport=number % 60_000 + 1, dport=number // 60_000 + 1))

    def rests():
        before = listener(daemon.api)["received"]
        until(lambda: daemon.api.get("/healthz").status == 200, "an answer")
        again = listener(daemon.api)["received"]
        return again == before and listener(daemon.api)["received"] == before

    until(rests, lambda: f"{listener(daemon.api)}")
