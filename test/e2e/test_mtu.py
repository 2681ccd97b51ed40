# SPDX-License-Identifier: Apache-2.0
"""
Sizes: an option is added only where every packet still gets to its end, on links and paths of any
MTU, and a packet that it can't be added to leaves as it was and is counted.
"""

import socket
import threading

import pytest

from lab.fixtures import stop_daemons
from lab.frames import ADDED, FRAGMENT, OPTION_HEADERS, Frames, is_marked, of_flow, split
from lab.labels import TAG_MASK, tag_bits
from lab.marker_run import Marker, set_offload
from lab.netns import Pair, Path
from lab.traffic import Tcp, on_one_cpu, udp_socket
from lab.transfer import ended, make_file, send_file
from lab.waiting import DEADLINE_S, until

OPTION_STRATEGIES = ("hopByHop", "destination", "hopByHopDestination")
STRATEGIES = tuple(OPTION_HEADERS)
MTU, UDP_HEADERS, TCP_HEADERS = 1500, 48, 60
SOL_UDP, UDP_SEGMENT, IPV6_MTU = 17, 103, 24
FILE_SIZE = 1_000_000
WITHOUT_PERFMON = ("setpriv", "--bounding-set=-perfmon,-sys_admin")
WITHOUT_BTF = ("unshare", "-m", "--", "sh", "-c", 'mount -t tmpfs none /sys/kernel/btf && exec "$0" "$@"')


@pytest.fixture
def make_path(request):
    """Makes a path with a router, which carries less than near's link."""
    made = []

    def make(*sizes):
        made.append(Path(*sizes))
        return made[-1]

    try:
        yield make
        stop_daemons(request.node)
    finally:
        for routed in made:
            routed.remove()


@pytest.fixture
def path(make_path):
    return make_path()


@pytest.fixture
def start(make_flowd, directory, pin_path):
    def run(place, strategy, encoding="scitags", **options):
        return Marker(make_flowd, place, directory, pin_path, strategy, encoding, **options)

    return run


def check_file(place, running, directory, strategy, limit):
    """
    A marked transfer beside an unmarked one: nothing longer than the limit leaves, and what leaves
    unmarked would have been longer and is counted. Returns the marked and the unmarked packets.
    """
    path = make_file(directory / "file", FILE_SIZE)
    with on_one_cpu(), Frames(place.far, "veth1") as frames:
        for _ in range(3):
            control = send_file(path, place.near, place.far, place.NEAR, place.FAR)
            before = running.counted_of_flows()
            sent = send_file(path, place.near, place.far, place.NEAR, place.FAR, running.announce)
            if (control.retransmissions, sent.retransmissions) == (0, 0):
                break
        else:
            raise AssertionError(f"retransmissions: {sent}, unmarked {control}")
        until(lambda: ended(frames.packets(), sent.key), "the last packet")
        grown = running.counted_of_flows()
        packets = frames.packets()
    grown = {name: count - before.get(name, 0) for name, count in grown.items()}
    assert {one.label for one in of_flow(packets, control.key)} == {0}
    marked, unmarked = split(of_flow(packets, sent.key), strategy, "scitags")
    assert max(one.size for one in marked + unmarked) <= limit
    assert all(one.size + ADDED[strategy] > limit for one in unmarked), "a packet that had room"
    assert grown.pop("mtu", 0) == len(unmarked)
    assert grown.pop("marked") <= len(marked)
    assert not any(grown.values()), grown
    return marked, unmarked


# -- UDP ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("connected", [False, True])
@pytest.mark.parametrize("strategy", OPTION_STRATEGIES)
def test_datagrams(pair, start, strategy, connected):
    """Every size around the largest that has room for the mark, and those around the MTU."""
    running = start(pair, strategy)
    fullest = MTU - UDP_HEADERS
    sizes = [0, 1, 1000, *range(fullest - 18, fullest + 1)]
    with udp_socket(pair.far, Pair.FAR) as receiver, udp_socket(pair.near, Pair.NEAR) as sender, \
            Frames(pair.far, "veth1") as frames:
        key = ("udp", *sender.getsockname()[:2], *receiver.getsockname()[:2])
        running.announce(key)
        if connected:
            sender.connect(key[3:])
        for size in sizes:
            sender.sendmsg([bytes(size)], (), 0, None if connected else key[3:])
            assert receiver.recv(2000) == bytes(size)
        until(lambda: len(of_flow(frames.packets(), key)) == len(sizes), "all datagrams")
        packets = of_flow(frames.packets(), key)
    with_room = [size <= fullest - ADDED[strategy] for size in sizes]
    assert [is_marked(one, strategy, "scitags") for one in packets] == with_room
    assert running.counted_of_flows() == {"marked": sum(with_room),
                                          "mtu": len(sizes) - sum(with_room)}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("offload", ["whole", "cut"])
def test_segmented_datagrams(pair, start, offload, strategy):
    """
    Datagrams that the kernel or the card cuts (UDP_SEGMENT) keep their boundaries: marked where each
    of them has room, as they were where not.
    """
    if offload == "cut":
        pair.near.run("ethtool", "-K", "veth0", "tx-udp-segmentation", "off")
    running = start(pair, strategy)
    fullest = MTU - UDP_HEADERS
    rounds = [(size, count) for size in (1, 700, fullest - 16, fullest - 15, fullest - 8, fullest - 7,
                                         fullest) for count in (2, 10)]
    unmarked_rounds = 0
    with udp_socket(pair.far, Pair.FAR) as receiver, udp_socket(pair.near, Pair.NEAR) as sender, \
            Frames(pair.far, "veth1") as frames:
        key = ("udp", *sender.getsockname()[:2], *receiver.getsockname()[:2])
        running.announce(key)
        position = 0
        for size, count in rounds:
            data = bytes(number % 251 for number in range(size * count - size // 2))
            sender.setsockopt(SOL_UDP, UDP_SEGMENT, size)
            sender.sendto(data, key[3:])
            for at in range(0, len(data), size):
                assert receiver.recv(65536) == data[at:at + size], (size, count)
            expected = 1 if offload == "whole" else count
            until(lambda at=position, wanted=expected: len(of_flow(frames.packets(at), key)) >= wanted,
                  f"{expected} packets")
            packets = of_flow(frames.packets(position), key)
            position = len(frames)
            assert len(packets) == expected
            room = size + ADDED[strategy] <= fullest
            assert {is_marked(one, strategy, "scitags") for one in packets} == {room}, (size, count)
            unmarked_rounds += not room
            if offload == "cut":
                assert max(one.size for one in packets) <= MTU
    counted = running.counted_of_flows()
    assert counted.pop("mtu", 0) == unmarked_rounds
    assert counted == {"marked": len(rounds) - unmarked_rounds}
    assert unmarked_rounds == {"label": 0, "hopByHopDestination": 8}.get(strategy, 4)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_segmented_datagrams_without_checksums(pair, start, strategy):
    """
    A device that computes no checksums: the kernel drops a datagram that it is still to cut if its
    header grew by more than was reserved (6.11 and later). It has to arrive, marked or not.
    """
    set_offload(pair, "cut")
    running = start(pair, strategy)
    with udp_socket(pair.far, Pair.FAR) as receiver, udp_socket(pair.near, Pair.NEAR) as sender, \
            Frames(pair.far, "veth1") as frames:
        key = ("udp", *sender.getsockname()[:2], *receiver.getsockname()[:2])
        running.announce(key)
        for size in (1, 700, 1400):
            sender.setsockopt(SOL_UDP, UDP_SEGMENT, size)
            sender.sendto(b"d" * 10 * size, key[3:])
            for _ in range(10):
                assert receiver.recv(2000) == b"d" * size
        until(lambda: len(of_flow(frames.packets(), key)) == 30, "all datagrams")
        split(of_flow(frames.packets(), key), strategy, "scitags")
    assert sum(running.counted_of_flows().values()) == 3


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_fragments(pair, start, strategy):
    """
    A datagram larger than the MTU arrives. With a label all its fragments bear it; fragments that
    are full have no room for an option, and a Destination Options header can't stand in one part.
    """
    running = start(pair, strategy)
    with on_one_cpu(), udp_socket(pair.far, Pair.FAR) as receiver, \
            udp_socket(pair.near, Pair.NEAR) as sender, Frames(pair.far, "veth1") as frames:
        key = ("udp", *sender.getsockname()[:2], *receiver.getsockname()[:2])
        running.announce(key)
        sizes = [1453, 5000, 60000]
        for size in sizes:
            sender.sendto(b"f" * size, key[3:])
            assert receiver.recv(65536) == b"f" * size
        sender.sendto(b"the end", key[3:])
        assert receiver.recv(100) == b"the end"
        until(lambda: any(one.payload.endswith(b"the end") for one in frames.packets()), "the end")
        packets = [one for one in frames.packets() if one.protocol == "udp"]
    fragments = [one for one in packets if any(number == FRAGMENT for number, _ in one.headers)]
    assert len(fragments) > 40 and packets[-1].sport == key[2]
    assert all(one.size <= MTU for one in packets)
    short = [one for one in fragments if one.size <= MTU - 8 and one.headers[-1][0] == FRAGMENT]
    counted = running.counted_of_flows()
    if strategy == "label":
        assert {one.label for one in packets} == {packets[0].label}
        assert packets[0].label & TAG_MASK == tag_bits(2, 17)
        assert counted == {"marked": len(packets)}
    elif strategy == "hopByHop":
        marked = [one for one in packets if len(one.headers) == 2]
        assert all(one.headers[0] == (0, bytes((FRAGMENT, 0, 0x1E, 3, 0, 2, 17, 0))) for one in marked)
        assert len(marked) == len(sizes) and short, "the last fragment of each has room"
        assert counted == {"marked": len(marked) + 1, "mtu": len(fragments) - len(marked)}
    else:
        assert all([number for number, _ in one.headers] == [FRAGMENT] for one in fragments)
        assert counted.pop("marked") == 1
        assert sum(counted.values()) == len(fragments) and set(counted) <= {"fragment", "mtu"}, counted


# -- the MTU of link, interface and route ---------------------------------------------------------

def lower_link(place, mtu):
    place.near.ip("link", "set", "veth0", "mtu", mtu)


def lower_interface(place, mtu):
    """As a router advertisement does."""
    place.near.sysctl("net.ipv6.conf.veth0.mtu", mtu)


def lower_route(place, mtu):
    place.near.ip("route", "add", Pair.FAR + "/128", "dev", "veth0", "mtu", mtu)


@pytest.mark.parametrize("strategy", OPTION_STRATEGIES)
def test_mtu_of_the_socket(pair, start, strategy):
    """A program that lets its socket send shorter packets than the route takes knows why."""
    running = start(pair, strategy)
    fullest = 1280 - UDP_HEADERS
    sizes = (fullest - ADDED[strategy], fullest - ADDED[strategy] + 1, fullest, 2000)
    with udp_socket(pair.far, Pair.FAR) as receiver, udp_socket(pair.near, Pair.NEAR) as sender, \
            Frames(pair.far, "veth1") as frames:
        key = ("udp", *sender.getsockname()[:2], *receiver.getsockname()[:2])
        running.announce(key)
        sender.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU, 1280)
        for size in sizes:
            sender.sendto(bytes(size), key[3:])
            assert receiver.recv(3000) == bytes(size)
        until(lambda: len(packets_of(frames)) == len(sizes) + 1, "all datagrams")
        packets = packets_of(frames)
    assert max(one.size for one in packets) == 1280
    assert [is_marked(one, strategy, "scitags") for one in packets[:3]] == [True, False, False]
    assert running.counted_of_flows()["mtu"] >= 2


def packets_of(frames):
    return [one for one in frames.packets() if one.protocol == "udp"]


LOWERED = {"link": lower_link, "interface": lower_interface, "route": lower_route}


@pytest.mark.parametrize("offload", ["cut", "single"])
@pytest.mark.parametrize("what", LOWERED)
@pytest.mark.parametrize("strategy", ["hopByHop", "hopByHopDestination"])
def test_smaller_mtu(pair, start, directory, strategy, what, offload):
    """The smallest of the three counts, for TCP and for UDP."""
    set_offload(pair, offload)
    LOWERED[what](pair, 1400)
    running = start(pair, strategy)
    marked, unmarked = check_file(pair, running, directory, strategy, 1400)
    assert max(one.size for one in marked) == 1400 or offload == "single"
    assert bool(unmarked) == (offload == "single")
    before = running.counted_of_flows().get("mtu", 0)
    with udp_socket(pair.far, Pair.FAR) as receiver, udp_socket(pair.near, Pair.NEAR) as sender, \
            Frames(pair.far, "veth1") as frames:
        key = ("udp", *sender.getsockname()[:2], *receiver.getsockname()[:2])
        running.announce(key)
        fullest = 1400 - UDP_HEADERS
        for size in (fullest - ADDED[strategy], fullest - ADDED[strategy] + 1, fullest):
            sender.sendto(bytes(size), key[3:])
            assert receiver.recv(2000) == bytes(size)
        until(lambda: len(of_flow(frames.packets(), key)) == 3, "three datagrams")
        packets = of_flow(frames.packets(), key)
    assert [is_marked(one, strategy, "scitags") for one in packets] == [True, False, False]
    assert running.counted_of_flows()["mtu"] - before == 2


def lower_at_far(place, size):
    """Far asks for segments of that many bytes."""
    place.far.ip("route", "add", Pair.NEAR + "/128", "dev", "veth1", "advmss", size)


@pytest.mark.parametrize("offload", ["cut", "single"])
@pytest.mark.parametrize("strategy", OPTION_STRATEGIES)
def test_lowered_segment_size(pair, start, directory, strategy, offload):
    """With a segment size that leaves room for the mark, and is said to, nothing is left out."""
    set_offload(pair, offload)
    lower_at_far(pair, MTU - TCP_HEADERS - ADDED[strategy])
    running = start(pair, strategy, mssReduction=ADDED[strategy])
    marked, unmarked = check_file(pair, running, directory, strategy, MTU)
    assert not unmarked and "mtu" not in running.counted()
    assert max(one.size for one in marked) == MTU


def lower_where_it_arrives(place, size):
    """The rule of the manual lowers what the other end announces."""
    place.near.run("nft", "add table ip6 filter; "
                   "add chain ip6 filter input { type filter hook input priority 0; }")
    place.near.run("nft", f"add rule ip6 filter input tcp flags syn tcp option maxseg size set {size}")


@pytest.mark.parametrize("strategy", ["hopByHop", "hopByHopDestination"])
def test_segment_size_lowered_by_a_firewall(pair, start, directory, strategy):
    """The other way that the manual names."""
    set_offload(pair, "single")
    lower_where_it_arrives(pair, MTU - TCP_HEADERS - ADDED[strategy])
    running = start(pair, strategy, mssReduction=ADDED[strategy])
    marked, unmarked = check_file(pair, running, directory, strategy, MTU)
    assert not unmarked and "mtu" not in running.counted()
    assert max(one.size for one in marked) == MTU


@pytest.mark.parametrize("strategy,lowered,said", [
    ("hopByHop", 8, 0), ("hopByHop", 16, 7), ("hopByHop", 16, 8), ("hopByHop", 0, 16),
    ("hopByHopDestination", 16, 8), ("hopByHopDestination", 16, 15)])
def test_said_of_segment_size(pair, start, directory, strategy, lowered, said):
    """A full segment grows by what it is said to be shorter, and never past the MTU."""
    set_offload(pair, "single")
    lower_at_far(pair, MTU - TCP_HEADERS - lowered)
    running = start(pair, strategy, mssReduction=said)
    with_room = min(lowered, said) >= ADDED[strategy]
    limit = MTU - lowered + (said if with_room else 0)
    marked, unmarked = check_file(pair, running, directory, strategy, min(limit, MTU))
    assert bool(unmarked) != with_room
    assert max(one.size for one in marked + unmarked) == MTU - lowered + with_room * ADDED[strategy]


def test_said_of_segment_size_without_routes(pair, start, directory):
    """
    Where routes can't be read nobody knows whether it was the route or the other end that made the
    segments shorter: what is said of them has no effect.
    """
    set_offload(pair, "single")
    lower_at_far(pair, MTU - TCP_HEADERS - 8)
    running = start(pair, "hopByHop", prefix=WITHOUT_PERFMON, mssReduction=8)
    marked, unmarked = check_file(pair, running, directory, "hopByHop", MTU - 8)
    assert marked and max(one.size for one in unmarked) == MTU - 8


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_jumbo_packets(pair, start, directory, strategy):
    """
    Packets longer than the length field can say (BIG TCP) bear a label, as they are cut later; an
    option is not added to them.
    """
    for space, interface in ((pair.near, "veth0"), (pair.far, "veth1")):
        space.ip("link", "set", interface, "gso_max_size", 185000, "gro_max_size", 185000)
    running = start(pair, strategy)
    path = make_file(directory / "file", 8_000_000)
    with on_one_cpu(), Frames(pair.far, "veth1") as frames:
        sent = send_file(path, pair.near, pair.far, Pair.NEAR, Pair.FAR, running.announce, pace=None)
        until(lambda: ended(frames.packets(), sent.key), "the last packet")
        packets = [one for one in frames.packets() if one.src == Pair.NEAR and one.protocol == "tcp"]
    counted = running.counted_of_flows()
    jumbo = [one for one in packets if one.size > 65575]
    others = [one for one in packets if one.size <= 65575]
    assert jumbo, "the kernel made no packet longer than 64 KiB"
    if strategy == "label":
        assert counted == {"marked": len(packets)}
        assert {one.label & TAG_MASK for one in packets} == {tag_bits(2, 17)}
        return
    assert all(not is_marked(one._replace(headers=()), strategy, "scitags") for one in jumbo)
    assert all(header[2] != 0x1E for one in jumbo for _, header in one.headers)
    marked, unmarked = split(others, strategy, "scitags")
    assert marked and counted.pop("marked") == len(marked)
    assert sum(counted.values()) == len(jumbo) + len(unmarked)
    assert set(counted) <= {"mtu", "options"}, counted


# -- paths ----------------------------------------------------------------------------------------

KNOWLEDGE = {"routes": (), "no perfmon": WITHOUT_PERFMON, "no btf": WITHOUT_BTF}
PATHS = [(strategy, "routes") for strategy in OPTION_STRATEGIES] + [
    ("hopByHopDestination", "no perfmon"), ("hopByHopDestination", "no btf")]


def refusals(path, file, running):
    """
    How often the router refuses packets of an unmarked transfer and of a marked one, each to an
    address of which nothing is known, and what was sent.
    """
    path.near.ip("-6", "route", "flush", "cache")
    before = path.too_big()
    send_file(file, path.near, path.far, path.NEAR, path.FAR_OTHER)
    control = path.too_big() - before
    sent = send_file(file, path.near, path.far, path.NEAR, path.FAR, running.announce)
    return control, path.too_big() - before - control, sent


def check_path(path, running, directory, strategy):
    """
    The transfer gets through, and the router has refused no more of it than of an unmarked one. How
    much of the first flight leaves before the router's word arrives is for the scheduler to say: a
    mark that costs a packet more costs it in each of three tries.
    """
    file = make_file(directory / "file", FILE_SIZE)
    with on_one_cpu(), Frames(path.far, "veth1") as frames:
        for _ in range(3):
            control, refused, sent = refusals(path, file, running)
            if refused <= control:
                break
        until(lambda: ended(frames.packets(), sent.key), "the last packet")
        marked, unmarked = split(of_flow(frames.packets(), sent.key), strategy, "scitags")
    assert refused <= control, f"the router refused {refused} packets, {control} unmarked ones"
    assert marked and all(one.size <= MTU for one in marked + unmarked)
    return control, marked, unmarked


@pytest.mark.parametrize("strategy,knowledge", PATHS)
@pytest.mark.parametrize("offload", ["cut", "single"])
def test_path_mtu(path, start, directory, strategy, offload, knowledge):
    """
    Both ends believe in large packets; a router on the way says what it can take. TCP then fills
    that to the last byte, and a router that refused eight bytes more would tell it no news.
    """
    set_offload(path, offload)
    running = start(path, strategy, prefix=KNOWLEDGE[knowledge])
    warned = "the MTU of routes can't be read" in running.daemon.log()
    assert warned == (knowledge != "routes"), running.daemon.log()
    control, _, unmarked = check_path(path, running, directory, strategy)
    assert control > 0, "the path is not what this test is about"
    assert bool(unmarked) == (offload == "single")


@pytest.mark.parametrize("knowledge", ["routes", "no perfmon"])
@pytest.mark.parametrize("offload", ["cut", "single"])
def test_smaller_mtu_of_the_other_host(path, start, directory, offload, knowledge):
    """
    The other host's link is the smallest of the path and its segment size says so: no router needs
    to speak, near's route knows nothing, and still no packet may be longer.
    """
    path.far.ip("link", "set", "veth1", "mtu", MTU)
    set_offload(path, offload)
    running = start(path, "hopByHopDestination", prefix=KNOWLEDGE[knowledge])
    control, _, unmarked = check_path(path, running, directory, "hopByHopDestination")
    assert control == 0 and bool(unmarked) == (offload == "single")


@pytest.mark.parametrize("size", [1484, 1492, 1499])
def test_path_a_little_smaller(make_path, start, directory, size):
    """
    As before, with a path that is smaller by no more than a mark: 1492 is what PPPoE leaves of 1500.
    That the other host asks for short segments does not say that somebody made room for a mark.
    """
    path = make_path(MTU, size)
    path.far.ip("link", "set", "veth1", "mtu", size)
    set_offload(path, "cut")
    running = start(path, "hopByHop")
    control, marked, _ = check_path(path, running, directory, "hopByHop")
    assert control == 0 and max(one.size for one in marked) == size


@pytest.mark.parametrize("timestamps", [0, 1])
@pytest.mark.parametrize("knowledge", ["routes", "no perfmon"])
def test_acknowledgements_in_data(path, start, knowledge, timestamps):
    """
    Data flows both ways and packets are lost on the way back: TCP's header grows by selective
    acknowledgements, and its payload shrinks by as much. The packet still has no room.
    """
    set_offload(path, "single")
    path.near.sysctl("net.ipv4.tcp_timestamps", timestamps)
    path.far.ip("route", "replace", "fd00:f10::/64", "via", path.ROUTER_FAR, "mtu", MTU)
    path.router.run("tc", "qdisc", "add", "dev", "near", "root", "tbf", "rate", "200mbit", "burst", "10k",
                    "limit", "40k")
    running = start(path, "hopByHop", prefix=KNOWLEDGE[knowledge])
    with Tcp(path.near, path.far, path.NEAR, path.FAR) as connection, Frames(path.far, "veth1") as frames:
        key = ("tcp", path.NEAR, connection.sport, path.FAR, connection.port)
        running.announce(key)
        connection.connect()
        both_ways(connection, 2_000_000)
        packets = of_flow(frames.packets(), key)
    assert path.too_big() == 0
    longer = [one for one in packets if one.payload[12] >> 4 > 5 + 3 * timestamps and one.size == MTU]
    assert longer, "no full packet with a selective acknowledgement"


def both_ways(connection, size):
    """Sends as much both ways at a time and waits for all of it."""
    failures = []

    def guarded(action):
        try:
            action()
        except OSError as failure:
            failures.append(failure)

    def read(one):
        left = size
        while left and (part := one.recv(min(left, 1 << 16))):
            left -= len(part)

    threads = [threading.Thread(target=guarded, args=(action,), daemon=True) for one in
               (connection.client, connection.server)
               for action in (lambda one=one: one.sendall(bytes(size)), lambda one=one: read(one))]
    for one in threads:
        one.start()
    for one in threads:
        one.join(DEADLINE_S)
    assert not failures and not any(one.is_alive() for one in threads), failures


@pytest.mark.parametrize("strategy", OPTION_STRATEGIES)
def test_datagrams_on_a_path(path, start, strategy):
    """What a router refuses teaches near's route; from then on nothing that had arrived unmarked is
    lost."""
    running = start(path, strategy)
    fullest = MTU - UDP_HEADERS
    with udp_socket(path.far, path.FAR) as receiver, udp_socket(path.near, path.NEAR) as sender, \
            Frames(path.far, "veth1") as frames:
        key = ("udp", *sender.getsockname()[:2], *receiver.getsockname()[:2])
        running.announce(key)
        sender.sendto(bytes(5000), key[3:])
        until(lambda: path.too_big() == 1, "the router's message")
        until(lambda: str(MTU) in path.near.run("ip", "-6", "route", "get", path.FAR).stdout, "its effect")
        sizes = (fullest, fullest - ADDED[strategy] + 1, fullest - ADDED[strategy], 100)
        for size in sizes:
            sender.sendto(bytes(size), key[3:])
            assert receiver.recv(2000) == bytes(size)
        until(lambda: len(of_flow(frames.packets(), key)) == len(sizes), "all datagrams")
        packets = of_flow(frames.packets(), key)
    assert [is_marked(one, strategy, "scitags") for one in packets] == [False, False, True, True]
    assert path.too_big() == 1
    assert running.counted_of_flows() == {"marked": 3, "mtu": 2}


@pytest.mark.parametrize("strategy", ["label", "hopByHopDestination"])
def test_marking_without_perfmon(pair, start, strategy):
    """Each strategy loads with nothing but CAP_BPF and CAP_NET_ADMIN."""
    running = start(pair, strategy, prefix=WITHOUT_PERFMON)
    with udp_socket(pair.far, Pair.FAR) as receiver, udp_socket(pair.near, Pair.NEAR) as sender, \
            Frames(pair.far, "veth1") as frames:
        key = ("udp", *sender.getsockname()[:2], *receiver.getsockname()[:2])
        running.announce(key)
        sender.sendto(b"x", key[3:])
        assert receiver.recv(10) == b"x"
        until(lambda: of_flow(frames.packets(), key), "the datagram")
        assert is_marked(of_flow(frames.packets(), key)[0], strategy, "scitags")
