# SPDX-License-Identifier: Apache-2.0
"""
Captures what arrives at an interface with a packet socket that is listening before the `with` block
begins, and that tells how much the kernel had no room for.
"""

import collections
import select
import socket
import struct
import threading

from lab.waiting import until

_ETH_P_IPV6 = 0x86DD
_SOL_PACKET, _PACKET_STATISTICS, _PACKET_OUTGOING = 263, 6, 4
_SO_RCVBUFFORCE = 33
_ROOM = 512 << 20
_BATCH = 64

Packet = collections.namedtuple("Packet", "src sport dst dport protocol label length payload")


class Arrivals:
    """
    What arrives at an interface (not what leaves it) inside the `with` block, oldest first. A thread
    reads it; whoever asks reads first what the thread has not come to, so that everything is there
    that had arrived when he asked.
    """

    def __init__(self, namespace, interface, protocol, size):
        with namespace.entered():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _ROOM)
        self.prepare(self._socket)
        self._socket.bind((interface, protocol))
        self._socket.setblocking(False)
        self._buffer = bytearray(size)
        self._arrived = []
        self._lock = threading.Lock()
        self._ending = False
        self._failure = None
        self._thread = threading.Thread(target=self._read, daemon=True)

    def prepare(self, one):
        """What the socket needs beside, before it is bound."""

    def item(self, data, ancillary):
        """What is kept of a frame; None: nothing."""
        raise NotImplementedError

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ending = True
        self._thread.join()
        self.arrived()
        statistics = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        self._socket.close()
        if self._failure is not None:
            raise self._failure
        received, dropped = struct.unpack("II", statistics)
        assert dropped == 0, f"the capture lost {dropped} of {received} packets"

    def _take_one(self):
        """Whether there was one."""
        try:
            size, ancillary, _, address = self._socket.recvmsg_into([self._buffer], 64)
        except BlockingIOError:
            return False
        if address[2] != _PACKET_OUTGOING:
            item = self.item(memoryview(self._buffer)[:size], ancillary)
            if item is not None:
                self._arrived.append(item)
        return True

    def _read(self):
        try:
            while not self._ending:
                select.select([self._socket], [], [], 0.05)
                with self._lock:
                    for _ in range(_BATCH):
                        if not self._take_one():
                            break
        except Exception as failure:  # pylint: disable=broad-except
            self._failure = failure

    def arrived(self):
        """All items up to this moment; the list grows on."""
        with self._lock:
            while self._socket.fileno() >= 0 and self._take_one():
                pass
        return self._arrived

    def __len__(self):
        return len(self.arrived())

    def wait(self, condition, what, since=0):
        """Waits for an item that fulfils the condition; returns the index behind it."""
        position = since

        def found():
            nonlocal position
            items = self.arrived()
            while position < len(items):
                position += 1
                if condition(items[position - 1]):
                    return position
            return 0

        return until(found, lambda: f"{what} among {len(self._arrived) - since} captured packets")


class Capture(Arrivals):
    """
    IPv6 packets. Only TCP and UDP; `payload` is the first bytes behind the UDP header, b"" for TCP.
    """

    def __init__(self, namespace, interface):
        super().__init__(namespace, interface, _ETH_P_IPV6, 160)

    def item(self, data, ancillary):
        return _dissect(data, len(data))

    def packets(self, since=0):
        return self.arrived()[since:]


def _dissect(buffer, size):
    """The frame's fields, or None for what is neither TCP nor UDP right behind the IPv6 header."""
    if size < 14 + 40 + 8 or buffer[20] not in (socket.IPPROTO_TCP, socket.IPPROTO_UDP):
        return None
    first_word, length = struct.unpack_from("!IH", buffer, 14)
    sport, dport = struct.unpack_from("!HH", buffer, 54)
    udp = buffer[20] == socket.IPPROTO_UDP
    return Packet(
        socket.inet_ntop(socket.AF_INET6, buffer[22:38]), sport,
        socket.inet_ntop(socket.AF_INET6, buffer[38:54]), dport,
        "udp" if udp else "tcp", first_word & 0xFFFFF, length,
        bytes(buffer[62:min(size, len(buffer))]) if udp else b"",
    )
