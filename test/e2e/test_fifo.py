# SPDX-License-Identifier: Apache-2.0
"""The fifo: many writers, torn lines, and every class of bad line."""

import fcntl
import itertools
import json
import os
import random
import select
import stat
import struct
import termios
import threading

import pytest

from lab.api_client import Api, event, line
from lab.collector import DATA
from lab.daemon_config import base_config
from lab.waiting import until

PIPE_BUF = 4096


def flow_set(flows):
    return {(one["protocol"], one["src"], one["srcPort"], one["dst"], one["dstPort"],
             one["experiment"], one["activity"]) for one in flows}


def fifo_events(api):
    """The namedPipe counters of the status."""
    return api.status()["events"]["namedPipe"]


def malformed(api):
    return fifo_events(api)["malformed"]


def test_two_writers(plain):
    """
    Two writers, 100,000 lines each, in writes of as many whole lines as fit PIPE_BUF. Each starts
    75,000 flows and ends every third of them, so that both the set that is left and the counters are
    known exactly.
    """
    daemon = plain()
    per_writer, started = 100_000, 75_000
    expected = set()
    failures = []

    def lines(writer):
        for number in range(started):
            src = f"2001:db8:{writer}::{1 + number // 60000:x}"
            sport = 1 + number % 60000
            tag = number % 512, number % 64
            yield line("start", src, sport, "2001:db8::f", 443, *tag)
            if number % 3 == 0:
                yield line("end", src, sport, "2001:db8::f", 443, *tag)
            else:
                expected.add(("udp", src, sport, "2001:db8::f", 443, *tag))

    def write(texts):
        try:
            pipe = os.open(daemon.fifo_path, os.O_WRONLY)
            block = b""
            for text in itertools.chain(texts, [None]):
                if text is None or len(block) + len(text) > PIPE_BUF:
                    assert os.write(pipe, block) == len(block)
                    block = b""
                block += (text or "").encode()
            os.close(pipe)
        except BaseException as failure:  # pylint: disable=broad-except
            failures.append(failure)

    texts = [list(lines(writer)) for writer in (1, 2)]
    assert [len(one) for one in texts] == [per_writer] * 2
    writers = [threading.Thread(target=write, args=(one,), daemon=True) for one in texts]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert not failures, failures

    until(lambda: sum_of(fifo_events(daemon.api)) >= 2 * per_writer, "all lines", 60)
    counters = fifo_events(daemon.api)
    assert counters["malformed"] == 0
    assert counters["start"] == {**zeros(counters["start"]), "started": 2 * started}
    assert counters["end"] == {**zeros(counters["end"]), "ended": 2 * started // 3}
    assert flow_set(daemon.api.flows()) == expected


def zeros(results):
    return dict.fromkeys(results, 0)


def sum_of(counters):
    """All lines that the counters account for."""
    return counters["malformed"] + sum(
        sum(results.values()) for results in counters.values() if isinstance(results, dict))


@pytest.mark.parametrize("seed", [1, 2])
def test_lines_cut_at_arbitrary_bytes(plain, seed):
    """
    One writer that writes a few bytes at a time and lets the daemon take them before it writes more.
    The ports are such that any line cut short would be another valid line.
    """
    daemon = plain()
    chance = random.Random(seed)
    text = "".join(line("start", "2001:db8::1", 10000 + number, "2001:db8::2", 40000 + number,
                        100 + number % 400, 10 + number % 50) for number in range(400)).encode()
    writer = daemon.open_fifo()
    try:
        position = 0
        while position < len(text):
            size = chance.choice([1, 2, 3, 7, 20, 61, 200])
            assert select.select([], [writer], [], 30)[1]
            position += os.write(writer, text[position:position + size])
            until(lambda: unread(writer) == 0, "the daemon takes what was written", interval=0.0002)
        until(lambda: daemon.api.live() >= 400, "all flows")
    finally:
        os.close(writer)
    assert flow_set(daemon.api.flows()) == {
        ("udp", "2001:db8::1", 10000 + number, "2001:db8::2", 40000 + number, 100 + number % 400,
         10 + number % 50) for number in range(400)}
    counters = fifo_events(daemon.api)
    assert counters["malformed"] == 0 and sum_of(counters) == 400


def unread(pipe):
    return struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0]


def test_unfinished_line_waits(plain):
    """A line without its end is nothing, also after its writer has gone; the rest completes it."""
    daemon = plain()
    daemon.write_fifo("start udp 2001:db8::1 1094 2001:db8::2 443 2 1")
    other = daemon.api
    other.post(event("2001:db8::5", 1, "2001:db8::6", 2)).expect(201)
    until(lambda: drained(daemon), "the daemon reads the fifo")
    assert len(other.flows()) == 1
    daemon.write_fifo("7\n")
    until(lambda: other.live() == 2, "the completed line")
    assert ("udp", "2001:db8::1", 1094, "2001:db8::2", 443, 2, 17) in flow_set(other.flows())
    assert malformed(other) == 0


def drained(daemon):
    writer = daemon.open_fifo()
    try:
        return unread(writer) == 0
    finally:
        os.close(writer)


GOOD = "start tcp 192.0.2.1 40001 192.0.2.2 443 2 16"

GOOD_LINES = {
    "plain": GOOD,
    "upper case": GOOD.upper(),
    "mixed case": "StArT TcP 192.0.2.1 40001 192.0.2.2 443 2 16",
    "blanks": "  start   tcp 192.0.2.1  40001 192.0.2.2 443  2 16  ",
    "tabs": GOOD.replace(" ", "\t"),
    "tabs and blanks": GOOD.replace(" ", " \t ") + "\t",
    "CRLF": GOOD + "\r",
    "empty lines": "\n\n   \n\t\n\r\n" + GOOD + "\n\n",
    "ongoing starts": GOOD.replace("start", "ongoing"),
    "leading zeros": "start tcp 192.0.2.1 040001 192.0.2.2 0443 002 016",
    "IPv4 in IPv6": "start tcp ::ffff:192.0.2.1 40001 ::FFFF:192.0.2.2 443 2 16",
    "mixed mapped": "start tcp ::ffff:192.0.2.1 40001 192.0.2.2 443 2 16",
}


def test_good_lines(plain):
    """Each way to write the same flow gives the same flow."""
    daemon = plain()
    expected = {("tcp", "192.0.2.1", 40001, "192.0.2.2", 443, 2, 16)}
    for name, text in GOOD_LINES.items():
        daemon.write_fifo(text + "\n")
        until(lambda: daemon.api.live() == 1, f"flow of the line {name!r}")
        assert flow_set(daemon.api.flows()) == expected, name
        daemon.write_fifo(GOOD.replace("start", "end") + "\n")
        until(lambda: daemon.api.live() == 0, f"end behind {name!r}")
    assert malformed(daemon.api) == 0


def test_good_addresses(plain):
    daemon = plain()
    for written, shown in (("fe80::1%eth0", "fe80::1"), ("2001:DB8::A", "2001:db8::a"),
                           ("2001:db8:0:0:0:0:0:9", "2001:db8::9"), ("::1", "::1")):
        daemon.write_fifo(f"start udp {written} 1 2001:db8::2 2 2 16\n")
        until(lambda: daemon.api.live() == 1, written)
        assert daemon.api.flows()[0]["src"] == shown
        daemon.write_fifo(f"end udp {shown} 1 2001:db8::2 2 2 16\n")
        until(lambda: daemon.api.live() == 0, written)


BAD_LINES = {
    "one word": "start",
    "words": "this is not a flow",
    "seven fields": "start tcp 192.0.2.1 40001 192.0.2.2 443 2",
    "nine fields": GOOD + " extra",
    "unknown state": GOOD.replace("start", "restart"),
    "abbreviated state": GOOD.replace("start", "star"),
    "longer state": GOOD.replace("start", "startx"),
    "unknown protocol": GOOD.replace("tcp", "sctp"),
    "protocol number": GOOD.replace("tcp", "6"),
    "no address": GOOD.replace("192.0.2.2", "nothost"),
    "host name": GOOD.replace("192.0.2.1", "localhost"),
    "octet past 255": GOOD.replace("192.0.2.1", "300.0.2.1"),
    "octet with leading zero": GOOD.replace("192.0.2.1", "192.0.2.01"),
    "IPv4 as one number": GOOD.replace("192.0.2.1", "3221225985"),
    "three octets": GOOD.replace("192.0.2.1", "192.0.2"),
    "IPv4 zone": GOOD.replace("192.0.2.1", "192.0.2.1%eth0"),
    "IPv6 with three colons": "start tcp :::1 40001 ::1 443 2 16",
    "IPv6 in brackets": "start tcp [::1] 40001 [::1] 443 2 16",
    "IPv6 with a prefix length": "start tcp ::1/128 40001 ::1 443 2 16",
    "two families": "start tcp 192.0.2.1 40001 2001:db8::2 443 2 16",
    "port 0": GOOD.replace("40001", "0"),
    "destination port 0": GOOD.replace("443", "0"),
    "port 65536": GOOD.replace("40001", "65536"),
    "port 70000": GOOD.replace("443", "70000"),
    "negative port": GOOD.replace("40001", "-1"),
    "port with sign": GOOD.replace("40001", "+40001"),
    "port with underscore": GOOD.replace("40001", "40_001"),
    "hexadecimal port": GOOD.replace("40001", "0x1f90"),
    "port with letters": GOOD.replace("443", "4x3"),
    "named port": GOOD.replace("443", "https"),
    "port past 64 bits": GOOD.replace("40001", "99999999999999999999999"),
    "port that wraps": GOOD.replace("40001", str(2**64 + 40001)),
    "experiment 1024": GOOD[:-4] + "1024 16",
    "activity 64": GOOD[:-2] + "64",
    "negative experiment": GOOD[:-4] + "-2 16",
    "negative activity": GOOD[:-2] + "-16",
    "signed activity": GOOD[:-2] + "+16",
    "fraction": GOOD[:-4] + "2.0 16",
    "name without a registry": GOOD[:-4] + "atlas 16",
    "activity name without a registry": GOOD[:-2] + "default",
    "NUL at the end": GOOD + "\0",
    "NUL inside": GOOD.replace("tcp", "t\0cp"),
    "vertical tab": GOOD + "\v",
    "bare CR inside": GOOD + "\r" + GOOD,
    "line separator": GOOD + "\u2028" + GOOD,
    "digits of another script": GOOD.replace("443", "٤٠"),
    "not UTF-8": b"start tcp 192.0.2.1 40001 192.0.2.2 443 2 \xff\xfe",
    "overlong UTF-8": b"start tcp 192.0.2.1 40001 192.0.2.2 443 2 16\xc0\xa0",
    "NUL alone": "\0",
    "five thousand bytes": GOOD + " " * 5000,
    "a hundred thousand bytes": "x" * 100_000,
}


def test_bad_lines(plain):
    """Each class of bad line is counted once and logged; the lines around it are taken."""
    daemon = plain()
    number = 0
    for name, text in BAD_LINES.items():
        number += 1
        data = text if isinstance(text, bytes) else text.encode()
        before = daemon.log_size()
        daemon.write_fifo(line("start", "2001:db8::1", number, "2001:db8::2", 443).encode() + data +
                          b"\n" + line("start", "2001:db8::3", number, "2001:db8::4", 443).encode())
        until(lambda: daemon.api.live() >= 2 * number, f"the lines around {name!r}")
        assert daemon.api.live() == 2 * number, name
        assert bad_count(daemon.api) == number, name
        assert daemon.log(before).count("\n") <= 2, name


def bad_count(api):
    """Lines that were no event, and events that were refused."""
    counters = fifo_events(api)
    return counters["malformed"] + sum(
        results.get("refused", 0) for results in counters.values() if isinstance(results, dict))


@pytest.mark.parametrize("text,words", [
    (GOOD.replace("40001", "70000"), ["srcPort", "70000"]),
    (GOOD.replace("192.0.2.1", "nothost"), ["nothost"]),
    (GOOD.replace("tcp", "sctp"), ["sctp"]),
    (GOOD.replace("start", "restart"), ["restart"]),
    (GOOD[:-2] + "64", ["activity", "64"]),
    (GOOD + " extra", ["field"]),
    ("start tcp 192.0.2.1 40001 2001:db8::2 443 2 16", ["family"]),
])
def test_the_log_gives_the_reason(plain, text, words):
    daemon = plain()
    before = daemon.log_size()
    daemon.write_fifo(text + "\n")
    logged = daemon.wait_log(r"(?m)^.*(fifo|namedPipe).*$", before)[0]
    for word in words:
        assert word in logged, logged


def test_at_most_ten_bad_lines_a_second_are_logged(plain):
    daemon = plain()
    before = daemon.log_size()
    daemon.write_fifo("bad line\n" * 20000 + line("start", "2001:db8::1", 1, "2001:db8::2", 2))
    until(lambda: daemon.api.live() == 1, "the good line behind the bad ones")
    assert malformed(daemon.api) == 20000
    assert daemon.log(before).count("\n") < 1000


def test_lines_up_to_4_kib(plain):
    """4,096 bytes with the line's end are a line, one more is not; what follows is not harmed."""
    daemon = plain()
    for length, live in ((4000, 1), (4095, 2), (4097, 2), (8192, 2), (70000, 2)):
        text = line("start", "2001:db8::1", length, "2001:db8::2", 443).strip()
        daemon.write_fifo(text + " " * (length - len(text)) + "\n" +
                          line("ongoing", "2001:db8::f", 1, "2001:db8::2", 443))
        until(lambda: fifo_sum(daemon.api) % 2 == 0 and drained(daemon), "both lines")
        until(lambda: daemon.api.live() == live + 1, f"{length} bytes")


def fifo_sum(api):
    return sum_of(fifo_events(api))


def test_long_line_in_pieces_and_writer_that_goes(plain):
    """An endless line is dropped up to its end, however slowly it comes."""
    daemon = plain()
    for _ in range(20):
        daemon.write_fifo("z" * 1000)
        until(lambda: drained(daemon), "the daemon reads the fifo")
    daemon.write_fifo(" " + GOOD + "\n" + GOOD.replace("40001", "40002") + "\n")
    until(lambda: daemon.api.live() == 1, "the line behind the long one")
    assert daemon.api.flows()[0]["srcPort"] == 40002
    assert malformed(daemon.api) == 1


# What flowd 1.1.7 was given, by its place in the file, and what becomes of it here where the answer
# differs from "accepted if flowd sent something for it".
REFUSED_HERE = (
    "512 64", "99999 12345", "70000", "65536", " 0 127.0.0.1 0 ", "-1", "-2", "-16", "+40001",
    "40_001", "9999999999", "update", "restart", "٤٠", "\rend", "\x0bend", "\u2028end",
)
ACCEPTED_HERE = ("start  tcp", "127.0.0.1  40001", "start\ttcp", "start tcp\t")


def test_what_flowd_was_given(plain):
    """The recorded inputs of flowd: accepted or refused as this contract says."""
    daemon = plain()
    for number, case in enumerate(json.loads((DATA / "flowd_np_firefly.json").read_text())):
        text = case["input"]
        events = expected_events(text, len(case["datagrams"]))
        before = fifo_events(daemon.api)
        daemon.write_fifo(text)
        if not text.endswith("\n"):
            until(lambda: drained(daemon), "the daemon reads the fifo")
            assert accepted(fifo_events(daemon.api)) - accepted(before) == text.count("\n"), text
            daemon.write_fifo("\n")
        sentinel = 1 + number
        daemon.write_fifo(line("start", "2001:db8::f", sentinel, "2001:db8::e", 1))
        until(lambda: (daemon.api.post(event("2001:db8::f", sentinel, "2001:db8::e", 1, state="end"))
                       .status == 200 and
                       accepted(fifo_events(daemon.api)) > accepted(before)), f"{text!r}")
        after = fifo_events(daemon.api)
        assert accepted(after) - accepted(before) == events + 1, (number, text)


def accepted(counters):
    return sum(count for results in counters.values() if isinstance(results, dict)
               for result, count in results.items() if result != "refused")


def expected_events(text, datagrams):
    if any(part in text for part in REFUSED_HERE):
        return 0
    if any(part in text for part in ACCEPTED_HERE):
        return 1
    return datagrams


def test_registry_names(plain):
    """Names in any case, blanks as `_`; an activity's name belongs to its experiment."""
    daemon = plain(registry={"path": str(DATA / "registry.json")})
    for number, (names, tag) in enumerate({
        "atlas default": (2, 1), "ATLAS Production_Output": (2, 16), "atlas 17": (2, 17),
        "2 analysis_input": (2, 17), "Atlas functional_test_xrootd": (2, 12),
        "atlas DataChallenge": (2, 26), "belle-ii Production-Output": (6, 14),
    }.items()):
        daemon.write_fifo(f"start udp 2001:db8::1 {number + 1} 2001:db8::2 443 {names}\n")
        flow = until(lambda: [one for one in daemon.api.flows() if one["srcPort"] == number + 1],
                     names)[0]
        assert (flow["experiment"], flow["activity"]) == tag
    for names in ("nobody 1", "atlas nothing", "atlas Production-Outputs", "atlas Production Output"):
        before = bad_count(daemon.api)
        daemon.write_fifo(f"start udp 2001:db8::1 1094 2001:db8::2 443 {names}\n")
        until(lambda: bad_count(daemon.api) == before + 1, names)


def test_the_fifo_is_there_for_others(plain, directory):
    """Made with the mode of the configuration; opened read-write as StoRM WebDAV does."""
    daemon = plain()
    mode = os.stat(daemon.fifo_path).st_mode
    assert stat.S_ISFIFO(mode) and stat.S_IMODE(mode) == 0o666
    pipe = os.open(daemon.fifo_path, os.O_RDWR | os.O_NONBLOCK)
    try:
        os.write(pipe, line("start", "2001:db8::1", 1, "2001:db8::2", 2).encode())
        until(lambda: daemon.api.live() == 1, "a line of a writer that may also read")
    finally:
        os.close(pipe)


def test_a_fifo_that_is_there_is_used(make_flowd, single, directory):
    config = base_config(directory)
    path = config["plugins"]["namedPipe"]["pipePath"]
    os.mkfifo(path)
    before = os.stat(path).st_ino
    daemon = make_flowd(single, config).start()
    daemon.write_fifo(line("start", "2001:db8::1", 1, "2001:db8::2", 2))
    until(lambda: Api(single).live() == 1, "a line through the fifo that was there")
    assert os.stat(path).st_ino == before
