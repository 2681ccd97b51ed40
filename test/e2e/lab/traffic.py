# SPDX-License-Identifier: Apache-2.0
"""Traffic between two namespaces: iperf3, and plain sockets whose every packet is accounted for."""

import contextlib
import ctypes
import fcntl
import os
import signal
import socket
import struct
import subprocess
import termios
import threading

from lab.waiting import DEADLINE_S, until

_IPV6_FLOWINFO = 11
_SO_ATTACH_FILTER = 26  # socket(7)
_UDP_HEADER = 8
_CPU = 0


@contextlib.contextmanager
def on_one_cpu(cpu=_CPU):
    """
    The calling thread and the threads and programs it starts run on one CPU, so that what they send
    arrives in the order in which they sent it.
    """
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Iperf3:
    """A server in one namespace and a client in another; the data stream has a known client port."""

    def __init__(self, client, bind, server, address, port, client_port, udp=False, reverse=False,
                 rate="40M", log=None):
        self._log = open(log, "ab") if log else subprocess.DEVNULL
        self._server = server.popen(
            ["iperf3", "-s", "-1", "-p", port, "-B", address, "--forceflush"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        first = []
        while not any("listening" in text for text in first):
            text = self._server.stdout.readline()
            assert text, f"iperf3 server: {first}"
            first.append(text)
        self._reader = threading.Thread(target=self._server.stdout.read, daemon=True)
        self._reader.start()
        self._client_arguments = [
            "iperf3", "-c", address, "-B", bind, "-p", port, "--cport", client_port, "-t", "600", "-b", rate,
            *(["-u", "-l", "1200"] if udp else ["-l", "16K"]), *(["-R"] if reverse else [])]
        self._client_space = client
        self._client = None

    def begin(self):
        self._client = self._client_space.popen(
            self._client_arguments, stdout=self._log, stderr=self._log)
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in (self._client, self._server):
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(DEADLINE_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        self._reader.join(DEADLINE_S)
        self._server.stdout.close()
        if self._log != subprocess.DEVNULL:
            self._log.close()


def udp_socket(namespace, address, port=0):
    """A bound UDP socket. A receiver learns the flow label of what it gets, see receive_label()."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    one = namespace.socket(family, socket.SOCK_DGRAM)
    one.bind((address, port))
    one.settimeout(DEADLINE_S)
    if family == socket.AF_INET6:
        one.setsockopt(socket.IPPROTO_IPV6, _IPV6_FLOWINFO, 1)
    return one


def receive_label(receiver):
    """Receives one datagram: (payload, flow label)."""
    payload, ancillary, _, _ = receiver.recvmsg(65536, 256)
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_IPV6 and kind == _IPV6_FLOWINFO:
            return payload, struct.unpack("!I", data)[0] & 0xFFFFF
    return payload, 0  # the kernel gives no message for flow information zero


def receive_longer(receiver, size):
    """The kernel leaves out datagrams with a payload of up to so many bytes, before they take room."""
    load_length, jump_if_above = (0x28, 0, 0, 4), (0x25, 0, 1, _UDP_HEADER + size)
    accept, refuse = (0x06, 0, 0, 65535), (0x06, 0, 0, 0)
    program = ctypes.create_string_buffer(
        b"".join(struct.pack("HBBI", *one) for one in (load_length, jump_if_above, accept, refuse)))
    receiver.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", 4, ctypes.addressof(program)))


class Tcp:
    """A TCP connection between two namespaces, both ends in this process."""

    def __init__(self, client, server, source, target, sport=0, port=0):
        family = socket.AF_INET6 if ":" in source else socket.AF_INET
        self.listener = server.socket(family, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((target, port))
        self.listener.listen(1)
        self.client = client.socket(family, socket.SOCK_STREAM)
        self.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.client.bind((source, sport))
        self.source, self.sport = self.client.getsockname()[:2]
        self.target, self.port = self.listener.getsockname()[:2]
        self.server = None
        self.sent_by_client = self.sent_by_server = 0

    def abort(self):
        """Ends the connection by a reset from the server, which leaves both ends' ports free at once."""
        self.server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.server.close()
        try:
            self.client.recv(1)
        except ConnectionResetError:
            self.client.close()
        else:
            raise AssertionError("the connection goes on")

    def connect(self):
        self.client.settimeout(DEADLINE_S)
        self.client.connect((self.target, self.port))
        self.server, _ = self.listener.accept()
        self.server.settimeout(DEADLINE_S)
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for one in (self.client, self.server, self.listener):
            if one is not None:
                one.close()

    def exchange(self, size=100, reply=100):
        """Sends there and back and waits until every byte has been acknowledged."""
        self.client.sendall(b"a" * size)
        self._take(self.server, size)
        self.server.sendall(b"b" * reply)
        self._take(self.client, reply)
        self.sent_by_client += size
        self.sent_by_server += reply
        until(lambda: _unacknowledged(self.client) == 0 and _unacknowledged(self.server) == 0,
              "acknowledgements of a TCP exchange")

    @staticmethod
    def _take(one, size):
        while size:
            part = one.recv(size)
            assert part, "the connection was closed"
            size -= len(part)


def _unacknowledged(one):
    return struct.unpack("i", fcntl.ioctl(one, termios.TIOCOUTQ, bytes(4)))[0]


class Stream:
    """
    Numbered UDP datagrams, sent by a thread as fast as the receiver is meant to take them until the
    block ends. `sent` is how many have left.
    """

    def __init__(self, sender, target, port, pause=0.0005):
        self._sender, self._target, self._pause = sender, (target, port), pause
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.sent = 0

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ending.set()
        self._thread.join()

    def _run(self):
        while not self._ending.wait(self._pause):
            self._sender.sendto(struct.pack("!Q", self.sent), self._target)
            self.sent += 1


def number_of(packet):
    """The number of a Stream's packet as captured."""
    return struct.unpack_from("!Q", packet.payload)[0]
