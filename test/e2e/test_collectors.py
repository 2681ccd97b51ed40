# SPDX-License-Identifier: Apache-2.0
"""Collectors by name and by address: how each of them is, and that none of them harms another."""

import json
import re

import pytest

from lab.api_client import Api, event
from lab.collector import Collector
from lab.daemon_config import base_config
from lab.dns import DnsServer, prefix
from lab.exposition import scrape
from lab.flowd_process import one_shot
from lab.netns import Pair
from lab.waiting import until

PORT = 10515


@pytest.fixture
def collecting(pair, make_flowd, directory):
    """A daemon on the near side whose DNS server is that of its namespace."""

    def start(collectors, hosts="", **firefly):
        config = base_config(directory)
        config["backends"] = {"firefly": {"collectors": collectors, "sendToDestination": False, **firefly},
                              "prometheus": {}}
        daemon = make_flowd(pair.near, config, prefix=prefix(directory, hosts)).start()
        daemon.api = Api(pair.near)
        daemon.flows = 0
        return daemon

    return start


def announce(daemon, count=1):
    for _ in range(count):
        daemon.flows += 1
        daemon.api.post(event(Pair.NEAR, daemon.flows, Pair.FAR, 2)).expect(201)


def collectors(daemon):
    return {one["name"]: one for one in daemon.api.module("firefly")["collectors"]}


def wait_state(daemon, name, state):
    until(lambda: collectors(daemon)[name]["state"] == state, lambda: f"{name} {state}: {collectors(daemon)}")


def lines(daemon, name):
    """What the log says of a collector."""
    return [one for one in daemon.log().splitlines() if re.search(rf"collector {re.escape(name)}\b", one)]


def test_names_of_both_families(pair, collecting):
    names = {"four.example.org": [Pair.FAR4], "six.example.org": [Pair.FAR]}
    with DnsServer(pair.near, names), Collector(pair.far, Pair.FAR4, PORT) as four, \
            Collector(pair.far, Pair.FAR, PORT) as six, Collector(pair.far, Pair.FAR4, PORT + 1) as hosts, \
            Collector(pair.far, Pair.FAR_OTHER, PORT) as numeric:
        daemon = collecting([f"four.example.org:{PORT}", f"six.example.org:{PORT}", f"in-hosts:{PORT + 1}",
                             f"[{Pair.FAR_OTHER}]:{PORT}"], hosts=f"{Pair.FAR4} in-hosts\n")
        announce(daemon)
        for collector in (four, six, hosts, numeric):
            assert collector.wait(1)[0].flow["src-port"] == 1
        found = collectors(daemon)
        assert [(one["name"], one["state"], one.get("address"), one["sent"]) for one in found.values()] == [
            (f"four.example.org:{PORT}", "up", f"{Pair.FAR4}:{PORT}", 1),
            (f"six.example.org:{PORT}", "up", f"[{Pair.FAR}]:{PORT}", 1),
            (f"in-hosts:{PORT + 1}", "up", f"{Pair.FAR4}:{PORT + 1}", 1),
            (f"[{Pair.FAR_OTHER}]:{PORT}", "up", f"[{Pair.FAR_OTHER}]:{PORT}", 1)]
        samples = scrape(Api(pair.near, port=9000)).samples
        for name in found:
            assert samples["flowd_fireflies_total", frozenset({("destination", name), ("result", "sent")})] == 1


def test_a_name_moves(pair, collecting):
    """After the answer's time the other address is used; and while no server answers the last one stays."""
    name = f"moves.example.org:{PORT}"
    with Collector(pair.far, Pair.FAR4, PORT) as old, Collector(pair.far, Pair.FAR, PORT) as new:
        with DnsServer(pair.near, {"moves.example.org": [Pair.FAR4]}) as dns:
            daemon = collecting([name])
            announce(daemon)
            old.wait(1)
            dns.names["moves.example.org"] = [Pair.FAR]
            until(lambda: collectors(daemon)[name]["address"] == f"[{Pair.FAR}]:{PORT}", "the other address")
            announce(daemon)
            new.wait(1)
            assert len(old.fireflies()) == 1
            # A change of the address is no change of the state.
            assert len(lines(daemon, name)) == 1, lines(daemon, name)
        until(lambda: "nameError" in collectors(daemon)[name], "that nobody answers")
        announce(daemon)
        new.wait(2)
        assert collectors(daemon)[name]["state"] == "up"


def test_unknown_names_harm_nobody(pair, collecting):
    """One that does not exist and one that nobody answers for; each is logged once."""
    nobody, silent, good = f"nobody.example.org:{PORT}", f"silent.example.org:{PORT}", f"{Pair.FAR4}:{PORT}"
    with DnsServer(pair.near, {"silent.example.org": None}) as dns, Collector(pair.far, Pair.FAR4, PORT) as collector, \
            Collector(pair.far, Pair.FAR, PORT) as late:
        daemon = collecting([nobody, silent, good])
        announce(daemon, 20)
        collector.wait(20)
        until(lambda: lines(daemon, nobody), "the line")
        found = collectors(daemon)
        assert found[nobody]["state"] == found[silent]["state"] == "unresolved"
        assert "address" not in found[nobody] and found[nobody]["nameError"]
        assert daemon.api.module("firefly")["waiting"] == 40
        # What was announced before the first answer is not lost.
        dns.names["nobody.example.org"] = [Pair.FAR]
        late.wait(20)
        wait_state(daemon, nobody, "up")
        assert collectors(daemon)[nobody]["dropped"] == 0
        assert len(lines(daemon, nobody)) == 2, lines(daemon, nobody)
        assert "not known" in lines(daemon, nobody)[0] and "up again" in lines(daemon, nobody)[1]


def test_one_that_is_closed(pair, collecting):
    """ICMP says so: it is down, which is logged once, and the other one gets everything; and it comes back."""
    closed, good = f"{Pair.FAR4}:{PORT}", f"[{Pair.FAR}]:{PORT}"
    with Collector(pair.far, Pair.FAR, PORT) as collector:
        daemon = collecting([closed, f"{Pair.FAR4}:{PORT + 1}", good])
        with Collector(pair.far, Pair.FAR4, PORT + 1) as same_host:
            announce(daemon, 30)
            collector.wait(30)
            same_host.wait(30)
            wait_state(daemon, closed, "down")
            announce(daemon, 30)
            same_host.wait(60)
            found = collectors(daemon)
            assert found[closed]["icmpErrors"] > 0 and found[closed]["sent"] + found[closed]["failed"] == 60
            for name in (good, f"{Pair.FAR4}:{PORT + 1}"):
                assert (found[name]["state"], found[name]["sent"], found[name]["failed"],
                        found[name]["icmpErrors"]) == ("up", 60, 0, 0), found
            assert len(lines(daemon, closed)) == 1 and "refused" in lines(daemon, closed)[0]
            with Collector(pair.far, Pair.FAR4, PORT) as opened:
                announce(daemon)
                opened.wait(1)
                wait_state(daemon, closed, "up")
            said = lines(daemon, closed)
            assert len(said) == 2 and re.search(r"up again after \d+ s; \d+ fireflies were lost", said[1]), said


def test_the_next_address_of_a_name(pair, collecting):
    """Where nobody listens at one address of a name, its fireflies go to the next one."""
    name = f"two.example.org:{PORT}"
    with DnsServer(pair.near, {"two.example.org": [Pair.FAR, Pair.FAR4]}, ttl=300):
        daemon = collecting([name])
        first = until(lambda: collectors(daemon)[name].get("address"), "an address")
        other = Pair.FAR4 if Pair.FAR in first else Pair.FAR
        with Collector(pair.far, other, PORT) as collector:
            announce(daemon)
            until(lambda: collectors(daemon)[name]["icmpErrors"], "the error")
            announce(daemon)
            collector.wait(1)
            wait_state(daemon, name, "up")


def test_destinations_that_do_not_listen(pair, collecting):
    """Most do not: they are counted, and nothing is said of them."""
    daemon = collecting([], sendToDestination=True)
    before = daemon.log_size()
    announce(daemon, 5)
    until(lambda: daemon.api.module("firefly")["toDestination"]["icmpErrors"], "the errors")
    found = daemon.api.module("firefly")["toDestination"]
    assert (found["sent"], found["failed"], found["dropped"]) == (5, 0, 0)
    assert "firefly" not in daemon.log(before)


def test_reload_keeps_the_counts(pair, collecting):
    stays, goes, comes = (f"{Pair.FAR4}:{port}" for port in (PORT, PORT + 1, PORT + 2))
    with Collector(pair.far, Pair.FAR4, PORT) as first, Collector(pair.far, Pair.FAR4, PORT + 1) as second, \
            Collector(pair.far, Pair.FAR4, PORT + 2) as third:
        daemon = collecting([stays, goes])
        announce(daemon, 3)
        first.wait(3)
        second.wait(3)
        daemon.config["backends"]["firefly"]["collectors"] = [comes, stays, stays]
        daemon.reload(daemon.config, expect="reloaded")
        announce(daemon)
        first.wait(4)
        third.wait(1)
        assert {name: one["sent"] for name, one in collectors(daemon).items()} == {comes: 1, stays: 4}
        assert len(second.fireflies()) == 3 and len(first.fireflies()) == 4


def test_check_of_names(pair, directory):
    """One that is there draws no warning; one that is not, or that nobody answers for, does, and soon."""
    path = directory / "config.json"
    config = base_config(directory)
    path.write_text(json.dumps({**config, "backends": {"firefly": {"collectors": [
        "good.example.org", "nobody.example.org", "silent.example.org:514"]}}}))
    with DnsServer(pair.near, {"good.example.org": [Pair.FAR4], "silent.example.org": None}):
        done = one_shot(directory, "-c", path, "check",
                        prefix=["nsenter", f"--net={pair.near.path}", "--", *prefix(directory)])
    assert done.returncode == 0, done
    assert "good.example.org" not in done.stderr
    assert '"nobody.example.org" can\'t be resolved' in done.stderr
    assert '"silent.example.org:514" can\'t be resolved: no answer within 2 s' in done.stderr


def test_another_resolv_conf(pair, collecting, directory):
    """Who is asked may change while flowd runs, such as when a network comes up late."""
    name = f"late.example.org:{PORT}"
    with DnsServer(pair.near, {"late.example.org": [Pair.FAR4]}, address="127.0.0.3"), \
            Collector(pair.far, Pair.FAR4, PORT) as collector:
        daemon = collecting([name])
        announce(daemon)
        until(lambda: "nameError" in collectors(daemon)[name], "that nobody answers")
        (directory / "resolv.conf").write_text("nameserver 127.0.0.3\n")
        daemon.reload(expect="reloaded")
        collector.wait(1)
        wait_state(daemon, name, "up")
        assert collectors(daemon)[name]["dropped"] == 0
