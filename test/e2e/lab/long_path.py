# SPDX-License-Identifier: Apache-2.0
"""Two namespaces far apart: a path whose delay and losses the test decides on, packet by packet."""

import os
import select
import threading
import time

from lab.devices import Tun
from lab.netns import Namespace


class _End(Tun):
    def __init__(self, space, address):
        self._address = address
        super().__init__(space)

    def bring_up(self, space):
        space.ip("link", "set", self.name, "up")
        space.ip("address", "replace", self._address + "/64", "dev", self.name, "nodad")

    def fileno(self):
        return self._file

    def read(self):
        return os.read(self._file, 1 << 17)

    def write(self, packet):
        os.write(self._file, packet)


class LongPath:
    """
    `near` and `far` with a one-way delay between them. `judge(packet)` says for each packet from near
    how many seconds it takes in addition, or None: it is lost.
    """

    NEAR, FAR = "fd00:f30::1", "fd00:f30::2"

    def __init__(self, delay_s, judge=lambda packet: 0):
        self._delay_s, self._judge, self._ending = delay_s, judge, False
        self.near, self.far = Namespace(), Namespace()
        self._ends = [_End(self.near, self.NEAR), _End(self.far, self.FAR)]
        self._under_way = []
        self._thread = threading.Thread(target=self._carry, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ending = True
        self._thread.join()
        for end in self._ends:
            end.close()
        self.near.remove()
        self.far.remove()

    def _carry(self):
        while not self._ending:
            due = min((one[0] for one in self._under_way), default=time.monotonic() + 0.05)
            for end in select.select(self._ends, [], [], max(0, due - time.monotonic()))[0]:
                self._take(end)
            self._deliver()

    def _take(self, end):
        packet, extra_s = end.read(), 0
        if end is self._ends[0]:
            extra_s = self._judge(packet)
            if extra_s is None:
                return
        self._under_way.append((time.monotonic() + self._delay_s + extra_s, end, packet))

    def _deliver(self):
        now = time.monotonic()
        for due, end, packet in [one for one in self._under_way if one[0] <= now]:
            self._under_way.remove((due, end, packet))
            self._ends[end is self._ends[0]].write(packet)
