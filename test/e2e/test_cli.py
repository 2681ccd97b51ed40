# SPDX-License-Identifier: Apache-2.0
"""The command line: check, conf, version, help, exit statuses; and flowctl."""

import json
import re
import socket

import pytest

from lab.api_client import event
from lab.collector import DATA
from lab.daemon_config import base_config
from lab.flowd_process import FLOWCTL, one_shot


def write(directory, config):
    path = directory / "config.json"
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    return path


def test_version_and_help(flowd_command):
    for argument in ("version", "--version"):
        done = flowd_command(argument)
        assert done.returncode == 0 and re.search(r"\d+\.\d+\.\d+", done.stdout), done
    for argument in ("help", "--help"):
        done = flowd_command(argument)
        assert done.returncode == 0
        for word in ("run", "check", "conf", "clean", "version", "-c", "--log-level"):
            assert word in done.stdout, word


def test_every_option_is_described_in_sentences(flowd_command):
    """Other sentences follow: whether it can change on SIGHUP, its old spelling."""
    shown = flowd_command("help", "options").stdout
    described = re.findall(r"^      (.+)$", shown, re.MULTILINE)
    assert len(described) > 50
    for text in described:
        assert re.match(r'["A-Z]', text) and text.endswith("."), text
        assert not re.search(r"[^.] (Can change|Old spelling)", text), text


@pytest.mark.parametrize("arguments", [
    ["nonsense"], ["--nonsense"], ["-c"], ["run", "extra"], ["check", "extra"],
    ["--log-level", "loud", "check"], ["--log-format", "xml", "check"], ["clean", "--interface"],
])
def test_usage_errors(flowd_command, directory, arguments):
    done = flowd_command(*arguments)
    assert done.returncode == 2, done
    assert done.stderr and not done.stdout


def test_check_accepts(flowd_command, directory, bpffs):
    for config in ({}, base_config(directory), base_config(directory, bpffs / "none")):
        done = flowd_command("-c", write(directory, config), "check")
        assert done.returncode == 0, done.stderr
    assert not (directory / "fifo").exists() and not (directory / "state").exists()


def test_five_mistakes(flowd_command, make_flowd, single, directory):
    """All are reported at once, each with its path and what is allowed; nothing is started."""
    config = base_config(directory)
    config["plugins"]["api"]["bindPort"] = 70000
    config["plugins"]["namedPipe"]["pipePth"] = "/x"
    config["backends"]["firefly"] = {"collectors": "192.0.2.1"}
    config["flows"] = {"timeout": "never"}
    config["backends"]["marker"] = {"attach": "xdp"}
    expected = {
        "plugins.api.bindPort": ["70000", "65535"],
        "plugins.namedPipe.pipePth": ["pipePath"],
        "backends.firefly.collectors": [],
        "flows.timeout": ["never"],
        "backends.marker.attach": ["xdp", "tcx"],
    }
    path = write(directory, config)
    done = flowd_command("-c", path, "check")
    assert done.returncode == 2, done
    lines = (done.stdout + done.stderr).splitlines()
    for name, words in expected.items():
        about = [one for one in lines if name in one]
        assert len(about) == 1, (name, lines)
        for word in words:
            assert word in about[0], about[0]
    daemon = make_flowd(single, config).start(ready=False)
    assert daemon.wait_exit() == 2
    for name in expected:
        assert name in daemon.log()
    assert not (directory / "fifo").exists()


@pytest.mark.parametrize("text,words", [
    ("", []), ("{", []), ("[]", ["object"]), ('{"a": 1, "a": 2}', ["a"]), ("{} x", []),
    ('{"flows": {"max": 0}}', ["flows.max", "0", "1"]),
    ('{"flows": {"max": 1e3}}', ["flows.max"]),
    ('{"flows": {"max": 99999999999999999999}}', []),
    ('{"flows": 5}', ["flows"]),
    ('{"Flows": {}}', ["Flows", "flows"]),
    ('{"plugins": []}', ["plugins"]),
    ('{"plugins": {"api": null}}', ["plugins.api"]),
    ('{"plugins": {"apii": {}}}', ["plugins.apii", "api"]),
    ('{"plugins": {"namedPipe": {"mode": "0999"}}}', ["plugins.namedPipe.mode", "0999"]),
    ('{"plugins": {"namedPipe": {"mode": 432}}}', ["plugins.namedPipe.mode"]),
    ('{"plugins": {"api": {"bindAddress": "localhost"}}}', ["plugins.api.bindAddress"]),
    ('{"backends": {"firefly": {"collectors": ["192.0.2.1:0"]}}}', ["backends.firefly.collectors"]),
    ('{"backends": {"firefly": {"collectors": [5]}}}', ["backends.firefly.collectors"]),
    ('{"backends": {"marker": {"targetInterfaces": ["a-name-that-is-longer-than-the-127-characters-of-an-alternative-name-of-an-interface-which-are-many-more-than-the-fifteen-of-its-own-one"]}}}',
     ["backends.marker.targetInterfaces"]),
    ('{"backends": {"marker": {"markingStrategy": "sideways"}}}',
     ["backends.marker.markingStrategy", "sideways", "label"]),
    ('{"log": {"level": "loud"}}', ["log.level", "loud", "debug"]),
])
def test_mistakes_are_named(flowd_command, directory, text, words):
    done = flowd_command("-c", write(directory, text), "check")
    assert done.returncode == 2, done
    for word in words:
        assert word in done.stdout + done.stderr, (word, done.stdout + done.stderr)


def test_stun_servers_at_the_top(flowd_command, directory):
    """Where flowd-go had them up to 2.2: taken where the firefly backend is, named where it is not."""
    servers = ["stun:stun.example.org:3478"]
    done = flowd_command("-c", write(directory, {"stunServers": servers, "backends": {"firefly": {}}}), "conf")
    assert done.returncode == 0 and "stunServers" in done.stderr, done
    assert json.loads(done.stdout)["backends"]["firefly"]["stun"]["stunServers"] == servers
    done = flowd_command("-c", write(directory, {"stunServers": servers}), "check")
    assert done.returncode == 0 and "no effect" in done.stderr, done
    both = {"stunServers": servers, "backends": {"firefly": {"stun": {"stunServers": servers}}}}
    done = flowd_command("-c", write(directory, both), "check")
    assert done.returncode == 2 and "is there too" in done.stderr, done


def test_no_configuration_file(flowd_command, directory):
    done = flowd_command("-c", directory / "none.json", "check")
    assert done.returncode == 2 and "none.json" in done.stderr + done.stdout


def test_conf(flowd_command, directory, bpffs):
    """What conf prints is a configuration with every default, and stays what it is."""
    config = base_config(directory, bpffs / "none")
    config["backends"].update({"firefly": {}, "log": {}})
    first = flowd_command("-c", write(directory, config), "conf")
    assert first.returncode == 0, first.stderr
    effective = json.loads(first.stdout)
    assert effective["flows"] == {"max": 262144, "timeout": 0, "endOnClose": True}
    assert effective["plugins"]["api"]["socketMode"] == "0660"
    assert effective["backends"]["firefly"]["destinationPort"] == 10514
    assert effective["backends"]["marker"]["markingStrategy"] == "label"
    assert effective["backends"]["marker"]["targetInterfaces"] == ["veth0"]
    second = flowd_command("-c", write(directory, effective), "conf")
    assert json.loads(second.stdout) == effective
    assert not second.stderr, "what conf prints has no old spelling"
    done = flowd_command("-c", write(directory, {}), "conf")
    assert json.loads(done.stdout)["stateDir"] == "/var/lib/flowd"


def test_old_spellings(flowd_command, directory):
    """Each works and logs one deprecation line."""
    config = {
        "workDir": str(directory / "state"),
        "backends": {
            "ebpf": {"targetInterface": "veth0", "markingStrategy": "flowLabel"},
            "firefly": {"fireflyDestinationPort": 10599, "sendToCollector": True,
                        "collectorAddress": "192.0.2.9", "collectorPort": 10600},
        },
    }
    path = write(directory, config)
    done = flowd_command("-c", path, "conf")
    assert done.returncode == 0, done.stderr
    effective = json.loads(done.stdout)
    assert effective["stateDir"] == config["workDir"]
    assert effective["backends"]["marker"]["targetInterfaces"] == ["veth0"]
    assert effective["backends"]["marker"]["markingStrategy"] == "label"
    assert effective["backends"]["firefly"]["destinationPort"] == 10599
    assert effective["backends"]["firefly"]["collectors"] == ["192.0.2.9:10600"]
    checked = flowd_command("-c", path, "check")
    assert checked.returncode == 0
    for word in ("workDir", "ebpf", "targetInterface", "flowLabel", "fireflyDestinationPort",
                 "sendToCollector"):
        assert word in checked.stdout + checked.stderr, (word, checked)


def test_choices_in_any_case(flowd_command, directory):
    config = {"backends": {"marker": {"markingStrategy": "LABEL", "attach": "TCX"}}}
    assert flowd_command("-c", write(directory, config), "check").returncode == 0


@pytest.mark.parametrize("written,strategy,old", [
    ("hopbyhop", "hopByHop", False), ("DESTINATION", "destination", False),
    ("hopByHopDestination", "hopByHopDestination", False), ("flowlabel", "label", True),
    ("hopByHopHeader", "hopByHop", True), ("hopByHopDestHeaders", "hopByHopDestination", True),
])
def test_strategies(flowd_command, directory, written, strategy, old):
    """Each strategy by its name in any case, and as flowd-go spelled it."""
    path = write(directory, {"backends": {"marker": {"markingStrategy": written}}})
    checked = flowd_command("-c", path, "check")
    assert checked.returncode == 0, checked
    assert ("deprecated" in checked.stdout + checked.stderr) == old, checked
    effective = json.loads(flowd_command("-c", path, "conf").stdout)
    assert effective["backends"]["marker"]["markingStrategy"] == strategy


# -- flowctl -------------------------------------------------------------------------------------

FLOW = ["tcp", "2001:db8::1", "1094", "2001:db8::2", "40000", "2", "17"]


@pytest.fixture
def flowctl(single, directory):
    def run(*arguments, environment=None):
        return one_shot(directory, *arguments, program=FLOWCTL, environment=environment,
                        prefix=["nsenter", f"--net={single.path}"])

    return run


def test_flowctl(plain, flowctl):
    """start, list, show, status, end, for people and as JSON."""
    daemon = plain()
    done = flowctl("start", *FLOW)
    assert done.returncode == 0, done.stderr
    flow = daemon.api.flows()[0]
    assert flow["id"] in done.stdout
    assert (flow["protocol"], flow["src"], flow["scitag"]) == ("tcp", "2001:db8::1", 145)

    again = flowctl("--json", "start", *FLOW)
    assert again.returncode == 0 and json.loads(again.stdout)["id"] == flow["id"]
    listed = flowctl("list")
    assert listed.returncode == 0 and flow["id"] in listed.stdout and "2001:db8::2" in listed.stdout
    as_json = json.loads(flowctl("list", "--json").stdout)
    assert [one["id"] for one in (as_json["flows"] if isinstance(as_json, dict) else as_json)] == \
        [flow["id"]]
    shown = flowctl("show", flow["id"])
    assert shown.returncode == 0 and "2001:db8::1" in shown.stdout
    assert json.loads(flowctl("--json", "show", flow["id"]).stdout)["id"] == flow["id"]
    status = flowctl("status")
    assert status.returncode == 0 and "1" in status.stdout
    assert json.loads(flowctl("--json", "status").stdout)["flows"]["live"] == 1

    assert flowctl("end", *FLOW).returncode == 0
    assert daemon.api.live() == 0


def test_flowctl_long_list(plain, flowctl):
    """All pages are fetched."""
    daemon = plain()
    daemon.api.post([event("2001:db8::1", port, "2001:db8::2", 2) for port in range(1, 5001)])
    ids = {one["id"] for one in daemon.api.flows()}
    listed = flowctl("list").stdout
    assert len(ids) == 5000 and all(one in listed for one in ids)
    as_json = json.loads(flowctl("list", "--json").stdout)
    flows = as_json["flows"] if isinstance(as_json, dict) else as_json
    assert {one["id"] for one in flows} == ids and len(flows) == 5000


def test_flowctl_errors(plain, flowctl):
    """2 for a wrong command line, 1 for what the daemon refuses, 3 where there is none."""
    daemon = plain()
    for arguments in ([], ["nonsense"], ["start"], ["start", *FLOW[:-1]], ["start", *FLOW, "x"],
                      ["show"], ["--nonsense", "list"],
                      ["end", *FLOW[:3]], ["end", "0123"], ["registry", "a", "b"], ["ready", "x"]):
        done = flowctl(*arguments)
        assert done.returncode == 2, (arguments, done)
        assert done.stderr and all(line == line.rstrip() for line in done.stderr.splitlines()), done
    refused = flowctl("start", *FLOW[:4], "70000", "2", "17")
    assert refused.returncode == 1 and refused.stderr
    assert flowctl("show", "0123456789abcdef").returncode == 1
    assert flowctl("end", "0123456789abcdef").returncode == 1
    assert daemon.api.live() == 0
    daemon.stop()
    done = flowctl("status")
    assert done.returncode == 3 and "127.0.0.1:7777" in done.stderr and "plugins.api" in done.stderr, done
    done = flowctl("--unix", "/run/nobody", "top", "--count", "1", "--json")
    assert done.returncode == 3 and "plugins.api.socketPath" in done.stderr, done


def test_flowctl_ready(plain, flowctl, single):
    """0 or 1 with the reason; 3 without a daemon."""
    with single.socket(socket.AF_INET, socket.SOCK_STREAM) as other:
        daemon = plain()
        done = flowctl("ready")
        assert (done.returncode, done.stdout, done.stderr) == (0, "ready\n", "")
        assert json.loads(flowctl("--json", "ready").stdout) == {"status": "ready"}
        daemon.stop()
        assert flowctl("ready").returncode == 3
        other.bind(("127.0.0.1", 9000))
        other.listen()
        daemon.config["backends"]["prometheus"] = {}
        mark = daemon.log_size()
        daemon.start(ready=False)
        daemon.wait_log("plugins.api: listening", mark)
        done = flowctl("ready")
        assert done.returncode == 1 and done.stdout == "" and "9000" in done.stderr, done


def test_flowctl_tokens(plain, flowctl, directory):
    """4 where a token is missing or wrong, with what to do about it."""
    (directory / "tokens").write_text("right\n")
    (directory / "wrong").write_text("wrong\n")
    config = base_config(directory)
    config["plugins"]["api"]["tokenFile"] = str(directory / "tokens")
    plain(**config)
    done = flowctl("list")
    assert done.returncode == 4 and "--token-file" in done.stderr, done
    done = flowctl("--token-file", directory / "wrong", "list")
    assert done.returncode == 4 and "plugins.api.tokenFile" in done.stderr, done
    assert flowctl("--token-file", directory / "tokens", "list").returncode == 0


def test_flowctl_socket_of_others(plain, single, directory):
    """4 where the socket's mode keeps one out, which no token would change; 2 for no path at all."""
    path = directory / "api.sock"
    plain(api={"socketPath": str(path)})
    denied = one_shot(directory, "--unix", path, "list", program=FLOWCTL,
                      prefix=["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"])
    assert denied.returncode == 4 and "plugins.api.socketMode" in denied.stderr, denied
    assert "--token-file" not in denied.stderr
    assert one_shot(directory, "--unix", path, "list", program=FLOWCTL).returncode == 0
    assert one_shot(directory, "--unix", "/" + "x" * 200, "list", program=FLOWCTL).returncode == 2


def test_flowctl_ends_by_id(plain, flowctl):
    daemon = plain()
    for arguments in ([], ["--json"]):
        flowctl("start", *FLOW)
        flow = daemon.api.flows()[0]["id"]
        done = flowctl(*arguments, "end", flow)
        assert done.returncode == 0 and (arguments or done.stdout == f"ended {flow}\n"), done
        assert daemon.api.live() == 0


def test_flowctl_registry(plain, flowctl):
    plain(registry={"path": str(DATA / "registry.json")})
    everything = flowctl("registry").stdout.splitlines()
    assert [line.split() for line in everything if "production" in line.lower() and "atlas" in line.lower()]
    one = flowctl("registry", "ATLAS").stdout.splitlines()
    assert 2 < len(one) < len(everything) and all(line.split()[0] == "2" for line in one[1:])
    named = json.loads(flowctl("--json", "registry", "2").stdout)["experiments"]
    assert [experiment["experimentName"] for experiment in named] == ["atlas"]
    unknown = flowctl("registry", "a b&c=d")
    assert unknown.returncode == 1 and "a b&c=d" in unknown.stderr, unknown


def test_flowctl_names(plain, flowctl):
    daemon = plain(registry={"path": str(DATA / "registry.json")})
    assert flowctl("start", *FLOW[:5], "atlas", "production_output").returncode == 0
    assert daemon.api.flows()[0]["scitag"] == 2 * 64 + 16
    assert "2 (atlas)" in flowctl("list").stdout
