# SPDX-License-Identifier: Apache-2.0
"""How flowctl speaks HTTP: whom it asks, and what it makes of answers that flowd would not give."""

import contextlib
import socket
import struct
import threading

import pytest

from lab.flowd_process import FLOWCTL, one_shot

JSON = b'{"experiments": []}'
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(JSON), JSON)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Server:
    """Reads the head of each request, and answers all with the same bytes, whatever they are."""

    def __init__(self, family, address, said, reset=False):
        self.said, self.reset = said, reset
        self.requests = []
        self.listener = socket.create_server(address, family=family)
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def port(self):
        return self.listener.getsockname()[1]

    def _serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            with client, contextlib.suppress(OSError):
                request = b""
                while b"\r\n\r\n" not in request:
                    request += client.recv(65536)
                self.requests.append(request.decode())
                client.sendall(self.said)
                if self.reset:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()


@pytest.fixture
def server(directory):
    with contextlib.ExitStack() as stack:
        def make(said=GOOD, family=socket.AF_UNIX, address=None, **options):
            made = Server(family, str(directory / "socket") if address is None else address, said, **options)
            stack.callback(made.close)
            return made

        yield make


@pytest.fixture
def registry(directory):
    """Asks for the registry: a request whose answer is one of the shortest."""
    def run(*options, environment=None):
        return one_shot(directory, *(options or ("--unix", directory / "socket")), "registry", program=FLOWCTL,
                        environment=environment)

    return run


@pytest.mark.parametrize("said", [
    GOOD,
    b"HTTP/1.0 200 OK\r\n\r\n" + JSON,
    b"HTTP/1.1 200 OK\r\n\r\n" + JSON,
    CHUNKED + b'5\r\n{"exp\r\ne\r\neriments": []}\r\n0\r\n\r\n',
    CHUNKED + b'5\r\n{"exp\r\ne\r\neriments": []}\r\n0\r\nX: y\r\n\r\n',
    b"HTTP/1.1 100 Continue\r\n\r\n" + GOOD,
])
def test_proper_answers(server, registry, said):
    server(said)
    done = registry()
    assert done.returncode == 0 and done.stdout.startswith("EXPERIMENT"), done


@pytest.mark.parametrize("said,words", [
    (b"", "the answer ends in the middle"),
    (b"HTTP/1.1 200 OK\r\nContent-Le", "the answer ends in the middle"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n", "the answer ends in the middle"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{}", "the answer ends in the middle"),
    (CHUNKED + b"5\r\n{}", "the answer ends in the middle"),
    (CHUNKED + b"zz\r\n{}", "the answer is not proper HTTP"),
    (b"SSH-2.0-OpenSSH_9.2\r\n", "the answer is not proper HTTP"),
    (JSON, "the answer is not proper HTTP"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", "status 200 and no JSON: not flowd's API?"),
])
def test_no_flowd(server, registry, said, words):
    """3, with what is wrong and a question that may help."""
    server(said)
    done = registry()
    assert done.returncode == 3 and done.stderr.startswith(f"flowctl: {words}\n"), done
    assert "does flowd run, with plugins.api.socketPath" in done.stderr


def test_reset(server, registry):
    made = server(b"HTTP/1.1 200", reset=True, family=socket.AF_INET, address=("127.0.0.1", 0))
    done = registry("--url", f"http://127.0.0.1:{made.port()}")
    assert done.returncode == 3 and "receive: Connection reset by peer" in done.stderr, done


def test_an_answer_without_end(server, registry, directory):
    """It is read up to a limit, and not until the memory is full."""
    server(b"HTTP/1.1 200 OK\r\nContent-Length: 300000000\r\n\r\n" + bytes(300000000))
    done = registry()
    assert done.returncode == 3 and "the answer is not proper HTTP" in done.stderr, done


def test_no_redirect_is_followed(server, registry, directory):
    other = server(family=socket.AF_INET, address=("127.0.0.1", 0))
    server(f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{other.port()}/\r\n"
           "Content-Length: 23\r\n\r\n{\"detail\": \"elsewhere\"}".encode())
    done = registry()
    assert done.returncode == 1 and done.stderr == "flowctl: elsewhere\n", done
    assert not other.requests


def test_no_proxy_is_asked(server, registry):
    """Nor does a file with passwords count."""
    proxy = server(family=socket.AF_INET, address=("127.0.0.1", 0))
    made = server(family=socket.AF_INET, address=("127.0.0.1", 0))
    where = f"http://127.0.0.1:{proxy.port()}"
    environment = {name: where for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")}
    done = registry("--url", f"http://127.0.0.1:{made.port()}", environment={**environment, "no_proxy": ""})
    assert done.returncode == 0 and len(made.requests) == 1 and not proxy.requests, done
    assert "Authorization" not in made.requests[0]


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "127.0.0.1:{}/", "localhost:{}", "[::ffff:127.0.0.1]:{}"])
def test_addresses(server, registry, form):
    made = server(family=socket.AF_INET, address=("127.0.0.1", 0))
    authority = form.format(made.port())
    done = registry("--url", f"http://{authority}")
    assert done.returncode == 0, done
    assert f"\r\nHost: {authority.rstrip('/')}\r\n" in made.requests[0]


@pytest.mark.parametrize("url", ["https://127.0.0.1", "127.0.0.1:7777", "http://", "http://127.0.0.1/x",
                                 "http://example.org", "http://127.0.0.1:0", "http://a@127.0.0.1"])
def test_no_addresses(registry, url):
    done = registry("--url", url)
    assert done.returncode == 2 and done.stderr.startswith("flowctl: "), done


def test_without_libcurl(registry, directory):
    """It is named, with the package that has it; what asks nobody needs none."""
    (directory / "libcurl.so.4").write_text("no library")
    environment = {"LD_LIBRARY_PATH": str(directory)}
    done = registry(environment=environment)
    assert done.returncode == 3 and "install libcurl4 (Debian) or libcurl (EL)" in done.stderr, done
    assert "does flowd run" not in done.stderr
    assert one_shot(directory, "--version", program=FLOWCTL, environment=environment).returncode == 0
