# SPDX-License-Identifier: Apache-2.0
"""Each input that was recorded with flowd 1.1.7: the same fireflies, or the difference that the manual has."""

import fcntl
import json
import os
import pathlib
import socket
import struct
import subprocess
import termios

import pytest

import recorded
from lab.api_client import Api
from lab.daemon_config import base_config
from lab.waiting import until

MANUAL = recorded.DATA.parents[1] / "docs" / "moving.md"
LOOPBACK = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))


class Ears:
    """Hears the fireflies of both loopback addresses."""

    def __init__(self, space):
        self.sockets = []
        for family, address in LOOPBACK:
            self.sockets.append(space.socket(family, socket.SOCK_DGRAM))
            self.sockets[-1].bind((address, 10514))
            self.sockets[-1].setblocking(False)

    def take(self):
        events = []
        for one in self.sockets:
            while True:
                try:
                    events.append(recorded.event_of(one.recv(65536)))
                except BlockingIOError:
                    break
        return events

    def close(self):
        for one in self.sockets:
            one.close()


@pytest.fixture(name="flowd")
def _flowd(make_flowd, single, directory):
    config = base_config(directory)
    config["backends"] = {"firefly": {}}
    config["registry"] = {"path": str(recorded.DATA / "registry.json")}
    ears = Ears(single)
    daemon = make_flowd(single, config).start()
    daemon.api, daemon.ears, daemon.marks = Api(single), ears, 0
    yield daemon
    ears.close()


def hear(daemon, text):
    """What is heard until a line that is written behind text has been heard of on both addresses."""
    daemon.marks += 1
    heard = []
    behind = "".join(f"{state} udp {address} {daemon.marks} {address} 9 1 1\n"
                     for _, address in LOOPBACK for state in ("start", "end"))
    daemon.write_fifo(text + behind)

    def complete():
        heard.extend(daemon.ears.take())
        return sum(one[5] == 9 for one in heard) == 4

    until(complete, lambda: f"the marks behind {text!r}, heard {heard}")
    return sorted((one for one in heard if one[5] != 9), key=str)


def end_all(daemon):
    for flow in daemon.api.flows():
        daemon.api.delete(f"/v1/flows/{flow['id']}").expect(200, 204)


def drained(daemon):
    writer = daemon.open_fifo()
    try:
        return struct.unpack("i", fcntl.ioctl(writer, termios.FIONREAD, bytes(4)))[0] == 0
    finally:
        os.close(writer)


def play(daemon, text):
    """The events of an input; an unfinished line is finished when what stands before it was heard."""
    end_all(daemon)
    hear(daemon, recorded.starts_of(text))
    whole, feed, rest = text.rpartition("\n")
    if rest:
        heard = hear(daemon, whole + feed) if feed else []
        daemon.write_fifo(rest)
        until(lambda: drained(daemon), "the daemon reads the unfinished line")
        assert not daemon.ears.take()
        return sorted(heard + hear(daemon, "\n"), key=str)
    return hear(daemon, text)


def test_every_input(flowd):
    wrong = []
    for text, theirs in recorded.cases():
        difference, expected = recorded.difference(text)
        ours = play(flowd, text)
        if ours != (theirs if difference is None else expected):
            wrong.append((text, ours, theirs))
        elif difference is not None and ours == theirs and not difference.get("unfinished"):
            wrong.append((text, "is no difference", difference["what"]))
    assert not wrong, "\n".join(map(repr, wrong))


def test_every_difference_is_recorded_and_in_the_manual():
    manual = MANUAL.read_text()
    inputs = {text for text, _ in recorded.cases()}
    for one in recorded.DIFFERENCES:
        row = f"| {one['what']} | {one['flowd']} | {one['here']} | {one['why']} |"
        assert row in manual, row
        assert one["inputs"], one["what"]
        for shown in one["inputs"]:
            assert shown["input"] in inputs, shown


def test_the_comparison_of_what_is_installed(flowd, single):
    """With this flowd in place of an installed one: the inputs of the differences that need no start are shown."""
    flowd.ears.close()
    compare = pathlib.Path(__file__).parent / "compare"
    done = single.run(compare, "--fifo", flowd.fifo_path, "--quiet", "0.05", check=False)
    assert done.returncode == 1, done.stderr
    shown = {json.loads(one)["input"] for one in done.stdout.splitlines()}
    assert {one["input"] for difference in recorded.DIFFERENCES for one in difference["inputs"]
            if "70000" in one["input"] or "START" in one["input"] or "update" in one["input"]} <= shown
    assert len(shown) < len(recorded.cases())
    assert f"{len(shown)} of {len(recorded.cases())} inputs differ" in done.stderr


def test_the_comparison_says_that_nothing_is_installed(directory):
    done = subprocess.run([pathlib.Path(__file__).parent / "compare"], capture_output=True, text=True, check=False,
                          env={"PATH": str(directory)})
    assert done.returncode == 0 and "not installed" in done.stdout, done
