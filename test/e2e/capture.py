"""
Captures IPv6 packets where they arrive, with a packet socket that is listening before start()
returns, and that tells how many packets the kernel had no room for.
"""

import collections
import socket
import struct
import threading

from waiting import until

_ETH_P_IPV6 = 0x86DD
_SOL_PACKET, _PACKET_STATISTICS, _PACKET_OUTGOING = 263, 6, 4
_SO_RCVBUFFORCE = 33
_ROOM = 512 << 20

Packet = collections.namedtuple("Packet", "src sport dst dport protocol label length payload")


class Capture:
    """
    Packets that arrive at an interface (not those that leave it), oldest first. Only TCP and UDP;
    `payload` is the first bytes behind the UDP header, b"" for TCP.
    """

    def __init__(self, namespace, interface):
        self._interface = interface
        with namespace.entered():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_IPV6))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _ROOM)
        self._socket.bind((interface, _ETH_P_IPV6))
        self._socket.settimeout(0.05)
        self._packets = []
        self._ending = False
        self._failure = None
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ending = True
        self._thread.join()
        statistics = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        self._socket.close()
        if self._failure is not None:
            raise self._failure
        received, dropped = struct.unpack("II", statistics)
        assert dropped == 0, f"the capture lost {dropped} of {received} packets"

    def _read(self):
        buffer = bytearray(160)
        packets = self._packets
        try:
            while not self._ending:
                try:
                    size, address = self._socket.recvfrom_into(buffer)
                except TimeoutError:
                    continue
                if address[2] != _PACKET_OUTGOING:
                    packet = _dissect(buffer, size)
                    if packet is not None:
                        packets.append(packet)
        except Exception as failure:  # pylint: disable=broad-except
            self._failure = failure

    def __len__(self):
        return len(self._packets)

    def packets(self, since=0):
        return self._packets[since:]

    def wait(self, condition, what, since=0):
        """Waits for a packet that fulfils the condition; returns the index behind it."""
        position = since

        def found():
            nonlocal position
            while position < len(self._packets):
                position += 1
                if condition(self._packets[position - 1]):
                    return position
            return 0

        return until(found, lambda: f"{what} among {len(self._packets) - since} captured packets")


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
