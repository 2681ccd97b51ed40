# SPDX-License-Identifier: Apache-2.0
"""plugins.iperf3: connections become flows the moment they are established, and end when they close."""

import contextlib
import socket
import struct

import pytest

from lab.api_client import Api, event
from lab.cgroups import inside, made, sockops_programs
from lab.daemon_config import base_config
from lab.flowd_process import sanitizer_environment
from lab.frames import Frames, of_flow
from lab.kernel_bpf import ConnectionCounter, watched_in_kernel
from lab.marker_run import Marker
from lab.netns import Pair
from test_failures import REFUSE, WITHOUT_PERFMON, detail, holds
from lab.traffic import Iperf3, Tcp
from lab.waiting import until

PORT = 5201
LISTENERS = {"minDestinationPort": 8000, "maxDestinationPort": 9000}
RESET = struct.pack("ii", 1, 0)
PROGRAM = "flowd_connections"


@pytest.fixture
def finding(make_flowd, pair, directory):
    """A daemon with the plugin on the near side, with its API client. Its API is out of the range."""

    def start(prefix=(), end_on_close=False, enrichers=None, **options):
        config = base_config(directory)
        config["flows"] = {"endOnClose": end_on_close}
        config["enrichers"] = enrichers or {}
        config["plugins"]["iperf3"] = options or {"minDestinationPort": 8000, "minSourcePort": 8000}
        # A sanitizer keeps freed memory for a while; that is not the daemon's.
        environment = sanitizer_environment(directory)
        environment["ASAN_OPTIONS"] += ":quarantine_size_mb=1"
        daemon = make_flowd(pair.near, config, prefix=prefix, environment=environment).start()
        daemon.api = Api(pair.near)
        return daemon

    return start


def found(daemon):
    return [flow for flow in daemon.api.flows() if flow["plugin"] == "iperf3"]


def ports_of(daemon):
    return {(flow["srcPort"], flow["dstPort"]) for flow in found(daemon)}


def counted(daemon, state):
    return daemon.api.status()["events"]["iperf3"][state]


def settle(daemon, pair):
    """Returns when everything that was told so far has been read: a later connection came and went."""
    with Tcp(pair.near, pair.far, Pair.NEAR_OTHER, Pair.FAR_OTHER, port=9000) as later:
        later.connect()
        until(lambda: (later.sport, later.port) in ports_of(daemon), "a later connection")
    until(lambda: (later.sport, later.port) not in ports_of(daemon), "its end")


@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize("near,far", [(Pair.NEAR, Pair.FAR), (Pair.NEAR4, Pair.FAR4)])
def test_a_connection_is_a_flow(finding, pair, near, far, side):
    """Whichever end is here, it is the flow's source. Its counts are there at the end."""
    daemon = finding()
    spaces = (pair.near, pair.far, near, far) if side == "client" else (pair.far, pair.near, far, near)
    with Tcp(*spaces) as connection:
        connection.connect()
        mine = (connection.sport, connection.port)
        mine = mine if side == "client" else mine[::-1]
        until(lambda: mine in ports_of(daemon), "the flow")
        flow = next(one for one in found(daemon) if (one["srcPort"], one["dstPort"]) == mine)
        assert (flow["src"], flow["dst"], flow["protocol"]) == (near, far, "tcp")
        connection.exchange()
    until(lambda: mine not in ports_of(daemon), "the flow's end")


def test_ipv4_at_a_listener_of_both_families(finding, pair):
    daemon = finding()
    with pair.near.socket(socket.AF_INET6, socket.SOCK_STREAM) as listener, \
            pair.far.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
        listener.bind(("::", 0))
        listener.listen(1)
        client.bind((Pair.FAR4, 8100))
        client.connect((Pair.NEAR4, listener.getsockname()[1]))
        flow = until(lambda: found(daemon), "the flow")[0]
        assert (flow["src"], flow["dst"]) == (Pair.NEAR4, Pair.FAR4)
        assert flow["dstPort"] == client.getsockname()[1]
        listener.accept()[0].close()
    until(lambda: not found(daemon), "the flow's end")


def test_both_ends_on_this_host_are_one_flow(finding, pair):
    """From the client to the server, until the client's end is closed."""
    daemon = finding()
    with Tcp(pair.near, pair.near, Pair.NEAR, Pair.NEAR_OTHER) as connection:
        connection.connect()
        until(lambda: found(daemon), "the flow")
        settle(daemon, pair)
        assert ports_of(daemon) == {(connection.sport, connection.port)}
        connection.server.close()
    until(lambda: not found(daemon), "the flow's end")


def test_port_ranges(finding, pair):
    """Of both ends, and both ends of a range belong to it."""
    daemon = finding(minSourcePort=9000, maxSourcePort=9010, minDestinationPort=PORT,
                     maxDestinationPort=PORT + 1)
    wanted = [(9000, PORT), (9010, PORT + 1)]
    unwanted = [(8999, PORT), (9011, PORT), (9001, PORT - 1), (9002, PORT + 2)]
    for sport, port in unwanted + wanted:
        with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR, sport, port) as connection:
            connection.connect()
            if (sport, port) in wanted:
                until(lambda: (sport, port) in ports_of(daemon), "the flow")
    until(lambda: counted(daemon, "end") == {"ended": 2}, "the ends")
    assert counted(daemon, "start") == {"started": 2}


def tags(daemon, pair, number):
    seen = []
    for turn in range(number):
        with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR, port=8000 + turn) as connection:
            connection.connect()
            flow = until(lambda: found(daemon), "the flow")[0]
            seen.append((flow["experiment"], flow["activity"]))
        until(lambda: not found(daemon), "its end")
    return seen


def test_ids_in_turn(finding, pair):
    daemon = finding(**LISTENERS, experimentIDs=[2, 16], activityIDs=[1, 14, 9])
    assert tags(daemon, pair, 7) == [(2, 1), (16, 14), (2, 9), (16, 1), (2, 14), (16, 9), (2, 1)]


def test_ids_at_random(finding, pair):
    """All of them come, in no order that a turn would give."""
    experiments, activities = [2, 16], [1, 14]
    daemon = finding(**LISTENERS, experimentIDs=experiments, activityIDs=activities,
                     randomIDs=True)
    seen = tags(daemon, pair, 40)
    assert set(seen) == {(one, other) for one in experiments for other in activities}


def test_a_flow_that_was_announced_keeps_its_tag(finding, pair):
    """Somebody knows more of it: the plugin neither changes nor ends it."""
    daemon = finding()
    with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as connection:
        announced = daemon.api.post(event(Pair.NEAR, connection.sport, Pair.FAR, connection.port,
                                          protocol="tcp", experiment=30)).expect(201).json["id"]
        connection.connect()
        settle(daemon, pair)
    settle(daemon, pair)
    flow = daemon.api.get(f"/v1/flows/{announced}").expect(200).json
    assert (flow["experiment"], flow["plugin"]) == (30, "api")


def test_iperf3_itself(finding, pair):
    """The data stream and the control connection, while they are there."""
    daemon = finding(minDestinationPort=PORT, maxDestinationPort=PORT)
    with Iperf3(pair.near, Pair.NEAR, pair.far, Pair.FAR, PORT, 9100).begin():
        until(lambda: (9100, PORT) in ports_of(daemon), "the data stream")
        until(lambda: len(found(daemon)) == 2, "the control connection")
    until(lambda: not found(daemon), "their ends")


@pytest.mark.parametrize("end_on_close", [False, True])
def test_ports_that_are_used_again_at_once(finding, pair, end_on_close):
    """Connections with the same addresses and ports, each aborted: each is a flow of its own."""
    daemon = finding(**LISTENERS, end_on_close=end_on_close)
    rounds = 200
    with pair.far.socket(socket.AF_INET6, socket.SOCK_STREAM) as listener:
        listener.bind((Pair.FAR, 8123))
        listener.listen(1)
        for _ in range(rounds):
            with pair.near.socket(socket.AF_INET6, socket.SOCK_STREAM) as client:
                client.bind((Pair.NEAR, 9200))
                client.connect((Pair.FAR, 8123))
                listener.accept()[0].close()
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    settle(daemon, pair)
    assert not found(daemon)
    assert counted(daemon, "start") == {"started": rounds + 1}


def test_other_network_namespaces(finding, pair):
    """The cgroup has sockets of every namespace; those of others are let be."""
    daemon = finding()
    with Tcp(pair.far, pair.far, Pair.FAR, Pair.FAR_OTHER) as connection:
        connection.connect()
        settle(daemon, pair)
        assert not found(daemon)
        assert daemon.api.module("iperf3")["elsewhere"] >= 2


def test_programs_of_others(finding, pair):
    """Before and behind flowd's in the cgroup, while it comes and goes."""
    with made("others") as cgroup, inside(cgroup), contextlib.ExitStack() as stack:
        counters = []

        def count():
            counters.append(stack.enter_context(contextlib.closing(ConnectionCounter(cgroup, PORT))))

        count()
        daemon = finding(minSourcePort=PORT, maxSourcePort=PORT, cgroupPath=str(cgroup))
        count()
        for turn in range(1, 4):
            with Tcp(pair.far, pair.near, Pair.FAR, Pair.NEAR, 9000 + turn, PORT) as connection:
                connection.connect()
                if turn == 1:
                    until(lambda: found(daemon), "the flow")
                until(lambda: [one.count() for one in counters] == [turn] * 2, "what others count")
            if turn == 2:
                daemon.stop()


def test_nothing_stays_behind(finding, pair):
    """After kill -9 the kernel has no program of flowd's; a restart finds what happened meanwhile."""
    with made("behind") as cgroup, inside(cgroup):
        daemon = finding(minDestinationPort=8000, minSourcePort=8000, cgroupPath=str(cgroup))
        assert sockops_programs(cgroup) == [PROGRAM]
        with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as lives, \
                Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as goes:
            for one in (lives, goes):
                one.connect()
            until(lambda: len(found(daemon)) == 2, "the flows")
            daemon.kill()
            until(lambda: not sockops_programs(cgroup), "the program's end")
            for one in (goes.client, goes.server):
                one.close()
            daemon.start()
            daemon.api = Api(pair.near)
            until(lambda: ports_of(daemon) == {(lives.sport, lives.port)}, "the end of what has gone")
        until(lambda: not found(daemon), "the end of what lived on")
        daemon.stop()
        assert not sockops_programs(cgroup)


def test_a_cgroup_of_its_own(finding, pair):
    """Only sockets that were made in it count."""
    with made("own") as cgroup:
        daemon = finding(**LISTENERS, cgroupPath=str(cgroup))
        with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR, port=8000) as outside:
            outside.connect()
            with inside(cgroup), Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR, port=8001) as own:
                own.connect()
                until(lambda: found(daemon), "the flow")
                assert ports_of(daemon) == {(own.sport, own.port)}


@pytest.mark.parametrize("prefix,words", [
    (["setpriv", "--bounding-set=-bpf,-sys_admin"], ["missing: CAP_BPF;", "root", "--cap-add"]),
    (WITHOUT_PERFMON, ["missing: CAP_PERFMON;", "--cap-add"]),
    (["setpriv", "--bounding-set=-net_admin"], ["missing: CAP_NET_ADMIN;"]),
    ([*REFUSE, 1], ["seccomp"]),
])
def test_a_right_is_missing(finding, pair, prefix, words):
    daemon = finding(prefix=prefix)
    holds(detail(pair.near), "without plugins.iperf3", *words)
    assert daemon.api.module("iperf3")["state"] == "failed"


@pytest.mark.parametrize("prefix,options,words", [
    ((), {"cgroupPath": "/nowhere"}, ["plugins.iperf3", "cgroupPath: /nowhere", "No such file"]),
    ((), {"cgroupPath": "/tmp"}, ["cgroupPath: /tmp is no directory of a cgroup2", "leave"]),
    (("unshare", "--mount", "--", "sh", "-c",
      "for at in $(awk '/ - cgroup2 /{print $5}' /proc/self/mountinfo); do umount \"$at\"; done; exec \"$@\"",
      "sh"), {}, ["no cgroup2 file system is mounted", "mount -t cgroup2"]),
    ((), {"minSourcePort": 5, "maxSourcePort": 4}, ["minSourcePort: found 5", "maxSourcePort (4)"]),
    ((), {"experimentIDs": []}, ["experimentIDs: found []"]),
    ((), {"activityIDs": [64]}, ["activityIDs: found 64", "0-63"]),
])
def test_what_is_wrong_is_said(make_flowd, single, directory, prefix, options, words):
    config = base_config(directory)
    config["plugins"]["iperf3"] = options
    daemon = make_flowd(single, config, prefix=prefix)
    daemon.start(ready=False)
    assert daemon.wait_exit() in (1, 2)
    holds(daemon.log(), *words)


def resident_kib(daemon):
    with open(f"/proc/{daemon.pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))


class Churn:
    """Short connections from near to far, as fast as one process makes them."""

    LISTENERS = 4

    def __init__(self, pair):
        self._pair = pair
        self._listeners = []

    def __enter__(self):
        for number in range(self.LISTENERS):
            listener = self._pair.far.socket(socket.AF_INET6, socket.SOCK_STREAM)
            self._listeners.append(listener)
            listener.bind((Pair.FAR, 8200 + number))
            listener.listen(16)
        return self

    def __exit__(self, *_):
        for listener in self._listeners:
            listener.close()

    def run(self, number):
        with self._pair.near.entered():
            for turn in range(number):
                listener = self._listeners[turn % self.LISTENERS]
                client = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
                client.connect((Pair.FAR, 8200 + turn % self.LISTENERS))
                accepted, _ = listener.accept()
                (accepted if turn % 2 else client).close()
                (client if turn % 2 else accepted).close()


@pytest.mark.parametrize("end_on_close,enrichers", [(True, {"skops": {}}), (False, {})])
def test_fifty_thousand_short_connections(finding, pair, end_on_close, enrichers):
    """
    As many ends as starts, nothing left, and memory does not grow with what has passed. The ring buffer
    holds what comes at once, however little of the processors the daemon gets.
    """
    daemon = finding(**LISTENERS, end_on_close=end_on_close, enrichers=enrichers)
    number, at_once = 50_000, 2_500
    before = None
    pair.near.sysctl("net.ipv4.tcp_max_tw_buckets", 1 << 18)
    with Churn(pair) as churn:
        for begun in range(at_once, number + 1, at_once):
            churn.run(at_once)
            until(lambda: counted(daemon, "start") == {"started": begun}, "every flow")  # pylint: disable=cell-var-from-loop
            if begun == number // 5:
                before = resident_kib(daemon)
    until(lambda: not found(daemon), "every end")
    status = daemon.api.status()
    assert status["flows"]["ended"] == number and status["flows"]["live"] == 0
    assert daemon.api.module("iperf3")["lost"] == 0
    if enrichers:
        assert watched_in_kernel(daemon) == 0
    assert resident_kib(daemon) - before < 4096


def test_more_than_the_ring_buffer_holds(finding, pair):
    """
    While the daemon stands still connections begin and end: it hears of some, and finds out about the
    others. What was there and has gone ends, what began and is there is a flow.
    """
    daemon = finding(**LISTENERS)
    with Churn(pair) as churn, Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR, port=8001) as goes, \
            Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR, port=8002) as lives, \
            Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR, port=8003) as comes:
        for one in (goes, lives):
            one.connect()
        until(lambda: len(found(daemon)) == 2, "the flows")
        daemon.freeze()
        churn.run(15_000)
        for one in (goes.client, goes.server):
            one.close()
        comes.connect()
        daemon.thaw()
        daemon.wait_log("faster than flowd could hear of it")
        until(lambda: ports_of(daemon) == {(one.sport, one.port) for one in (lives, comes)},
              "what is there, and no more")
        assert daemon.api.module("iperf3")["lost"] > 0
    until(lambda: not found(daemon), "the ends")


@pytest.mark.parametrize("missed", ["restart", "overflow"])
def test_a_missed_close_while_the_other_end_on_this_host_is_open(finding, pair, missed):
    """The flow ends with the client's socket, as it does where the close is heard of."""
    daemon = finding(**LISTENERS)
    with Churn(pair) as churn, \
            Tcp(pair.near, pair.near, Pair.NEAR, Pair.NEAR_OTHER, port=8100) as connection:
        connection.connect()
        until(lambda: len(found(daemon)) == 1, "the flow")
        if missed == "restart":
            daemon.kill()
        else:
            daemon.freeze()
            churn.run(15_000)
        connection.client.close()
        until(lambda: pair.near.run("ss", "-Htan", "state", "fin-wait-2", "sport", "=",
                                    f":{connection.sport}").stdout, "the client's close")
        if missed == "restart":
            daemon.start()
            daemon.api = Api(pair.near)
        else:
            daemon.thaw()
            daemon.wait_log("faster than flowd could hear of it")
        until(lambda: not found(daemon), "the end")
        assert daemon.api.module("iperf3")["endsFoundLater"] == 1


@pytest.mark.parametrize("end_on_close", [False, True])
def test_a_missed_close_of_an_address_that_has_gone(finding, pair, end_on_close):
    """The plugin knows the source's socket to be this host's, whatever addresses the host has."""
    daemon = finding(end_on_close=end_on_close, **LISTENERS)
    with Tcp(pair.near, pair.far, Pair.NEAR_OTHER, Pair.FAR, port=8100) as connection:
        connection.connect()
        until(lambda: len(found(daemon)) == 1, "the flow")
        daemon.kill()
    pair.near.ip("address", "del", Pair.NEAR_OTHER + "/64", "dev", "veth0")
    daemon.start()
    daemon.api = Api(pair.near)
    until(lambda: not found(daemon), "the end")


@pytest.mark.parametrize("scope", ["link-local", "bound"])
def test_a_socket_of_one_interface_survives_a_restart(finding, pair, scope):
    """The kernel finds it only for who names the interface."""
    daemon = finding(**LISTENERS)
    near, far = ("fe80::f:1", "fe80::f:2") if scope == "link-local" else (Pair.NEAR, Pair.FAR)
    indexes = []
    for space, link, address in ((pair.near, "veth0", near), (pair.far, "veth1", far)):
        if scope == "link-local":
            space.add_address(link, address + "/64")
        with space.entered():
            indexes.append(socket.if_nametoindex(link) if scope == "link-local" else 0)
    with pair.far.socket(socket.AF_INET6, socket.SOCK_STREAM) as listener, \
            pair.near.socket(socket.AF_INET6, socket.SOCK_STREAM) as client:
        listener.bind((far, 8100, 0, indexes[1]))
        listener.listen(1)
        if scope == "bound":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"veth0")
        client.bind((near, 0, 0, indexes[0]))
        client.connect((far, 8100, 0, indexes[0]))
        flow_id = until(lambda: found(daemon), "the flow")[0]["id"]
        daemon.kill()
        daemon.start()
        daemon.api = Api(pair.near)
        settle(daemon, pair)
        assert [one["id"] for one in found(daemon)] == [flow_id]


@pytest.mark.parametrize("bound", [False, True])
def test_the_other_end_closes_later(finding, pair, bound):
    """The flow goes on until then, and brings the counts of this end's close."""
    daemon = finding()
    with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR, port=8100) as connection:
        if bound:
            connection.client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"veth0")
        connection.connect().exchange()
        until(lambda: len(found(daemon)) == 1, "the flow")
        connection.client.close()
        settle(daemon, pair)
        assert ports_of(daemon) == {(connection.sport, connection.port)}
    until(lambda: not found(daemon), "the end")
    assert counted(daemon, "start") == {"started": 2} and counted(daemon, "end") == {"ended": 2}


def test_end_on_close_goes_off_while_the_other_end_is_open(finding, pair):
    """The plugin has been told of the close, and the notification came first: the flow is the plugin's to end."""
    daemon = finding(end_on_close=True)
    with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR, port=8500) as connection:
        connection.connect()
        mine = (connection.sport, connection.port)
        until(lambda: mine in ports_of(daemon), "the flow")
        connection.client.close()
        until(lambda: daemon.api.status()["closures"]["lingering"] == 1, "the near end's close")
        daemon.reload({**daemon.config, "flows": {"endOnClose": False}})
        assert mine in ports_of(daemon)
    until(lambda: mine not in ports_of(daemon), "the flow's end")
    assert counted(daemon, "end") == {"ended": 1}


def test_ports_that_are_used_again_while_the_other_end_is_open(finding, pair):
    """What the kernel then takes for a new connection is another flow."""
    daemon = finding()
    with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR, port=8100) as former:
        former.connect()
        first = until(lambda: found(daemon), "the flow")[0]["id"]
        former.client.close()
        settle(daemon, pair)
        former.server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        with pair.near.socket(socket.AF_INET6, socket.SOCK_STREAM) as client:
            daemon.freeze()
            former.server.close()
            until(lambda: not pair.near.run("ss", "-Htan", "sport", "=", f":{former.sport}").stdout,
                  "the former connection's end")
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            client.bind((Pair.NEAR, former.sport))
            client.connect((Pair.FAR, former.port))
            daemon.thaw()
            until(lambda: [one["id"] for one in found(daemon)] not in ([], [first]), "another flow")
            assert len(found(daemon)) == 1
    until(lambda: not found(daemon), "the end")


@pytest.mark.parametrize("plugins", [{}, {"iperf3": {"minDestinationPort": 8100, "maxDestinationPort": 8100}}])
def test_the_last_acknowledgement_is_marked(make_flowd, pair, directory, pin_path, plugins):
    """This host closes first; what it answers to the other end's close is of the flow too."""
    running = Marker(make_flowd, pair, directory, pin_path, plugins=plugins)
    with Frames(pair.far, "veth1") as frames:
        with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR, port=8100) as connection:
            connection.connect()
            key = ("tcp", Pair.NEAR, connection.sport, Pair.FAR, 8100)
            if not plugins:
                running.announce(key)
            until(lambda: running.api.live() == 1, "the flow")
            connection.client.close()
            until(lambda: pair.near.run("ss", "-Htan", "state", "fin-wait-2", "sport", "=",
                                        f":{connection.sport}").stdout, "this end's close")
            until(lambda: running.api.get("/readyz").status == 200, "an answer")
        until(lambda: running.api.live() == 0, "the end")
        # Two of the handshake, the FIN, and the acknowledgement of the other end's.
        until(lambda: len(of_flow(frames.packets(), key)) >= 4, "all packets")
        sent = of_flow(frames.packets(), key)
    assert all(one.label for one in sent[-2:]), sent
