# SPDX-License-Identifier: Apache-2.0
"""A file sent over a TCP connection whose every byte is compared at the other end."""

import collections
import hashlib
import json
import os
import socket
import struct
import subprocess
import threading

from lab.traffic import Tcp
from lab.waiting import DEADLINE_S

# Sent at this pace nothing on the way overflows: what is sent again is sent again for a reason.
PACE_BYTES = 60_000_000
_SO_MAX_PACING_RATE = 47
_TOTAL_RETRANSMISSIONS_AT = 100  # in struct tcp_info

Sent = collections.namedtuple("Sent", "key retransmissions received")


def make_file(path, size):
    path.write_bytes(os.urandom(size))
    return path


def retransmissions(one):
    """Segments that the kernel has sent more than once on a connected socket."""
    return struct.unpack_from("=I", one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104),
                              _TOTAL_RETRANSMISSIONS_AT)[0]


def ended(packets, key):
    """Whether the captured packets hold the last one that send_file()'s connection sends."""
    flow = [one for one in packets if (one.protocol, one.src, one.sport, one.dst, one.dport) == key]
    fins = [number for number, one in enumerate(flow) if one.payload[13] & 1]
    return bool(fins) and fins[0] + 1 < len(flow)  # the acknowledgement of the other end's


def send_file(path, client, server, source, target, announce=None, prepare=None, pace=PACE_BYTES):
    """
    Sends the file from one namespace to another, its pages as they are in memory, and compares what
    arrives. The connection's key is given to `announce` before it is made, its two sockets (the
    listening one for the server's) to `prepare`.
    """
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    with Tcp(client, server, source, target) as connection:
        key = ("tcp", source, connection.sport, target, connection.port)
        if pace is not None:
            connection.client.setsockopt(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, pace)
        if prepare is not None:
            prepare(connection.client, connection.listener)
        if announce is not None:
            announce(key)
        connection.connect()
        arrived = _Arrival(connection.server)
        with open(path, "rb") as file:
            connection.client.sendfile(file)
        connection.client.shutdown(socket.SHUT_WR)
        assert arrived.digest() == expected, "the file arrived with other bytes"
        return Sent(key, retransmissions(connection.client), path.stat().st_size)


class _Arrival:
    """Reads a connection to its end in a thread of its own."""

    def __init__(self, connected):
        self._connected, self._failure = connected, None
        self._hash = hashlib.sha256()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        try:
            while part := self._connected.recv(1 << 20):
                self._hash.update(part)
        except OSError as failure:
            self._failure = failure

    def digest(self):
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive(), "the end of the file does not arrive"
        if self._failure is not None:
            raise self._failure
        return self._hash.hexdigest()


def send_iperf3(client, server, source, target, sport, announce=None, size=3 << 20, rate="400M"):
    """
    One iperf3 run whose data stream has a known port. Its end drops what the sockets still hold, so
    that they are kept small. From 3.16 on it looks once an interval whether size is reached.
    """
    with server.popen(["iperf3", "-s", "-1", "-B", target, "--forceflush"],
                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as listening:
        try:
            while "listening" not in (text := listening.stdout.readline()):
                assert text, "iperf3 does not listen"
            key = ("tcp", source, sport, target, 5201)
            if announce is not None:
                announce(key)
            report = json.loads(client.run(
                "iperf3", "-J", "-c", target, "-B", source, "--cport", sport, "-n", size, "-b", rate,
                "-i", "0.1", "-l", "64K", "-w", "256K", timeout=DEADLINE_S).stdout)
            listening.wait(DEADLINE_S)
        finally:
            if listening.poll() is None:
                listening.kill()
    sent = report["end"]["sum_sent"]
    assert sent["bytes"] >= size, report["end"]
    return Sent(key, sent["retransmits"], report["end"]["sum_received"]["bytes"])
