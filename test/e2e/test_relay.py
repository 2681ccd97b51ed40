# SPDX-License-Identifier: Apache-2.0
"""Fireflies that come in go out as their sender wrote them, each once, with what was missing."""

import json
import pathlib
import re
import socket

import pytest

from lab.api_client import Api, line
from lab.daemon_config import base_config
from lab.flowd_process import one_shot
from lab.netns import Pair
from lab.numbers import numbers
from lab.syslog import Message
from lab.waiting import until

ROOT = pathlib.Path(__file__).parents[2]
DATA = ROOT / "test" / "data"
HOST = "127.0.0.1"
PORT = 10514
COLLECTORS = (10601, 10602)
SRC, DST = "2001:db8::1", "2001:db8::2"
HEADER = b"<134>1 2025-12-31T23:59:59.5+01:00 door.example.org dcache - firefly-json - "
USAGE = b', "usage": {"received": 0, "sent": 18446744073709551615}, "storage-stats" :{"read":1.50e3,"\\u0061":[null]}'


def firefly(state, port, header=HEADER, rest=USAGE, experiment=2, src=SRC, dst=DST, times=True, version=True,
            hour=20):
    """A firefly as no flowd writes it: other order, blanks and members."""
    lifecycle = f'"state" : "{state}"'
    if times:
        lifecycle += f',"start-time":"2025-12-31T{hour}:00:00+00:00","current-time":"2025-12-31T22:59:59Z"'
        lifecycle += ',"end-time":"2025-12-31T22:59:59+00:00"' if state == "end" else ""
    afi = "ipv6" if ":" in src else "ipv4"
    members = [f'"flow-id":{{"dst-ip":"{dst}","src-ip":"{src}" ,"protocol":"TCP","src-port":{port},'
               f'"dst-port":443,"afi":"{afi}"}}', f'"flow-lifecycle":{{{lifecycle}}}',
               f'"context":{{"activity-id":1,"experiment-id":{experiment},"application":"\\u0078rootd"}}']
    if version:
        members.append('"version":1')
    return header + b"{" + ",".join(members).encode() + rest + b"}"


class Receiver:
    """Keeps every datagram that comes to a port of the namespace, unchanged."""

    def __init__(self, namespace, port, address=HOST):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket = namespace.socket(family, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)
        self._socket.setblocking(False)
        self._socket.bind((address, port))
        self._seen = []

    def seen(self):
        while True:
            try:
                self._seen.append(self._socket.recv(70000))
            except BlockingIOError:
                return self._seen

    def close(self):
        self._socket.close()


class Relay:
    """A daemon that takes fireflies, a socket that sends it some, and two collectors."""

    def __init__(self, make_flowd, namespace, directory, **firefly_options):
        self.namespace = namespace
        config = base_config(directory)
        config["plugins"]["firefly"] = {"bindAddress": HOST, "bindPort": PORT}
        config["backends"]["firefly"] = {
            "sendToDestination": False, "collectors": [f"{HOST}:{port}" for port in COLLECTORS],
            **firefly_options}
        self.daemon = make_flowd(namespace, config)
        self.receivers = [Receiver(namespace, port) for port in COLLECTORS]
        self._socket = namespace.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sentinels = 0

    def start(self):
        self.daemon.start()
        self.api = Api(self.namespace)
        return self

    def send(self, *datagrams):
        for datagram in datagrams:
            self._socket.sendto(datagram, (HOST, PORT))

    def received(self):
        """
        What both collectors got up to here, when all that was sent was dealt with: what came in before
        the first sentinel has left at the latest when the second one, sent behind it, comes.
        """
        for _ in range(2):
            self._sentinels += 1
            last = firefly("end", 60000 + self._sentinels)
            self.send(last)
            lists = [until(lambda: last in one.seen() and one.seen(), "the last firefly") for one in self.receivers]
        lists = [[datagram for datagram in one if b'"src-port":600' not in datagram] for one in lists]
        assert sorted(lists[0]) == sorted(lists[1])
        return lists[0]

    def counters(self):
        status = dict(numbers(self.api.status()))
        prefix = "modules.backend.firefly.relay."
        return {key[len(prefix):]: value for key, value in status.items() if key.startswith(prefix)}

    def wait_live(self, number):
        until(lambda: self.api.live() == number, lambda: f"{number} live flows, there are {self.api.live()}")

    def end_first(self):
        """flowd finds the end of the only flow before its sender tells of it."""
        self.api.delete(f"/v1/flows/{self.api.flows()[0]['id']}").expect(200, 204)

    def close(self):
        for one in self.receivers:
            one.close()
        self._socket.close()


@pytest.fixture
def make_relay(make_flowd, single, directory):
    made = []

    def make(**options):
        made.append(Relay(make_flowd, single, directory, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def is_own(datagram):
    return Message(datagram).fields["app"] == "flowd"


# -- byte for byte --------------------------------------------------------------------------------

@pytest.mark.parametrize("state", ["start", "ongoing", "end"])
def test_unchanged(make_relay, state):
    """A complete firefly of any state is the same datagram behind the relay."""
    relay = make_relay().start()
    sent = [firefly(state, 1094), firefly(state, 1094, rest=USAGE + b' ,"n":2 '), firefly(state, 1095, src="192.0.2.1", dst="192.0.2.2"),
            firefly(state, 1096, header=HEADER.replace(b"2025-12-31T23:59:59.5+01:00", b"-"))]
    relay.send(*sent)
    assert relay.received() == sent
    for datagram in sent:
        message = Message(datagram)
        assert message.fields["hostname"] == "door.example.org" and message.state == state
        assert message.data_flow == (message.key[1], message.key[3])


def test_missing_header(make_relay):
    relay = make_relay().start()
    body = firefly("end", 1094, header=b"")
    relay.send(body)
    message = Message(relay.received()[0])
    assert message.body == body
    assert message.fields["app"] == "flowd" and message.fields["timestamp"] != "-"


def test_no_header_wanted(make_relay):
    """What has one keeps it; what has none gets none."""
    relay = make_relay(prependSyslog=False).start()
    sent = [firefly("start", 1094, header=b""), firefly("start", 1095)]
    relay.send(*sent)
    until(lambda: len(relay.receivers[0].seen()) == 2, "two fireflies")
    assert relay.receivers[0].seen() == sent


def test_missing_timestamp(make_relay):
    """flowd-go leaves two blanks in its place."""
    relay = make_relay().start()
    sent = firefly("start", 1094, header=b"<134>1  h.example.org flowd-go - firefly-json - ")
    relay.send(sent)
    message = Message(relay.received()[0])
    assert message.body == sent[sent.index(b"{"):]
    assert message.fields["app"] == "flowd-go" and message.fields["hostname"] == "h.example.org"


def test_missing_members(make_relay):
    """They go to the front of their object; all the rest is the sender's, in its place."""
    relay = make_relay().start()
    sent = [firefly(state, 1094, times=False, version=False) for state in ("start", "end")]
    relay.send(*sent)
    for datagram, original in zip(relay.received(), sent):
        message = Message(datagram)
        assert message.document["version"] == 1
        assert {"current-time", "start-time"} <= message.document["flow-lifecycle"].keys()
        assert ("end-time" in message.document["flow-lifecycle"]) == (message.state == "end")
        without = re.sub(rb'"(version": 1|(current|start|end)-time": "[^"]*"), ', b"", datagram)
        assert without == original


def test_long(make_relay):
    """Longer than a packet; and so long that what is missing does not fit a datagram any more."""
    relay = make_relay().start()
    long = [firefly("end", 1094, rest=USAGE + b', "x": "' + b"x" * size + b'"') for size in (20000,)]
    longest = firefly("end", 1095, header=b"", rest=b', "x": "')
    longest += b"x" * (65507 - len(longest) - 2) + b'"}'
    longest = longest.replace(b'"}"}', b'"}')
    relay.send(*long, longest)
    assert relay.received()[:1] == long
    assert relay.counters()["unchanged"] <= 1


# -- ends -----------------------------------------------------------------------------------------

def test_sender_tells_first(make_relay):
    """Its start and its end are all that goes out; flowd composes none."""
    relay = make_relay().start()
    sent = [firefly("start", 1094), firefly("ongoing", 1094), firefly("end", 1094)]
    relay.send(sent[0])
    relay.wait_live(1)
    flow = relay.api.flows()[0]
    assert flow["backends"]["firefly"] == "relayed"
    relay.send(*sent[1:])
    assert relay.received() == sent
    assert relay.api.live() == 0
    assert relay.counters()["ends.held"] == 0


def test_flowd_finds_the_end_first(make_relay):
    """Its own end waits and is dropped where the sender's comes."""
    relay = make_relay().start()
    sent = [firefly("start", 1094), firefly("end", 1094)]
    relay.send(sent[0])
    relay.wait_live(1)
    relay.end_first()
    assert relay.counters()["ends.held"] == 1
    relay.send(sent[1])
    assert relay.received() == sent
    counters = relay.counters()
    assert counters["ends.held"] == 0 and counters["ends.replaced"] == 1 and counters["ends.sent"] == 0


@pytest.mark.parametrize("how", ["time", "stop", "reload", "start"])
def test_sender_never_tells(make_relay, how):
    """Then flowd's own end goes out: after a while, before a stop, or before the next flow of that key."""
    relay = make_relay().start()
    sent = firefly("start", 1094)
    relay.send(sent)
    relay.wait_live(1)
    relay.end_first()
    assert relay.counters()["ends.held"] == 1
    if how == "stop":
        relay.daemon.stop()
    elif how == "reload":
        relay.daemon.config["backends"]["firefly"]["relay"] = False
        relay.daemon.reload()
    elif how == "start":
        relay.send(firefly("start", 1094, hour=22))
    wanted = 3 if how == "start" else 2
    seen = until(lambda: len(relay.receivers[0].seen()) >= wanted and relay.receivers[0].seen(), "flowd's end")
    assert [is_own(one) for one in seen] == [False, True, False][:wanted]
    assert Message(seen[1]).state == "end" and Message(seen[1]).key[1:] == Message(sent).key[1:]
    if how == "time":
        assert relay.counters()["ends.sent"] == 1


def test_end_of_an_unknown_flow(make_relay):
    relay = make_relay().start()
    sent = firefly("end", 1094)
    relay.send(sent)
    assert relay.received() == [sent]
    assert relay.api.live() == 0


def test_restart_between(make_relay):
    """The end of a flow that an earlier process knew is passed on, and nothing beside it."""
    relay = make_relay().start()
    sent = [firefly("start", 1094), firefly("end", 1094)]
    relay.send(sent[0])
    relay.wait_live(1)
    until(lambda: relay.receivers[0].seen() == sent[:1], "the start")
    relay.daemon.stop()
    relay.start()
    relay.wait_live(1)
    relay.send(sent[1])
    assert relay.received() == sent
    assert relay.api.live() == 0


def test_another_tag(make_relay):
    """The flow that a start with another tag ends has no end of its sender's to wait for."""
    relay = make_relay().start()
    sent = [firefly("start", 1094), firefly("start", 1094, experiment=3, hour=22)]
    relay.send(*sent)
    seen = relay.received()
    assert [seen[0], seen[2]] == sent and len(seen) == 3
    assert Message(seen[1]).state == "end" and is_own(seen[1])
    assert Message(seen[1]).document["context"]["experiment-id"] == 2


# -- with other sources ---------------------------------------------------------------------------

def test_started_by_the_fifo_ended_by_a_firefly(make_relay):
    """flowd tells of the start and the sender, who knows more, of the end."""
    relay = make_relay().start()
    relay.daemon.write_fifo(line("start", SRC, 1094, DST, 443, protocol="tcp"))
    relay.wait_live(1)
    sent = firefly("end", 1094)
    relay.send(sent)
    seen = relay.received()
    assert len(seen) == 2 and seen[1] == sent
    assert is_own(seen[0]) and Message(seen[0]).state == "start"


def test_started_by_a_firefly_ended_by_the_fifo(make_relay):
    relay = make_relay().start()
    sent = [firefly("start", 1094), firefly("end", 1094)]
    relay.send(sent[0])
    relay.wait_live(1)
    relay.daemon.write_fifo(line("end", SRC, 1094, DST, 443, protocol="tcp"))
    relay.wait_live(0)
    relay.send(sent[1])
    assert relay.received() == sent


def test_without_relay(make_relay):
    """flowd composes its own, as for any source."""
    relay = make_relay(relay=False).start()
    relay.send(firefly("start", 1094), firefly("end", 1094), firefly("end", 1095))
    seen = until(lambda: len(relay.receivers[0].seen()) >= 2 and relay.receivers[0].seen(), "start and end")
    assert all(is_own(one) for one in seen)
    assert [Message(one).state for one in seen] == ["start", "end"]
    assert "usage" not in Message(seen[1]).document


def test_more_than_flows_max(make_relay):
    """A forwarder forwards what its table has no room for."""
    relay = make_relay()
    relay.daemon.config["flows"] = {"max": 1}
    relay.start()
    sent = [firefly("start", port) for port in (1094, 1095, 1096)]
    relay.send(*sent)
    assert relay.received() == sent
    assert relay.counters()["ofRefused"] == 2


def test_invalid(make_relay):
    """What is no event does not go on."""
    relay = make_relay().start()
    relay.send(firefly("start", 0), firefly("start", 1094)[:-5], firefly("start", 1095, experiment=70000))
    assert relay.received() == []


def test_to_the_destination(make_relay):
    relay = make_relay(sendToDestination=True, collectors=[], destinationPort=10603)
    receiver = Receiver(relay.namespace, 10603, "127.0.0.2")
    relay.start()
    sent = firefly("start", 1094, src="127.0.0.3", dst="127.0.0.2")
    relay.send(sent)
    until(lambda: receiver.seen() == [sent], lambda: f"the firefly: {receiver.seen()}")
    receiver.close()


# -- several relays, more collectors --------------------------------------------------------------

def test_two_that_send_to_each_other(make_flowd, pair, directory):
    """Each message passes each of them once, whichever it comes to first."""
    ends = {"near": (pair.near, Pair.NEAR4), "far": (pair.far, Pair.FAR4)}
    receivers, senders = {}, {}
    for name, (namespace, _) in ends.items():
        other = ends["far" if name == "near" else "near"][1]
        (directory / f"{name}-files").mkdir()
        config = base_config(directory / f"{name}-files")
        config["plugins"]["firefly"] = {"bindAddress": "0.0.0.0", "bindPort": PORT}
        config["backends"]["firefly"] = {"sendToDestination": False,
                                         "collectors": [f"{other}:{PORT}", f"{HOST}:{COLLECTORS[0]}"]}
        make_flowd(namespace, config, name=name).start()
        receivers[name] = Receiver(namespace, COLLECTORS[0])
        senders[name] = namespace.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sent = {"near": [firefly(state, 1094) for state in ("start", "end")],
            "far": [firefly(state, 1095, header=b"") for state in ("start", "end")]}
    for name, datagrams in sent.items():
        for datagram in datagrams:
            senders[name].sendto(datagram, (HOST, PORT))
    bodies = {datagram[datagram.index(b"{"):] for datagrams in sent.values() for datagram in datagrams}

    def came_back(name):
        status = dict(numbers(Api(ends[name][0]).status()))
        return sum(status[f"modules.plugin.firefly.{key}"] for key in ("again", "own", "late"))

    try:
        until(lambda: came_back("near") == 2 and came_back("far") == 2,
              lambda: f"what came back: {came_back('near')}, {came_back('far')}")
        for receiver in receivers.values():
            seen = until(lambda: len(receiver.seen()) >= 4 and receiver.seen(), "four fireflies")
            assert len(seen) == 4 and {Message(one).body for one in seen} == bodies
    finally:
        for one in (*receivers.values(), *senders.values()):
            one.close()


def test_receivers_of_what_is_relayed(make_relay):
    """flowd-go's fireflyReceivers get what is relayed, and nothing that flowd composes."""
    relay = make_relay()
    receiver = Receiver(relay.namespace, 10603)
    relay.daemon.config["plugins"]["fireflyp"] = {
        **relay.daemon.config["plugins"].pop("firefly"), "fireflyReceivers": [{"address": HOST, "port": 10603}]}
    relay.start()
    relay.daemon.wait_log("deprecated: .*fireflyReceivers")
    relay.daemon.write_fifo(line("start", SRC, 1094, DST, 443, protocol="tcp"))
    relay.wait_live(1)
    sent = [firefly("start", 1095), firefly("end", 1095)]
    relay.send(*sent)
    assert [is_own(one) for one in relay.received()] == [True, False, False]
    until(lambda: len(receiver.seen()) == 4, "start, end and the last ones")
    assert receiver.seen()[:2] == sent
    receiver.close()


@pytest.mark.parametrize("receivers, words", [
    ([{"address": "collector.example.org", "port": 0}], "port"),
    ([{"address": 7, "port": 10514}], "address"),
    ([{"adress": "192.0.2.1"}], "adress"),
    ({"address": "192.0.2.1", "port": 10514}, "fireflyReceivers"),
    (["not a name"], "not a name"),
])
def test_wrong_receivers(directory, receivers, words):
    config = {"plugins": {"firefly": {"fireflyReceivers": receivers}}, "backends": {"firefly": {}}}
    path = directory / "config.json"
    path.write_text(json.dumps(config))
    done = one_shot(directory, "-c", path, "check")
    assert done.returncode == 2
    assert "plugins.firefly.fireflyReceivers" in done.stderr + done.stdout
    assert words in done.stderr + done.stdout


def test_receivers_without_a_sender(directory):
    config = {"plugins": {"firefly": {"fireflyReceivers": [{"address": "192.0.2.1", "port": 10514}]}}}
    path = directory / "config.json"
    path.write_text(json.dumps(config))
    done = one_shot(directory, "-c", path, "check")
    assert done.returncode == 2 and "sendToDestination" in done.stderr + done.stdout


# -- a site's forwarder ---------------------------------------------------------------------------

def in_flows(datagrams):
    """The datagrams of each flow, in their order."""
    flows = {}
    for one in datagrams:
        flow = json.loads(one[one.index(b"{"):])["flow-id"]
        flows.setdefault(tuple(sorted(flow.items())), []).append(one)
    return flows


def test_recorded_fireflies(make_relay):
    """What one site's servers sent, each as it was; those of one flow in their order."""
    log = (DATA / "fireflies_2022.log").read_bytes().splitlines()
    sent = [b"<134>1 " + one[one.index(b" 1 2022-") + 3:] for one in log]
    relay = make_relay().start()
    for begin in range(0, len(sent), 100):
        relay.send(*sent[begin:begin + 100])
        assert in_flows(relay.received()[begin:]) == in_flows(sent[begin:begin + 100])


def test_example(make_flowd, single, directory):
    """The manual's configuration forwards, with places of its own."""
    config = json.loads((ROOT / "packaging/examples/forwarder.json").read_text())
    assert config.keys() <= {"stateDir", "plugins", "backends"} and config["plugins"].keys() == {"firefly"}
    config["stateDir"] = str(directory / "state")
    config["backends"]["firefly"]["collectors"] = [f"{HOST}:{port}" for port in COLLECTORS]
    receivers = [Receiver(single, port) for port in COLLECTORS]
    make_flowd(single, config).start()
    sent = firefly("end", 1094)
    for family, address in ((socket.AF_INET, HOST), (socket.AF_INET6, "::1")):
        with single.socket(family, socket.SOCK_DGRAM) as sender:
            sender.sendto(sent if family == socket.AF_INET else sent.replace(b"1094", b"1095"), (address, PORT))
    for receiver in receivers:
        until(lambda: len(receiver.seen()) == 2, lambda: f"two fireflies: {receiver.seen()}")
        assert sent in receiver.seen()
        receiver.close()
