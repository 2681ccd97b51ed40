# SPDX-License-Identifier: Apache-2.0
"""Packets as fast as one CPU sends them, while the test does something else."""

import ctypes
import socket
import threading

from lab.traffic import Tcp

_BATCH = 32
_PAYLOAD = 32
_BLOCK = bytes(number * 31 % 251 for number in range(1 << 16))

_libc = ctypes.CDLL(None, use_errno=True)


class _Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class _Header(ctypes.Structure):
    _fields_ = [("name", ctypes.c_void_p), ("name_length", ctypes.c_uint32),
                ("vectors", ctypes.POINTER(_Vector)), ("vector_count", ctypes.c_size_t),
                ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t),
                ("flags", ctypes.c_int)]


class _Message(ctypes.Structure):
    _fields_ = [("header", _Header), ("length", ctypes.c_uint32)]


class Flood:
    """
    Datagrams from a connected socket, by sendmmsg(2) so that the interpreter is free meanwhile, each
    with its number in its first 8 bytes. `sent` is how many have left.
    """

    def __init__(self, sender, size=_PAYLOAD):
        self._sender = sender
        self._payloads = [(ctypes.c_uint64 * (size // 8))() for _ in range(_BATCH)]
        self._vectors = (_Vector * _BATCH)(*(
            _Vector(ctypes.addressof(one), size) for one in self._payloads))
        self._messages = (_Message * _BATCH)(*(
            _Message(_Header(vectors=ctypes.pointer(one), vector_count=1)) for one in self._vectors))
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._failure = None
        self.sent = 0

    def __enter__(self):
        self._sender.setblocking(True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        self._ending.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self):
        descriptor = self._sender.fileno()
        while not self._ending.is_set():
            for number, payload in enumerate(self._payloads, self.sent):
                payload[0] = number
            sent = _libc.sendmmsg(descriptor, self._messages, _BATCH, 0)
            if sent < 0:
                number = ctypes.get_errno()
                self._failure = OSError(number, f"sendmmsg: {number}")
                return
            self.sent += sent


class TcpFlood(Tcp):
    """A connection that carries a known pattern for as long as the block goes on."""

    def __init__(self, client, server, source, target):
        super().__init__(client, server, source, target)
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=one, daemon=True) for one in (self._send, self._take)]
        self.received = 0
        self.intact = True

    def begin(self):
        self.connect()
        for thread in self._threads:
            thread.start()

    def end(self):
        """Ends the transfer; all that was sent has then arrived."""
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def __exit__(self, *arguments):
        if self._threads[0].is_alive():
            self.end()
        super().__exit__(*arguments)

    def _send(self):
        while not self._ending.is_set():
            self.client.sendall(_BLOCK)
        self.client.shutdown(socket.SHUT_WR)

    def _take(self):
        buffer = bytearray(len(_BLOCK))
        twice = memoryview(_BLOCK * 2)
        while size := self.server.recv_into(buffer):
            at = self.received % len(_BLOCK)
            self.intact &= memoryview(buffer)[:size] == twice[at:at + size]
            self.received += size
        self.intact &= self.received % len(_BLOCK) == 0
