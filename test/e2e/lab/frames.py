# SPDX-License-Identifier: Apache-2.0
"""
Whole frames as they arrive at an interface, what an IPv6 packet in them consists of, and what its
mark looks like: computed here on its own, from RFC 8200 and the SciTags documents.
"""

import collections
import socket
import struct

from lab.capture import Arrivals
from lab.labels import TAG_MASK, tag_bits, tag_of

_ETH_P_ALL, _ETH_P_IPV6 = 0x0003, 0x86DD
_SOL_PACKET, _PACKET_AUXDATA = 263, 8
_STATUS_VLAN_VALID = 1 << 4
_LARGEST = 256 << 10

HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION, ICMPV6 = 0, 43, 44, 60, 58
_WALKED = (HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION)

MARKS = [("label", "scitags")] + [
    (strategy, encoding) for strategy in ("hopByHop", "destination", "hopByHopDestination")
    for encoding in ("scitags", "2024")]
ADDED = {"label": 0, "hopByHop": 8, "destination": 8, "hopByHopDestination": 16}
OPTION_HEADERS = {"label": (), "hopByHop": (HOP_BY_HOP,), "destination": (DESTINATION,),
                  "hopByHopDestination": (HOP_BY_HOP, DESTINATION)}


class Frames(Arrivals):
    """
    Whole frames, each as its bytes from the link header on. With `everything` not only those of IPv6.
    """

    def __init__(self, namespace, interface, everything=False):
        super().__init__(namespace, interface, _ETH_P_ALL if everything else _ETH_P_IPV6, _LARGEST)

    def prepare(self, one):
        one.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)

    def item(self, data, ancillary):
        return _with_tag(bytes(data), ancillary)

    def frames(self, since=0):
        return self.arrived()[since:]

    def packets(self, since=0):
        """The IPv6 packets among them, dissected."""
        return [dissect(one) for one in self.arrived()[since:] if one[12:14] == b"\x86\xdd"]


def _with_tag(frame, ancillary):
    """The kernel takes a VLAN tag out of a frame that arrives and tells of it beside the frame."""
    for level, kind, data in ancillary:
        if (level, kind) == (_SOL_PACKET, _PACKET_AUXDATA):
            status, _, _, _, _, control, protocol = struct.unpack_from("=IIIHHHH", data)
            if status & _STATUS_VLAN_VALID:
                return frame[:12] + struct.pack("!HH", protocol, control) + frame[12:]
    return frame


# `headers` are the extension headers, (number, bytes) in their order; ports are 0 where there are
# none (a later fragment, ICMPv6); `payload` begins with the TCP, UDP or ICMPv6 header; `size` is
# that of the IPv6 packet, `length` what its length field says.
Packet = collections.namedtuple(
    "Packet", "src sport dst dport protocol label headers payload size length")


def dissect(frame):
    """What the IPv6 packet behind an Ethernet header is made of."""
    first_word, length, header = struct.unpack_from("!IHB", frame, 14)
    at, headers, later = 54, [], False
    while header in _WALKED and not later:
        size = 8 if header == FRAGMENT else (frame[at + 1] + 1) * 8
        headers.append((header, frame[at:at + size]))
        later = header == FRAGMENT and struct.unpack_from("!H", frame, at + 2)[0] & 0xFFF8
        header, at = frame[at], at + size
    ports = (0, 0)
    if header in (socket.IPPROTO_TCP, socket.IPPROTO_UDP) and not later:
        ports = struct.unpack_from("!HH", frame, at)
    return Packet(
        socket.inet_ntop(socket.AF_INET6, frame[22:38]), ports[0],
        socket.inet_ntop(socket.AF_INET6, frame[38:54]), ports[1],
        {socket.IPPROTO_TCP: "tcp", socket.IPPROTO_UDP: "udp"}.get(header, header),
        first_word & 0xFFFFF, tuple(headers), frame[at:], len(frame) - 14, length)


def of_flow(packets, key):
    """The packets with this (protocol, src, sport, dst, dport)."""
    return [one for one in packets if (one.protocol, one.src, one.sport, one.dst, one.dport) == key]


def option_of(header):
    """The one option in an extension header of flowd's: (type, data). Asserts that it is well formed."""
    assert len(header) == 8 and header[1] == 0, header.hex()
    kind, length = header[2:4]
    assert header[4 + length:] == bytes(4 - length), f"padding: {header.hex()}"
    return kind, header[4:4 + length]


def is_marked(packet, strategy, encoding, experiment=2, activity=17):
    """
    Whether a packet (without extension headers of its own) bears the mark. One that is neither
    marked nor untouched is a failure.
    """
    numbers = tuple(number for number, _ in packet.headers)
    if strategy == "label":
        assert numbers == (), packet
        if packet.label == 0:
            return False
        assert packet.label & TAG_MASK == tag_bits(experiment, activity), tag_of(packet.label)
        return True
    assert packet.label == 0, packet
    if numbers == ():
        return False
    assert numbers == OPTION_HEADERS[strategy], packet
    for _, header in packet.headers:
        kind, data = option_of(header)
        if encoding == "scitags":
            assert (kind, data) == (0x1E, struct.pack("!HB", experiment, activity)), header.hex()
        else:
            assert kind == 0x1F and len(data) == 4 and data[3] == 0, header.hex()
            label = int.from_bytes(data[:3], "big")
            assert label < 1 << 20 and label & TAG_MASK == tag_bits(experiment, activity), hex(label)
    return True


def split(packets, strategy, encoding, experiment=2, activity=17):
    """(marked, unmarked) packets."""
    marked, unmarked = [], []
    for one in packets:
        (marked if is_marked(one, strategy, encoding, experiment, activity) else unmarked).append(one)
    return marked, unmarked


# -- frames made by hand --------------------------------------------------------------------------

def checksum_of(source, target, protocol, transport):
    """The checksum of TCP, UDP and ICMPv6 over IPv6 (RFC 8200, section 8.1), its own field being 0."""
    text = (socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, target) +
            struct.pack("!II", len(transport), protocol) + transport + b"\0" * (len(transport) % 2))
    total = sum(struct.unpack(f"!{len(text) // 2}H", text)) % 0xFFFF
    return ~total & 0xFFFF or 0xFFFF


def udp_of(source, target, sport, dport, payload):
    """(17, a UDP header with the right sum and its payload)."""
    length = 8 + len(payload)
    blank = struct.pack("!HHHH", sport, dport, length, 0) + payload
    total = checksum_of(source, target, socket.IPPROTO_UDP, blank)
    return socket.IPPROTO_UDP, struct.pack("!HHHH", sport, dport, length, total) + payload


def frame_of(source_mac, target_mac, source, target, headers, upper, label=0):
    """
    An Ethernet frame of an IPv6 packet with these extension headers, (number, bytes) in their order,
    whose first bytes are filled in, and `upper`, (number, bytes).
    """
    numbers = [number for number, _ in headers] + [upper[0]]
    body = b"".join(bytes((following,)) + header[1:] for following, (_, header) in zip(numbers[1:], headers))
    body += upper[1]
    return (target_mac + source_mac + b"\x86\xdd" + struct.pack("!IHBB", 6 << 28 | label, len(body), numbers[0], 64) +
            socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, target) + body)
