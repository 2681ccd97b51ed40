# SPDX-License-Identifier: Apache-2.0
"""Devices of each kind that reach from one namespace into another, and the marks that arrive there."""

import contextlib
import socket
import struct

from lab.devices import Tun
from lab.frames import dissect, is_marked
from lab.labels import TAG_MASK, tag_bits
from lab.netns import Pair, run
from lab.traffic import udp_socket

_IPV6_RECVHOPOPTS, _IPV6_HOPOPTS, _IPV6_RECVDSTOPTS, _IPV6_DSTOPTS = 53, 54, 58, 59


def marks_of(receiver):
    """Receives one datagram: (flow label, options of its Hop-by-Hop and of its Destination header)."""
    _, ancillary, _, _ = receiver.recvmsg(65536, 512)
    found = {kind: data for level, kind, data in ancillary if level == socket.IPPROTO_IPV6}
    label = struct.unpack("!I", found[11])[0] & 0xFFFFF if 11 in found else 0
    return label, found.get(_IPV6_HOPOPTS, b"")[2:], found.get(_IPV6_DSTOPTS, b"")[2:]


OPTION = b"\x1e\x03\x00\x02\x11\x00"
EXPECTED = {
    "hopByHop": (0, OPTION, b""),
    "destination": (0, b"", OPTION),
    "hopByHopDestination": (0, OPTION, OPTION),
}


def wants_options(receiver):
    receiver.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVHOPOPTS, 1)
    receiver.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVDSTOPTS, 1)
    return receiver


def bears(marks, strategy):
    """Whether what marks_of() found is the strategy's mark; what is neither that nor nothing is an error."""
    if marks == (0, b"", b""):
        return False
    if strategy == "label":
        assert marks[0] & TAG_MASK == tag_bits(2, 17) and marks[1:] == (b"", b""), marks
    else:
        assert marks == EXPECTED[strategy], marks
    return True


class Link:
    """A device of some kind in near that reaches far, named wanted0; `peer` is its counterpart's name."""

    NEAR, FAR, NAME = "fd00:f20::1", "fd00:f20::2", "wanted0"

    def __init__(self, pair):
        self.near, self.far = pair.near, pair.far
        self._taken = {}

    def create(self):
        self._make()
        self.addresses()

    def addresses(self):
        self.near.ip("link", "set", self.NAME, "up")
        self.near.ip("address", "replace", self.NEAR + "/64", "dev", self.NAME, "nodad")

    def _join(self, near_name, far_name="across0"):
        run(["ip", "link", "add", near_name, "netns", self.near.name, "type", "veth", "peer", "name",
             far_name, "netns", self.far.name])
        self._far_up(far_name)

    def _far_up(self, name):
        self.far.ip("link", "set", name, "up")
        self.far.ip("address", "replace", self.FAR + "/64", "dev", name, "nodad")

    def remove(self):
        self.near.ip("link", "del", self.NAME)

    @contextlib.contextmanager
    def reach(self, strategy):
        """Gives what sends a packet and tells whether it bore a mark."""
        with udp_socket(self.far, "::", 4001) as receiver, self.near.socket(
                socket.AF_INET6, socket.SOCK_DGRAM) as sender:
            wants_options(receiver)
            sender.bind(("::", 4000))

            def marked():
                sender.sendto(b"", (self.FAR, 4001))
                return bears(marks_of(receiver), strategy)

            yield marked

    def close(self):
        pass


class Veth(Link):
    def _make(self):
        self._join(self.NAME)


class Macvlan(Link):
    def _make(self):
        self.near.ip("link", "add", "link", "veth0", self.NAME, "type", "macvlan", "mode", "bridge")
        self._far_up("veth1")


class Vxlan(Link):
    def _make(self):
        for space, name, local, remote, device in (
                (self.near, self.NAME, Pair.NEAR, Pair.FAR, "veth0"),
                (self.far, "across0", Pair.FAR, Pair.NEAR, "veth1")):
            if name == "across0":
                space.ip("link", "del", name, check=False)
            space.ip("link", "add", name, "type", "vxlan", "id", "7", "dstport", "4789", "local", local,
                     "remote", remote, "dev", device)
        self._far_up("across0")


class BridgePort(Link):
    """The packets leave by the port, the address is the bridge's."""

    def _make(self):
        self._join(self.NAME)
        self.near.ip("link", "add", "br0", "type", "bridge", check=False)
        self.near.ip("link", "set", self.NAME, "master", "br0", "up")

    def addresses(self):
        self.near.ip("link", "set", self.NAME, "up")
        self.near.ip("link", "set", "br0", "up")
        self.near.ip("address", "replace", self.NEAR + "/64", "dev", "br0", "nodad")


class Tap(Link):
    """The other end is a file of the test."""

    TAP = True

    def _make(self):
        self._device = Tun(self.near, self.NAME, tap=self.TAP, subnet="fd00:f20")

    def addresses(self):
        self._device.bring_up(self.near)

    def remove(self):
        self._device.close()

    @contextlib.contextmanager
    def reach(self, strategy):
        numbers = iter(range(1000, 100000))
        with self.near.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
            sender.bind(("::", 4000))

            def marked():
                payload = b"number %d" % next(numbers)
                sender.sendto(payload, (self.FAR, 4001))
                return is_marked(dissect(self._device.frame(payload)), strategy, "scitags")

            yield marked


class TunLink(Tap):
    TAP = False
