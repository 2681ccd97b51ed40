"""
A path that swallows what is too long without a word, and a TCP that finds out by itself
(tcp_mtu_probing): marks must not make packets longer than what it found.
"""

import socket
import threading

import pytest

from api_client import Api, event
from conftest import base_config
from kernel_bpf import BlackHole
from netns import Pair
from traffic import Tcp
from waiting import DEADLINE_S

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
    with BlackHole(pair.far, pair.far_interface, LARGEST) as hole, \
            Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR).connect() as connection:
        segment = 0
        for _ in range(200):
            move(connection, ROUND)
            found = connection.client.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
            if found == segment and LARGEST - 14 - 72 - found < added:
                break
            segment = found
        else:
            pytest.fail(f"probing ended at segments of {segment} bytes")
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
