# SPDX-License-Identifier: Apache-2.0
"""Configurations and command lines of the programs that flowd replaces: they go on working."""

import json

import pytest

from lab.api_client import Api, event
from lab.collector import Collector
from lab.daemon_config import base_config
from lab.flowd_process import one_shot
from lab.netns import Pair

# Every old spelling, where it stands, and what it becomes (a path in `flowd conf` and its value).
OLD = {
    "workDir": ("/x", "stateDir", "/x"),
    "plugins.namedPipe.buffSize": (1000, None, None),
    "plugins.namedPipe.maxReaders": (5, None, None),
    "plugins.iperf3.programPath": ("", None, None),
    "plugins.iperf3.debugMode": (True, None, None),
    "plugins.perfsonar.experimentID": (4, "plugins.perfsonar.experimentId", 4),
    "plugins.perfsonar.activityID": (5, "plugins.perfsonar.activityId", 5),
    "backends.ebpf": ({}, "backends.marker.attach", "auto"),
    "backends.marker.targetInterface": ("eth9", "backends.marker.targetInterfaces", ["eth9"]),
    "backends.marker.programPath": ("", None, None),
    "backends.marker.forceHookRemoval": (True, None, None),
    "backends.firefly.fireflyDestinationPort": (99, "backends.firefly.destinationPort", 99),
    "backends.firefly.sendToCollector": (False, "backends.firefly.collectors", []),
    "backends.firefly.addNetlinkContext": (True, None, None),
    "backends.firefly.pollNetlink": (True, None, None),
    "backends.firefly.netlinkPollingInterval": (1000, None, None),
    "backends.prometheus.netlinkPort": (9001, "backends.prometheus.port", 9001),
    "backends.prometheus.skopsPort": (9002, "backends.prometheus.port", 9002),
    "backends.prometheus.log": (True, None, None),
    "enrichers.skops.programPath": ("", None, None),
}
STRATEGIES = {
    "flowLabel": "label", "hopByHopHeader": "hopByHop", "destinationHeader": "destination",
    "hopByHopDestHeaders": "hopByHopDestination", "hopByHopAndDestination": "hopByHopDestination",
    "flowLabelMatchAll": "label",
}


def nested(path, value):
    for part in reversed(path.split(".")):
        value = {part: value}
    return value


def at(config, path):
    for part in path.split("."):
        config = config[part]
    return config


@pytest.fixture
def effective(directory):
    """What `flowd conf` makes of a configuration, and the lines on its standard error."""

    def run(config, status=0):
        path = directory / "config.json"
        path.write_text(json.dumps(config))
        done = one_shot(directory, "-c", path, "conf")
        assert done.returncode == status, done
        return json.loads(done.stdout) if status == 0 else None, done.stderr.splitlines()

    return run


@pytest.mark.parametrize("path", OLD)
def test_old_spellings_draw_one_line(effective, path):
    value, place, becomes = OLD[path]
    config = nested(path, value)
    if "perfsonar" in path:
        config["backends"] = {"marker": {}}
    found, lines = effective(config)
    if place is not None:
        assert at(found, place) == becomes
    assert len(lines) == 1 and lines[0].startswith("flowd: deprecated: "), lines
    assert path.rpartition(".")[2] in lines[0]
    assert effective(found)[1] == []


@pytest.mark.parametrize("written", STRATEGIES)
def test_old_strategies(effective, written):
    config = {"plugins": {"perfsonar": {}}, "backends": {"marker": {"markingStrategy": written}}}
    found, lines = effective(config)
    assert found["backends"]["marker"]["markingStrategy"] == STRATEGIES[written]
    assert len(lines) == 1 and written in lines[0], lines


def test_match_all_needs_its_tag(effective):
    lines = effective({"backends": {"marker": {"markingStrategy": "flowLabelMatchAll"}}}, 2)[1]
    assert len(lines) == 1 and "plugins.perfsonar" in lines[0], lines


@pytest.mark.parametrize("path", ["plugins.iperf3.programPath", "backends.ebpf.programPath",
                                  "enrichers.skops.programPath"])
def test_programs_of_others_are_refused(effective, path):
    lines = effective(nested(path, "/usr/lib/other.o"), 2)[1]
    assert len(lines) == 1 and "programPath" in lines[0] and "it loads no other" in lines[0], lines


@pytest.mark.parametrize("key", ["addNetlinkContext", "pollNetlink", "netlinkPollingInterval"])
def test_where_statistics_come_from_is_said(effective, key):
    line = effective({"backends": {"firefly": {key: True}}})[1][0]
    assert '"enrichers": {"netlink": {}}' in line and '"enrich": true' in line


@pytest.mark.parametrize("arguments", [["--fg"], ["-f"], ["--log-time"], ["--log-time=true"],
                                       ["-f", "--fg", "--log-time", "--log-level", "info"]])
def test_units_of_others(flowd_command, directory, arguments):
    path = directory / "config.json"
    path.write_text("{}")
    done = flowd_command(*arguments, "-c", path, "conf")
    assert done.returncode == 0 and json.loads(done.stdout) and not done.stderr, done
    assert arguments[0].partition("=")[0] in flowd_command("--help").stdout


def test_a_whole_configuration(make_flowd, pair, directory, pin_path):
    """A configuration of flowd-go 2.0 to 2.2 with everything that it had: flowd starts and does it."""
    config = {
        "workDir": str(directory / "work"),
        "pidPath": str(directory / "pid"),
        "plugins": {
            "namedPipe": {"pipePath": str(directory / "run" / "np"), "maxReaders": 5,
                          "buffSize": 1000},
            "api": {"bindAddress": "127.0.0.1", "bindPort": 7777},
            "iperf3": {"minSourcePort": 0, "maxSourcePort": 0, "minDestinationPort": 5201,
                       "maxDestinationPort": 5201, "programPath": "", "debugMode": False,
                       "randomIDs": False},
            "perfsonar": {"activityID": 2, "experimentID": 16},
        },
        "backends": {
            "ebpf": {"targetInterface": "veth0", "removeQdisc": True, "forceHookRemoval": True,
                     "markingStrategy": "flowLabelMatchAll", "matchAll": True, "programPath": "",
                     "debugMode": False, "pinPath": str(pin_path)},
            "firefly": {"fireflyDestinationPort": 10515, "prependSyslog": True,
                        "sendToCollector": True, "collectorAddress": Pair.FAR4,
                        "collectorPort": 10514, "addNetlinkContext": True, "pollNetlink": True,
                        "netlinkPollingInterval": 1000},
            "prometheus": {"bindAddress": "127.0.0.1", "netlinkPort": 9000, "skopsPort": 9001,
                           "log": False},
        },
        "enrichers": {
            "netlink": {"protocol": 6, "ext": 255, "state": 3071},
            "skops": {"programPath": "", "cgroupPath": "/sys/fs/cgroup", "strategy": "poll",
                      "debugMode": False},
        },
    }
    daemon = make_flowd(pair.near, config).start()
    said = [one for one in daemon.log().splitlines() if one.startswith("flowd: deprecated: ")]
    for path in set(OLD) - {"backends.ebpf"}:
        assert len([one for one in said if path.rpartition(".")[2] in one]) >= 1, (path, said)
    assert len(set(said)) == len(said) == 21, said
    with Collector(pair.far, Pair.FAR4, 10514) as collector:
        answer = Api(pair.near).post(event(Pair.NEAR, 1, Pair.FAR, 2)).expect(201).json
        assert answer["backends"]["marker"] == "marked", answer
        collector.wait(1, "start")
