# SPDX-License-Identifier: Apache-2.0
"""Restarts with more flows than are restored in one turn of the loop."""

import random
import signal

import pytest

from lab.api_client import Api, event, line
from lab.flow_map import FlowMap
from lab.netns import Pair
from lab.waiting import until

FLOWS = 12000


@pytest.fixture
def full(marking, pin_path):
    """A daemon with many flows from this host, each with its entry in the map."""
    daemon = marking(firefly={"sendToDestination": False, "collectors": ["127.0.0.1:10514"]})
    daemon.write_fifo("".join(
        line("start", Pair.NEAR, 1 + number, Pair.FAR, 7, number % 512, number % 64)
        for number in range(FLOWS)))
    until(lambda: daemon.api.live() == FLOWS, "the flows")
    until(lambda: len(FlowMap(pin_path)) == FLOWS, "their entries")
    return daemon


def restored(daemon, namespace, pin_path, flows):
    api = Api(namespace)
    assert api.live() == flows
    until(lambda: len(FlowMap(pin_path)) == flows, "an entry for each flow, and no other")
    until(lambda: {one["backends"]["marker"] for one in api.flows()} == {"marked"},
          "all of them told of")
    return api


def test_kills_while_flows_are_restored(full, pair, pin_path):
    """Wherever a start is killed, the next one finds every flow, and the map never loses one."""
    dice = random.Random(5)
    for _ in range(6):
        mark = full.log_size()
        full.kill()
        full.start(ready=False)
        # From the first look at the file to a while after it is ready.
        words = dice.choice(["starts with", "restored from", "took over", "listening", "ready"])
        full.wait_log(words, mark)
        assert len(FlowMap(pin_path)) == FLOWS
    full.kill()
    full.start()
    restored(full, pair.near, pin_path, FLOWS)


def test_events_while_flows_are_restored(full, pair, pin_path):
    """Requests are answered as soon as flowd is ready, and are right however far it has come."""
    full.kill()
    full.start()
    api = Api(pair.near)
    assert api.live() == FLOWS
    # The last records are told of last.
    last, other, third = (Pair.NEAR, FLOWS), (Pair.NEAR, FLOWS - 1), (Pair.NEAR, FLOWS - 2)
    api.post({**event(*last, Pair.FAR, 7, (FLOWS - 1) % 512, (FLOWS - 1) % 64), "state": "end"}).expect(200)
    api.post(event(*other, Pair.FAR, 7, 500, 60)).expect(201)
    known = api.post(event(*third, Pair.FAR, 7, (FLOWS - 3) % 512, (FLOWS - 3) % 64)).expect(200).json
    assert known["backends"]["marker"] == "marked", known
    api.post(event(Pair.NEAR, 60001, Pair.FAR, 7)).expect(201)
    assert api.live() == FLOWS
    restored(full, pair.near, pin_path, FLOWS)
    for flow in api.flows():
        if (flow["src"], flow["srcPort"]) == other:
            assert (flow["experiment"], flow["activity"]) == (500, 60)


def test_stop_and_reload_while_flows_are_restored(full, pair, pin_path):
    """SIGTERM and SIGHUP are obeyed, and cost no flow."""
    full.config["backends"]["marker"]["onExit"] = "keep"
    for words in ("took over", "restored from"):
        full.kill()
        mark = full.log_size()
        full.start(ready=False)
        full.wait_log(words, mark)
        full.send_signal(signal.SIGHUP)
        full.wait_log(r"\breloaded\b", mark)
        full.kill()
        mark = full.log_size()
        full.start(ready=False)
        full.wait_log(words, mark)
        full.send_signal(signal.SIGTERM)
        assert full.wait_exit() == 0
        assert len(FlowMap(pin_path)) == FLOWS
        full.start()
    restored(full, pair.near, pin_path, FLOWS)


def test_ready_without_pins(full, pair, pin_path):
    """Where there is nothing to take over, ready means that each flow is in the map."""
    full.stop()
    full.start()
    assert len(FlowMap(pin_path)) == FLOWS
    Api(pair.near).get("/readyz").expect(200)
    restored(full, pair.near, pin_path, FLOWS)
