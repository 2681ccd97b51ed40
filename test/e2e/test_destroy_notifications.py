# SPDX-License-Identifier: Apache-2.0
"""The kernel says that sockets are gone: what ends a flow, and what must not."""

import socket
import struct

import pytest

from lab.api_client import Api, event, line
from lab.closing import (announce, bound_to_link, close_before_the_answer, closures, ended_by, key_of, restart, reverse,
                         settle, shut_down, wait_gone)
from lab.exposition import scrape
from lab.netns import Namespace, Pair
from lab.traffic import Tcp
from lab.waiting import until

RESET = struct.pack("ii", 1, 0)


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
        near_end, far_end = (connection.client, connection.server)[::1 if near == "client" else -1]
        if first == "far":
            far_end.close()
        else:
            close_before_the_answer(pair, near_end)
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
        close_before_the_answer(pair, connection.client)
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
        close_before_the_answer(pair, former.client)
        until(lambda: closures(daemon)["lingering"] == 1, "the near end's close")
        daemon.api.post({**flow, "state": "end"}).expect(200, 201)
        former.server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        former.server.close()
        flow_id = announce(daemon, flow)
        with Tcp(pair.near, pair.far, Pair.NEAR_OTHER, Pair.FAR) as other:
            announce(daemon, key_of(other.connect()))
            close_before_the_answer(pair, other.client)
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
            # The counts that the kernel told of are the former connection's.
            assert "sample" not in daemon.api.get(f"/v1/flows/{flow_id}").expect(200).json
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
