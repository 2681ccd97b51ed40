# SPDX-License-Identifier: Apache-2.0
"""The kernel says that sockets are gone: flows.endOnClose, and what must not end a flow."""

import socket
import struct
import time

import pytest

from lab.api_client import Api, event, line
from conftest import base_config
from lab.exposition import scrape
from lab.frames import Frames, of_flow
from lab.marker_run import Marker
from lab.netns import Namespace, Pair
from lab.traffic import Tcp
from lab.waiting import until

RESET = struct.pack("ii", 1, 0)
# Closed sockets that no buffer for notifications has room for.
MANY = 200_000
NETLINK_SOCK_DIAG = "4"


@pytest.fixture
def watching(make_flowd, pair, directory):
    """A daemon without marker on the near side, with its API client."""

    def start(end_on_close=True, prefix=(), **changes):
        config = base_config(directory)
        config["flows"] = {"endOnClose": end_on_close}
        config.update(changes)
        daemon = make_flowd(pair.near, config, prefix=prefix).start()
        daemon.api = Api(pair.near)
        return daemon

    return start


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


def settle(daemon, pair):
    """Returns when everything that the kernel has told so far has been read: a later flow ended."""
    with Tcp(pair.near, pair.far, Pair.NEAR_OTHER, Pair.FAR_OTHER) as later:
        flow_id = announce(daemon, key_of(later.connect()))
    wait_gone(daemon, flow_id)


@pytest.mark.parametrize("who", ["client", "server"])
@pytest.mark.parametrize("source,target", [(Pair.NEAR, Pair.FAR), (Pair.NEAR4, Pair.FAR4)])
def test_close_ends_the_flow(watching, pair, source, target, who):
    """Whichever end this host is, and in whichever direction the flow was announced."""
    daemon = watching()
    client, server = (pair.near, pair.far) if who == "client" else (pair.far, pair.near)
    ends = (source, target) if who == "client" else (target, source)
    for turn in (lambda flow: flow, reverse):
        with Tcp(client, server, *ends) as connection:
            flow_id = announce(daemon, turn(key_of(connection.connect())))
            connection.exchange()
            assert daemon.api.live() == 1
        wait_gone(daemon, flow_id)
    assert ended_by(daemon, "close") == 2


def test_announced_in_both_directions(watching, pair):
    """Two flows, and both end with the connection."""
    daemon = watching()
    with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as connection:
        flow = key_of(connection.connect())
        ids = {announce(daemon, flow), announce(daemon, reverse(flow))}
        assert len(ids) == daemon.api.live() == 2
    until(lambda: daemon.api.live() == 0, "the end of both")


def test_ipv4_in_a_socket_of_both_families(watching, pair):
    daemon = watching()
    with pair.far.socket(socket.AF_INET6, socket.SOCK_STREAM) as listener, \
            pair.near.socket(socket.AF_INET6, socket.SOCK_STREAM) as client:
        listener.bind(("::", 0))
        listener.listen(1)
        client.bind(("::ffff:" + Pair.NEAR4, 0))
        client.connect(("::ffff:" + Pair.FAR4, listener.getsockname()[1]))
        flow_id = announce(daemon, event(Pair.NEAR4, client.getsockname()[1], Pair.FAR4,
                                         listener.getsockname()[1], protocol="tcp"))
        accepted, _ = listener.accept()
        accepted.close()
        assert daemon.api.live() == 1, "the near end is open"
    wait_gone(daemon, flow_id)


def test_announced_before_the_socket_is_there(watching, pair):
    """The flow waits for its connection and ends with it."""
    daemon = watching()
    with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as connection:
        flow_id = announce(daemon, key_of(connection))
        settle(daemon, pair)
        assert daemon.api.live() == 1
        connection.connect().exchange()
        settle(daemon, pair)
        assert daemon.api.live() == 1
    wait_gone(daemon, flow_id)


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_flow_that_waits_does_so_over_restarts(watching, pair, end):
    """No restart takes it for one whose connection is over, and it ends with its own."""
    daemon = watching()
    with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as connection:
        flow_id = announce(daemon, key_of(connection))
        for _ in range(2):
            until(lambda: closures(daemon)["waiting"] == 1, "a flow that waits")
            getattr(daemon, end)()
            mark = daemon.log_size()
            daemon.start()
            daemon.wait_log("recovery: 1 flows looked at, 0 ended", mark)
            daemon.api = Api(pair.near)
        settle(daemon, pair)
        assert daemon.api.get(f"/v1/flows/{flow_id}").status == 200
        connection.connect().exchange()
        until(lambda: closures(daemon)["waiting"] == 0, "no flow that waits")
        settle(daemon, pair)
        assert daemon.api.get(f"/v1/flows/{flow_id}").status == 200
    wait_gone(daemon, flow_id)


def test_a_flow_that_has_waited_ends_while_flowd_is_away(watching, pair):
    """Once its connection was there, its end counts even if nobody listened."""
    daemon = watching()
    with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as connection:
        flow_id = announce(daemon, key_of(connection))
        until(lambda: closures(daemon)["waiting"] == 1, "a flow that waits")
        connection.connect().exchange()
        until(lambda: closures(daemon)["waiting"] == 0, "no flow that waits")
        daemon.kill()
    daemon.start()
    daemon.api = Api(pair.near)
    wait_gone(daemon, flow_id)
    assert ended_by(daemon, "recovery") == 1


def test_a_connection_that_is_refused_ends_its_flow(watching, pair):
    daemon = watching()
    with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as connection:
        flow_id = announce(daemon, key_of(connection))
        connection.listener.close()
        with pytest.raises(ConnectionRefusedError):
            connection.connect()
    wait_gone(daemon, flow_id)


@pytest.mark.parametrize("first", ["near", "far"])
@pytest.mark.parametrize("near", ["client", "server"])
def test_one_end_closes_first(watching, pair, near, first):
    """
    The flow goes on until the other end closes too: where that is the far one, the kernel still
    acknowledges what it sends, and does not tell flowd when that is over. The metrics count it as
    the status does.
    """
    daemon = watching(backends={"prometheus": {}})
    client, server = (pair.near, pair.far) if near == "client" else (pair.far, pair.near)
    ends = (Pair.NEAR, Pair.FAR) if near == "client" else (Pair.FAR, Pair.NEAR)
    with Tcp(client, server, *ends) as connection:
        flow_id = announce(daemon, key_of(connection.connect()))
        (connection.client if (near == "client") == (first == "near") else connection.server).close()
        if first == "near":
            until(lambda: closures(daemon)["lingering"] == 1, "the near end's close")
        settle(daemon, pair)
        assert daemon.api.get(f"/v1/flows/{flow_id}").status == 200
    wait_gone(daemon, flow_id)
    until(lambda: closures(daemon)["lingering"] == 0, "nothing that waits")
    assert ended_by(daemon, "close") == closures(daemon)["ended"] == 2
    assert scrape(Api(pair.near, port=9000)).value("flowd_closure_ended_flows_total") == 2


def test_another_tag_while_the_far_end_stays_open(watching, pair):
    """The flow begins anew, of a connection that is closed here; it ends with it all the same."""
    daemon = watching()
    with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as connection:
        flow = key_of(connection.connect())
        announce(daemon, flow)
        connection.client.close()
        until(lambda: closures(daemon)["lingering"] == 1, "the near end's close")
        flow_id = announce(daemon, {**flow, "experiment": 3})
    wait_gone(daemon, flow_id)
    assert daemon.api.live() == 0


def test_announced_for_the_next_connection_of_the_same_ports(watching, pair):
    """The flow is not ended for the former connection, whose flow was ended by a tool while it waited."""
    daemon = watching()
    with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as former:
        flow = key_of(former.connect())
        announce(daemon, flow)
        former.client.close()
        until(lambda: closures(daemon)["lingering"] == 1, "the near end's close")
        daemon.api.post({**flow, "state": "end"}).expect(200, 201)
        former.server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        former.server.close()
        flow_id = announce(daemon, flow)
        with Tcp(pair.near, pair.far, Pair.NEAR_OTHER, Pair.FAR) as other:
            announce(daemon, key_of(other.connect()))
            other.client.close()
            # That one's first look comes later than the former one's.
            until(lambda: closures(daemon)["lingering"] == 2, "the next that waits")
            other_key = key_of(other)
        until(lambda: not any(one["srcPort"] == other_key["srcPort"] and one["src"] == Pair.NEAR_OTHER
                              for one in daemon.api.flows()), "its end")
        assert daemon.api.get(f"/v1/flows/{flow_id}").status == 200
        with pair.near.socket(socket.AF_INET6, socket.SOCK_STREAM) as client:
            client.bind((Pair.NEAR, former.sport))
            client.connect((Pair.FAR, former.port))
            until(lambda: closures(daemon)["lingering"] == 0, "nothing that waits")
            assert daemon.api.get(f"/v1/flows/{flow_id}").status == 200
    wait_gone(daemon, flow_id)


def test_an_end_that_comes_after_the_close(watching, pair):
    """It is for an unknown flow by then: counted, and otherwise ignored."""
    daemon = watching()
    with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as connection:
        flow_id = announce(daemon, key_of(connection.connect()))
    wait_gone(daemon, flow_id)
    daemon.write_fifo(line("end", Pair.NEAR, connection.sport, Pair.FAR, connection.port, protocol="tcp"))
    until(lambda: daemon.api.status()["events"]["namedPipe"]["end"] == {"unknown": 1}, "the late end")
    assert daemon.api.status()["flows"]["ended"] == 1


def test_a_port_that_is_used_again_at_once(watching, pair):
    """
    The next connection with the same addresses and ports is there before the daemon hears of the end
    of the former one: its flow must go on.
    """
    daemon = watching()
    with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as former:
        flow = key_of(former.connect())
        flow_id = announce(daemon, flow)
        daemon.freeze()
        former.abort()
        with pair.near.socket(socket.AF_INET6, socket.SOCK_STREAM) as client:
            client.bind((Pair.NEAR, former.sport))
            client.connect((Pair.FAR, former.port))
            daemon.thaw()
            until(lambda: closures(daemon)["reused"] == 1, "the former connection's end")
            assert daemon.api.get(f"/v1/flows/{flow_id}").status == 200
            assert announce(daemon, flow) == flow_id
    wait_gone(daemon, flow_id)


def test_a_listener_that_closes(watching, pair):
    """Its port is that of live flows; it is no connection."""
    daemon = watching()
    with Tcp(pair.far, pair.near, Pair.FAR, Pair.NEAR) as connection:
        flow_id = announce(daemon, key_of(connection.connect()))
        connection.listener.close()
        settle(daemon, pair)
        assert daemon.api.get(f"/v1/flows/{flow_id}").status == 200
    wait_gone(daemon, flow_id)


def test_both_ends_on_this_host(watching, pair):
    """The flow lives until neither end has a socket."""
    daemon = watching()
    with Tcp(pair.near, pair.near, Pair.NEAR, Pair.NEAR_OTHER) as connection:
        flow_id = announce(daemon, key_of(connection.connect()))
        connection.server.close()
        settle(daemon, pair)
        assert daemon.api.get(f"/v1/flows/{flow_id}").status == 200
    wait_gone(daemon, flow_id)


@pytest.mark.parametrize("source", ["client", "server"])
@pytest.mark.parametrize("first", ["client", "server"])
def test_both_ends_on_this_host_reuse_nothing(watching, pair, source, first):
    """Five connections, none with the addresses and ports of another: none counts as such."""
    daemon = watching(backends={"prometheus": {}})
    for _ in range(5):
        with Tcp(pair.near, pair.near, Pair.NEAR, Pair.NEAR_OTHER) as connection:
            flow = key_of(connection.connect())
            flow_id = announce(daemon, flow if source == "client" else reverse(flow))
            connection.exchange()
            told = closures(daemon)["notifications"]
            shut_down(connection, first)
            until(lambda: closures(daemon)["notifications"] > told, "the first end's close")
            assert daemon.api.get(f"/v1/flows/{flow_id}").status == 200
        wait_gone(daemon, flow_id)
    assert closures(daemon)["reused"] == 0
    assert scrape(Api(pair.near, port=9000)).value("flowd_closure_reused_flows_total") == 0


def test_a_port_of_both_ends_here_that_is_used_again(watching, pair):
    """It counts once, for the end that is told of, though the other end is here as well."""
    daemon = watching()
    with Tcp(pair.near, pair.near, Pair.NEAR, Pair.NEAR_OTHER) as former:
        flow_id = announce(daemon, key_of(former.connect()))
        daemon.freeze()
        former.abort()
        with pair.near.socket(socket.AF_INET6, socket.SOCK_STREAM) as client:
            client.bind((Pair.NEAR, former.sport))
            client.connect((Pair.NEAR_OTHER, former.port))
            daemon.thaw()
            until(lambda: closures(daemon)["reused"] >= 1, "the former connection's end")
            settle(daemon, pair)
            assert daemon.api.get(f"/v1/flows/{flow_id}").status == 200
            assert closures(daemon)["reused"] == 1
    wait_gone(daemon, flow_id)


def test_a_process_in_another_network_namespace(watching, pair):
    """
    The kernel tells only of sockets in the daemon's own namespace. A flow of another one stays until
    its end is announced (or flows.timeout is over).
    """
    daemon = watching()
    other = Namespace()
    try:
        other.add_address("lo", "2001:db8::1/128")
        other.wait_usable("2001:db8::1")
        with Tcp(other, other, "2001:db8::1", "2001:db8::1") as connection:
            flow = key_of(connection.connect())
            flow_id = announce(daemon, flow)
        settle(daemon, pair)
        assert daemon.api.get(f"/v1/flows/{flow_id}").status == 200
        daemon.api.post({**flow, "state": "end"}).expect(200, 201)
        wait_gone(daemon, flow_id)
    finally:
        other.remove()


def test_udp_flows_do_not_end_with_sockets(watching, pair):
    daemon = watching()
    with pair.near.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
        sender.bind((Pair.NEAR, 0))
        sender.connect((Pair.FAR, 9000))
        flow_id = announce(daemon, event(Pair.NEAR, sender.getsockname()[1], Pair.FAR, 9000))
    settle(daemon, pair)
    assert daemon.api.get(f"/v1/flows/{flow_id}").status == 200


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


def restart(daemon, pair):
    daemon.kill()
    daemon.start()
    daemon.api = Api(pair.near)


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
            connection.client.close()
            until(lambda: closures(daemon)["lingering"] == 1, "the near end's close")
            disturb(daemon, pair)
            until(lambda: closures(daemon)["lingering"] == 1, "the flow that waits")
        until(lambda: daemon.api.live() == 0, "the end")
        # Two of the handshake, the FIN, and the acknowledgement of the other end's.
        until(lambda: len(of_flow(frames.packets(), key)) >= 4, "all packets")
        sent = of_flow(frames.packets(), key)
    assert all(one.label for one in sent[-2:]), sent


def test_a_socket_that_is_bound_to_an_interface(watching, pair):
    """Its flow survives a restart, and ends with it."""
    daemon = watching()
    with bound_to_link(Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR)) as connection:
        flow_id = announce(daemon, key_of(connection.connect()))
        restart(daemon, pair)
        daemon.wait_log("1 flows looked at, 0 ended")
        assert daemon.api.get(f"/v1/flows/{flow_id}").status == 200
    wait_gone(daemon, flow_id)


def test_link_local_addresses(watching, pair):
    """The interface belongs to such a socket as to one that is bound: a walk finds it, and it ends."""
    daemon = watching(enrichers={"period": 100, "netlink": {}})
    near, far = "fe80::f:1", "fe80::f:2"
    indexes = []
    for space, link, address in ((pair.near, "veth0", near), (pair.far, "veth1", far)):
        space.add_address(link, address + "/64")
        with space.entered():
            indexes.append(socket.if_nametoindex(link))
    with pair.far.socket(socket.AF_INET6, socket.SOCK_STREAM) as listener:
        listener.bind((far, 0, 0, indexes[1]))
        listener.listen(1)
        port = listener.getsockname()[1]
        with pair.near.socket(socket.AF_INET6, socket.SOCK_STREAM) as client:
            client.bind((near, 0, 0, indexes[0]))
            client.connect((far, port, 0, indexes[0]))
            flow_id = announce(daemon, event(near, client.getsockname()[1], far, port, protocol="tcp"))
            until(lambda: "sample" in daemon.api.get(f"/v1/flows/{flow_id}").json, "a sample")
            restart(daemon, pair)
            daemon.wait_log("1 flows looked at, 0 ended")
            assert daemon.api.get(f"/v1/flows/{flow_id}").status == 200
            listener.accept()[0].close()
    wait_gone(daemon, flow_id)


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
