# SPDX-License-Identifier: Apache-2.0
"""Configurations of the programs that flowd replaces, made into flowd's own; and given to flowd as they are."""

import json
import shutil
import subprocess

import pytest

from lab.collector import DATA
from lab.flowd_process import FLOWD

SOURCES = sorted(one for one in (DATA / "convert").iterdir() if one.suffix in (".cfg", ".yaml")
                 or (one.suffix == ".json" and not one.name.endswith(".out.json")))


def converted(flowd_command, path):
    done = flowd_command("convert", path)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


@pytest.mark.parametrize("source", SOURCES, ids=lambda one: one.name)
def test_samples(flowd_command, directory, source):
    """What comes out, and each line about it; flowd takes it, and it stays what it is."""
    config, notes = converted(flowd_command, source)
    assert config == json.loads((DATA / "convert" / f"{source.name}.out.json").read_text())
    assert notes == (DATA / "convert" / f"{source.name}.notes").read_text()
    path = directory / "config.json"
    path.write_text(json.dumps(config))
    done = flowd_command("-c", path, "check")
    assert done.returncode == 0 and "deprecated" not in done.stderr, done.stderr
    again, _ = converted(flowd_command, path)
    effective = flowd_command("-c", path, "conf").stdout
    path.write_text(json.dumps(again))
    assert flowd_command("-c", path, "conf").stdout == effective


def keys_of(value):
    if isinstance(value, dict):
        return {key for name, member in value.items() for key in {name} | keys_of(member)}
    return set()


def test_nothing_is_dropped_silently(flowd_command, directory):
    """Each key of no meaning, wherever it stands, is named with its path."""
    places = ("", "plugins.", "plugins.api.", "backends.", "backends.firefly.", "backends.marker.", "enrichers.",
              "enrichers.netlink.")
    config = {"plugins": {"api": {}}, "backends": {"firefly": {}, "marker": {}}, "enrichers": {"netlink": {}}}
    for number, place in enumerate(places):
        inner = config
        for part in place.split(".")[:-1]:
            inner = inner[part]
        inner[f"odd{number}"] = {"x": number}
    path = directory / "conf.yaml"
    path.write_text("# JSON is YAML\n---\n" + json.dumps(config))
    result, notes = converted(flowd_command, path)
    for number, place in enumerate(places):
        assert f"{place}odd{number}: has no equivalent" in notes
    assert not any(key.startswith("odd") for key in keys_of(result))


@pytest.mark.parametrize("text,words", [
    ("backends:\n  firefly:\n    stun:\n      manualMapping: {192.0.2.1: 198.51.100.1}\n", "backends.firefly.stun"),
    ("plugins:\n  firefly: {bindPort: 10515}\n", "plugins.firefly"),
])
def test_what_a_version_may_lack(flowd_command, directory, text, words):
    """It is in what comes out, or it is named."""
    path = directory / "conf.yaml"
    path.write_text(text)
    result, notes = converted(flowd_command, path)
    place = result
    for part in words.split("."):
        place = place.get(part, {}) if isinstance(place, dict) else {}
    assert place or f"{words}: " in notes, (result, notes)


@pytest.mark.parametrize("text,words", [
    ("a: [", "line "), ("a: 1\na: 2\n", "twice"), ("[]", "object"), ('{"a": 1, "a": 2}', "duplicate"),
    ("a: &x\n b: *x\n", "too deeply"), ("plugins:\n  api: {bindPort: 70000}\n", "plugins.api.bindPort"),
    ("plugins: []\n", "plugins"), ("# " + "x" * (1 << 20) + "\n", "1 MiB"),
], ids=lambda one: one[:12].strip())
def test_mistakes(flowd_command, directory, text, words):
    path = directory / "conf"
    path.write_text(text)
    done = flowd_command("convert", path)
    assert done.returncode == 2 and not done.stdout, done
    assert words in done.stderr


def test_public_addresses(flowd_command, directory):
    """Servers at the top (flowd-go 2.0) and in their section (2.3), with what flowd-go alone has there."""
    path = directory / "conf"
    for text in (json.dumps({"stunServers": ["stun:stun.example.org:3478"], "backends": {"firefly": {}}}),
                 "backends:\n  firefly:\n    stun:\n      httpResolution: true\n"
                 "      stunServers: [stun.example.org:3478]\n"):
        path.write_text(text)
        result, _ = converted(flowd_command, path)
        assert result["backends"]["firefly"]["stun"] == {"stunServers": ["stun.example.org:3478"]}
    path.write_text("PLUGIN='np_api'\nIP_DISCOVERY_ENABLED=True\n")
    result, _ = converted(flowd_command, path)
    assert len(result["backends"]["firefly"]["stun"]["stunServers"]) == 2


def test_usage(flowd_command, directory):
    for arguments in (("convert",), ("convert", "a", "b"), ("convert", directory / "nothing")):
        done = flowd_command(*arguments)
        assert done.returncode == 2 and done.stderr and not done.stdout, done


def test_standard_input():
    done = subprocess.run([FLOWD, "convert", "-"], input="PLUGIN='np_api'\n", capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"plugins": {"namedPipe": {}}, "backends": {"firefly": {}}}


@pytest.mark.parametrize("name,what", [("perfsonar.yaml", "YAML"), ("flowd-storage.cfg", "flowd.cfg")])
@pytest.mark.parametrize("command", ["run", "check", "conf"])
def test_given_to_flowd_as_it_is(flowd_command, directory, name, what, command):
    path = shutil.copy(DATA / "convert" / name, directory)
    done = flowd_command("-c", path, command)
    assert done.returncode == 2, done
    assert what in done.stderr and f"flowd convert {path} > /etc/flowd/config.json" in done.stderr
