# SPDX-License-Identifier: Apache-2.0
"""
What each strategy makes of real traffic: the bytes of the transfer, the bytes on the wire, and
everything that is not to be touched.
"""

import itertools
import json
import socket
import struct

import pytest

from lab.api_client import event
from lab.collector import Collector
from lab.daemon_config import base_config
from lab.dissection import CHECKSUM_GOOD, tshark
from lab.frames import (ADDED, DESTINATION, HOP_BY_HOP, ICMPV6, MARKS, OPTION_HEADERS, ROUTING, Frames, dissect,
                    frame_of, is_marked, of_flow, option_of, split, udp_of)
from lab.labels import TAG_MASK, tag_bits
from lab.marker_run import OFFLOADS, Marker, set_offload
from lab.netns import Pair
from lab.traffic import on_one_cpu, udp_socket
from lab.transfer import ended, make_file, send_file, send_iperf3
from lab.waiting import until

STRATEGIES = tuple(OPTION_HEADERS)
FILE_SIZE = 1_000_000
ETHERTYPE_AT, SOURCE_MAC = 12, bytes.fromhex("02f10d000001")
IPV6_HOPOPTS, IPV6_DSTOPTS = 54, 59
FIN = 1  # among the flags of TCP


@pytest.fixture
def marker(make_flowd, pair, directory, pin_path):
    def start(strategy, encoding="scitags", **options):
        return Marker(make_flowd, pair, directory, pin_path, strategy, encoding, **options)

    return start


def undisturbed(run):
    """
    Calls run(), which makes a transfer unmarked and one marked, and expects that neither sent a
    segment twice. It has three tries: a machine that is busy may be too slow for either.
    """
    for _ in range(3):
        control, sent = run()
        if control.retransmissions == sent.retransmissions == 0:
            return control, sent
    raise AssertionError(f"{sent.retransmissions} retransmissions, unmarked {control.retransmissions}")


def parted(flow, replies):
    """
    The flow's packets, and those behind its last one: a slow machine sends a FIN again, and the
    answer to that comes out of TIME_WAIT, when the flow may be over.
    """
    fins, later = sum(1 for one in replies if one.payload[13] & FIN), 0
    # Sequence and acknowledgement numbers and flags are the last one's; the time stamps differ.
    while later < fins - 1 and flow[-2 - later].payload[4:14] == flow[-1].payload[4:14]:
        later += 1
    return flow[:len(flow) - later], flow[len(flow) - later:]


# -- transfers ------------------------------------------------------------------------------------

@pytest.mark.parametrize("strategy,encoding", MARKS)
@pytest.mark.parametrize("offload", OFFLOADS)
def test_file(pair, marker, directory, offload, strategy, encoding):
    """
    All bytes are right; every packet that can bear the mark does; those that can't are those that
    would be too long, and each is counted; the other direction and a transfer of no flow are as ever.
    """
    set_offload(pair, offload)
    running = marker(strategy, encoding)
    path = make_file(directory / "file", FILE_SIZE)
    with on_one_cpu(), Frames(pair.far, "veth1") as there, Frames(pair.near, "veth0") as back:
        before, announced = {}, set()

        def announce(key):
            announced.add((key[1], key[2]))
            return running.announce(key)

        def run():
            control = send_file(path, pair.near, pair.far, Pair.NEAR, Pair.FAR)
            before.update(running.counted_of_flows())
            return control, send_file(path, pair.near, pair.far, Pair.NEAR, Pair.FAR, announce)

        control, sent = undisturbed(run)
        protocol, source, sport, target, dport = sent.key
        until(lambda: ended(there.packets(), sent.key), "the last packet")
        counted = running.counted_of_flows()
        packets, replies = there.packets(), back.packets()
    flow, later = parted(of_flow(packets, sent.key), of_flow(replies, (protocol, target, dport, source, sport)))
    marked, unmarked = split(flow, strategy, encoding)
    assert marked and all(one.size <= 1500 for one in unmarked)
    with_room = [one for one in unmarked if one.size + ADDED[strategy] <= 1500]
    assert not with_room, (f"{len(with_room)} packets that had room, the first is number "
                           f"{flow.index(with_room[0]) + 1} of {len(flow)}: {with_room[0]}")
    assert offload == "whole" or all(one.size <= 1500 for one in marked)
    assert offload == "single" or max(one.size for one in marked) >= (1501 if offload == "whole" else 1500)
    grown = {name: count - before.get(name, 0) for name, count in counted.items()}
    assert grown.pop("mtu", 0) == len(unmarked)
    if offload == "cut":
        assert 0 < grown.pop("marked") < len(marked)
    else:
        assert grown.pop("marked") == len(marked) + len(split(later, strategy, encoding)[0])
    assert not any(grown.values()), grown
    assert offload != "single" or strategy == "label" or len(unmarked) > FILE_SIZE / 1500 / 2
    if encoding == "2024":
        assert len({option_of(header) for one in marked for _, header in one.headers}) == 1
    others = [one for one in packets + replies if one.protocol == "tcp" and
              (one.src, one.sport) not in announced]
    assert (source, sport) in announced
    assert of_flow(others, control.key) and of_flow(others, (protocol, target, dport, source, sport))
    assert not [one for one in others if one.label or one.headers][:3]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("offload", OFFLOADS)
def test_iperf3(pair, marker, offload, strategy):
    """Beside its own control connection, which is of no flow."""
    set_offload(pair, offload)
    running = marker(strategy)
    ends = pair.near, pair.far, Pair.NEAR, Pair.FAR
    ports = itertools.count(45000)

    def run():
        return (send_iperf3(*ends, next(ports)), send_iperf3(*ends, next(ports), running.announce))

    with on_one_cpu(), Frames(pair.far, "veth1") as frames:
        _, sent = undisturbed(run)
        packets = frames.packets()
    marked, unmarked = split(of_flow(packets, sent.key), strategy, "scitags")
    carried = [sum(len(one.payload) for one in some) for some in (marked, unmarked)]
    # iperf3 ends before the last of what it has written has gone out, on a slow machine more of it.
    assert sum(carried) >= sent.received > 1 << 20
    if offload == "single" and strategy != "label":
        # Full segments that are sent one at a time have no room for a header; most are full.
        assert carried[1] > carried[0] > 0
    else:
        assert carried[0] > carried[1]
    assert all(one.size + ADDED[strategy] > 1500 >= one.size for one in unmarked)
    others = [one for one in packets if one.protocol == "tcp" and one.sport not in range(45001, 45007, 2)]
    assert others and not [one for one in others if one.label or one.headers][:3]


# -- the wire -------------------------------------------------------------------------------------

def expected_dissection(strategy, encoding, upper):
    """What tshark is to say of a marked packet's headers."""
    chain = [str(one) for one in (*OPTION_HEADERS[strategy], upper)]
    fields = {"ipv6.nxt": chain[:1]}
    for number, name in ((HOP_BY_HOP, "hopopts"), (DESTINATION, "dstopts")):
        if number in OPTION_HEADERS[strategy]:
            fields[f"ipv6.{name}.nxt"] = [chain[OPTION_HEADERS[strategy].index(number) + 1]]
            fields[f"ipv6.{name}.len_oct"] = ["8"]
    count = len(OPTION_HEADERS[strategy])
    if count and encoding == "scitags":
        fields.update({"ipv6.opt.type": ["0x1e", "0x00"] * count, "ipv6.opt.length": ["3"] * count,
                       "ipv6.opt.experimental": ["000211"] * count})
    elif count:
        fields.update({"ipv6.opt.type": ["0x1f"] * count, "ipv6.opt.length": ["4"] * count})
    return fields


@pytest.mark.parametrize("strategy,encoding", MARKS)
def test_dissection(pair, marker, directory, strategy, encoding):
    """tshark names each header, the option's type, length and data, and finds every sum right."""
    set_offload(pair, "cut")
    running = marker(strategy, encoding)
    path = make_file(directory / "file", 100_000)
    with udp_socket(pair.far, Pair.FAR) as receiver, udp_socket(pair.near, Pair.NEAR) as sender, \
            Frames(pair.far, "veth1") as frames:
        udp = ("udp", Pair.NEAR, sender.getsockname()[1], Pair.FAR, receiver.getsockname()[1])
        tcp = send_file(path, pair.near, pair.far, Pair.NEAR, Pair.FAR, running.announce).key
        running.announce(udp)
        for size in (0, 1, 1000):
            sender.sendto(b"x" * size, (Pair.FAR, udp[4]))
            assert receiver.recv(2000) == b"x" * size
        until(lambda: ended(frames.packets(), tcp), "the end of the transfer")
        wire = [one for one in frames.frames() if of_flow([dissect(one)], tcp) or
                of_flow([dissect(one)], udp)]
    names = ("ipv6.flow", "ipv6.nxt", "ipv6.hopopts.nxt", "ipv6.hopopts.len_oct", "ipv6.dstopts.nxt",
             "ipv6.dstopts.len_oct", "ipv6.opt.type", "ipv6.opt.length", "ipv6.opt.experimental",
             "ipv6.opt.unknown", "tcp.checksum.status", "udp.checksum.status", "_ws.malformed",
             "ipv6.opt.invalid_len", "ipv6.hopopts.not_first")
    seen = tshark(directory, wire, names)
    assert len(seen) > 70
    marks = {}
    for frame, fields in zip(wire, seen):
        label = int(fields.pop("ipv6.flow")[0], 16)
        packet = dissect(frame)
        assert fields.pop(f"{packet.protocol}.checksum.status") == [CHECKSUM_GOOD], packet
        if packet.size + ADDED[strategy] > 1500 and not is_marked(packet, strategy, encoding):
            continue
        if strategy == "label":
            assert label & TAG_MASK == tag_bits(2, 17)
            marks.setdefault(packet.protocol, set()).add(label)
        if encoding == "2024":
            data = set(fields.pop("ipv6.opt.unknown"))
            marks.setdefault(packet.protocol, set()).update(data)
            assert all(int(one[:6], 16) & TAG_MASK == tag_bits(2, 17) and one[6:] == "00" for one in data)
        upper = {"tcp": 6, "udp": 17}[packet.protocol]
        assert fields == expected_dissection(strategy, encoding, upper), packet
    assert all(len(one) == 1 for one in marks.values()), marks


# -- packets with headers of their own ------------------------------------------------------------

def options_header(size=16):
    """A header with an option of the sender's own; its first byte is filled in later."""
    return bytes((0, size // 8 - 1, 0x1E, size - 4)) + b"option of the sender's own"[:size - 4]


ROUTING_HEADER = bytes((0, 2, 0, 0)) + bytes(20)  # type 0, no segments left: nothing is asked for
OWN_HEADERS = {
    "hop-by-hop": ((HOP_BY_HOP, options_header()),),
    "destination": ((DESTINATION, options_header()),),
    "both": ((HOP_BY_HOP, options_header()), (DESTINATION, options_header(24))),
    "routing": ((ROUTING, ROUTING_HEADER),),
    "destination, routing": ((DESTINATION, options_header()), (ROUTING, ROUTING_HEADER)),
    "hop-by-hop, destination, routing": (
        (HOP_BY_HOP, options_header()), (DESTINATION, options_header()), (ROUTING, ROUTING_HEADER)),
}


def with_mark(numbers, strategy):
    """The order of headers that RFC 8200 (4.1) wants with the mark's, or None: it must stay as it is."""
    result = list(numbers)
    last = numbers and numbers[-1] == DESTINATION  # it is for the last destination
    if strategy in ("hopByHop", "hopByHopDestination"):
        if HOP_BY_HOP in numbers:
            return None
        result.insert(0, HOP_BY_HOP)
    if strategy in ("destination", "hopByHopDestination"):
        if last:
            return None
        result.append(DESTINATION)
    return tuple(result)


def without_next(headers):
    """Headers as they are but for their first byte, which names what follows."""
    return tuple((number, header[1:]) for number, header in headers)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_own_extension_headers(pair, marker, strategy):
    """Either the mark stands where it belongs, or the packet is as it was; the data arrives."""
    running = marker(strategy)
    with on_one_cpu(), udp_socket(pair.far, Pair.FAR) as receiver, \
            pair.near.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw, \
            Frames(pair.far, "veth1") as frames:
        raw.bind(("veth0", 0))
        key = ("udp", Pair.NEAR, 4000, Pair.FAR, receiver.getsockname()[1])
        running.announce(key)
        macs = SOURCE_MAC, pair.far.mac("veth1")
        position, left = 0, 0
        for number, (name, own) in enumerate(OWN_HEADERS.items()):
            payload = name.encode() * (1 + 8 * number)
            sent = frame_of(*macs, Pair.NEAR, Pair.FAR, own,
                            udp_of(Pair.NEAR, Pair.FAR, 4000, key[4], payload))
            raw.send(sent)
            assert receiver.recv(65536) == payload
            position = frames.wait(lambda one: one[6:12] == SOURCE_MAC, name, position)
            arrived = dissect(frames.frames()[position - 1])
            assert of_flow([arrived], key) and arrived.length == arrived.size - 40
            numbers = tuple(one for one, _ in own)
            if strategy == "label":
                assert arrived.label & TAG_MASK == tag_bits(2, 17)
                assert arrived.headers == dissect(sent).headers
                continue
            wanted = with_mark(numbers, strategy)
            left += wanted is None
            if wanted is None:
                assert frames.frames()[position - 1] == sent, name
                continue
            assert tuple(one for one, _ in arrived.headers) == wanted, name
            added = [one for one in arrived.headers if len(one[1]) == 8]
            assert [one for one, _ in added] == list(OPTION_HEADERS[strategy])
            assert {option_of(header) for _, header in added} == {(0x1E, b"\x00\x02\x11")}
            kept = [one for one in arrived.headers if len(one[1]) != 8]
            assert without_next(kept) == without_next(own), name
        counted = running.counted_of_flows()
    assert counted.pop("options", 0) == left
    assert counted == {"marked": len(OWN_HEADERS) - left}
    assert left == {"label": 0, "hopByHop": 3, "destination": 2, "hopByHopDestination": 4}[strategy]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("option", [IPV6_HOPOPTS, IPV6_DSTOPTS])
def test_options_of_a_socket(pair, marker, strategy, option):
    """Extension headers that an application asked its own socket for."""
    running = marker(strategy)
    number = {IPV6_HOPOPTS: HOP_BY_HOP, IPV6_DSTOPTS: DESTINATION}[option]
    own = options_header()
    with udp_socket(pair.far, Pair.FAR) as receiver, udp_socket(pair.near, Pair.NEAR) as sender, \
            Frames(pair.far, "veth1") as frames:
        sender.setsockopt(socket.IPPROTO_IPV6, option, own)
        key = ("udp", *sender.getsockname()[:2], *receiver.getsockname()[:2])
        running.announce(key)
        sender.connect(key[3:])
        for size in (5, 1300):
            sender.send(b"x" * size)
            assert receiver.recv(2000) == b"x" * size
        frames.wait(lambda one: of_flow([dissect(one)], key) and dissect(one).size > 1300, "the last one")
        packets = of_flow(frames.packets(), key)
    wanted = (number,) if strategy == "label" else with_mark((number,), strategy)
    for packet in packets:
        assert tuple(one for one, _ in packet.headers) == (wanted or (number,))
        assert (number, own[1:]) in without_next(packet.headers)
    assert running.counted_of_flows() == {"options" if wanted is None else "marked": 2}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_vlan_tag_in_band(pair, marker, strategy):
    """A label is written behind the tag; a packet that can't take an option leaves as it was."""
    running = marker(strategy)
    key = ("udp", Pair.NEAR, 4000, Pair.FAR, 4001)
    plain = frame_of(SOURCE_MAC, bytes(6), Pair.NEAR, Pair.FAR, (),
                     udp_of(Pair.NEAR, Pair.FAR, 4000, 4001, b"data"))
    running.announce(key)
    with on_one_cpu(), pair.near.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw, \
            Frames(pair.far, "veth1", everything=True) as frames:
        raw.bind(("veth0", 0))
        for tags in (b"\x81\x00\x00\x07", b"\x88\xa8\x00\x08\x81\x00\x00\x09"):
            raw.send(plain[:ETHERTYPE_AT] + tags + plain[ETHERTYPE_AT:])
            frames.wait(lambda one, tags=tags: one[6:12 + len(tags)] == SOURCE_MAC + tags, "a tagged packet")
        arrived = [one for one in frames.frames() if one[6:12] == SOURCE_MAC]
    for frame in arrived:
        at = frame.index(b"\x86\xdd")
        inner = dissect(frame[:ETHERTYPE_AT] + frame[at:])
        assert is_marked(inner, strategy, "scitags") == (strategy == "label")
        assert frame[at + 6:] == plain[ETHERTYPE_AT + 6:]
    assert running.counted_of_flows() == {"marked" if strategy == "label" else "vlan": 2}


# -- what a packet shares with another ------------------------------------------------------------

GROUP = "ff05::f10d"
IPV6_RECVHOPOPTS, IPV6_RECVDSTOPTS = 53, 58


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_shared(pair, marker, strategy):
    """
    The kernel gives this host's members of a group a packet that shares its memory with the one that
    leaves: it stays as it was sent.
    """
    running = marker(strategy)
    with pair.near.socket(socket.AF_INET6, socket.SOCK_DGRAM) as member, \
            udp_socket(pair.near, Pair.NEAR) as sender, Frames(pair.far, "veth1") as frames:
        with pair.near.entered():
            index = socket.if_nametoindex("veth0")
        member.bind((GROUP, 0))
        member.settimeout(10)
        joined = socket.inet_pton(socket.AF_INET6, GROUP) + struct.pack("@I", index)
        member.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, joined)
        for option in (IPV6_RECVHOPOPTS, IPV6_RECVDSTOPTS):
            member.setsockopt(socket.IPPROTO_IPV6, option, 1)
        sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        port = member.getsockname()[1]
        key = ("udp", *sender.getsockname()[:2], GROUP, port)
        running.announce(key)
        # Short ones have their headers' memory for themselves, long ones not.
        sizes = [*range(0, 40, 7), 1000, 1400]
        for size in sizes:
            sender.sendto(b"s" * size, (GROUP, port))
            payload, ancillary, _, _ = member.recvmsg(2000, 1000)
            assert (payload, ancillary) == (b"s" * size, [])
        packets = until(lambda: (lambda own: own if len(own) >= len(sizes) else None)(
            of_flow(frames.packets(), key)), "all packets")
    assert all(is_marked(packet, strategy, "scitags") for packet in packets)


# -- what is not to be touched --------------------------------------------------------------------

def checksum4(header):
    total = sum(struct.unpack(f"!{len(header) // 2}H", header))
    return ~(total % 0xFFFF) & 0xFFFF


def ipv4_of(protocol, transport):
    start = struct.pack("!BBHHHBB", 0x45, 0, 20 + len(transport), 7, 0x4000, 64, protocol)
    addresses = socket.inet_aton(Pair.NEAR4) + socket.inet_aton(Pair.FAR4)
    return start + struct.pack("!H", checksum4(start + b"\0\0" + addresses)) + addresses + transport


def bystanders(mac):
    """Frames that are of no flow, however near they come to (udp, NEAR 4000, FAR 4001)."""

    def udp(sport=4000, dport=4001, source=Pair.NEAR, target=Pair.FAR, headers=(), label=0x12345):
        return frame_of(SOURCE_MAC, mac, source, target, headers,
                        udp_of(source, target, sport, dport, b"bystander"), label)

    ports = struct.pack("!HH", 4000, 4001)
    tcp = ports + bytes(8) + b"\x50\x10" + bytes(6) + b"tcp of no flow"
    ethernet4 = mac + SOURCE_MAC + b"\x08\x00"
    later = struct.pack("!BBHI", 17, 0, 185 << 3, 99)
    return [
        udp(sport=4002), udp(dport=4002), udp(target=Pair.FAR_OTHER), udp(sport=4001, dport=4000),
        udp(dport=4002, headers=OWN_HEADERS["both"]), udp(dport=4002, headers=OWN_HEADERS["routing"]),
        frame_of(SOURCE_MAC, mac, Pair.NEAR, Pair.FAR, (), (6, tcp), 0xFFFFF),
        frame_of(SOURCE_MAC, mac, Pair.NEAR, Pair.FAR, (), (132, ports + bytes(30)), 0x54321),
        frame_of(SOURCE_MAC, mac, Pair.NEAR, Pair.FAR, (), (ICMPV6, b"\x80\x00\x00\x00" + ports), 1),
        frame_of(SOURCE_MAC, mac, Pair.NEAR, Pair.FAR, (), (59, b""), 2),
        frame_of(SOURCE_MAC, mac, Pair.NEAR, Pair.FAR, ((44, later),), (17, ports + bytes(40)), 3),
        ethernet4 + ipv4_of(17, struct.pack("!HHHH", 4000, 4001, 12, 0) + b"four"),
        ethernet4 + ipv4_of(6, tcp),
        mac + SOURCE_MAC + b"\x08\x06" + bytes(46),
        mac + SOURCE_MAC + b"\x88\xb5" + udp()[ETHERTYPE_AT + 2:],
    ]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_bystanders(pair, marker, strategy):
    """Every byte of what is of no flow arrives as it was sent, with flows live all the while."""
    running = marker(strategy)
    running.announce(("udp", Pair.NEAR, 4000, Pair.FAR, 4001))
    flow4 = running.api.post(event(Pair.NEAR4, 4000, Pair.FAR4, 4001)).expect(201).json
    assert flow4["backends"]["marker"] == "not-ipv6"
    sent = bystanders(pair.far.mac("veth1"))
    with on_one_cpu(), pair.near.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw, \
            Frames(pair.far, "veth1", everything=True) as frames:
        raw.bind(("veth0", 0))
        for frame in sent:
            raw.send(frame)
        arrived = until(lambda: (lambda own: own if len(own) >= len(sent) else None)(
            [one for one in frames.frames() if one[6:12] == SOURCE_MAC]), "all bystanders")
    assert arrived == sent
    assert set(running.counted_of_flows()) <= {"fragment"}


# -- a tag for everything -------------------------------------------------------------------------

GENERAL = {"experimentId": 5, "activityId": 9}
LINK_MESSAGES = (*range(130, 138), 143)


def check_general(packets, strategy, encoding):
    """Each of the packets, which are of no flow, bears the general tag."""
    assert packets
    for packet in packets:
        assert is_marked(packet, strategy, encoding, 5, 9), packet


@pytest.mark.parametrize("strategy,encoding", [
    ("label", "scitags"), ("hopByHop", "scitags"), ("hopByHopDestination", "2024")])
def test_match_all(pair, marker, directory, strategy, encoding):
    """What is of no flow bears the general tag, a flow its own, and no firefly tells of the former."""
    running = marker(strategy, encoding, plugins={"perfsonar": GENERAL},
                     backends={"firefly": {"sendToDestination": False,
                                           "collectors": [f"{Pair.FAR4}:10515"]}})
    path = make_file(directory / "file", 200_000)
    with Collector(pair.far, Pair.FAR4, 10515) as collector, udp_socket(pair.far, Pair.FAR) as receiver, \
            udp_socket(pair.near, Pair.NEAR) as sender, udp_socket(pair.near, Pair.NEAR) as other, \
            pair.near.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as ping, \
            Frames(pair.far, "veth1") as frames:
        port = receiver.getsockname()[1]
        live = ("udp", *sender.getsockname()[:2], Pair.FAR, port)
        running.announce(live)
        pair.near.ip("neighbour", "flush", "dev", "veth0")
        pair.far.ip("neighbour", "flush", "dev", "veth1")
        for one in (sender, other):
            one.sendto(b"x", (Pair.FAR, port))
            assert receiver.recv(10) == b"x"
        ping.settimeout(10)
        ping.connect((Pair.FAR, 0))
        ping.send(b"\x80\x00\x00\x00\x00\x00\x00\x01ping")
        while (answer := ping.recv(100))[0] != 129:
            pass
        assert answer[8:] == b"ping"
        general = send_file(path, pair.near, pair.far, Pair.NEAR, Pair.FAR).key
        own = send_file(path, pair.near, pair.far, Pair.NEAR, Pair.FAR, running.announce).key
        until(lambda: ended(frames.packets(), own), "the end of the last transfer")
        packets = frames.packets()
        fireflies = collector.wait(2, "start")
    for key in (live, own):
        marked, unmarked = split(of_flow(packets, key), strategy, encoding)
        assert marked and not unmarked
    check_general(of_flow(packets, general), strategy, encoding)
    check_general([one for one in packets if one.protocol == "udp" and one.sport != live[2]],
                  strategy, encoding)
    messages = [one for one in packets if one.protocol == ICMPV6]
    check_general([one for one in messages if one.payload[0] == 128], strategy, encoding)
    of_link = [one for one in messages if one.payload[0] in LINK_MESSAGES]
    assert any(one.payload[0] == 135 for one in of_link), "no neighbour was asked for"
    if strategy != "label":
        for one in of_link:
            assert all(header[2:3] in (b"\x05", b"\x01") for _, header in one.headers), one
    assert {one.tag for one in fireflies} == {(2, 17)}
    assert {one.tag for one in collector.fireflies()} == {(2, 17)}
    assert len({one.key for one in fireflies}) == 2


@pytest.mark.parametrize("marker_options,perfsonar,words", [
    (None, {}, ["plugins.perfsonar", "backends.marker"]),
    ({"matchAll": True}, None, ["backends.marker.matchAll", "plugins.perfsonar"]),
    ({}, {"experimentId": 600}, ["plugins.perfsonar.experimentId", "600", "511"]),
    ({"markingStrategy": "hopByHop", "optionEncoding": "2024"}, {"experimentId": 600},
     ["plugins.perfsonar.experimentId", "600", "511"]),
    ({"markingStrategy": "hopByHop"}, {"experimentId": 1024}, ["plugins.perfsonar.experimentId", "1023"]),
    ({"markingStrategy": "hopByHop"}, {"activityId": 64}, ["plugins.perfsonar.activityId", "63"]),
    ({"markingStrategy": "hopByHop"}, {"experimentId": 600}, []),
    ({}, {"experimentId": 511, "activityId": 63}, []),
])
def test_general_tag_in_the_configuration(flowd_command, directory, marker_options, perfsonar, words):
    config = base_config(directory)
    if marker_options is not None:
        config["backends"]["marker"] = marker_options
    if perfsonar is not None:
        config["plugins"]["perfsonar"] = perfsonar
    path = directory / "config.json"
    path.write_text(json.dumps(config))
    done = flowd_command("-c", path, "check")
    assert done.returncode == (2 if words else 0), done
    for word in words:
        assert word in done.stdout + done.stderr, (word, done)


@pytest.mark.parametrize("strategy,encoding,fits", [
    ("label", "scitags", False), ("hopByHop", "scitags", True), ("destination", "2024", False)])
def test_large_experiment(pair, marker, strategy, encoding, fits):
    """An experiment that needs more than 9 bits: where there is room for it, it is on the wire."""
    running = marker(strategy, encoding)
    with udp_socket(pair.far, Pair.FAR) as receiver, udp_socket(pair.near, Pair.NEAR) as sender, \
            Frames(pair.far, "veth1") as frames:
        key = ("udp", *sender.getsockname()[:2], *receiver.getsockname()[:2])
        if not fits:
            running.api.post(event(*key[1:], 600, 17)).problem(422, "experiment", "600", "511")
            assert running.api.live() == 0
        else:
            running.announce(key, 600, 17)
        sender.sendto(b"x", key[3:])
        assert receiver.recv(10) == b"x"
        frames.wait(lambda one: of_flow([dissect(one)], key), "the packet")
        packet = of_flow(frames.packets(), key)[0]
    if fits:
        assert is_marked(packet, strategy, encoding, 600, 17)
        assert packet.headers[0][1][2:8] == bytes.fromhex("1e0302581100")
    else:
        assert not packet.headers and packet.label == 0
