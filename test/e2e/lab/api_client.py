# SPDX-License-Identifier: Apache-2.0
"""A client of the HTTP API that connects inside a network namespace or to a unix socket."""

import http.client
import json
import socket
import threading

from lab.waiting import DEADLINE_S


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def type(self):
        return (self.headers.get("Content-Type") or "").partition(";")[0].strip()

    @property
    def json(self):
        return json.loads(self.body)

    def expect(self, *statuses):
        assert self.status in statuses, f"{self.status} instead of {statuses}: {self.body!r}"
        return self

    def problem(self, status, *words):
        """Expects an RFC 9457 problem with this status whose text holds all the words."""
        self.expect(status)
        assert self.type == "application/problem+json", self.headers.items()
        document = self.json
        assert document["status"] == status and document["title"], document
        text = json.dumps(document).lower()
        for word in words:
            assert word.lower() in text, f"{word!r} is not in {text}"
        return document


class Api(http.client.HTTPConnection):
    """Keep-alive; one connection for each Api. Made with a namespace, or with a unix socket path."""

    def __init__(self, namespace=None, address="127.0.0.1", port=7777, path=None, token=None):
        super().__init__("[%s]" % address if ":" in address else address, port, timeout=DEADLINE_S)
        self.namespace, self.address, self.path, self.token = namespace, address, path, token
        self.lock = threading.Lock()

    def connect(self):
        self.sock = connect(self.namespace, self.address, self.port, self.path)

    def call(self, method, target, body=None, headers=None, **members):
        """One request. A body that is no bytes goes out as JSON; members make a JSON object."""
        headers = dict(headers or {})
        if members:
            body = members
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
            if not isinstance(body, (bytes, str)):
                body = json.dumps(body)
        if self.token is not None:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        with self.lock:
            self.request(method, target, body, headers)
            response = self.getresponse()
            return Answer(response.status, response.headers, response.read())

    def get(self, target, **options):
        return self.call("GET", target, **options)

    def post(self, body=None, target="/v1/flows", **options):
        return self.call("POST", target, body, **options)

    def delete(self, target, **options):
        return self.call("DELETE", target, **options)

    # -- what tests ask for often ----------------------------------------------------------------

    def flows(self, query="", limit=1000):
        """All live flows, page by page."""
        flows, cursor = [], None
        while True:
            target = f"/v1/flows?limit={limit}{query}" + (f"&cursor={cursor}" if cursor else "")
            page = self.get(target).expect(200).json
            assert len(page["flows"]) <= limit
            flows += page["flows"]
            cursor = page.get("cursor")
            if cursor is None:
                return flows

    def status(self):
        return self.get("/v1/status").expect(200).json

    def module(self, name, kind=None):
        """What the status says of one module; kind tells those apart that have one name."""
        return next(one for one in self.status()["modules"]
                    if one["name"] == name and kind in (None, one["kind"]))

    def live(self):
        return self.status()["flows"]["live"]


def connect(namespace=None, address="127.0.0.1", port=7777, path=None):
    """A connected stream socket with a time limit."""
    if path is not None:
        stream = socket.socket(socket.AF_UNIX)
        target = str(path)
    else:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        stream = namespace.socket(family, socket.SOCK_STREAM)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        target = (address, port)
    stream.settimeout(DEADLINE_S)
    try:
        stream.connect(target)
    except BaseException:
        stream.close()
        raise
    return stream


def event(src, sport, dst, dport, experiment=2, activity=17, protocol="udp", **members):
    """The body of a POST /v1/flows."""
    return {"protocol": protocol, "src": src, "srcPort": sport, "dst": dst, "dstPort": dport,
            "experiment": experiment, "activity": activity, **members}


def line(state, src, sport, dst, dport, experiment=2, activity=17, protocol="udp"):
    """A line for the fifo."""
    return f"{state} {protocol} {src} {sport} {dst} {dport} {experiment} {activity}\n"
