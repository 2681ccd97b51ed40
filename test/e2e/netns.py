"""Network namespaces for tests: made by name, entered by thread, removed at the latest at exit."""

import atexit
import contextlib
import ctypes
import itertools
import os
import socket
import subprocess

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

    def ip(self, *argv):
        return run(["ip", "-n", self.name, *map(str, argv)])

    def add_address(self, interface, address):
        extra = ["nodad"] if ":" in address else []
        self.ip("address", "add", address, "dev", interface, *extra)


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

    def remove(self):
        self.near.remove()
        self.far.remove()


@atexit.register
def _remove_all():
    for space in list(_existing):
        space.remove()
