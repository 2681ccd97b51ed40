# SPDX-License-Identifier: Apache-2.0
"""Ends that the kernel did not tell of, or did when nobody listened: aborts, losses, restarts."""

import socket
import struct
import time

import pytest

from lab.api_client import event, line
from lab.closing import (announce, bound_to_link, close_before_the_answer, closures, ended_by, key_of, restart, settle,
                         wait_gone)
from lab.frames import Frames, of_flow
from lab.marker_run import Marker
from lab.netns import Pair
from lab.traffic import Tcp
from lab.waiting import until

RESET = struct.pack("ii", 1, 0)
# Closed sockets that no buffer for notifications has room for.
MANY = 200_000
NETLINK_SOCK_DIAG = "4"


def test_end_on_close_off_and_on_again(watching, pair):
    """Off, flows stay; switched on while flowd runs, those whose socket has gone meanwhile end."""
    daemon = watching(end_on_close=False)
    assert "closures" not in daemon.api.status()
    with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as gone, \
            Tcp(pair.near, pair.far, Pair.NEAR_OTHER, Pair.FAR_OTHER) as kept:
        gone_id, kept_id = (announce(daemon, key_of(one.connect())) for one in (gone, kept))
        for one in (gone.client, gone.server):
            one.close()
        daemon.config["flows"]["endOnClose"] = True
        daemon.reload(daemon.config, r"reloaded")
        wait_gone(daemon, gone_id)
        assert daemon.api.get(f"/v1/flows/{kept_id}").status == 200
        daemon.config["flows"]["endOnClose"] = False
        daemon.reload(daemon.config, r"reloaded")
    assert "closures" not in daemon.api.status()
    assert daemon.api.get(f"/v1/flows/{kept_id}").status == 200


def test_end_on_close_off_while_flows_are_looked_at(watching, pair):
    """The walk over the flows stops where it is: those that it has not come to stay."""
    daemon = watching(end_on_close=False)
    daemon.write_fifo("".join(line("start", Pair.NEAR, 1 + number % 60000, Pair.FAR,
                                   1 + number // 60000, protocol="tcp")
                              for number in range(MANY)))
    until(lambda: daemon.api.live() == MANY, "the flows")
    daemon.config["flows"]["endOnClose"] = True
    daemon.reload(daemon.config, r"reloaded")
    until(lambda: daemon.api.live() < MANY, "the first ends")
    daemon.config["flows"]["endOnClose"] = False
    daemon.reload(daemon.config, r"reloaded")
    left = daemon.api.live()
    assert left > 0, "the walk was over"
    daemon.api.post(event(Pair.NEAR, 60001, Pair.FAR, 1)).expect(201)
    assert daemon.api.live() == left + 1


@pytest.mark.parametrize("who", ["client", "server"])
def test_a_connection_that_is_aborted(watching, pair, who):
    """
    Of a connection that its own host aborts the kernel does not tell the remote port. Other flows
    with the same local port go on, also one that waits for its socket.
    """
    daemon = watching()
    client, server = (pair.near, pair.far) if who == "client" else (pair.far, pair.near)
    ends = (Pair.NEAR, Pair.FAR) if who == "client" else (Pair.FAR, Pair.NEAR)
    with Tcp(client, server, *ends) as aborted, \
            client.socket(socket.AF_INET6, socket.SOCK_STREAM) as other:
        aborted_id = announce(daemon, key_of(aborted.connect()))
        mine = aborted.client if who == "client" else aborted.server
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((ends[0], 0))
        other.connect((aborted.target, aborted.port))
        other_id = announce(daemon, event(ends[0], other.getsockname()[1], aborted.target, aborted.port,
                                          protocol="tcp"))
        mine.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        mine.close()
        wait_gone(daemon, aborted_id)
        assert daemon.api.get(f"/v1/flows/{other_id}").status == 200
        assert closures(daemon)["aborts"] == 1 and ended_by(daemon, "recovery") == 1


@pytest.mark.parametrize("source,target", [(Pair.FAR, Pair.NEAR), (Pair.FAR4, Pair.NEAR4)])
def test_an_abort_at_a_listener_of_both_families(watching, pair, source, target):
    """The socket forgets its own address as well then, and IPv4 has none of its own in it."""
    daemon = watching()
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    with pair.near.socket(socket.AF_INET6, socket.SOCK_STREAM) as listener, \
            pair.far.socket(family, socket.SOCK_STREAM) as client:
        listener.bind(("::", 0))
        listener.listen(1)
        port = listener.getsockname()[1]
        client.bind((source, 0))
        client.connect((target, port))
        flow_id = announce(daemon, event(source, client.getsockname()[1], target, port, protocol="tcp"))
        accepted, _ = listener.accept()
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        accepted.close()
        wait_gone(daemon, flow_id)
    assert closures(daemon)["aborts"] == 1


def test_an_abort_and_a_flow_that_waits(watching, pair):
    """
    The flow waits for its connection to the same local port, from another address, for longer than
    flowd waits before it looks at what an abort concerns.
    """
    daemon = watching()

    def abort(port):
        """Returns when flowd has looked at what an aborted connection to the port concerns."""
        with Tcp(pair.far, pair.near, Pair.FAR, Pair.NEAR, port=port) as connection:
            flow_id = announce(daemon, key_of(connection.connect()))
            connection.abort()
            wait_gone(daemon, flow_id)

    waiting = event(Pair.FAR_OTHER, 5555, Pair.NEAR, 9000, protocol="tcp")
    waiting_id = announce(daemon, waiting)
    abort(9000)
    abort(9000)
    assert ended_by(daemon, "recovery") == 2
    assert daemon.api.get(f"/v1/flows/{waiting_id}").status == 200


def test_lost_notifications_are_made_good(watching, pair):
    """
    More sockets close than the kernel can tell of while the daemon stands still: as many as it takes,
    since the buffer is what net.core.rmem_max allows without CAP_NET_ADMIN.
    """
    daemon = watching(prefix=("setpriv", "--bounding-set=-net_admin,-sys_admin"))
    with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as gone, \
            Tcp(pair.near, pair.far, Pair.NEAR_OTHER, Pair.FAR_OTHER) as lives, \
            pair.near.socket(socket.AF_INET6, socket.SOCK_STREAM) as listener:
        gone_id, lives_id = (announce(daemon, key_of(one.connect())) for one in (gone, lives))
        listener.bind(("::1", 0))
        listener.listen(1)
        daemon.freeze()
        with pair.near.entered():
            for number in range(MANY):
                if number % 1000 == 0 and dropped_notifications(daemon) > 0:
                    break
                with socket.create_connection(listener.getsockname()[:2]) as client:
                    accepted, _ = listener.accept()
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                accepted.close()
        for one in (gone.client, gone.server):
            one.close()
        until(lambda: not tcp_sockets(pair, gone.port), "the connection's end")
        wait_told(daemon)
        daemon.thaw()
        daemon.wait_log("the kernel dropped notifications")
        wait_gone(daemon, gone_id)
        assert ended_by(daemon, "recovery") == 1
        assert daemon.api.get(f"/v1/flows/{lives_id}").status == 200
    assert closures(daemon)["losses"] >= 1
    wait_gone(daemon, lives_id)


def switch_off_and_on(daemon, _):
    for end_on_close in (False, True):
        daemon.config["flows"] = {"endOnClose": end_on_close}
        daemon.reload(daemon.config, r"reloaded")


def abort_another(daemon, pair):
    """One with the same local port: all flows that have it are looked at."""
    port = daemon.api.flows()[0]["srcPort"]
    with Tcp(pair.near, pair.far, Pair.NEAR_OTHER, Pair.FAR, sport=port) as other:
        announce(daemon, key_of(other.connect()))
        other.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        other.client.close()
        until(lambda: ended_by(daemon, "recovery") == 1, "its end")


@pytest.mark.parametrize("bound", [False, True])
@pytest.mark.parametrize("disturb", [restart, switch_off_and_on, abort_another, settle])
def test_the_last_acknowledgement_is_marked_whatever_happens(make_flowd, pair, directory, pin_path, disturb,
                                                             bound):
    """A flow whose other end is open still is none that was missed."""
    running = Marker(make_flowd, pair, directory, pin_path)
    daemon = running.daemon
    daemon.api = running.api
    with Frames(pair.far, "veth1") as frames:
        with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as connection:
            if bound:
                bound_to_link(connection)
            key = ("tcp", Pair.NEAR, connection.connect().sport, Pair.FAR, connection.port)
            running.announce(key)
            close_before_the_answer(pair, connection.client)
            until(lambda: closures(daemon)["lingering"] == 1, "the near end's close")
            disturb(daemon, pair)
            until(lambda: closures(daemon)["lingering"] == 1, "the flow that waits")
        until(lambda: daemon.api.live() == 0, "the end")
        # Two of the handshake, the FIN, and the acknowledgement of the other end's.
        until(lambda: len(of_flow(frames.packets(), key)) >= 4, "all packets")
        sent = of_flow(frames.packets(), key)
    assert all(one.label for one in sent[-2:]), sent


def dropped_notifications(daemon):
    """How many notifications of sockets the daemon's netlink socket had no room for."""
    with open(f"/proc/{daemon.pid}/net/netlink", encoding="ascii") as file:
        head, *rows = [line.split() for line in file]
    sockets = [dict(zip(head, row)) for row in rows]
    return sum(int(one["Drops"]) for one in sockets
               if one["Eth"] == NETLINK_SOCK_DIAG and int(one["Groups"], 16) != 0)


def wait_told(daemon):
    """Returns when the kernel, which tells of a socket some time after its end, has no more to tell."""
    seen, since = dropped_notifications(daemon), time.monotonic()

    def quiet():
        nonlocal seen, since
        dropped, seen = seen, dropped_notifications(daemon)
        if seen != dropped:
            since = time.monotonic()
        return time.monotonic() - since > 1

    until(quiet, "the last notification")


def tcp_sockets(pair, port):
    """Connections of the near side to a port of the far side that still have a full socket."""
    shown = pair.near.run("ss", "-Htn", "state", "connected", "exclude", "time-wait", "dport", "=",
                          f":{port}").stdout
    return shown.splitlines()
