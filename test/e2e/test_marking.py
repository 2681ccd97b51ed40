# SPDX-License-Identifier: Apache-2.0
"""Real traffic is marked: all of the flow, nothing but the flow, as long as the flow lives."""

import contextlib
import os
import socket

import pytest

from lab.api_client import Api, event, line
from lab.capture import Capture
from lab.collector import Collector, now
from lab.daemon_config import base_config
from lab.flood import Flood
from lab.labels import TAG_MASK, tag_bits
from lab.netns import Pair
from lab.traffic import Iperf3, Tcp, on_one_cpu, receive_label, receive_longer, udp_socket
from lab.waiting import until

EXPERIMENT, ACTIVITY = 2, 17
SERVER_PORT, CLIENT_PORT = 5201, 45001
SENTINEL_PORT = 9


def wait_marked(api, key):
    """Waits until the flow with this (protocol, src, sport, dst, dport) is marked."""

    def found():
        for flow in api.flows():
            if flow_key(flow) == key and flow["backends"]["marker"] == "marked":
                return flow
        return None

    return until(found, f"marked flow {key}")


def flow_key(flow):
    return tuple(flow[name] for name in ("protocol", "src", "srcPort", "dst", "dstPort"))


def announce(daemon, way, state, key):
    """Tells the daemon of a flow and returns when it has taken it."""
    protocol, src, sport, dst, dport = key
    if way == "fifo":
        daemon.write_fifo(line(state, src, sport, dst, dport, EXPERIMENT, ACTIVITY, protocol))
    else:
        body = event(src, sport, dst, dport, EXPERIMENT, ACTIVITY, protocol, state=state)
        answer = daemon.api.post(body).expect(201 if state == "start" else 200)
        if state == "start":
            assert answer.json["backends"]["marker"] == "marked", answer.json
    if state == "start":
        return wait_marked(daemon.api, key)
    until(lambda: key not in map(flow_key, daemon.api.flows()), f"end of {key}")
    return None


def sentinel(pair, capture, number):
    """Sends a packet of its own and returns the position in the capture behind its arrival."""
    with udp_socket(pair.near, Pair.NEAR_OTHER) as sender:
        sender.sendto(b"sentinel %d" % number, (Pair.FAR_OTHER, SENTINEL_PORT))
    return capture.wait(lambda one: one.dport == SENTINEL_PORT and
                        one.payload.startswith(b"sentinel %d" % number), "sentinel")


def check_labels(packets, key, marked):
    """The flow's packets are marked with one label or not at all; all others are never marked."""
    flow = [one for one in packets if (one.protocol, one.src, one.sport, one.dst, one.dport) == key]
    others = [one for one in packets if (one.protocol, one.src, one.sport, one.dst, one.dport) != key]
    assert flow, "the capture holds no packet of the flow"
    labels = {one.label for one in flow}
    if marked:
        assert len(labels) == 1, f"labels of one flow: {sorted(map(hex, labels))}"
        assert labels.pop() & TAG_MASK == tag_bits(EXPERIMENT, ACTIVITY)
    else:
        assert labels == {0}
    assert {one.label for one in others} <= {0}, [one for one in others if one.label][:5]
    return flow, others


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("way", ["fifo", "api"])
@pytest.mark.parametrize("attach", ["tcx", "tc"])
def test_iperf3(pair, marking, directory, attach, way, protocol):
    """
    One iperf3 run in three parts: before the announcement, announced, ended. A second iperf3 and a
    control connection go on beside it.
    """
    daemon = marking(attach, firefly={"collectors": [f"{Pair.FAR4}:10515"]})
    key = (protocol, Pair.NEAR, CLIENT_PORT, Pair.FAR, SERVER_PORT)
    of_flow = lambda one: one.sport == CLIENT_PORT and one.dst == Pair.FAR  # noqa: E731
    udp = protocol == "udp"
    with on_one_cpu(), Collector(pair.far, Pair.FAR) as at_destination, \
            Collector(pair.far, Pair.FAR4, 10515) as at_collector, \
            Iperf3(pair.near, Pair.NEAR, pair.far, Pair.FAR, SERVER_PORT, CLIENT_PORT, udp,
                   log=directory / "iperf3") as transfer, \
            Iperf3(pair.near, Pair.NEAR, pair.far, Pair.FAR_OTHER, SERVER_PORT + 1, CLIENT_PORT + 1, udp,
                   log=directory / "iperf3") as bystander:
        with Capture(pair.far, pair.far_interface) as capture:
            transfer.begin()
            bystander.begin()
            capture.wait(of_flow, "the flow's first packet")
            capture.wait(lambda one: one.sport == CLIENT_PORT + 1, "the bystander's first packet")
            unannounced = sentinel(pair, capture, 1)

            before_start = now()
            announce(daemon, way, "start", key)
            after_start = now()
            begin = sentinel(pair, capture, 2)
            enough = begin
            for _ in range(300):
                enough = capture.wait(of_flow, "marked packets", enough)
            until_end = len(capture)

            before_end = now()
            announce(daemon, way, "end", key)
            after_end = now()
            ended = sentinel(pair, capture, 3)
            enough = ended
            for _ in range(100):
                enough = capture.wait(of_flow, "packets behind the end", enough)
            packets = capture.packets()

        check_labels(packets[:unannounced], key, marked=False)
        flow, others = check_labels(packets[begin:until_end], key, marked=True)
        assert len(flow) >= 300 and any(one.sport == CLIENT_PORT + 1 for one in others)
        check_labels(packets[ended:], key, marked=False)

        for collector in (at_destination, at_collector):
            start, end = (collector.wait(1, state)[0] for state in ("start", "end"))
            assert start.key == end.key == key
            assert start.tag == end.tag == (EXPERIMENT, ACTIVITY)
            assert start.flow["afi"] == "ipv6"
            assert before_start <= start.start_time <= start.current_time
            assert start.start_time <= after_start
            assert end.start_time == start.start_time
            assert before_end <= end.end_time <= end.current_time and end.end_time <= after_end
            assert len(collector.fireflies()) == 2


@pytest.mark.parametrize("attach", ["tcx", "tc"])
def test_receiving_side(pair, marking, directory, attach):
    """Where this host is the destination, what it sends back is marked: here an iperf3 -R."""
    daemon = marking(attach)
    key = ("tcp", Pair.FAR, SERVER_PORT, Pair.NEAR, CLIENT_PORT)
    sent = ("tcp", Pair.NEAR, CLIENT_PORT, Pair.FAR, SERVER_PORT)
    announce(daemon, "api", "start", key)
    with Iperf3(pair.near, Pair.NEAR, pair.far, Pair.FAR, SERVER_PORT, CLIENT_PORT, reverse=True,
                log=directory / "iperf3") as transfer, \
            Capture(pair.far, pair.far_interface) as capture:
        transfer.begin()
        position = 0
        for _ in range(50):
            position = capture.wait(lambda one: one.sport == CLIENT_PORT, "what is sent back",
                                    position)
        packets = capture.packets()
    flow, _ = check_labels(packets, sent, marked=True)
    assert flow[0].length == 40, "the capture holds the SYN"


def test_every_segment_of_an_announced_connection(pair, marking):
    """From SYN to FIN, with packets too large for the wire and without offloads."""
    daemon = marking()
    for offload in ("on", "off"):
        pair.near.run("ethtool", "-K", "veth0", "tso", offload, "gso", offload)
        with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as connection, \
                Capture(pair.far, pair.far_interface) as capture:
            key = ("tcp", Pair.NEAR, connection.sport, Pair.FAR, connection.port)
            announce(daemon, "api", "start", key)
            connection.connect().exchange(400_000, 400_000)
            connection.client.shutdown(socket.SHUT_WR)
            assert connection.server.recv(1) == b""
            end = sentinel(pair, capture, 1)
            packets = capture.packets()[:end]
        flow, _ = check_labels(packets, key, marked=True)
        largest = max(one.length for one in flow)
        assert (largest > 1500) == (offload == "on"), largest


def test_next_packet(pair, marking):
    """After a 201 the very next packet is marked; after the answer to a DELETE the next is not."""
    daemon = marking()
    with udp_socket(pair.far, Pair.FAR) as receiver:
        port = receiver.getsockname()[1]
        labels = set()
        for number in range(1000):
            with udp_socket(pair.near, Pair.NEAR) as sender:
                sport = sender.getsockname()[1]
                experiment, activity = number % 512, number // 512 + number % 63
                flow = daemon.api.post(
                    event(Pair.NEAR, sport, Pair.FAR, port, experiment, activity)).expect(201).json
                sender.sendto(b"%d" % number, (Pair.FAR, port))
                payload, label = receive_label(receiver)
                assert payload == b"%d" % number
                assert label & TAG_MASK == tag_bits(experiment, activity), (number, hex(label), flow)
                labels.add(label & ~TAG_MASK)
                daemon.api.delete(f"/v1/flows/{flow['id']}").expect(200, 204)
                sender.sendto(b"unmarked", (Pair.FAR, port))
                assert receive_label(receiver) == (b"unmarked", 0), number
        assert len(labels) > 16, "entropy bits differ from flow to flow"
        assert daemon.api.live() == 0


def test_array_marks_the_next_packets(pair, marking):
    """The answer to an array comes when all of its flows are marked."""
    daemon = marking()
    senders = [udp_socket(pair.near, Pair.NEAR) for _ in range(300)]
    with udp_socket(pair.far, Pair.FAR) as receiver:
        port = receiver.getsockname()[1]
        results = daemon.api.post([
            event(Pair.NEAR, sender.getsockname()[1], Pair.FAR, port, number, number % 64)
            for number, sender in enumerate(senders)]).expect(200).json
        assert len(results) == len(senders)
        for number, sender in enumerate(senders):
            sender.sendto(b"%d" % number, (Pair.FAR, port))
            payload, label = receive_label(receiver)
            assert payload == b"%d" % number
            assert label & TAG_MASK == tag_bits(number, number % 64)
            sender.close()


def test_only_the_exact_flow(pair, marking):
    """One different address, port or protocol and a packet is somebody else's."""
    daemon = marking()
    with udp_socket(pair.far, Pair.FAR) as receiver, \
            udp_socket(pair.far, Pair.FAR_OTHER, receiver.getsockname()[1]) as other_receiver, \
            udp_socket(pair.far, Pair.FAR) as other_port, \
            udp_socket(pair.near, Pair.NEAR) as sender, \
            udp_socket(pair.near, Pair.NEAR) as other_sender, \
            Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR, sender.getsockname()[1],
                receiver.getsockname()[1]) as connection, \
            Capture(pair.far, pair.far_interface) as capture:
        sport, port = sender.getsockname()[1], receiver.getsockname()[1]
        daemon.api.post(event(Pair.NEAR, sport, Pair.FAR, port)).expect(201)
        sender.sendto(b"", (Pair.FAR, port))
        assert receive_label(receiver)[1] & TAG_MASK == tag_bits(2, 17)
        sender.sendto(b"", (Pair.FAR_OTHER, port))
        assert receive_label(other_receiver)[1] == 0
        sender.sendto(b"", (Pair.FAR, other_port.getsockname()[1]))
        assert receive_label(other_port)[1] == 0
        other_sender.sendto(b"", (Pair.FAR, port))
        assert receive_label(receiver)[1] == 0
        connection.connect().exchange()
        end = sentinel(pair, capture, 1)
        packets = capture.packets()[:end]
    assert any(one.protocol == "tcp" for one in packets)
    assert {one.label for one in packets if one.protocol == "tcp"} == {0}


def test_label_of_others_is_left_alone(pair, marking):
    """The kernel's own automatic labels stay what they are on connections that are no flows."""
    daemon = marking()
    pair.near.sysctl("net.ipv6.auto_flowlabels", 1)
    with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as flow, \
            Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as other, \
            Capture(pair.far, pair.far_interface) as capture:
        other.connect().exchange()
        first = sentinel(pair, capture, 1)
        announce(daemon, "api", "start", ("tcp", Pair.NEAR, flow.sport, Pair.FAR, flow.port))
        flow.connect().exchange()
        other.exchange()
        end = sentinel(pair, capture, 2)
        packets = capture.packets()[:end]
    before = {one.label for one in packets[:first] if one.sport == other.sport}
    after = {one.label for one in packets[first:] if one.sport == other.sport}
    assert before == after and len(before) == 1 and before != {0}
    marked = {one.label for one in packets if one.sport == flow.sport}
    assert len(marked) == 1 and marked.pop() & TAG_MASK == tag_bits(EXPERIMENT, ACTIVITY)


def test_another_tag_restarts_the_flow(pair, marking):
    """The same tag again changes nothing; another one ends the old flow and starts a new one."""
    daemon = marking(firefly={"sendToDestination": False, "collectors": [f"{Pair.FAR4}:10515"]})
    with Collector(pair.far, Pair.FAR4, 10515) as collector, \
            udp_socket(pair.far, Pair.FAR) as receiver, \
            udp_socket(pair.near, Pair.NEAR) as sender:
        target = receiver.getsockname()[:2]
        flow = (Pair.NEAR, sender.getsockname()[1], *target)

        def label():
            sender.sendto(b"", target)
            return receive_label(receiver)[1]

        first = daemon.api.post(event(*flow, 2, 17)).expect(201).json
        first_label = label()
        again = daemon.api.post(event(*flow, 2, 17)).expect(200).json
        assert (again["id"], again["startTime"]) == (first["id"], first["startTime"])
        assert label() == first_label
        second = daemon.api.post(event(*flow, 511, 63)).expect(201).json
        assert second["id"] != first["id"]
        assert label() & TAG_MASK == tag_bits(511, 63)
        assert [one["id"] for one in daemon.api.flows()] == [second["id"]]
        fireflies = collector.wait(3)
        assert [(one.state, one.tag) for one in fireflies] == [
            ("start", (2, 17)), ("end", (2, 17)), ("start", (511, 63))]


def test_another_tag_while_every_cpu_sends(pair, marking):
    """
    No CPU goes on with the mark that it has just given to the flow's packets: neither after another
    tag nor after the end, while the other packets of the flow leave from all of them.
    """
    daemon = marking()
    cpus = sorted(os.sched_getaffinity(0))
    with udp_socket(pair.far, Pair.FAR) as receiver, udp_socket(pair.near, Pair.NEAR) as sender, \
            contextlib.ExitStack() as floods:
        receive_longer(receiver, 8)
        receiver.settimeout(0.2)
        sender.connect(receiver.getsockname()[:2])
        flow = (Pair.NEAR, sender.getsockname()[1], *receiver.getsockname()[:2])

        def label(number, cpu):
            """That of the next packet; among so many, some get lost."""
            with on_one_cpu(cpu):
                for copy in range(100):
                    sender.send(b"%d number %d" % (copy, number))
                    with contextlib.suppress(TimeoutError):
                        payload = b""
                        while not payload.endswith(b" %d" % number):
                            payload, found = receive_label(receiver)
                        return found
            raise AssertionError("nothing arrives")

        for cpu in cpus:
            with on_one_cpu(cpu):
                floods.enter_context(Flood(sender, size=8))
        for number in range(200):
            tag = number % 511 + 1, number % 63
            started = daemon.api.post(event(*flow, *tag)).expect(201).json
            for cpu in cpus:
                assert label(number, cpu) & TAG_MASK == tag_bits(*tag)
            if number % 4:
                continue
            daemon.api.delete(f"/v1/flows/{started['id']}").expect(200, 204)
            for cpu in cpus:
                assert label(1000 + number, cpu) == 0


def test_ipv4_flow_is_told_apart(pair, marking):
    """IPv4 has no flow label: fireflies go out, and the answer says that nothing is marked."""
    daemon = marking(firefly={})
    with Collector(pair.far, Pair.FAR4) as collector:
        answer = daemon.api.post(event(Pair.NEAR4, 1094, Pair.FAR4, 40000, protocol="tcp"))
        assert answer.expect(201).json["backends"] == {"marker": "not-ipv6", "firefly": "sent"}
        assert collector.wait(1)[0].flow["afi"] == "ipv4"


def test_a_flow_of_other_hosts(pair, marking):
    """Neither end is local: nothing can be marked, and the answer does not claim it."""
    daemon = marking()
    answer = daemon.api.post(event("2001:db8::1", 1, "2001:db8::2", 2)).json
    assert answer["backends"]["marker"] != "marked", answer


def test_label_refuses_what_does_not_fit(pair, marking):
    """Experiments past 511 are refused with the field's name, and nothing remembers them."""
    daemon = marking()
    flow = (Pair.NEAR, 1094, Pair.FAR, 40000)
    daemon.api.post(event(*flow, 512, 1)).problem(422, "experiment", "512", "511")
    daemon.write_fifo(line("start", *flow, 600, 1))
    daemon.wait_log(r"experiment.*600.*511")
    assert daemon.api.live() == 0
    daemon.api.post(event(*flow, 511, 63)).expect(201)


def test_an_address_that_comes_later(pair, marking):
    """A flow is marked as soon as its local address is there."""
    daemon = marking()
    late = "fd00:f10::77"
    with udp_socket(pair.far, Pair.FAR) as receiver:
        port = receiver.getsockname()[1]
        flow = daemon.api.post(event(late, 5000, Pair.FAR, port)).json
        assert flow["backends"]["marker"] != "marked"
        pair.near.add_address("veth0", late + "/64")
        until(lambda: daemon.api.get(f"/v1/flows/{flow['id']}").json["backends"]["marker"] ==
              "marked", "marking of a flow whose address came")
        with udp_socket(pair.near, late, 5000) as sender:
            sender.sendto(b"", (Pair.FAR, port))
            assert receive_label(receiver)[1] & TAG_MASK == tag_bits(2, 17)


def test_loopback(single, make_flowd, directory, pin_path):
    """Both ends are local: both directions are marked."""
    config = base_config(directory, pin_path, interfaces=["lo"])
    make_flowd(single, config).start()
    api = Api(single)
    with udp_socket(single, "::1") as left, udp_socket(single, "::1") as right:
        ports = left.getsockname()[1], right.getsockname()[1]
        api.post(event("::1", ports[0], "::1", ports[1])).expect(201)
        left.sendto(b"there", ("::1", ports[1]))
        there = receive_label(right)[1]
        right.sendto(b"back", ("::1", ports[0]))
        back = receive_label(left)[1]
        assert there == back and there & TAG_MASK == tag_bits(2, 17)
