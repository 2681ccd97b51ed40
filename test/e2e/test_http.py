# SPDX-License-Identifier: Apache-2.0
"""HTTP as it arrives from the wire: framing, limits, and what no client library would send."""

import json
import re
import socket

import pytest

from lab.api_client import Api, connect, event
from lab.waiting import DEADLINE_S, until

BODY = json.dumps(event("2001:db8::1", 1, "2001:db8::2", 2)).encode()


def head(*lines, method=b"POST", target=b"/v1/flows", version=b"HTTP/1.1", host=b"Host: localhost",
         json_type=True):
    """A request's head from its lines, with nothing put right."""
    fields = [host] if host else []
    if json_type:
        fields.append(b"Content-Type: application/json")
    return b"\r\n".join([method + b" " + target + b" " + version, *fields, *lines, b"", b""])


GET = head(method=b"GET", target=b"/healthz", json_type=False)
GOOD = head(b"Content-Length: %d" % len(BODY)) + BODY


class Raw:
    """A connection on which a test writes bytes and reads answers one by one."""

    def __init__(self, namespace, port=7777):
        self.stream = connect(namespace, port=port)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()

    def send(self, data):
        """Sends, whatever the other side has closed meanwhile."""
        try:
            self.stream.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def fill(self):
        try:
            part = self.stream.recv(65536)
        except ConnectionResetError:
            part = b""
        self.buffer += part
        return bool(part)

    def answer(self):
        """The next answer: (status, headers, body), or None if the connection has ended."""
        while b"\r\n\r\n" not in self.buffer:
            if not self.fill():
                assert self.buffer == b"", self.buffer
                return None
        top, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        status = re.match(rb"HTTP/1\.[01] (\d{3}) ", top)
        assert status, top
        headers = {name.strip().lower(): value.strip() for name, _, value in
                   (line.partition(b":") for line in top.split(b"\r\n")[1:])}
        if headers.get(b"transfer-encoding") == b"chunked":
            return int(status[1]), headers, None  # it has been served: nobody reads further
        length = int(headers.get(b"content-length", b"0"))
        while len(self.buffer) < length:
            assert self.fill(), "an answer was cut short"
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return int(status[1]), headers, body

    def closed(self):
        """True if nothing but the end of the connection comes."""
        answer = self.answer()
        assert answer is None, answer
        return True


def healthy(namespace):
    """Another client is served as ever."""
    api = Api(namespace)
    assert api.get("/healthz").status == 200
    api.close()
    return True


BAD_FRAMING = {
    "bare LF behind the request line": GOOD.replace(b"\r\n", b"\n", 1),
    "bare LF behind a field": GOOD.replace(b"localhost\r\n", b"localhost\n"),
    "bare LF for the empty line": GOOD.replace(b"\r\n\r\n", b"\r\n\n"),
    "LF only": GOOD.replace(b"\r\n", b"\n"),
    "bare CR behind a field": GOOD.replace(b"localhost\r\n", b"localhost\r"),
    "bare CR in a value": GOOD.replace(b"localhost", b"local\rhost"),
    "NUL in a value": GOOD.replace(b"localhost", b"local\0host"),
    "blank before a colon": GOOD.replace(b"Content-Length:", b"Content-Length :"),
    "tab before a colon": GOOD.replace(b"Content-Length:", b"Content-Length\t:"),
    "blank before the first field": GOOD.replace(b"Host:", b" Host:"),
    "folding": head(b"X-Long: one", b" two", b"Content-Length: %d" % len(BODY)) + BODY,
    "folding with a tab": head(b"X-Long: one", b"\ttwo", b"Content-Length: %d" % len(BODY)) + BODY,
    "field without a colon": head(b"nonsense", b"Content-Length: %d" % len(BODY)) + BODY,
    "empty field name": head(b": value", b"Content-Length: %d" % len(BODY)) + BODY,
    "length and coding": head(b"Content-Length: %d" % len(BODY), b"Transfer-Encoding: chunked")
    + b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY),
    "coding and length": head(b"Transfer-Encoding: chunked", b"Content-Length: %d" % len(BODY))
    + b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY),
    "two lengths": head(b"Content-Length: %d" % len(BODY), b"Content-Length: 5") + BODY,
    "two equal lengths": head(*[b"Content-Length: %d" % len(BODY)] * 2) + BODY,
    "list of lengths": head(b"Content-Length: 5, 5") + BODY,
    "negative length": head(b"Content-Length: -1") + BODY,
    "length with a sign": head(b"Content-Length: +%d" % len(BODY)) + BODY,
    "hexadecimal length": head(b"Content-Length: 0x10") + BODY,
    "length that wraps": head(b"Content-Length: %d" % (2**64 + len(BODY))) + BODY,
    "empty length": head(b"Content-Length:") + BODY,
    "unknown coding": head(b"Transfer-Encoding: gzip") + BODY,
    "chunked not last": head(b"Transfer-Encoding: chunked, gzip") + b"0\r\n\r\n",
    "two codings": head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity")
    + b"0\r\n\r\n",
    "chunk size with a sign": head(b"Transfer-Encoding: chunked") + b"+5\r\nhello\r\n0\r\n\r\n",
    "chunk size not a number": head(b"Transfer-Encoding: chunked") + b"zz\r\nhello\r\n0\r\n\r\n",
    "chunk size that wraps": head(b"Transfer-Encoding: chunked")
    + b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "chunk longer than it says": head(b"Transfer-Encoding: chunked") + b"3\r\nhello\r\n0\r\n\r\n",
    "bare LF behind a chunk size": head(b"Transfer-Encoding: chunked") + b"5\nhello\r\n0\r\n\r\n",
    "bare LF behind a chunk": head(b"Transfer-Encoding: chunked") + b"5\r\nhello\n0\r\n\r\n",
    "no version": b"GET /healthz\r\n\r\n",
    "version 2.0": GET.replace(b"HTTP/1.1", b"HTTP/2.0"),
    "version 1.x": GET.replace(b"HTTP/1.1", b"HTTP/1.x"),
    "blanks in the request line": GET.replace(b"GET /", b"GET  /x /"),
    "unknown method": GET.replace(b"GET", b"FETCH"),
    "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64) + b"\r\n\r\n",
    "no host": head(b"Content-Length: %d" % len(BODY), host=None) + BODY,
    "chunk size with a blank behind it": head(b"Transfer-Encoding: chunked")
    + b"5 \r\nhello\r\n0\r\n\r\n",
    "chunk extension without a name": head(b"Transfer-Encoding: chunked")
    + b"5;\r\nhello\r\n0\r\n\r\n",
    "chunk extension with an open quote": head(b"Transfer-Encoding: chunked")
    + b'5;a="b\r\nhello\r\n0\r\n\r\n',
    "chunk extension with text behind its value": head(b"Transfer-Encoding: chunked")
    + b'5;a="b"c\r\nhello\r\n0\r\n\r\n',
    "length and coding with tabs": head(b"Content-Length: %d\t" % len(BODY),
                                        b"Transfer-Encoding:\tchunked\t")
    + b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY),
    "tab in a length": head(b"Content-Length: 1\t%d" % len(BODY)) + BODY,
    "bare LF before the request": b"\n" + GOOD,
    "bare CR before the request": b"\r" + GOOD,
    "many empty lines before the request": b"\r\n" * 100 + GOOD,
    "two hosts": head(b"Host: localhost", b"Content-Length: %d" % len(BODY)) + BODY,
}


def test_bad_framing(plain, single):
    """400 and the end of the connection; what follows on it is never taken for a request."""
    daemon = plain()
    for name, request in BAD_FRAMING.items():
        with Raw(single) as raw:
            raw.send(request + GOOD)
            answer = raw.answer()
            assert answer is not None, f"{name}: no answer"
            allowed = {"version 2.0": (400, 505), "unknown method": (400, 405, 501),
                       "unknown coding": (400, 501)}.get(name, (400,))
            assert answer[0] in allowed, (name, answer)
            if name not in ("unknown method",) or answer[0] == 400:
                assert raw.closed(), name
                assert daemon.api.live() == 0, name
                assert answer[1].get(b"connection", b"").lower() == b"close", (name, answer)
    assert healthy(single)


CHUNKED = head(b"Transfer-Encoding: chunked")
WHOLE = b"%x\r\n%s\r\n" % (len(BODY), BODY)
GOOD_FRAMING = {
    "chunks": CHUNKED + WHOLE + b"0\r\n\r\n",
    "one-byte chunks": head(b"Transfer-Encoding: Chunked")
    + b"".join(b"%X;name=value\r\n%c\r\n" % (1, byte) for byte in BODY) + b"0\r\n\r\n",
    "two chunk extensions": CHUNKED + b"%x;a=b;c=d\r\n%s\r\n0;e\r\n\r\n" % (len(BODY), BODY),
    "quoted chunk extensions": CHUNKED + b'%x;a="b;\\"\t\xe9";c ; d = "" \t;e\r\n%s\r\n0\r\n\r\n'
    % (len(BODY), BODY),
    "coding with tabs": head(b"Transfer-Encoding:\tchunked\t") + WHOLE + b"0\r\n\r\n",
    "trailer": CHUNKED + WHOLE + b"0\r\nX-Sum: 1\r\n\r\n",
    "trailer with tabs": CHUNKED + WHOLE + b"0\r\nX-Sum:\t1\t\r\n\r\n",
    "case of names": GOOD.replace(b"Content-Length", b"cOnTeNt-lEnGtH"),
    "blanks around a value": GOOD.replace(b"Host: localhost", b"Host: \t localhost \t"),
    "tab behind a length": GOOD.replace(b"\r\n\r\n", b"\t\r\n\r\n"),
    "tabs around a length": GOOD.replace(b"Content-Length: ", b"Content-Length:\t \t").replace(
        b"\r\n\r\n", b" \t \r\n\r\n"),
    "tabs around a type": GOOD.replace(b" application/json", b"\tapplication/json\t"),
    "tabs around every value": re.sub(rb": ([^\r]*)", rb":\t\1\t", GOOD[:-len(BODY)]) + BODY,
    "tab in a value": head(b"X-Odd: a\tb", b"Content-Length: %d" % len(BODY)) + BODY,
    "type with a parameter": GOOD.replace(b"/json", b"/json; charset=utf-8"),
    "type in another case": GOOD.replace(b"application/json", b"Application/JSON"),
    "leading zeros": head(b"Content-Length: 000%d" % len(BODY)) + BODY,
    "empty line before the request": b"\r\n" + GOOD,
    "empty lines before the request": b"\r\n" * 4 + GOOD,
    "identity": head(b"Content-Encoding: identity", b"Content-Length: %d" % len(BODY)) + BODY,
    "HTTP/1.0": GOOD.replace(b"HTTP/1.1", b"HTTP/1.0"),
}


def test_good_framing(plain, single):
    """What looks odd and is right; it is not the end of the connection either."""
    daemon = plain()
    for name, request in GOOD_FRAMING.items():
        with Raw(single) as raw:
            raw.send(request)
            answer = raw.answer()
            assert answer and answer[0] == 201, (name, answer)
            flow = json.loads(answer[2])
            assert (flow["srcPort"], flow["dstPort"]) == (1, 2), (name, flow)
            daemon.api.delete(f"/v1/flows/{flow['id']}").expect(200, 204)
            if name != "HTTP/1.0":
                raw.send(b"\r\n\r\n" + GET)
                assert raw.answer()[0] == 200, name


def test_good_framing_byte_by_byte(plain, single):
    """The same wherever the parts are cut."""
    daemon = plain()
    for name, request in GOOD_FRAMING.items():
        if name == "one-byte chunks":
            continue
        with Raw(single) as raw:
            for position in range(len(request)):
                raw.send(request[position:position + 1])
            answer = raw.answer()
            assert answer and answer[0] == 201, (name, answer)
            daemon.api.delete(f"/v1/flows/{json.loads(answer[2])['id']}").expect(200, 204)


def test_tab_behind_the_connection_option(plain, single):
    """It closes as if a blank stood there."""
    plain()
    with Raw(single) as raw:
        raw.send(GET.replace(b"\r\n\r\n", b"\r\nConnection:\tclose\t\r\n\r\n"))
        assert raw.answer()[0] == 200
        assert raw.closed()


def test_empty_lines_between_requests(plain, single):
    """Clients that send a line end behind a body, pipelined."""
    daemon = plain()
    with Raw(single) as raw:
        raw.send((GOOD + b"\r\n" + GET + b"\r\n\r\n") * 20)
        for number in range(20):
            assert raw.answer()[0] == (201 if number == 0 else 200)
            assert raw.answer()[0] == 200
    assert daemon.api.live() == 1 and healthy(single)


@pytest.mark.parametrize("coding", [b"gzip", b"br", b"identity, gzip", b"gzip\t", b""])
def test_content_coding(plain, single, coding):
    """A body that would have to be unpacked is refused, with what is taken instead."""
    daemon = plain()
    with Raw(single) as raw:
        raw.send(head(b"Content-Encoding: " + coding, b"Content-Length: %d" % len(BODY)) + BODY)
        status, headers, body = raw.answer()
        assert status == 415, body
        assert headers[b"accept-encoding"] == b"identity"
        assert json.loads(body)["field"] == "Content-Encoding"
        raw.send(GET)
        assert raw.answer()[0] == 200
    assert daemon.api.live() == 0


def test_every_cut(plain, single):
    """A request that arrives in two parts is one request wherever the cut is."""
    plain()
    with Raw(single) as raw:
        for cut in range(1, len(GOOD)):
            raw.send(GOOD[:cut])
            raw.send(GOOD[cut:])
            status, _, _ = raw.answer()
            assert status == (201 if cut == 1 else 200), cut


def test_byte_by_byte(plain, single):
    plain()
    with Raw(single) as raw:
        for position in range(len(GOOD)):
            raw.send(GOOD[position:position + 1])
        assert raw.answer()[0] == 201


def test_pipelining(plain, single):
    """Answers come in the order of the requests, also when they wait for the commit."""
    daemon = plain()
    requests = b"".join(
        head(b"Content-Length: %d" % len(body)) + body + GET
        for body in (json.dumps(event("2001:db8::1", port, "2001:db8::2", 2)).encode()
                     for port in range(1, 501)))
    with Raw(single) as raw:
        raw.send(requests)
        for port in range(1, 501):
            status, _, body = raw.answer()
            assert status == 201 and json.loads(body)["srcPort"] == port
            assert raw.answer()[0] == 200
    assert daemon.api.live() == 500


def test_pipelined_garbage(plain, single):
    """Good requests in front of garbage are answered; the garbage ends the connection."""
    daemon = plain()
    with Raw(single) as raw:
        raw.send(GOOD + GET + b"\0garbage\r\n\r\n" + GOOD)
        assert raw.answer()[0] == 201
        assert raw.answer()[0] == 200
        assert raw.answer()[0] == 400
        assert raw.closed()
    assert daemon.api.live() == 1 and healthy(single)


def test_large_header(plain, single):
    """16 KiB of header are taken, 17 KiB are refused, an endless one is not stored."""
    plain()
    with Raw(single) as raw:
        raw.send(GET[:-2] + b"X-Filler: " + b"a" * 15000 + b"\r\n\r\n")
        assert raw.answer()[0] == 200
    for filler in (b"X-Filler: " + b"a" * 17 * 1024,
                   b"\r\n".join(b"X-%d: a" % number for number in range(3000)),
                   b"a" * 17 * 1024 + b": x"):
        with Raw(single) as raw:
            raw.send(GET[:-2] + filler + b"\r\n\r\n")
            assert raw.answer()[0] in (400, 431)
            assert raw.closed()
    with Raw(single) as raw:
        raw.send(b"GET /" + b"a" * 17 * 1024 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert raw.answer()[0] in (400, 414, 431)
        assert raw.closed()
    with Raw(single) as raw:
        raw.send(head(b"Transfer-Encoding: chunked") + b"1;" + b"x" * (1 << 20))
        assert raw.answer()[0] in (400, 413, 431)
        assert raw.closed()
    assert healthy(single)


def test_large_body(plain, single):
    """4 MiB are taken, more is refused: before it is sent where its length is announced."""
    plain()
    blank = b" " * ((4 << 20) - len(BODY))
    with Raw(single) as raw:
        raw.send(head(b"Content-Length: %d" % (4 << 20)) + blank + BODY)
        assert raw.answer()[0] == 201
    with Raw(single) as raw:
        raw.send(head(b"Content-Length: %d" % (5 << 20)))
        assert raw.answer()[0] == 413
        assert raw.closed()
    with Raw(single) as raw:
        raw.send(head(b"Content-Length: %d" % (5 << 20)) + b" " * (5 << 20))
        answer = raw.answer()
        assert answer is None or answer[0] == 413
    with Raw(single) as raw:
        raw.send(head(b"Transfer-Encoding: chunked") + (b"10000\r\n" + b" " * 65536 + b"\r\n") * 80)
        answer = raw.answer()
        assert answer is None or answer[0] == 413
    assert healthy(single)


def test_expect_continue(plain, single):
    """curl asks before it sends a large body."""
    plain()
    with Raw(single) as raw:
        raw.send(head(b"Content-Length: %d" % len(BODY), b"Expect: 100-continue"))
        while b"\r\n\r\n" not in raw.buffer:
            assert raw.fill()
        assert raw.buffer.startswith(b"HTTP/1.1 100 "), raw.buffer
        raw.buffer = b""
        raw.send(BODY)
        assert raw.answer()[0] == 201


def test_half_closed(plain, single):
    """A client that has said all it will say still gets its answer; half a request is forgotten."""
    daemon = plain()
    with Raw(single) as raw:
        raw.send(GOOD + GET)
        raw.stream.shutdown(socket.SHUT_WR)
        assert raw.answer()[0] == 201
        assert raw.answer()[0] == 200
        assert raw.closed()
    for part in (GOOD[:20], GOOD[:-5], b"", b"\r\n"):
        with Raw(single) as raw:
            raw.send(part)
            raw.stream.shutdown(socket.SHUT_WR)
            answer = raw.answer()
            assert answer is None or answer[0] in (400, 408)
    assert daemon.api.live() == 1 and healthy(single)


def test_clients_that_go(plain, single):
    """Clients that reset their connection before, in and behind a request harm nobody."""
    daemon = plain()
    for cut in (0, 10, len(GOOD) - 1, len(GOOD)):
        for _ in range(20):
            with Raw(single) as raw:
                raw.send(GOOD[:cut])
                raw.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                      b"\1\0\0\0\0\0\0\0")
    assert healthy(single) and daemon.running()


def test_slow_requests(plain, single):
    """A request that is not there after 10 s is given up: 408 or the end; others are served."""
    plain()
    with Raw(single) as at_head, Raw(single) as at_body, Raw(single) as drip:
        at_head.send(GOOD[:30])
        at_body.send(GOOD[:-5])
        position = 0

        def ended():
            nonlocal position
            drip.send(GOOD[position:position + 1])
            position = min(position + 1, len(GOOD) - 2)
            drip.stream.settimeout(0.5)
            try:
                return not drip.fill() or b"408" in drip.buffer
            except TimeoutError:
                return False

        until(ended, "the end of a request that comes byte by byte", 2 * DEADLINE_S)
        for raw in (at_head, at_body):
            answer = raw.answer()
            assert answer is None or answer[0] == 408
        assert healthy(single)


def test_a_client_that_does_not_read(plain, single):
    """Answers that nobody reads neither stop the others nor pile up without end."""
    daemon = plain()
    daemon.api.post([event("2001:db8::1", port, "2001:db8::2", 2) for port in range(1, 1001)])
    rss = resident(daemon.pid)
    request = head(method=b"GET", target=b"/v1/flows?limit=1000", json_type=False)
    with Raw(single) as raw:
        raw.stream.setblocking(False)
        sent = 0
        try:
            while sent < 20_000:
                raw.stream.send(request)
                sent += 1
        except BlockingIOError:
            pass
        assert healthy(single)
        assert resident(daemon.pid) - rss < 64 << 10, "KiB more for one client that does not read"


def resident(pid):
    """KiB."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(re.search(r"VmRSS:\s+(\d+) kB", file.read())[1])


def test_connection_limit(plain, single):
    """1,024 connections are served at once; more wait or are refused and harm nobody."""
    plain()
    connections = []
    try:
        for _ in range(1024):
            connections.append(Raw(single))
        for raw in connections:
            raw.send(GET)
        for raw in connections:
            assert raw.answer()[0] == 200
        beyond = [Raw(single) for _ in range(20)]
        for raw in beyond:
            raw.send(GET)
        for raw in connections:
            raw.send(GET)
            assert raw.answer()[0] == 200
        for raw in beyond + connections:
            raw.stream.close()
        connections = []
        assert until(lambda: healthy(single), "service behind the rush")
    finally:
        for raw in connections:
            raw.stream.close()


def test_keep_alive_and_close(plain, single):
    plain()
    with Raw(single) as raw:
        for _ in range(3):
            raw.send(GET)
            assert raw.answer()[0] == 200
        raw.send(GET[:-2] + b"Connection: close\r\n\r\n")
        assert raw.answer()[0] == 200
        assert raw.closed()
    with Raw(single) as raw:
        raw.send(GET.replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert raw.answer()[0] == 200
        assert raw.closed()


@pytest.mark.parametrize("host,status", [
    (b"localhost", 200), (b"localhost:7777", 200), (b"LOCALHOST", 200), (b"127.0.0.1:7777", 200),
    (b"[::1]:7777", 200), (b"192.0.2.1", 200), (b"[2001:db8::1]", 200),
    (b"localhost:", 200), (b"127.0.0.1:", 200), (b"[::1]:", 200), (b"\tlocalhost\t", 200),
    (b"", 421), (b":7777", 421), (b"[::1%evil.example]", 421), (b"[::1%25evil.example]:7777", 421),
    (socket.gethostname().encode(), 200),
    (b"example.org", 421), (b"localhost.example.org", 421), (b"127.0.0.1.example.org:7777", 421),
    (b"example.org:7777", 421),
])
def test_host_check(plain, single, host, status):
    """Names that are not this machine's are refused: a page's script reaches a local port by one."""
    plain()
    with Raw(single) as raw:
        raw.send(head(method=b"GET", target=b"/v1/status", host=b"Host: " + host, json_type=False))
        answer = raw.answer()
        assert answer[0] == status, answer
        assert b"access-control-allow-origin" not in answer[1]


def test_no_host_check_of_the_metrics(plain, single):
    """Scrapers and proxies have names of their own for an exporter."""
    plain(backends={"prometheus": {}})
    for host in (b"", b"example.org:9000", b"localhost:"):
        with Raw(single, 9000) as raw:
            raw.send(head(method=b"GET", target=b"/metrics", host=b"Host: " + host, json_type=False))
            assert raw.answer()[0] == 200


def test_no_host_check_where_others_reach_it(plain, single):
    """There is no telling by which names they do."""
    plain(backends={"prometheus": {"bindAddress": "0.0.0.0"}}, api={"bindAddress": "::"})
    for port in (7777, 9000):
        with Raw(single, port) as raw:
            raw.send(head(method=b"GET", target=b"/", host=b"Host: example.org", json_type=False))
            assert raw.answer()[0] == 200


def test_no_host_check_with_a_token(plain, single, directory):
    """A token says more than a name does."""
    (directory / "tokens").write_text("secret\n")
    plain(api={"tokenFile": str(directory / "tokens")})
    with Raw(single) as raw:
        raw.send(head(b"Authorization: Bearer secret", method=b"GET", target=b"/v1/status",
                      host=b"Host: example.org", json_type=False))
        assert raw.answer()[0] == 200


@pytest.mark.parametrize("kind", [
    None, "text/plain", "application/x-www-form-urlencoded", "application/jsonp", "application",
    "multipart/form-data; boundary=x", "application/problem+json", "",
])
def test_only_json(plain, single, kind):
    """A form's POST, which any page may send, is refused."""
    daemon = plain()
    fields = [b"Content-Length: %d" % len(BODY)]
    if kind is not None:
        fields.append(b"Content-Type: " + kind.encode())
    with Raw(single) as raw:
        raw.send(head(*fields, json_type=False) + BODY)
        assert raw.answer()[0] == 415
    assert daemon.api.live() == 0


def test_methods_and_paths(plain):
    """404 for what is not there, 405 with Allow for what is there with other methods."""
    daemon = plain()
    for target in ("/nothing", "/v1", "/v1/", "/v1/flowsx", "/v1/flows/", "/v2/flows", "//v1/flows",
                   "/v1/flows/%2e%2e/status", "/../etc/passwd", "/v1/flows/0123456789abcdef/x"):
        daemon.api.get(target).problem(404)
    for method, target in (("PUT", "/v1/flows"), ("DELETE", "/v1/flows"), ("POST", "/v1/status"),
                           ("POST", "/healthz"), ("PATCH", "/v1/flows/0123456789abcdef"),
                           ("GET", "/flow")):
        answer = daemon.api.call(method, target)
        answer.problem(405)
        assert answer.headers["Allow"], (method, target)
    assert daemon.api.call("HEAD", "/healthz").status in (200, 405)
    assert daemon.api.get("/healthz").status == 200
