# SPDX-License-Identifier: Apache-2.0
"""What reads datagrams in a thread of its own: collectors, and servers that a test makes."""

import threading


class UdpServer:
    """
    Serves a bound socket inside a `with` block: take(datagram, sender) of a subclass has each datagram.
    What goes wrong there is raised at the end of the block, or by check() before.
    """

    def __init__(self, bound):
        self.socket = bound
        self.socket.settimeout(0.05)
        self._failure = None
        self._ending = False
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, kind, *_):
        self._ending = True
        self._thread.join()
        self.socket.close()
        if kind is None:
            self.check()

    def _serve(self):
        try:
            while not self._ending:
                try:
                    datagram, sender = self.socket.recvfrom(65536)
                except TimeoutError:
                    continue
                self.take(datagram, sender)
        except BaseException as failure:  # pylint: disable=broad-except
            self._failure = failure

    def check(self):
        if self._failure is not None:
            raise self._failure

    def take(self, datagram, sender):
        raise NotImplementedError
