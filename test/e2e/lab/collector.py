# SPDX-License-Identifier: Apache-2.0
"""A collector of fireflies: receives, parses strictly and validates each datagram."""

import datetime
import ipaddress
import json
import pathlib
import re
import socket

import jsonschema

from lab.udp_server import UdpServer
from lab.waiting import until

DATA = pathlib.Path(__file__).parents[2] / "data"

_HEADER = re.compile(
    rb"<134>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(?:Z|\+00:00)) ([!-~]{1,255}) flowd - "
    rb"firefly-json - (\{.*\})\Z", re.DOTALL)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00\Z")

_formats = jsonschema.FormatChecker()


@_formats.checks("date-time", raises=ValueError)
def _is_date_time(value):
    return not isinstance(value, str) or parse_time(value) is not None


@_formats.checks("ipv6", raises=ValueError)
def _is_ipv6(value):
    return not isinstance(value, str) or ipaddress.IPv6Address(value) is not None


VALIDATOR = jsonschema.Draft202012Validator(
    json.loads((DATA / "firefly.schema.json").read_text()), format_checker=_formats)


def parse_time(text):
    """A UTC time of a firefly."""
    if not _TIME.match(text):
        raise ValueError(f"{text!r} is not RFC 3339 with +00:00")
    return datetime.datetime.fromisoformat(text)


def now():
    return datetime.datetime.now(datetime.timezone.utc)


class Firefly:
    """One datagram; making one checks everything that holds for each of them."""

    def __init__(self, datagram, sender, size_max=1400):
        assert len(datagram) <= size_max, f"{len(datagram)} bytes"
        header = _HEADER.match(datagram)
        assert header, f"not a firefly's header: {datagram!r}"
        self.datagram = datagram
        self.sender = sender
        self.hostname = header[2].decode()
        self.header_time = parse_time(header[1].decode().replace("Z", "+00:00"))
        self.document = json.loads(header[3], object_pairs_hook=_unique)
        VALIDATOR.validate(self.document)
        self.lifecycle = self.document["flow-lifecycle"]
        self.flow = self.document["flow-id"]
        self.context = self.document["context"]
        self.state = self.lifecycle["state"]
        self.start_time = parse_time(self.lifecycle["start-time"])
        self.current_time = parse_time(self.lifecycle["current-time"])
        self.end_time = parse_time(self.lifecycle["end-time"]) if self.state == "end" else None
        assert ("end-time" in self.lifecycle) == (self.state == "end"), self.lifecycle

    @property
    def key(self):
        return tuple(self.flow[name]
                     for name in ("protocol", "src-ip", "src-port", "dst-ip", "dst-port"))

    @property
    def tag(self):
        return self.context["experiment-id"], self.context["activity-id"]


def _unique(pairs):
    members = dict(pairs)
    assert len(members) == len(pairs), f"a member is there twice: {pairs}"
    return members


class Collector(UdpServer):
    """
    Listens inside a namespace from the moment it is made until the end of the `with` block. With
    `only`, datagrams that do not hold these bytes are not looked at: checking one takes its time.
    """

    def __init__(self, namespace, address, port=10514, only=b"", size_max=1400):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        bound = namespace.socket(family, socket.SOCK_DGRAM)
        bound.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)
        bound.bind((address, port))
        self._only = only
        self._size_max = size_max
        self._fireflies = []
        super().__init__(bound)

    def take(self, datagram, sender):
        if self._only in datagram:
            self._fireflies.append(Firefly(datagram, sender, self._size_max))

    def fireflies(self):
        self.check()
        return list(self._fireflies)

    def wait(self, count, state=None):
        """Waits for at least count fireflies (of one state) and returns them."""

        def enough():
            found = [one for one in self.fireflies() if state in (None, one.state)]
            return found if len(found) >= count else None

        return until(enough, lambda: f"{count} fireflies, got {len(self._fireflies)}")
