# SPDX-License-Identifier: Apache-2.0
"""
The last packet of a connection whose near end closed first: the acknowledgement of the far end's FIN.

The kernel calls the connection closed before that packet comes to the interface where it is marked; a
test makes the time between the two as long as it needs by a detour: the packet's route leads into a
device whose other end the test holds, which puts it on the marked interface when flowd has looked.
"""

import contextlib
import datetime
import socket
import time

import pytest

from lab.api_client import Api, event
from lab.daemon_config import base_config
from lab.devices import Tun
from lab.frames import Frames, checksum_of, is_marked, of_flow
from lab.netns import Pair
from lab.traffic import Tcp
from lab.waiting import until

TRIES = 8
# flowd looks again after 0.1 s. A try in which the test was not back by then shows nothing.
IN_TIME_S = 0.06
PERIOD_MS = 100
EXPERIMENT, ACTIVITY = 2, 17


class Detour:
    """What the near end sends to the far one takes it after close_way(), and waits for release()."""

    def __init__(self, pair):
        self._pair, self._link = pair, pair.far.mac("veth1") + pair.near.mac("veth0")
        self._stack = contextlib.ExitStack()
        self._tun = self._stack.enter_context(Tun(pair.near))
        self._raw = self._stack.enter_context(pair.near.socket(socket.AF_PACKET, socket.SOCK_RAW))
        self._raw.bind(("veth0", 0))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stack.close()

    def close_way(self):
        self._pair.near.ip("-6", "route", "replace", f"{Pair.FAR}/128", "dev", "tun0")

    def held(self, key):
        """The connection's next packet, which has left by the detour."""
        ports = key[2].to_bytes(2, "big") + key[4].to_bytes(2, "big")
        return self._link + self._tun.frame(ports)[12:]

    def release(self, frame):
        self._raw.send(frame)


def heard(daemon):
    """How often flowd has been told, or has looked for itself, what may end flows."""
    status = daemon.api.status()
    if "closures" in status:
        return status["closures"]["notifications"]
    modules = {one["name"]: one for one in status["modules"] if one["kind"] == "plugin"}
    return modules["netlink"]["scans"] if "netlink" in modules else modules["iperf3"]["records"]


def stand_still(daemon):
    """flowd does nothing while the connection closes. Returns what has it look at it."""
    before = heard(daemon)
    daemon.freeze()

    def look():
        since = time.time()
        daemon.thaw()
        until(lambda: heard(daemon) > before, "what flowd is told", interval=0.001)
        heard(daemon)
        return since

    return look


def be_dead(daemon):
    """The same: flowd is not there, and looks at all flows when it starts."""
    daemon.kill()
    mark = daemon.log_size()

    def look():
        daemon.start(ready=False)
        daemon.wait_log("1 flows looked at", mark)
        daemon.api = Api(daemon.namespace)
        line = next(one for one in daemon.log()[mark:].splitlines() if "1 flows looked at" in one)
        return datetime.datetime.fromisoformat(line.split()[0]).timestamp()

    return look


def flows_of(daemon, key):
    return [one for one in daemon.api.flows() if one["srcPort"] == key[2] and one["dstPort"] == key[4]]


def last_packet(daemon, pair, away):
    """
    The last packet of a connection that closes while flowd is away, which comes to be marked when
    flowd has seen that it is closed. None: the test was too slow.
    """
    with Detour(pair) as detour, Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as connection:
        key = ("tcp", Pair.NEAR, connection.connect().sport, Pair.FAR, connection.port)
        connection.exchange()
        if "closures" in daemon.api.status():  # nobody else announces it
            daemon.api.post(event(*key[1:], EXPERIMENT, ACTIVITY, "tcp"))
        flow, = until(lambda: flows_of(daemon, key), "the flow")
        assert flow["backends"]["marker"] == "marked"
        look = away(daemon)
        connection.client.close()
        assert connection.server.recv(1) == b""
        until(lambda: pair.near.run("ss", "-Htn", "state", "fin-wait-2", "dport", "=",
                                    f":{connection.port}").stdout, "the near end's close")
        detour.close_way()
        connection.server.close()
        last = detour.held(key)
        with Frames(pair.far, "veth1") as frames:
            since = look()
            detour.release(last)
            late = time.time() - since > IN_TIME_S
            until(lambda: of_flow(frames.packets(), key), "the last packet")
            until(lambda: not flows_of(daemon, key), "the flow's end")
            return None if late else of_flow(frames.packets(), key)[0]


ENDS = {"close": {},
        "scan": {"netlink": {"experiment": EXPERIMENT, "activity": ACTIVITY, "period": PERIOD_MS,
                             "ignorePrivate": False}},
        "iperf3": {"iperf3": {"experimentIDs": [EXPERIMENT], "activityIDs": [ACTIVITY], "minSourcePort": 8000,
                              "minDestinationPort": 8000}}}


@pytest.mark.parametrize("ends,away", [
    ("close", stand_still), ("close", be_dead), ("scan", stand_still), ("iperf3", stand_still), ("iperf3", be_dead)])
def test_it_is_marked(make_flowd, pair, directory, pin_path, ends, away):
    """Whoever ends the flow: one look that finds the connection closed does not."""
    config = base_config(directory, pin_path)
    config["log"]["level"] = "debug"
    config["flows"] = {"endOnClose": ends == "close"}
    config["plugins"].update(ENDS[ends])
    daemon = make_flowd(pair.near, config).start()
    daemon.api = Api(pair.near)
    for _ in range(TRIES):
        packet = last_packet(daemon, pair, away)
        if packet is not None:
            assert is_marked(packet, "label", "scitags", EXPERIMENT, ACTIVITY), packet
            return
    raise AssertionError("the test never came in time")


def test_a_fin_that_comes_again(make_flowd, pair, directory, pin_path):
    """The flow is over when the answer to it leaves."""
    daemon = make_flowd(pair.near, base_config(directory, pin_path)).start()
    daemon.api = Api(pair.near)
    with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as connection, Frames(pair.far, "veth1") as there, \
            Frames(pair.near, "veth0") as back, pair.far.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind(("veth1", 0))
        key = ("tcp", Pair.NEAR, connection.sport, Pair.FAR, connection.port)
        daemon.api.post(event(*key[1:], EXPERIMENT, ACTIVITY, "tcp"))
        connection.connect()
        connection.exchange()
        connection.client.close()
        assert connection.server.recv(1) == b""
        connection.server.close()
        until(lambda: not flows_of(daemon, key), "the flow's end")
        before = len(of_flow(there.packets(), key))
        fin = next(one for one in back.frames() if one[54:56] == key[4].to_bytes(2, "big") and one[67] & 1)
        # Its sum was left to the device, and never made.
        blank = fin[54:70] + bytes(2) + fin[72:]
        raw.send(fin[:54] + blank[:16] + checksum_of(Pair.FAR, Pair.NEAR, socket.IPPROTO_TCP, blank).to_bytes(2, "big") +
                 blank[18:])
        until(lambda: len(of_flow(there.packets(), key)) > before, "the answer")
    sent = of_flow(there.packets(), key)
    assert all(is_marked(one, "label", "scitags", EXPERIMENT, ACTIVITY) for one in sent[:before])
    assert not is_marked(sent[before], "label", "scitags", EXPERIMENT, ACTIVITY)
    assert sent[before].payload[4:14] == sent[before - 1].payload[4:14]
