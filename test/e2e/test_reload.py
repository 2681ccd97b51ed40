# SPDX-License-Identifier: Apache-2.0
"""SIGHUP: what can change does, what can't is refused by name, and no flow is lost."""

import copy
import os
import signal

from lab.api_client import Api, event, line
from lab.collector import Collector
from lab.labels import TAG_MASK, tag_bits
from lab.netns import Pair
from lab.traffic import receive_label, udp_socket
from lab.waiting import until


def test_reload(pair, marking):
    """Interfaces, log level and collectors, in one reload and back."""
    daemon = marking(firefly={"sendToDestination": False, "collectors": [f"{Pair.FAR4}:10515"]})
    first = copy.deepcopy(daemon.config)
    second = copy.deepcopy(daemon.config)
    second["backends"]["marker"]["targetInterfaces"] = ["lo"]
    second["backends"]["firefly"]["collectors"] = [f"{Pair.FAR4}:10516", f"[{Pair.FAR}]:10517"]
    second["log"]["level"] = "debug"
    with Collector(pair.far, Pair.FAR4, 10515) as old, \
            Collector(pair.far, Pair.FAR4, 10516) as new, \
            Collector(pair.far, Pair.FAR, 10517) as new6, \
            udp_socket(pair.far, Pair.FAR) as receiver, udp_socket(pair.near, Pair.NEAR) as sender:
        target = receiver.getsockname()[:2]

        def label():
            sender.sendto(b"", target)
            return receive_label(receiver)[1]

        daemon.api.post(event(Pair.NEAR, sender.getsockname()[1], *target)).expect(201)
        many = [event(Pair.NEAR_OTHER, port, Pair.FAR_OTHER, 2) for port in range(1, 201)]
        daemon.api.post(many).expect(200)
        flows = {one["id"]: one["startTime"] for one in daemon.api.flows()}
        old.wait(201)
        marked = label()
        assert marked & TAG_MASK == tag_bits(2, 17)
        assert "debug" not in daemon.log()

        daemon.reload(second)
        until(lambda: label() == 0, "veth0 is left alone")
        mark = daemon.log_size()
        daemon.api.post(event(Pair.NEAR, 1, Pair.FAR, 1)).expect(201)
        assert new.wait(1)[0].flow["src-port"] == 1 == new6.wait(1)[0].flow["src-port"]
        daemon.write_fifo("nonsense\n")
        daemon.wait_log(r" debug ", mark)
        assert {one["id"]: one["startTime"] for one in daemon.api.flows()
                if one["srcPort"] != 1 or one["src"] != Pair.NEAR} == flows

        daemon.reload(first)
        until(lambda: label() == marked, "veth0 is marked again, with the same label")
        daemon.api.post(event(Pair.NEAR, 2, Pair.FAR, 1)).expect(201)
        assert old.wait(202)[-1].flow["src-port"] == 2
        assert len(new.fireflies()) == 1 == len(new6.fireflies())


def test_what_can_not_change(pair, marking, pin_path):
    """Refused with the path and both values in the log; the rest of the same file is applied."""
    daemon = marking(firefly={"sendToDestination": False, "collectors": []})
    daemon.api.post(event(Pair.NEAR, 1, Pair.FAR, 2)).expect(201)
    changed = copy.deepcopy(daemon.config)
    changed["plugins"]["api"]["bindPort"] = 7778
    changed["backends"]["marker"]["pinPath"] = str(pin_path) + "-other"
    changed["stateDir"] += "-other"
    changed["backends"]["firefly"]["collectors"] = [f"{Pair.FAR4}:10515"]
    with Collector(pair.far, Pair.FAR4, 10515) as collector:
        mark = daemon.log_size()
        daemon.reload(changed)
        for path in ("plugins.api.bindPort", "backends.marker.pinPath", "stateDir"):
            daemon.wait_log(path.replace(".", r"\."), mark)
        daemon.api.post(event(Pair.NEAR, 3, Pair.FAR, 4)).expect(201)
        assert collector.wait(1)[0].flow["src-port"] == 3
    assert daemon.api.live() == 2
    assert Api(pair.near).get("/readyz").status == 200


def test_modules_do_not_come_or_go(pair, marking):
    """Switching a module on or off needs a restart, and the log says so."""
    daemon = marking(firefly={})
    changed = copy.deepcopy(daemon.config)
    del changed["backends"]["firefly"]
    changed["backends"]["log"] = {}
    mark = daemon.log_size()
    daemon.reload(changed)
    daemon.wait_log(r"backends\.firefly", mark)
    daemon.wait_log(r"backends\.log", mark)
    answer = daemon.api.post(event(Pair.NEAR, 1, Pair.FAR, 2)).expect(201).json
    assert set(answer["backends"]) == {"marker", "firefly"}
    assert daemon.api.status()["reloads"] == {"done": 0, "partly": 1, "refused": 0, "outdated": 1}


def test_broken_file(pair, marking):
    """A file with mistakes changes nothing at all; each mistake is in the log."""
    daemon = marking(firefly={"sendToDestination": False, "collectors": [f"{Pair.FAR4}:10515"]})
    flow = daemon.api.post(event(Pair.NEAR, 1, Pair.FAR, 2)).expect(201).json
    good = copy.deepcopy(daemon.config)
    changed = copy.deepcopy(good)
    changed["backends"]["firefly"]["collectors"] = []
    changed["backends"]["marker"]["targetInterfaces"] = "all"
    changed["flows"] = {"tiemout": 5}
    mark = daemon.log_size()
    daemon.reload(changed, expect=r"targetInterfaces")
    daemon.wait_log(r"flows\.tiemout", mark)
    for text in ('{"log": {"level": "debug"}', "", "[]", "\0"):
        mark = daemon.log_size()
        daemon.config_path.write_text(text)
        daemon.send_signal(1)
        daemon.wait_log(r"(?i)config", mark)
    mark = daemon.log_size()
    daemon.config_path.unlink()
    daemon.send_signal(1)
    daemon.wait_log(r"(?i)config\.json", mark)
    with Collector(pair.far, Pair.FAR4, 10515) as collector:
        daemon.api.post(event(Pair.NEAR, 3, Pair.FAR, 4)).expect(201)
        collector.wait(1)
    assert flow["id"] in {one["id"] for one in daemon.api.flows()}
    assert " debug " not in daemon.log()
    counted = daemon.api.status()["reloads"]
    assert counted["refused"] >= 2 and counted["outdated"] == 1 and counted["done"] == counted["partly"] == 0
    daemon.reload(good)
    until(lambda: daemon.api.status()["reloads"] == {**counted, "done": 1, "outdated": 0}, "a reload that is counted")


def test_reload_while_events_come(plain):
    """Fifty reloads while lines arrive: each line is taken once."""
    daemon = plain()
    for number in range(50):
        daemon.write_fifo("".join(line("start", "2001:db8::1", 1 + port, "2001:db8::2", 1 + number)
                                  for port in range(100)))
        daemon.send_signal(1)
    until(lambda: daemon.api.live() == 5000, "all flows")
    assert daemon.api.status()["events"]["namedPipe"]["start"] == {"started": 5000}


def test_a_fifo_in_the_place_of_a_file(plain, directory):
    """Nobody writes into it: the start goes on without the pid file, the reload is refused, the loop goes on."""
    pid = directory / "pid"
    os.mkfifo(pid)
    daemon = plain(pidPath=str(pid))
    assert "write pidPath" in daemon.log()
    daemon.config_path.unlink()
    os.mkfifo(daemon.config_path)
    since = daemon.log_size()
    daemon.send_signal(signal.SIGHUP)
    daemon.wait_log("reload: .*is not a file", since)
    daemon.wait_log("reload refused: nothing was changed", since)
    assert daemon.api.get("/healthz").status == 200
