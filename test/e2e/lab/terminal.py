# SPDX-License-Identifier: Apache-2.0
"""A program on a terminal of its own, and what it shows there."""

import fcntl
import os
import pty
import re
import select
import struct
import termios
import threading

from lab.flowd_process import sanitizer_environment, sanitizer_findings
from lab.waiting import DEADLINE_S, until

LEAVE = b"\033[?1049l"
_ESCAPE = re.compile(rb"\033\[[0-9;?]*[@-~]")


class Terminal:
    """
    The program is the terminal's foreground job: it hears of changes of size and of Ctrl-C. What it
    writes is read at all times, so that it never waits for this process.
    """

    def __init__(self, namespace, directory, *command, lines=24, columns=100):
        self._main, side = pty.openpty()
        self._directory = directory
        self.resize(lines, columns)
        self._side, self._shown = side, b""
        self.before = termios.tcgetattr(side)
        self.process = namespace.popen(
            command, stdin=side, stdout=side, stderr=side, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env={**os.environ, "TERM": "xterm", **sanitizer_environment(directory)})
        self._ending = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.hang_up()
        if kind is None:
            assert not (findings := sanitizer_findings(self._directory)), findings

    def _read(self):
        while not self._ending:
            if select.select([self._main], [], [], 0.05)[0]:
                try:
                    self._shown += os.read(self._main, 65536)
                except OSError:
                    return

    def hang_up(self):
        """The terminal goes away."""
        if self._main < 0:
            return
        self._ending = True
        self._thread.join(DEADLINE_S)
        os.close(self._side)
        os.close(self._main)
        self._main = -1

    def resize(self, lines, columns):
        fcntl.ioctl(self._main, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, keys):
        os.write(self._main, keys)

    def settings(self):
        return termios.tcgetattr(self._side)

    def shown(self):
        """Everything so far, as it was written."""
        return self._shown

    def screen(self):
        """The last screen that was drawn, as lines without escape sequences."""
        whole = self._shown.rpartition(b"\033[J")[0].rpartition(b"\033[H")[2]
        return _ESCAPE.sub(b"", whole).decode().replace("\r", "").split("\n")

    def wait_screen(self, check, what):
        """Waits until check(lines of the screen) is true and returns the lines."""
        return until(lambda: check(lines := self.screen()) and lines,
                     lambda: what + "; the screen is\n" + "\n".join(self.screen()))

    def wait_exit(self):
        """Its exit status, after the terminal was given back."""
        until(lambda: self.process.poll() is not None, "the program's end")
        return self.process.returncode
