# SPDX-License-Identifier: Apache-2.0
"""STUN servers: Debian's coturn and stun-server, and one that says what a test wants."""

import contextlib
import ipaddress
import socket
import struct
import subprocess

from lab import natted
from lab.netns import run
from lab.programs import program
from lab.udp_server import UdpServer
from lab.waiting import until

PORT = 3478
_COOKIE = 0x2112A442


def _is_open(space, port):
    shown = run(space.command(["ss", "-lunH", f"sport = :{port}"])).stdout
    return str(port) in shown


@contextlib.contextmanager
def _running(space, argv, directory):
    with open(directory / "stun-server.log", "ab") as log:
        process = space.popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=directory)
    try:
        until(lambda: _is_open(space, PORT), lambda: (directory / "stun-server.log").read_text())
        yield process
    finally:
        process.terminate()
        process.wait()


def coturn(space, directory):
    return _running(space, [
        program("turnserver"), "--stun-only", "-n", "--no-cli", "--no-tls", "--no-dtls", "--no-tcp",
        "-L", natted.SERVER4, "-L", natted.SERVER6, "--listening-port", PORT,
        "--log-file", "stdout", "--pidfile", directory / "turn.pid", "--userdb", directory / "turn.db"],
        directory)


def stund(space, directory):
    """A server of RFC 3489, which needs two addresses."""
    return _running(space, [program("stund"), "-h", natted.SERVER4, "-a", natted.SERVER4_OTHER],
                    directory)


def answer(request, address, port, identity=None):
    """A success response to a request, with XOR-MAPPED-ADDRESS."""
    identity = request[8:20] if identity is None else identity
    ip = ipaddress.ip_address(address)
    mask = struct.pack("!I", _COOKIE) + identity
    value = struct.pack("!BBH", 0, 1 if ip.version == 4 else 2, port ^ (_COOKIE >> 16))
    value += bytes(a ^ b for a, b in zip(ip.packed, mask))
    return struct.pack("!HHI", 0x0101, len(value) + 4, _COOKIE) + identity + \
        struct.pack("!HH", 0x20, len(value)) + value


class Server(UdpServer):
    """Answers each request by `reply(server, request, peer)`, and keeps requests."""

    def __init__(self, space, reply, port=PORT):
        self.reply = reply
        self.requests = []
        bound = space.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        bound.bind(("::", port))
        super().__init__(bound)

    def take(self, datagram, sender):
        self.requests.append((datagram, sender))
        self.reply(self, datagram, sender)
