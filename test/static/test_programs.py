# SPDX-License-Identifier: Apache-2.0
"""The static programs: no shared library, and all that they do in a root directory that holds them alone."""

import json
import re
import shutil
import subprocess

import pytest

from lab.flowd_process import FLOWCTL, FLOWD
from lab.labels import tag_of
from lab.waiting import until
from roots import EXPERIMENT, ACTIVITY, announce, label_of_packet, marker_config, running

PROGRAMS = (FLOWD, FLOWCTL)


def read(*argv):
    return subprocess.run([str(one) for one in argv], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda one: one.name)
def test_no_shared_library(program):
    assert "NEEDED" not in read("readelf", "-d", program)
    assert "INTERP" not in read("readelf", "-lW", program)
    assert "statically linked" in read("ldd", program)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda one: one.name)
def test_nothing_that_loads_name_services(program):
    symbols = {line.split()[-1] for line in read("nm", program).splitlines()}
    assert "curl_easy_perform" in symbols and "getgrnam" not in symbols
    assert not [one for one in symbols if re.match(r"_*nss_(module_load|lookup)", one)]


@pytest.fixture
def empty_root(directory):
    """A root directory with the two programs and nothing else."""
    root = directory / "root"
    root.mkdir()
    for program in PROGRAMS:
        shutil.copy(program, root)
    return root


def inside(root, *argv, status=0):
    done = subprocess.run(["chroot", root, *argv], capture_output=True, text=True, check=False)
    assert done.returncode == status, done
    return done


def test_commands_in_an_empty_root(empty_root):
    assert inside(empty_root, "/flowd", "version").stdout.startswith("flowd ")
    assert inside(empty_root, "/flowctl", "--version").stdout.startswith("flowctl ")
    config = empty_root / "c.json"
    config.write_text(json.dumps({"plugins": {"namedPipe": {}}, "backends": {"marker": {}}}))
    assert "no mistakes" in inside(empty_root, "/flowd", "-c", "/c.json", "check").stdout
    shown = json.loads(inside(empty_root, "/flowd", "-c", "/c.json", "conf").stdout)
    assert shown["backends"]["marker"]["markingStrategy"] == "label"
    config.write_text('{"plugin": {}}')
    assert "plugins" in inside(empty_root, "/flowd", "-c", "/c.json", "check", status=2).stderr


def test_packets_marked_from_an_empty_root(pair, empty_root):
    """A run with what the kernel gives (/proc, bpffs) and a fifo with the group that a number names."""
    config = marker_config("/fifo")
    config["plugins"]["namedPipe"].update(mode="0660", group="12345")
    with running(pair, empty_root, config, ["chroot", empty_root, "/flowd", "-c", "/config.json"]):
        assert (empty_root / "fifo").stat().st_gid == 12345
        announce(pair, empty_root / "fifo")

        def listed():
            shown = pair.near.run("chroot", empty_root, "/flowctl", "--json", "list").stdout
            return [one["backends"]["marker"] for one in json.loads(shown)["flows"]]

        until(lambda: listed() == ["marked"], lambda: f"the flow: {listed()}")
        assert tag_of(label_of_packet(pair)) == (EXPERIMENT, ACTIVITY)


def test_a_group_by_its_name(pair, empty_root):
    (empty_root / "etc").mkdir()
    (empty_root / "etc/group").write_text("root:x:0:\ntransfer:x:4321:\n")
    (empty_root / "etc/nsswitch.conf").write_text("group: sss systemd\n")
    config = marker_config("/fifo")
    config["plugins"]["namedPipe"].update(group="transfer")
    with running(pair, empty_root, config, ["chroot", empty_root, "/flowd", "-c", "/config.json"]):
        assert (empty_root / "fifo").stat().st_gid == 4321


