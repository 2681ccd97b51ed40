# SPDX-License-Identifier: Apache-2.0
"""Which end of a flow is this host's is what the kernel takes for its own, and what becomes of flows of others."""

import socket

import pytest

from lab.api_client import Api, event
from lab.capture import Capture
from lab.daemon_config import base_config
from lab.labels import TAG_MASK, tag_bits
from lab.netns import Namespace, Pair, run
from lab.traffic import Tcp, udp_socket
from lab.waiting import until

TAG = tag_bits(2, 17)
_IPV6_FREEBIND = 78


def said(api, flow):
    return api.get(f"/v1/flows/{flow['id']}").json["backends"]["marker"]


def labels_of(capture, source, count):
    """The labels of the packets from an address, once so many have come."""
    def found():
        labels = [one.label for one in capture.packets() if one.src == source]
        return labels if len(labels) >= count else None

    return until(found, f"{count} packets from {source}")


def send(space, source, port, target, count=20):
    """From an address that may be nobody's."""
    with space.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
        sender.bind((source, port))
        for number in range(count):
            sender.sendto(b"%d" % number, target)


def test_local_routes(pair, make_flowd, directory, pin_path):
    """An address under a local route is this host's for as long as the route is there ("AnyIP")."""
    net, source = "2001:db8:1::/64", "2001:db8:1::7"
    pair.far.ip("route", "add", net, "dev", "veth1")
    pair.near.ip("-6", "route", "add", "local", net, "dev", "lo")
    make_flowd(pair.near, base_config(directory, pin_path)).start()
    api = Api(pair.near)
    with udp_socket(pair.far, Pair.FAR) as far, Capture(pair.far, "veth1") as arriving:
        port = far.getsockname()[1]
        out = api.post(event(source, 4000, Pair.FAR, port)).expect(201).json
        assert out["backends"]["marker"] == "marked"
        assert api.module("marker")["flowsForwarded"] == 0
        assert api.module("marker")["entries"] == 1, "one direction leaves this host"
        send(pair.near, source, 4000, (Pair.FAR, port))
        assert all(label & TAG_MASK == TAG for label in labels_of(arriving, source, 20))

    pair.near.ip("-6", "route", "del", "local", net, "dev", "lo")
    until(lambda: said(api, out) == "forwarded", "the end of the local route")
    assert api.module("marker")["flowsForwarded"] == 1
    # One address only, in a table that a rule of its own leads to.
    pair.near.ip("-6", "rule", "add", "pref", "100", "from", "all", "lookup", "77")
    pair.near.ip("-6", "route", "add", "local", source, "dev", "lo", "table", "77")
    until(lambda: said(api, out) == "marked", "the local route of another table")
    # What a transparent proxy has: local is everything, but for packets with a certain mark only.
    pair.near.ip("-6", "rule", "del", "pref", "100")
    until(lambda: said(api, out) == "forwarded", "the end of the rule")
    pair.near.ip("-6", "rule", "add", "pref", "100", "fwmark", "1", "lookup", "77")
    pair.near.ip("-6", "route", "add", "local", "default", "dev", "lo", "table", "77")
    other = api.post(event(Pair.NEAR, 4001, Pair.FAR, port)).expect(201).json
    assert other["backends"]["marker"] == "marked"
    assert api.module("marker")["entries"] == 3
    # Read before the start, too; and one that no interface can have and more than one prefix covers.
    pair.near.ip("-6", "route", "add", "local", "2001:db8:1::/60", "dev", "lo")
    pair.near.ip("-6", "route", "add", "local", net, "dev", "lo")
    until(lambda: said(api, out) == "marked", "two prefixes that cover it")
    # The kernel decides: a longer route of another kind takes the address out again.
    pair.near.ip("-6", "route", "add", source, "dev", "veth0", "table", "local")
    pair.near.ip("-6", "route", "add", "local", "2001:db8:2::/64", "dev", "lo")
    until(lambda: said(api, out) == "forwarded", "a longer route that is not local")


def test_an_address_that_nobody_has(pair, marking):
    """With ip_nonlocal_bind, packets come from an address that the kernel does not know."""
    source = "2001:db8:9::9"
    pair.near.sysctl("net.ipv6.ip_nonlocal_bind", 1)
    pair.far.ip("route", "add", source, "dev", "veth1")
    api = marking().api
    with udp_socket(pair.far, Pair.FAR) as far, Capture(pair.far, "veth1") as arriving:
        port = far.getsockname()[1]
        flow = api.post(event(source, 4000, Pair.FAR, port)).expect(201).json
        assert flow["backends"]["marker"] == "forwarded"
        assert api.module("marker")["flowsForwarded"] == 1
        with udp_socket(pair.near, source, 4000) as sender:
            for number in range(20):
                sender.sendto(b"%d" % number, (Pair.FAR, port))
        labels = labels_of(arriving, source, 20)
        assert len(labels) == 20 and all(label & TAG_MASK == TAG for label in labels)
    # When the address is this host's it is a flow as any other.
    pair.near.add_address("veth0", source + "/128")
    until(lambda: said(api, flow) == "marked", "the address that came")
    assert api.module("marker")["flowsForwarded"] == 0
    assert api.module("marker")["entries"] == 1
    pair.near.ip("address", "del", source + "/128", "dev", "veth0")
    until(lambda: said(api, flow) == "forwarded", "the address that went")
    api.delete(f"/v1/flows/{flow['id']}").expect(200, 204)
    assert api.module("marker")["flowsForwarded"] == 0
    assert api.module("marker")["entries"] == 0


class Routed:
    """A router between two namespaces: `left` and `right`, each behind an interface of its name."""

    LEFT, RIGHT = "2001:db8:a::2", "2001:db8:b::2"

    def __init__(self):
        self.spaces = []
        self.router, self.left, self.right = (self._space() for _ in range(3))
        self.router.sysctl("net.ipv6.conf.all.forwarding", 1)
        for space, name, net in ((self.left, "left", "2001:db8:a::"), (self.right, "right", "2001:db8:b::")):
            run(["ip", "link", "add", name, "netns", self.router.name, "type", "veth",
                 "peer", "name", "eth0", "netns", space.name])
            for one, interface, number in ((self.router, name, 1), (space, "eth0", 2)):
                one.ip("link", "set", interface, "up")
                one.add_address(interface, f"{net}{number}/64")
            space.ip("-6", "route", "add", "default", "via", f"{net}1")

    def _space(self):
        self.spaces.append(Namespace())
        return self.spaces[-1]

    def remove(self):
        for space in self.spaces:
            space.remove()


@pytest.fixture
def routed():
    place = Routed()
    yield place
    place.remove()


def test_forwarded(routed, make_flowd, directory, pin_path):
    """A transfer between two hosts bears marks in both directions where it leaves the router."""
    make_flowd(routed.router, base_config(directory, pin_path, interfaces=["left", "right"])).start()
    api = Api(routed.router)
    with Tcp(routed.left, routed.right, Routed.LEFT, Routed.RIGHT) as tcp, \
            Capture(routed.left, "eth0") as left, Capture(routed.right, "eth0") as right:
        flow = api.post(event(tcp.source, tcp.sport, tcp.target, tcp.port, protocol="tcp")).expect(201).json
        assert flow["backends"]["marker"] == "forwarded"
        tcp.connect().exchange(size=200000, reply=200000)
        for capture, source in ((right, Routed.LEFT), (left, Routed.RIGHT)):
            labels = labels_of(capture, source, 10)
            assert all(label & TAG_MASK == TAG for label in labels)
        packets = {one["name"]: one["packets"]["marked"] for one in api.status()["interfaces"]}
        assert packets["left"] > 0 and packets["right"] > 0
        # Nobody's socket is on this host: the flow is not taken for one that has closed.
        tcp.abort()
        assert said(api, flow) == "forwarded"
