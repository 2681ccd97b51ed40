# SPDX-License-Identifier: Apache-2.0
"""`flowctl top` on a terminal. Nothing here waits for a refresh: keys and sizes are obeyed at once."""

import signal
import termios

import pytest

from lab.api_client import Api, event
from lab.daemon_config import base_config
from lab.flowd_process import FLOWCTL
from lab.netns import Pair
from lab.terminal import LEAVE, Terminal
from lab.traffic import Tcp
from lab.waiting import until

FLOWS = 40


@pytest.fixture
def watched(make_flowd, pair, directory):
    """A daemon on the near side that samples, with more flows than a terminal has lines."""
    config = base_config(directory)
    config["enrichers"] = {"period": 100, "netlink": {}}
    daemon = make_flowd(pair.near, config).start()
    daemon.api = Api(pair.near)
    daemon.api.post([event(Pair.NEAR, port, Pair.FAR, 9) for port in range(1, FLOWS + 1)]).expect(200)
    return daemon


@pytest.fixture
def top(pair, directory):
    """A terminal on which it runs."""

    def run(*arguments, interval=3600, **options):
        return Terminal(pair.near, directory, FLOWCTL, *arguments, "top", "--interval", str(interval),
                        **options)

    return run


def line_of(lines, number):
    return lines[number] if len(lines) > number else ""


def test_it_follows_the_size(watched, top):
    """As many flows as there are lines, no line longer than the screen, and the ports always there."""
    with top(lines=24, columns=120) as terminal:
        terminal.wait_screen(lambda lines: len(lines) == 24, "a screen of 24 lines")
        for height, width in ((10, 80), (60, 200), (3, 80), (24, 76)):
            terminal.resize(height, width)
            expected = min(height, FLOWS + 3)
            lines = terminal.wait_screen(
                lambda lines: len(lines) == expected and len(line_of(lines, 2)) <= width, "the new size")
            assert lines[0].startswith(f"{FLOWS} flows, ")
            for line in lines[2:]:
                assert len(line) <= width
            for line in lines[3:]:
                assert ":9 " in line
        terminal.type(b"q")
        assert terminal.wait_exit() == 0


def test_keys(watched, top):
    """The order is chosen by keys, others are passed over, and q ends it with the terminal as before."""
    with top("--sort", "rtt") as terminal:
        terminal.wait_screen(lambda lines: "[t round-trip time]" in line_of(lines, 1), "the order asked for")
        assert not terminal.settings()[3] & (termios.ECHO | termios.ICANON)
        for key, name in ((b"x", "[x retransmissions]"), (b"r", "[r rate]"), (b"zt", "[t round-trip time]")):
            terminal.type(key)
            terminal.wait_screen(lambda lines: name in line_of(lines, 1), name)
        terminal.type(b"q")
        assert terminal.wait_exit() == 0
        until(lambda: terminal.shown().endswith(LEAVE), "the shell's page")
        assert terminal.settings() == terminal.before


@pytest.mark.parametrize("how,status", [("key", signal.SIGINT), ("signal", signal.SIGTERM)])
def test_ended_from_outside(watched, top, how, status):
    """Ctrl-C and signals do what they always do, with the terminal as before."""
    with top() as terminal:
        terminal.wait_screen(lambda lines: len(lines) == 24, "a screen")
        if how == "key":
            terminal.type(b"\x03")
        else:
            terminal.process.send_signal(status)
        assert terminal.wait_exit() == -status
        until(lambda: LEAVE in terminal.shown(), "the shell's page")
        assert terminal.settings() == terminal.before


def test_the_terminal_goes_away(watched, top):
    with top() as terminal:
        terminal.wait_screen(lambda lines: len(lines) == 24, "a screen")
        terminal.hang_up()
        assert terminal.wait_exit() in (0, 1, -signal.SIGHUP)


def test_rates_and_a_daemon_that_stops(watched, pair, top):
    """A flow that sends stands first, with its numbers; what was known stays when flowd is gone."""
    with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as connection, top(interval=0.1) as terminal:
        watched.api.post(event(Pair.NEAR, connection.connect().sport, Pair.FAR, connection.port,
                               protocol="tcp")).expect(201)

        def rated(lines):
            connection.exchange(size=10000)
            row = line_of(lines, 3).split()
            return len(row) == 10 and row[2].endswith(f":{connection.sport}") and \
                row[4] not in "0-" and float(row[7]) > 0 and row[9] == "0"

        terminal.wait_screen(rated, "the flow with its rate in the first line")
        watched.stop()
        lines = terminal.wait_screen(lambda lines: "not up to date: " in line_of(lines, 1), "the reason")
        assert f":{connection.sport} " in lines[3]
        assert terminal.process.poll() is None
        watched.start()
        terminal.wait_screen(lambda lines: "sort by" in line_of(lines, 1), "the daemon again")
        terminal.type(b"q")
        assert terminal.wait_exit() == 0
