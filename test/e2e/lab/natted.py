# SPDX-License-Identifier: Apache-2.0
"""A host with private addresses behind a router that translates them, and a server outside."""

from lab.netns import Namespace, run

INSIDE4, INSIDE6 = "10.77.0.2", "fd77::2"
ROUTER4, ROUTER6 = "203.0.113.1", "2001:db8:77::1"
SERVER4, SERVER6 = "203.0.113.2", "2001:db8:77::2"
SERVER4_OTHER = "203.0.113.3"

_MASQUERADE = """
table inet nat {
    chain out {
        type nat hook postrouting priority srcnat;
        oifname "outside" masquerade
    }
}
"""
# Every second datagram of each direction.
_LOSS = """
table inet loss {
    chain lose {
        type filter hook prerouting priority -300;
        iifname "inside" meta l4proto udp numgen inc mod 2 == 0 drop
        iifname "outside" meta l4proto udp numgen inc mod 2 == 0 drop
    }
}
"""


class Natted:
    """`host` is where flowd runs; the world sees it as the router."""

    def __init__(self):
        self.host, self.router, self.server = Namespace(), Namespace(), Namespace()
        self._join(self.host, "veth0", self.router, "inside")
        self._join(self.server, "veth0", self.router, "outside")
        for space, interface, addresses in (
            (self.host, "veth0", (INSIDE4 + "/24", INSIDE6 + "/64")),
            (self.router, "inside", ("10.77.0.1/24", "fd77::1/64")),
            (self.router, "outside", (ROUTER4 + "/24", ROUTER6 + "/64")),
            (self.server, "veth0", (SERVER4 + "/24", SERVER4_OTHER + "/24", SERVER6 + "/64")),
        ):
            for address in addresses:
                space.add_address(interface, address)
            space.ip("link", "set", interface, "up")
        self.host.ip("route", "add", "default", "via", "10.77.0.1")
        self.host.ip("-6", "route", "add", "default", "via", "fd77::1")
        for key in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            self.router.sysctl(key, 1)
        self.nft(_MASQUERADE)
        self.host.wait_usable(SERVER6)

    @staticmethod
    def _join(left, left_name, right, right_name):
        run(["ip", "link", "add", left_name, "netns", left.name, "type", "veth",
             "peer", "name", right_name, "netns", right.name])

    def nft(self, rules):
        self.router.run("nft", "-f", "-", input=rules)

    def lose_every_second(self):
        self.nft(_LOSS)

    def remove(self):
        for space in (self.host, self.router, self.server):
            space.remove()
