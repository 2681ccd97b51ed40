# SPDX-License-Identifier: Apache-2.0
"""flowd's flow map as ebpf/marker.h describes it, read (and meddled with) through its pins."""

import array
import mmap
import os
import socket
import struct

from lab.kernel_bpf import get_pinned, map_info

_PROTOCOLS = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP}
_SLOTS, _LINE_WORDS, _VALUE_BITS = 5, 8, 24
_HASH, _WORD, _CHECK = range(3)
_SUMS, _SEEDS = 3, 11
_MASK = (1 << 64) - 1


def _map(path, write):
    """The map behind a pin, mapped."""
    pin = get_pinned(path)
    try:
        about = map_info(pin)
        length = about["value_size"] * about["max_entries"]
        return mmap.mmap(pin, length, mmap.MAP_SHARED, mmap.PROT_READ | (mmap.PROT_WRITE if write else 0))
    finally:
        os.close(pin)


def _words(address):
    return struct.unpack("=4I", socket.inet_pton(socket.AF_INET6, address))


class FlowMap:
    """The entries at this moment. Two of them are equal if the same marks are in them."""

    def __init__(self, pin_path, write=False):
        shared = _map(pin_path / "shared", False)
        self._geometry, = struct.unpack_from("=Q", shared)
        numbers = struct.unpack_from(f"={_SUMS * _SEEDS + 2}Q", shared, 8)
        self._seeds = [numbers[at * _SEEDS:(at + 1) * _SEEDS] for at in range(_SUMS)]
        self._with_source = numbers[-2] & 4
        self._lines, self._bitmap = (_map(pin_path / name, write) for name in ("flows", "bitmap"))
        self._entries = None

    def _key(self, dst, sport, dport, protocol):
        assert not self._with_source, "what is asked for has no source address"
        words = _words(dst)
        ports, = struct.unpack("=I", struct.pack("!HH", sport, dport))
        number = _PROTOCOLS[protocol]
        sums = [(seeds[0] + sum((seeds[at] + one) * (seeds[at + 1] + other)
                                for at, (one, other) in
                                zip((1, 3, 5), (words[:2], words[2:], (ports, number))))) & _MASK
                for seeds in self._seeds]
        hashed = ((sums[_HASH] ^ sums[_HASH] >> 32) * 0xc2b2ae3d27d4eb4f & _MASK) >> 32
        return hashed, hashed >> 26 << 34 | sums[_WORD] >> 30, sums[_CHECK] >> 32

    def _bucket(self, hashed):
        buckets, order = self._geometry & 0xffffffff, self._geometry >> 32 & 31
        at = hashed & ((1 << order) - 1)
        return at if at < buckets else at & ((1 << order) - 1) >> 1

    def _read(self):
        """{(tag, check): mark} of all buckets and the lines that go on with them."""
        if self._entries is None:
            numbers = array.array("Q", bytes(self._lines))
            self._entries = {}
            for bucket in range(self._geometry & 0xffffffff):
                line = bucket
                while True:
                    at = line * _LINE_WORDS
                    if any(numbers[at:at + _SLOTS]):
                        checks = struct.unpack_from("=5I", self._lines, line * 64 + 8 * _SLOTS)
                        for word, check in zip(numbers[at:at + _SLOTS], checks):
                            if word:
                                self._entries[word >> _VALUE_BITS, check] = word & 0xffffff
                    line = numbers[at + 7] >> 32
                    if line == 0:
                        break
        return self._entries

    def get(self, key):
        """The mark of packets to (dst, sport, dport, protocol), None: they have none."""
        _, tag, check = self._key(*key)
        return self._read().get((tag, check))

    def __getitem__(self, key):
        mark = self.get(key)
        assert mark is not None, key
        return mark

    def __contains__(self, key):
        return self.get(key) is not None

    def __len__(self):
        return len(self._read())

    def __eq__(self, other):
        return sorted(self._read().values()) == sorted(other._read().values())

    def add(self, dst, sport, dport, protocol, mark):
        """
        Adds an entry behind flowd's back, as a crash between two steps might leave one: for this source
        port or the next one whose bucket has room.
        """
        while True:
            hashed, tag, check = self._key(dst, sport, dport, protocol)
            line = self._bucket(hashed)
            words = struct.unpack_from(f"={_SLOTS}Q", self._lines, line * 64)
            if 0 in words:
                break
            sport += 1
        slot = words.index(0)
        bits, = struct.unpack_from("=Q", self._bitmap, line * 8)
        struct.pack_into("=Q", self._bitmap, line * 8, bits | 1 << (hashed >> 26))
        struct.pack_into("=I", self._lines, line * 64 + 8 * _SLOTS + 4 * slot, check)
        struct.pack_into("=Q", self._lines, line * 64 + 8 * slot, tag << _VALUE_BITS | mark)

    def lead_nowhere(self, line):
        """A line says that its bucket goes on in a line that there isn't; its entries stay."""
        struct.pack_into("=I", self._lines, line * 64 + 60, 0xffffffff)
