# SPDX-License-Identifier: Apache-2.0
"""
A DNS server (RFC 1035) in a namespace, and what makes programs there ask it: a resolv.conf and a hosts
file of their own, mounted for one program.
"""

import socket
import struct

from lab.udp_server import UdpServer

NXDOMAIN = 3
_A, _AAAA = 1, 28


def prefix(directory, hosts=""):
    """
    For a program that takes 127.0.0.1 for its DNS server; its argv begins with what is returned. The
    program may change neither file under other names: they are mounts.
    """
    (directory / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    (directory / "hosts").write_text(hosts)
    script = ('mount --bind "$0/resolv.conf" /etc/resolv.conf && mount --bind "$0/hosts" /etc/hosts && exec "$@"')
    return ["unshare", "--mount", "sh", "-c", script, str(directory)]


class DnsServer(UdpServer):
    """
    Answers from `names`, {name: [addresses]}, which may be changed at any time; a name that is not there
    does not exist. One whose value is None is not answered at all.
    """

    def __init__(self, namespace, names=None, ttl=1, address="127.0.0.1"):
        self.names = dict(names or {})
        self.ttl = ttl
        self.asked = []
        bound = namespace.socket(socket.AF_INET, socket.SOCK_DGRAM)
        bound.bind((address, 53))
        super().__init__(bound)

    def take(self, datagram, sender):
        answer = self._answer(datagram)
        if answer is not None:
            self.socket.sendto(answer, sender)

    def _answer(self, question):
        labels, at = [], 12
        while question[at]:
            labels.append(question[at + 1:at + 1 + question[at]].decode())
            at += 1 + question[at]
        kind, _ = struct.unpack_from("!HH", question, at + 1)
        name = ".".join(labels).lower()
        self.asked.append((name, kind))
        addresses = self.names.get(name, NXDOMAIN)
        if addresses is None:
            return None
        records = [] if addresses == NXDOMAIN else [
            packed for packed in map(_pack, addresses) if (len(packed) == 16) == (kind == _AAAA) and kind in (_A, _AAAA)]
        head = struct.pack("!2sHHHHH", question[:2], 0x8180 | (NXDOMAIN if addresses == NXDOMAIN else 0),
                           1, len(records), 0, 0)
        # A record's name is a pointer to the question's.
        return head + question[12:at + 5] + b"".join(
            struct.pack("!HHHIH", 0xc00c, kind, 1, self.ttl, len(packed)) + packed for packed in records)


def _pack(address):
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
