# SPDX-License-Identifier: Apache-2.0
"""`flowd check`: warnings of what is allowed and hardly meant, for each sign of it alone."""

import json
import os
import re

import pytest

from lab.daemon_config import base_config
from lab.flowd_process import one_shot


@pytest.fixture
def check(pair, directory):
    """Checks base_config() with changes as "path.to.key": value, on the near side of a pair."""

    def run(changes=None, pins="/sys/fs/bpf/none", prefix=()):
        config = base_config(directory, pins)
        config["backends"]["firefly"] = {"collectors": ["192.0.2.2:10514"]}
        for key, value in (changes or {}).items():
            place = config
            *sections, last = key.split(".")
            for section in sections:
                place = place.setdefault(section, {})
            place[last] = value
        path = directory / "config.json"
        path.write_text(json.dumps(config))
        done = one_shot(directory, "-c", path, "check",
                        prefix=["nsenter", f"--net={pair.near.path}", "--", *prefix])
        assert done.returncode == 0, done
        return done

    return run


def test_a_sound_configuration_draws_no_warning(check):
    done = check()
    assert done.stderr == "" and done.stdout.endswith("config.json: no mistakes\n"), done
    done = check({"plugins.namedPipe.mode": "0660", "plugins.namedPipe.group": "adm",
                  "plugins.api.socketPath": "/run/none", "plugins.api.bindAddress": "::1",
                  "backends.prometheus.bindAddress": "0.0.0.0",
                  "backends.marker.discoverInterfaces": True})
    assert done.stderr == "", done


@pytest.mark.parametrize("changes,words", [
    ({"backends.firefly.prependSyslog": False}, ["backends.firefly.prependSyslog", "collectors"]),
    ({"backends.firefly.sendToDestination": False, "backends.firefly.collectors": []},
     ["backends.firefly", "no firefly is sent"]),
    ({"backends.firefly.collectors": ["198.51.100.1:10514"]},
     ["backends.firefly.collectors", "198.51.100.1:10514", "unreachable"]),
    ({"backends.firefly.collectors": ["[2001:db8::1]:10514"]}, ["[2001:db8::1]", "unreachable"]),
    ({"backends.firefly.collectors": ["192.0.2.2", "192.0.2.2:10514"]}, ["192.0.2.2:10514", "twice"]),
    ({"backends.firefly.enrich": True}, ["backends.firefly.enrich", "enricher"]),
    ({"backends.marker.targetInterfaces": ["veth0", "nosuch0"]},
     ["backends.marker.targetInterfaces", "nosuch0", "not there"]),
    ({"backends.marker.targetInterfaces": []}, ["backends.marker.targetInterfaces", "no packet"]),
    ({"plugins.namedPipe.mode": "0644"}, ["plugins.namedPipe.mode", "0644"]),
    ({"plugins.namedPipe.mode": "0660"}, ["plugins.namedPipe.mode", "without a group"]),
    ({"plugins.api.socketPath": "/run/none", "plugins.api.socketMode": "0600",
      "plugins.api.socketGroup": "adm"}, ["plugins.api.socketMode", "adm"]),
    ({"plugins.api.bindAddress": "198.51.100.9", "plugins.api.tokenFile": "/dev/null"},
     ["plugins.api.bindAddress", "198.51.100.9"]),
    ({"plugins.api.bindAddress": "::"}, ["plugins.api.tokenFile", "other hosts"]),
    ({"plugins.api.tokenFile": "/none"}, ["plugins.api.tokenFile", "/none: No such file", "does not start"]),
    ({"backends.prometheus.bindAddress": "2001:db8::9"}, ["backends.prometheus.bindAddress"]),
    ({"registry.url": "http://registry.example.org/api.json"}, ["registry.url", "https://"]),
    ({"registry.path": "/none/api.json"}, ["registry", "/none/api.json"]),
    ({"plugins": {}}, ["plugins", "never hears"]),
])
def test_what_is_hardly_meant_draws_one_warning(check, changes, words):
    done = check(changes)
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("flowd: warning: "), done
    for word in words:
        assert word in lines[0], done
    assert "no mistakes, 1 warning" in done.stdout


def test_a_fifo_that_nobody_gets_to(check, directory):
    """Its directory keeps writers out, whatever its own mode; a group's directory may be meant."""
    (directory / "shut").mkdir(mode=0o700)
    changes = {"plugins.namedPipe.pipePath": str(directory / "shut" / "none" / "fifo")}
    lines = check(changes).stderr.splitlines()
    assert len(lines) == 1 and "plugins.namedPipe.pipePath: only user 0 and group 0" in lines[0], lines
    changes.update({"plugins.namedPipe.mode": "0660", "plugins.namedPipe.group": "adm"})
    assert check(changes).stderr == ""
    (directory / "shut").chmod(0o711)
    assert check({"plugins.namedPipe.pipePath": changes["plugins.namedPipe.pipePath"]}).stderr == ""


@pytest.mark.parametrize("how", ["disable_ipv6", "flush"])
def test_an_interface_without_ipv6(check, pair, how):
    if how == "flush":
        pair.near.ip("-6", "address", "flush", "dev", "veth0")
    else:
        pair.near.sysctl("net.ipv6.conf.veth0.disable_ipv6", 1)
    assert "\"veth0\" has no IPv6 address" in check().stderr
    found = check({"backends.marker.discoverInterfaces": True})
    assert "backends.marker.discoverInterfaces: no interface" in found.stderr


def test_the_daemon_logs_warnings_at_start_and_reload(plain, directory):
    """Those that the configuration alone shows: what the host lacks may come later."""
    firefly = {"prependSyslog": False, "collectors": ["198.51.100.1"]}
    daemon = plain(backends={"firefly": firefly})
    warnings = [one for one in daemon.log().splitlines() if " warning " in one]
    assert len(warnings) == 1 and "backends.firefly.prependSyslog" in warnings[0], daemon.log()
    firefly["prependSyslog"] = True
    assert "warning" not in daemon.reload(expect="reloaded", config=daemon.config)
    firefly["prependSyslog"] = False
    assert "backends.firefly.prependSyslog" in daemon.reload(expect="reloaded", config=daemon.config)


def test_modules_speak_by_their_path(make_flowd, pair, directory, pin_path):
    """Of two modules of one name, each line and each reason says which one it is."""
    config = base_config(directory, pin_path)
    config["plugins"].update({"netlink": {"experiment": 2, "activity": 3}, "iperf3": {}})
    config["enrichers"] = {"netlink": {}, "skops": {}}
    config["backends"].update({"firefly": {}, "log": {}, "prometheus": {}})
    daemon = make_flowd(pair.near, config).start()
    paths = {f"{section}.{name}" for section in ("plugins", "backends", "enrichers")
             for name in config[section]}
    parts = {"daemon", "config", "registry", "state", "host", "hub", "recovery", "flows.endOnClose"}
    speakers = set(re.findall(r"(?m)^\S+ +\w+ +(\S+): ", daemon.log()))
    assert speakers - paths - parts == set(), daemon.log()
    assert {"plugins.netlink", "plugins.api", "plugins.namedPipe", "backends.marker"} <= speakers


def test_root_looks_as_the_user_of_the_state(check, directory):
    """Who may not read what root may read."""
    token, registry, state = directory / "token", directory / "registry.json", directory / "state"
    token.write_text("0123456789abcdef\n")
    registry.write_text('{"experiments": [{"expName": "Some", "expId": 2}]}')
    state.mkdir(exist_ok=True)
    changes = {"plugins.api.tokenFile": str(token), "registry.path": str(registry)}
    for path in (token, registry):
        path.chmod(0o640)
    assert check(changes).stderr == ""
    os.chown(state, 65534, 65534)
    lines = check(changes).stderr.splitlines()
    for path in (token, registry):
        assert [one for one in lines if f"{path}: Permission denied for the user of stateDir" in one], lines
    for path in (token, registry):
        os.chown(path, 0, 65534)
    assert check(changes).stderr == ""
    # Groups that the system has the user in are its own too.
    groups = directory / "groups"
    groups.write_text("some:x:4242:nobody\n")
    os.chown(token, 0, 4242)
    assert f"{token}: Permission denied" in check(changes).stderr
    mounted = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/group; exec "$@"', str(groups)]
    assert check(changes, prefix=mounted).stderr == ""
    # So is its own group, whichever that of the directory is.
    os.chown(state, 65534, 0)
    os.chown(token, 0, 65534)
    assert check(changes).stderr == ""
    os.chown(token, 0, 0)
    assert f"{token}: Permission denied" in check(changes).stderr
    os.chown(token, 0, 65534)
    (state / "flows.state").touch()
    assert f"{state}/flows.state: Permission denied" in check(changes).stderr
    (state / "flows.state").unlink()
    state.chmod(0o500)
    assert f"{state}/.: Permission denied" in check(changes).stderr
    state.chmod(0o700)
    (directory / "config.json").chmod(0o600)
    assert "config.json: Permission denied" in check(changes).stderr


def test_state_is_no_directory(check, directory):
    (directory / "file").touch()
    assert f"{directory}/file/.: Not a directory; so flowd does not start" in check({"stateDir": f"{directory}/file"}).stderr
