# SPDX-License-Identifier: Apache-2.0
"""
A path that swallows what is too long without a word, and a TCP that finds out by itself
(tcp_mtu_probing): marks must not make packets longer than what it found.
"""

import contextlib
import socket
import threading

import pytest

from lab.api_client import Api, event
from lab.daemon_config import base_config
from lab.kernel_bpf import BlackHole
from lab.netns import Pair
from lab.traffic import Tcp, on_one_cpu
from lab.waiting import DEADLINE_S

LARGEST = 3000  # bytes of an Ethernet frame that gets through
MTU = 9000
ROUND = 4 << 20


def move(connection, size):
    """Sends size bytes and waits for all of them at the other end."""
    def send():
        connection.client.sendall(bytes(size))

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    left = size
    while left:
        part = connection.server.recv(1 << 20)
        assert part, "the connection was closed"
        left -= len(part)
    sender.join(DEADLINE_S)


def probe(connection):
    """
    Sends until the connection's segments have not grown for some time, and returns their size. TCP may
    stop too early: it takes a probe that arrives out of order for one that was lost.
    """
    segments = []
    while len(segments) < 16 or segments[-1] != segments[-16]:
        move(connection, ROUND)
        segments.append(connection.client.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG))
        assert len(segments) < 200
    return segments[-1]


@pytest.mark.parametrize("strategy,added", [("hopByHop", 8), ("hopByHopDestination", 16)])
def test_probed_path(pair, make_flowd, directory, pin_path, strategy, added):
    """
    The connection finds its path's limit before it is announced, to within eight bytes. From then on
    nothing that the mark has made longer is lost.
    """
    for space, interface in ((pair.near, pair.near_interface), (pair.far, pair.far_interface)):
        space.ip("link", "set", interface, "mtu", MTU)
        space.run("ethtool", "-K", interface, "tso", "off", "gso", "off", "gro", "off")
    pair.near.sysctl("net.ipv4.tcp_mtu_probing", 2)
    pair.near.sysctl("net.ipv4.tcp_base_mss", 1024)
    make_flowd(pair.near, base_config(directory, pin_path, markingStrategy=strategy)).start()
    api = Api(pair.near)
    with on_one_cpu(), BlackHole(pair.far, pair.far_interface, LARGEST) as hole, contextlib.ExitStack() as stack:
        for _ in range(10):
            connection = stack.enter_context(Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR)).connect()
            if LARGEST - 14 - 72 - probe(connection) < added:
                break
        else:
            pytest.fail("no connection found its path's limit")
        swallowed = hole.count()
        assert swallowed > 0, "no probe was too long"
        marker = api.post(event(connection.source, connection.sport, connection.target,
                                       connection.port, 2, 17, "tcp")).json["backends"]["marker"]
        assert marker == "marked"
        before = api.get("/v1/status").json["interfaces"][0]["packets"]["marked"]
        for _ in range(8):
            move(connection, ROUND)
        marked = api.get("/v1/status").json["interfaces"][0]["packets"]["marked"] - before
        assert marked > 100, "the transfer was not marked"
        assert hole.count() == swallowed, "marked packets were lost on the path"
