# SPDX-License-Identifier: Apache-2.0
"""Network namespaces for tests: made by name, entered by thread, removed at the latest at exit."""

import atexit
import contextlib
import ctypes
import itertools
import json
import os
import socket
import subprocess

from lab.waiting import until

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000
_numbers = itertools.count()
_existing = set()


def run(argv, check=True, **options):
    """Runs a program and shows what it printed where it fails."""
    done = subprocess.run(argv, capture_output=True, text=True, **options)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(argv)}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def _setns(descriptor):
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class Namespace:
    """A network namespace whose loopback is up. Addresses are added without duplicate detection."""

    def __init__(self):
        self.name = f"fle2e-{os.getpid()}-{next(_numbers)}"
        self.path = f"/run/netns/{self.name}"
        run(["ip", "netns", "add", self.name])
        _existing.add(self)
        for scope in ("all", "default"):
            self.sysctl(f"net.ipv6.conf.{scope}.disable_ipv6", 0)
            self.sysctl(f"net.ipv6.conf.{scope}.accept_dad", 0)
            self.sysctl(f"net.ipv6.conf.{scope}.accept_ra", 0)
        self.sysctl("net.ipv6.auto_flowlabels", 0)
        self.ip("link", "set", "lo", "up")

    def remove(self):
        if self in _existing:
            _existing.discard(self)
            run(["ip", "netns", "del", self.name], check=False)

    @contextlib.contextmanager
    def entered(self):
        """The calling thread is in the namespace inside the block."""
        with open("/proc/thread-self/ns/net") as home, open(self.path) as there:
            _setns(there.fileno())
            try:
                yield
            finally:
                _setns(home.fileno())

    def socket(self, *arguments):
        with self.entered():
            return socket.socket(*arguments)

    def sysctl(self, key, value):
        with self.entered(), open("/proc/sys/" + key.replace(".", "/"), "w") as file:
            file.write(str(value))

    def command(self, argv):
        return ["nsenter", f"--net={self.path}", "--", *map(str, argv)]

    def run(self, *argv, **options):
        return run(self.command(argv), **options)

    def popen(self, argv, **options):
        return subprocess.Popen(self.command(argv), **options)

    def ip(self, *argv, **options):
        # Not by "ip -n", which wants mounts of its own and so does not work in every chroot.
        return self.run("ip", *argv, **options)

    def mac(self, interface):
        """The link-layer address of an interface, as bytes."""
        shown = json.loads(self.ip("-j", "link", "show", interface).stdout)
        return bytes.fromhex(shown[0]["address"].replace(":", ""))

    def add_address(self, interface, address):
        extra = ["nodad"] if ":" in address else []
        self.ip("address", "add", address, "dev", interface, *extra)

    def wait_usable(self, address):
        """The kernel makes an IPv6 address's routes when it has noticed that the link is up."""
        argv = ["ip", "-n", self.name, "-6", "route", "get", address]
        until(lambda: run(argv, check=False).returncode == 0, f"a route to {address}")


class Pair:
    """
    Two namespaces joined by a veth pair. `near` is where flowd runs, `far` is where its packets
    arrive. Both have two IPv6 addresses (the second is for bystanders) and one IPv4 address.
    """

    NEAR, FAR = "fd00:f10::1", "fd00:f10::2"
    NEAR_OTHER, FAR_OTHER = "fd00:f10::11", "fd00:f10::12"
    NEAR4, FAR4 = "192.0.2.1", "192.0.2.2"

    def __init__(self, offload=True):
        self.near, self.far = Namespace(), Namespace()
        self.near_interface, self.far_interface = "veth0", "veth1"
        run(["ip", "link", "add", "veth0", "netns", self.near.name, "type", "veth",
             "peer", "name", "veth1", "netns", self.far.name])
        for space, interface, addresses in (
            (self.near, "veth0", (self.NEAR, self.NEAR_OTHER)),
            (self.far, "veth1", (self.FAR, self.FAR_OTHER)),
        ):
            if not offload:
                space.run("ethtool", "-K", interface, "tso", "off", "gso", "off", "gro", "off",
                          "tx", "off")
            space.ip("link", "set", interface, "up")
            for address in addresses:
                space.add_address(interface, address + "/64")
        self.near.add_address("veth0", self.NEAR4 + "/24")
        self.far.add_address("veth1", self.FAR4 + "/24")
        self.near.wait_usable(self.NEAR_OTHER)
        self.far.wait_usable(self.FAR_OTHER)

    def remove(self):
        self.near.remove()
        self.far.remove()


class Path:
    """
    `near` and `far`, whose links carry large packets, with a router between them whose link towards
    `far` carries smaller ones: only the router's messages tell `near` of it. Where near's packets
    are cut for the wire they are cut before they leave, as by a network card.
    """

    NEAR, FAR = "fd00:f10::1", "fd00:f20::2"
    NEAR_OTHER, FAR_OTHER = "fd00:f10::11", "fd00:f20::12"
    ROUTER_NEAR, ROUTER_FAR = "fd00:f10::ff", "fd00:f20::ff"

    def __init__(self, mtu=9000, path_mtu=1500):
        self.near, self.router, self.far = Namespace(), Namespace(), Namespace()
        self.near_interface, self.far_interface = "veth0", "veth1"
        for space, interface, peer in ((self.near, "veth0", "near"), (self.far, "veth1", "far")):
            run(["ip", "link", "add", interface, "mtu", str(mtu), "netns", space.name, "type", "veth",
                 "peer", "name", peer, "netns", self.router.name])
            self.router.ip("link", "set", peer, "mtu", mtu if peer == "near" else path_mtu, "up")
            space.run("ethtool", "-K", interface, "tso", "off", "tx", "off", "tx-udp-segmentation", "off")
            space.ip("link", "set", interface, "up")
        self.router.sysctl("net.ipv6.conf.all.forwarding", 1)
        for space, interface, addresses in (
            (self.near, "veth0", (self.NEAR, self.NEAR_OTHER)),
            (self.router, "near", (self.ROUTER_NEAR,)), (self.router, "far", (self.ROUTER_FAR,)),
            (self.far, "veth1", (self.FAR, self.FAR_OTHER)),
        ):
            for address in addresses:
                space.add_address(interface, address + "/64")
        self.near.ip("route", "add", "fd00:f20::/64", "via", self.ROUTER_NEAR)
        self.far.ip("route", "add", "fd00:f10::/64", "via", self.ROUTER_FAR)

    def too_big(self):
        """How many packets the router has refused because they were too long for its link."""
        with self.router.entered(), open("/proc/net/snmp6", encoding="ascii") as file:
            counters = dict(one.split() for one in file)
        return int(counters["Icmp6OutPktTooBigs"])

    def remove(self):
        for space in (self.near, self.router, self.far):
            space.remove()


@atexit.register
def _remove_all():
    for space in list(_existing):
        space.remove()
