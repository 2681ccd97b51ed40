# SPDX-License-Identifier: Apache-2.0
"""
The one way out of a network of its own: apt's archives, by HTTP at 127.0.0.1.

/N/PATH there is PATH of the Nth archive, fetched from the network in which the relay was made, with
the proxies and certificates of that environment. What is relayed is checked by apt: it is signed.
"""

import ctypes
import http.server
import os
import shutil
import subprocess
import threading
import urllib.error
import urllib.request

PORT = 3142
_CLONE_NEWNET = 0x40000000
_ASKED = ("Range", "If-Modified-Since", "If-Range", "User-Agent")
_ANSWERED = ("Content-Length", "Content-Type", "Content-Range", "Last-Modified", "ETag")
_TIMEOUT_S = 60


def _open(request):
    """The answer, also one that says no."""
    try:
        return urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as answer:
        return answer


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _TIMEOUT_S

    def do_GET(self):
        try:
            _, number, path = self.path.split("/", 2)
            address = f"{self.server.archives[int(number)].rstrip('/')}/{path.lstrip('/')}"
        except (ValueError, IndexError):
            self.send_error(404)
            return
        headers = {name: self.headers[name] for name in _ASKED if name in self.headers}
        try:
            answer = _open(urllib.request.Request(address, headers=headers))
        except OSError as problem:
            self.send_error(502, str(problem))
            return
        with answer:
            self.send_response(answer.status)
            for name in _ANSWERED:
                if name in answer.headers:
                    self.send_header(name, answer.headers[name])
            if "Content-Length" not in answer.headers and answer.status != 304:
                self.send_header("Connection", "close")
            self.end_headers()
            shutil.copyfileobj(answer, self.wfile)

    def log_message(self, *_):
        """Nothing: apt says what it gets."""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """Nothing: a connection that breaks is apt's to try again."""


def _proxies_of_apt():
    """The proxies and certificates that apt is told of, for those who read the environment."""
    for key, name in (("Acquire::http::Proxy", "http_proxy"), ("Acquire::https::Proxy", "https_proxy"),
                      ("Acquire::https::CaInfo", "SSL_CERT_FILE")):
        shown = subprocess.run(["apt-config", "shell", "value", key], capture_output=True, text=True, check=False)
        value = shown.stdout.strip().removeprefix("value=").strip("'")
        if value and value != "DIRECT" and name not in os.environ:
            os.environ[name] = value


class Relay:
    """
    Its threads stay in the network in which it was made; enter_new_network() takes the calling
    thread, and what it starts from then on until the relay ends, to another, where the relay listens.
    """

    def __init__(self, archives):
        self._archives = archives
        self._server = None
        self._network = None
        self._listening = threading.Event()
        _proxies_of_apt()

    def __enter__(self):
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def _serve(self):
        self._listening.wait()
        if self._server is not None:
            self._server.serve_forever()

    def enter_new_network(self):
        libc = ctypes.CDLL(None, use_errno=True)
        self._network = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        if libc.unshare(_CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "no network of its own can be made")
        self._server = _Server(("127.0.0.1", PORT), _Handler)
        self._server.archives = self._archives
        self._listening.set()

    def __exit__(self, *_):
        self._listening.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        if self._network is not None:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.setns(self._network, _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "no way back into the network of before")
            os.close(self._network)
