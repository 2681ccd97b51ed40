# SPDX-License-Identifier: Apache-2.0
"""Devices whose other end is a file descriptor of the test: tun and tap."""

import fcntl
import os
import select
import struct

import pytest

from lab.waiting import DEADLINE_S

_TUNSETIFF, _TUNSETLINK = 0x400454CA, 0x400454CD
_IFF_TUN, _IFF_TAP, _IFF_NO_PI = 0x1, 0x2, 0x1000


class Tun:
    """
    A device whose packets the test reads: without a link header (tun), or with Ethernet's (tap) and a
    neighbour at FAR that needs no discovery. It lives until close(), wherever it has been moved.
    """

    def __init__(self, space, name="tun0", tap=False, subnet="fd00:f17", link_type=None):
        self.NEAR, self.FAR = f"{subnet}::1", f"{subnet}::2"
        self.name, self._tap, self._space = name, tap, space
        if not os.path.exists("/dev/net/tun"):
            pytest.skip("there is no /dev/net/tun")
        with space.entered():
            self._file = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        flags = (_IFF_TAP if tap else _IFF_TUN) | _IFF_NO_PI
        try:
            fcntl.ioctl(self._file, _TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
            if link_type is not None:
                fcntl.ioctl(self._file, _TUNSETLINK, link_type)
            self.bring_up(space)
        except BaseException:
            os.close(self._file)
            raise

    def bring_up(self, space):
        """Its address is global, its state is up: also what is needed after a move."""
        space.ip("link", "set", self.name, "up")
        space.ip("address", "replace", self.NEAR + "/64", "dev", self.name, "nodad")
        if self._tap:
            space.ip("neighbour", "replace", self.FAR, "lladdr", "02:00:00:00:00:02", "dev", self.name)

    def close(self):
        os.close(self._file)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def frame(self, holding):
        """The next frame that holds these bytes, as an Ethernet frame."""
        while True:
            assert select.select([self._file], [], [], DEADLINE_S)[0], f"no packet with {holding!r}"
            frame = os.read(self._file, 1 << 17)
            if holding in frame:
                return frame if self._tap else bytes(12) + b"\x86\xdd" + frame

    def receive(self, holding):
        """(frame, flow label) of that frame."""
        frame = self.frame(holding)
        return frame, struct.unpack_from("!I", frame, 14)[0] & 0xFFFFF
