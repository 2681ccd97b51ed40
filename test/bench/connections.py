# SPDX-License-Identifier: Apache-2.0
"""Connections for the benchmarks of what the kernel knows of flows."""

import subprocess

from lab.netns import Pair  # test/e2e is on the path of who imports this

_DEADLINE_S = 60


class Connections:
    """Idle TCP connections over a veth pair, see connections.c."""

    EACH, SOURCE_PORT, PORT = 15000, 20000, 5000

    def __init__(self, tools, pair, count):
        self._ends = []
        for space, arguments in (
                (pair.far, ("listen", Pair.FAR, self.PORT, count)),
                (pair.near, ("connect", Pair.FAR, self.PORT, count, Pair.NEAR, self.SOURCE_PORT))):
            end = subprocess.Popen(  # pylint: disable=consider-using-with
                space.command([tools / "connections", *map(str, arguments)]),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            self._ends.append(end)
            if end.stdout.readline() != "ready\n":
                self.close()
                raise SystemExit(f"{count} connections can't be made here")

    @classmethod
    def lines(cls, state, count):
        """Fifo lines for the first count of them."""
        return "".join(
            f"{state} tcp {Pair.NEAR} {cls.SOURCE_PORT + number % cls.EACH} {Pair.FAR} "
            f"{cls.PORT + number // cls.EACH} 2 17\n" for number in range(count))

    def close(self):
        for end in reversed(self._ends):
            end.stdin.close()
            end.wait(_DEADLINE_S)
            end.stdout.close()
