# SPDX-License-Identifier: Apache-2.0
"""Flows that end with their sockets: how they are announced, closed, and seen to end."""

import socket

from lab.api_client import Api, event
from lab.netns import Pair
from lab.traffic import Tcp
from lab.waiting import until


def key_of(connection, source=None, target=None):
    """A connection's 5-tuple as an event, from the client to the server."""
    return event(source or connection.source, connection.sport, target or connection.target,
                 connection.port, protocol="tcp")


def reverse(flow):
    return event(flow["dst"], flow["dstPort"], flow["src"], flow["srcPort"], protocol="tcp")


def bound_to_link(connection):
    """Has its client use one interface only, which the kernel then wants to be told to find it."""
    connection.client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"veth0")
    return connection


def announce(daemon, flow):
    return daemon.api.post(flow).expect(200, 201).json["id"]


def closures(daemon):
    return daemon.api.status()["closures"]


def ended_by(daemon, name):
    return daemon.api.status()["events"].get(name, {}).get("end", {}).get("ended", 0)


def wait_gone(daemon, flow_id):
    until(lambda: daemon.api.get(f"/v1/flows/{flow_id}").status == 404, "the flow's end")


def shut_down(connection, first):
    """One end says that it has sent all, the other one hears it, and the first closes its socket."""
    one, other = connection.client, connection.server
    if first == "server":
        one, other = other, one
    one.shutdown(socket.SHUT_WR)
    assert other.recv(1) == b""
    one.close()


def close_before_the_answer(pair, end):
    """
    Closes the near end; its FIN is lost once. Where the answer comes while close() has not returned, once in a
    thousand times, the kernel keeps the socket itself, for a minute, and tells nobody of its end.
    """
    pair.far.run("nft", "add table inet late; add chain inet late input { type filter hook input priority 0; }; "
                        "add rule inet late input tcp flags fin drop")
    end.close()
    pair.far.run("nft", "delete table inet late")


def settle(daemon, pair):
    """Returns when everything that the kernel has told so far has been read: a later flow ended."""
    with Tcp(pair.near, pair.far, Pair.NEAR_OTHER, Pair.FAR_OTHER) as later:
        flow_id = announce(daemon, key_of(later.connect()))
    wait_gone(daemon, flow_id)


def restart(daemon, pair):
    daemon.kill()
    daemon.start()
    daemon.api = Api(pair.near)
