# SPDX-License-Identifier: Apache-2.0
"""
Hands descriptors over to a program as a service manager does: hand_over.py FD:NAME... -- PROGRAM...
puts them at 3 and on, says so in the environment, and becomes the program. "FD:" has no name; where
no descriptor has one, no names are given.
"""

import fcntl
import os
import sys

_FIRST = 3


def main():
    end = sys.argv.index("--")
    pairs = [one.partition(":")[::2] for one in sys.argv[1:end]]
    # Out of the way first: they may be where others belong.
    moved = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, _FIRST + 100) for fd, _ in pairs]
    for number, fd in enumerate(moved):
        os.dup2(fd, _FIRST + number, inheritable=True)
        os.close(fd)
    for fd in range(_FIRST + len(moved), _FIRST + 100):
        try:
            os.close(fd)
        except OSError:
            pass
    environment = {**os.environ, "LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(moved))}
    names = [name for _, name in pairs]
    if any(names):
        environment["LISTEN_FDNAMES"] = ":".join(names)
    os.execve(sys.argv[end + 1], sys.argv[end + 1:], environment)


main()
