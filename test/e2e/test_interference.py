# SPDX-License-Identifier: Apache-2.0
"""Somebody removes what flowd stands on, or takes what it needs: it says so and mends it."""

import grp
import json
import os
import resource
import shutil
import stat
import time

import pytest

from lab.api_client import Api, connect, event, line
from lab.daemon_config import base_config
from lab.flow_map import FlowMap
from lab.netns import Pair
from lab.waiting import until


@pytest.mark.parametrize("group", ["", "nogroup"])
def test_fifo_is_removed(make_flowd, single, directory, group):
    """It is made again with its mode and its group, although flowd has given up its capabilities."""
    config = base_config(directory)
    config["plugins"]["namedPipe"].update({"mode": "0620", "group": group})
    daemon = make_flowd(single, config).start()
    mark = daemon.log_size()
    os.unlink(daemon.fifo_path)
    daemon.wait_log("opened it again", mark)
    about = os.stat(daemon.fifo_path)
    assert stat.S_ISFIFO(about.st_mode) and stat.S_IMODE(about.st_mode) == 0o620
    assert about.st_gid == (grp.getgrnam(group).gr_gid if group else 0)
    daemon.write_fifo(line("start", "2001:db8::1", 1, "2001:db8::2", 2))
    until(lambda: Api(single).live() == 1, "the flow")


def test_fifo_path_is_taken_and_freed(make_flowd, single, directory):
    """As long as something else is there the status says so; then the fifo comes back."""
    daemon = make_flowd(single, base_config(directory)).start()
    api = Api(single)
    # In one step: between two, flowd may have made its fifo again already.
    (directory / "file").write_text("precious")
    os.replace(directory / "file", daemon.fifo_path)
    until(lambda: not api.module("namedPipe")["open"], "the loss of the fifo", 30)
    assert (directory / "fifo").read_text() == "precious"
    (directory / "fifo").unlink()
    until(lambda: api.module("namedPipe")["open"], "the fifo", 30)
    daemon.write_fifo(line("start", "2001:db8::1", 1, "2001:db8::2", 2))
    until(lambda: api.live() == 1, "the flow")


def test_one_fifo_for_two(make_flowd, single, directory):
    """Two readers would each get some of the lines: the second is refused."""
    make_flowd(single, base_config(directory)).start()
    config = base_config(directory)
    config["stateDir"] += "-second"
    config["plugins"]["api"]["bindPort"] = 7778
    second = make_flowd(single, config, name="second").start(ready=False)
    assert second.wait_exit() == 1
    assert "another flowd is reading" in second.log()


def test_state_directory_is_removed(make_flowd, single, directory):
    """The state file is written again: a crash afterwards costs no flow."""
    daemon = make_flowd(single, base_config(directory)).start()
    api = Api(single)
    api.post([event("2001:db8::1", port, "2001:db8::2", 2) for port in range(1, 2001)])
    before = {one["id"]: one for one in api.flows()}
    mark = daemon.log_size()
    shutil.rmtree(directory / "state")
    daemon.wait_log("it was written again", mark)
    api.post(event("2001:db8::1", 9999, "2001:db8::2", 2)).expect(201)
    daemon.kill()
    daemon.start()
    after = {one["id"]: one for one in Api(single).flows()}
    assert len(after) == 2001 and all(after[one] == {**flow, "backends": after[one]["backends"]}
                                      for one, flow in before.items())


@pytest.mark.parametrize("attach", ["tcx", "tc"])
def test_pins_are_removed(pair, marking, pin_path, attach):
    """They are pinned again, so that a crash still leaves packets marked."""
    daemon = marking(attach)
    daemon.api.post(event(Pair.NEAR, 1, Pair.FAR, 2)).expect(201)
    mark = daemon.log_size()
    shutil.rmtree(pin_path)
    daemon.wait_log("pinned again", mark)
    if attach == "tcx":
        until(lambda: any((pin_path / "links").glob("*")), "the link's pin")
    assert len(FlowMap(pin_path)) == 1
    daemon.kill()
    mark = daemon.log_size()
    daemon.start()
    assert "took over the pinned maps" in daemon.log(mark)


def _said(daemon, words, mark, level):
    return [one for one in daemon.log(mark).splitlines() if words in one and f" {level} " in one]


def _said_once(daemon, words, mark):
    """At looks that follow it is for who debugs."""
    until(lambda: len(_said(daemon, words, mark, "debug")) > 1, "more looks", 30)
    assert len(_said(daemon, words, mark, "warning")) == 1, daemon.log(mark)


def test_pins_are_given_to_another_user(marking, pin_path):
    """Root's flowd without the right to look into them goes on, and says so once."""
    daemon = marking(log={"level": "debug"})
    mark = daemon.log_size()
    os.chown(pin_path, 65534, 65534)
    _said_once(daemon, "can't be looked at: Permission denied", mark)
    daemon.api.post(event(Pair.NEAR, 1, Pair.FAR, 2)).expect(201)
    os.chown(pin_path, 0, 0)
    daemon.wait_log("are there again", mark)
    assert "somebody removed" not in daemon.log(mark) and len(FlowMap(pin_path)) == 1


def test_pins_are_removed_again_and_again(marking, pin_path):
    daemon = marking(log={"level": "debug"})
    mark = daemon.log_size()
    for times in (1, 2, 3):
        for pin in ("flows", "counters"):
            (pin_path / pin).unlink()
        until(lambda number=times: daemon.log(mark).count("pinned again") == number, "the pins", 30)
    _said_once(daemon, "pinned again", mark)


def test_program_is_removed_again_and_again(pair, marking):
    daemon = marking("tc", log={"level": "debug"})
    for removals in (1, 2, 3):
        pair.near.run("tc", "filter", "del", "dev", "veth0", "egress")
        until(lambda number=removals: daemon.log().count("attaching again") == number, "the removal to be noticed")
    _said_once(daemon, "attaching again", 0)
    assert len(_said(daemon, "attached by tc", 0, "info")) == 2
    # Somebody's own qdisc keeps it off, which is said, and so is its end.
    pair.near.run("tc", "qdisc", "del", "dev", "veth0", "clsact")
    pair.near.run("tc", "qdisc", "add", "dev", "veth0", "ingress")
    daemon.wait_log("packets are not marked")
    mark = daemon.log_size()
    pair.near.run("tc", "qdisc", "del", "dev", "veth0", "ingress")
    until(lambda: _said(daemon, "attached by tc", mark, "info"), "the program to be attached")


def test_no_descriptor_is_left_for_long(plain, single):
    """Each tenth of a second it is tried again to take a connection, and said once that it can't be."""
    daemon = plain(log={"level": "debug"})
    mark = daemon.log_size()
    limits = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
    with connect(single):
        _said_once(daemon, "cannot accept connections: Too many open files", mark)
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, limits)
        assert daemon.api.get("/healthz").status == 200


def test_descriptors_come_and_go(plain, single):
    """What is refused, but for those who come when others went, is refused for long."""
    daemon = plain(log={"level": "debug"})
    mark = daemon.log_size()
    limits = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir(f"/proc/{daemon.pid}/fd"))
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (highest + 2, limits[1]))
    words = "cannot accept connections: Too many open files"
    for times in (1, 2, 3):
        with connect(single), connect(single), connect(single):
            until(lambda number=times: daemon.log(mark).count(words) >= number, "a connection that is refused")
        until(lambda: len(os.listdir(f"/proc/{daemon.pid}/fd")) <= highest + 1, "the connections to be over")
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, limits)
    _said_once(daemon, words, mark)
    assert daemon.api.get("/healthz").status == 200


def test_clean_beside_a_running_daemon(pair, marking, flowd_command):
    """Refused, also where there are no pins to tell."""
    daemon = marking("tc")
    daemon.stop()
    daemon.config["backends"]["marker"]["pinPath"] = str(daemon.directory / "nowhere")
    daemon.start()
    done = flowd_command("-c", daemon.config_path, "clean",
                         prefix=["nsenter", f"--net={pair.near.path}"])
    assert done.returncode == 1 and "running flowd" in done.stderr
    daemon.stop()
    done = flowd_command("-c", daemon.config_path, "clean",
                         prefix=["nsenter", f"--net={pair.near.path}"])
    assert done.returncode == 0, done


def test_qdisc_goes_after_the_filter_was_removed(pair, marking):
    """The qdisc that flowd made is its own also when somebody took the filter away meanwhile."""
    daemon = marking("tc")
    pair.near.run("tc", "filter", "del", "dev", "veth0", "egress")
    daemon.wait_log("attaching again")
    daemon.stop()
    assert "clsact" not in pair.near.run("tc", "qdisc", "show", "dev", "veth0").stdout


def test_few_descriptors(make_flowd, single, directory):
    """Connections leave enough for a reload where the hard limit is low."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft >= 256
    daemon = make_flowd(single, base_config(directory), prefix=["prlimit", "--nofile=256:256", "--"])
    daemon.start()
    streams = [connect(single) for _ in range(200)]
    try:
        until(lambda: "at most" in daemon.log(), "the limit")
        daemon.reload(expect="reloaded; 0 flows are live")
    finally:
        for stream in streams:
            stream.close()
    until(lambda: Api(single).get("/healthz").status == 200, "an answer")


def test_closed_standard_descriptors(make_flowd, single, directory):
    """What flowd opens never takes the place of standard input, output or error."""
    daemon = make_flowd(single, base_config(directory),
                        prefix=["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"])
    daemon.start(ready=False)

    def answers():
        try:
            return Api(single).get("/readyz").status == 200
        except OSError:
            return False

    until(answers, "an answer")
    for number in range(3):
        assert os.readlink(f"/proc/{daemon.pid}/fd/{number}") == "/dev/null"


def cpu_seconds(daemon):
    fields = open(f"/proc/{daemon.pid}/stat", encoding="ascii").read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("trouble", ["fifo", "log"])
def test_waiting_costs_nothing(make_flowd, single, directory, trouble):
    """What can't be mended is tried again about once a second, not as fast as the CPU allows."""
    config = base_config(directory)
    config["backends"]["log"] = {"path": "/dev/full"}
    daemon = make_flowd(single, config).start()
    if trouble == "fifo":
        (directory / "other").write_text("")
        os.rename(directory / "other", daemon.fifo_path)
        until(lambda: not Api(single).module("namedPipe")["open"], "the loss of the fifo", 30)
    else:
        Api(single).post(event("2001:db8::1", 1, "2001:db8::2", 2)).expect(201)
    # Several rounds of trying again are needed to see whether they are paced.
    used, begin = cpu_seconds(daemon), time.monotonic()
    until(lambda: time.monotonic() > begin + 3.5, "some rounds", 10)
    assert cpu_seconds(daemon) - used < 1


def test_log_reload_with_lines_waiting(make_flowd, single, directory):
    """Lines that the old file did not take do not begin the new one, and are counted."""
    config = base_config(directory)
    config["backends"]["log"] = {"path": "/dev/full", "format": "json"}
    daemon = make_flowd(single, config).start()
    api = Api(single)
    assert api.post(event("2001:db8::1", 1, "2001:db8::2", 2)).json["backends"]["log"] == "failed"
    config["backends"]["log"]["path"] = str(directory / "flows")
    daemon.reload(config, expect="reloaded")
    assert api.post(event("2001:db8::1", 2, "2001:db8::2", 2)).json["backends"]["log"] == "logged"
    lines = (directory / "flows").read_text().splitlines()
    assert [json.loads(one)["srcPort"] for one in lines] == [2]
    assert api.module("log")["lost"] == 1


def test_state_directory_is_moved(make_flowd, single, directory):
    """A restart reads stateDir, wherever the old file has gone."""
    daemon = make_flowd(single, base_config(directory)).start()
    Api(single).post(event("2001:db8::1", 1, "2001:db8::2", 2)).expect(201)
    mark = daemon.log_size()
    os.rename(directory / "state", directory / "elsewhere")
    daemon.wait_log("it was written again", mark)
    daemon.kill()
    daemon.start()
    assert Api(single).live() == 1


@pytest.mark.parametrize("what", ["backup", "junk"])
def test_state_file_is_replaced(make_flowd, single, directory, what):
    """Another file is moved aside: a restart finds the flows of now, not those of a backup."""
    daemon = make_flowd(single, base_config(directory)).start()
    path = directory / "state" / "flows.state"
    api = Api(single)
    api.post([event("2001:db8::1", port, "2001:db8::2", 2) for port in range(1, 51)]).expect(200)
    other = path.read_bytes() if what == "backup" else b"junk"
    for flow in api.flows():
        if flow["srcPort"] <= 20:
            api.delete(f"/v1/flows/{flow['id']}").expect(200, 204)
    api.post([event("2001:db8::1", port, "2001:db8::2", 2)
              for port in range(101, 111)]).expect(200)
    wanted = {flow["id"] for flow in api.flows()}
    for again in range(2):
        mark = daemon.log_size()
        (path.parent / "copy").write_bytes(other)
        os.rename(path.parent / "copy", path)
        daemon.wait_log("somebody replaced the state file .* it was written again", mark)
        assert (path.parent / "flows.state.unusable").read_bytes() == other
        daemon.kill() if again else daemon.stop()
        daemon.start()
        assert {flow["id"] for flow in Api(single).flows()} == wanted


@pytest.mark.parametrize("what", ["removed", "replaced"])
def test_state_file_goes_before_a_stop(make_flowd, single, directory, what):
    """A clean stop looks once more, whenever the last look was."""
    daemon = make_flowd(single, base_config(directory)).start()
    path = directory / "state" / "flows.state"
    api = Api(single)
    api.post([event("2001:db8::1", port, "2001:db8::2", 2) for port in range(1, 51)]).expect(200)
    wanted = {flow["id"] for flow in api.flows()}
    mark = daemon.log_size()
    if what == "removed":
        path.unlink()
    else:
        (path.parent / "copy").write_bytes(b"junk")
        os.rename(path.parent / "copy", path)
    daemon.stop()
    assert "it was written again" in daemon.log(mark)
    daemon.start()
    assert {flow["id"] for flow in Api(single).flows()} == wanted


def test_failed_start_leaves_marking_alone(pair, marking, pin_path):
    """After a crash, a start that fails (here: without its token file) takes nothing away."""
    daemon = marking()
    daemon.api.post(event(Pair.NEAR, 1, Pair.FAR, 2)).expect(201)
    daemon.kill()
    daemon.config["plugins"]["api"]["tokenFile"] = "/nonexistent/tokens"
    daemon.start(ready=False)
    assert daemon.wait_exit() == 1
    del daemon.config["plugins"]["api"]["tokenFile"]
    assert len(FlowMap(pin_path)) == 1 and any((pin_path / "links").glob("*"))
    daemon.start()
    assert Api(pair.near).live() == 1


def test_no_interface(make_flowd, single, directory, pin_path):
    """Nothing claims that packets are marked where there is no interface to mark on."""
    make_flowd(single, base_config(directory, pin_path, interfaces=["late0"])).start()
    api = Api(single)
    flow = api.post(event("::1", 1, "::1", 2)).expect(201).json
    assert flow["backends"]["marker"] == "no-interface"
    single.ip("link", "add", "late0", "type", "veth", "peer", "name", "late1")
    until(lambda: api.get(f"/v1/flows/{flow['id']}").json["backends"]["marker"] == "marked", "marks")
    single.ip("link", "del", "late0")
    until(lambda: api.get(f"/v1/flows/{flow['id']}").json["backends"]["marker"] == "no-interface",
          "the loss of the interface")


@pytest.mark.parametrize("attach", ["tcx", "tc"])
def test_clean_one_interface(make_flowd, pair, directory, pin_path, flowd_command, attach):
    """`clean --interface` cleans that one; a name that is not there cleans nothing."""
    config = base_config(directory, pin_path, interfaces=["veth0", "lo"], attach=attach)
    daemon = make_flowd(pair.near, config).start()
    daemon.kill()

    def clean(name):
        return flowd_command("-c", daemon.config_path, "clean", "--interface", name,
                             prefix=["nsenter", f"--net={pair.near.path}"])

    def attached(name):
        shown = pair.near.run("/usr/sbin/bpftool", "-j", "net", "show").stdout
        links = len(list((pin_path / "links").glob("*"))) if attach == "tcx" else None
        return f'"{name}"' in shown if links is None else links

    before = attached("veth0"), attached("lo")
    assert clean("nosuch0").returncode == 1
    assert (attached("veth0"), attached("lo")) == before
    done = clean("veth0")
    assert done.returncode == 0 and "veth0" in done.stdout and "interface lo" not in done.stdout
    after = attached("veth0"), attached("lo")
    assert after == ((1, 1) if attach == "tcx" else (False, True)), (before, after)
    assert len(FlowMap(pin_path)) == 0


def test_qdisc_of_somebody_else_on_a_renamed_interface(make_flowd, pair, directory, pin_path):
    """What flowd made on an interface that was renamed does not make another one's qdisc its own."""
    space = pair.near
    for name in ("aa", "spare"):
        space.ip("link", "add", name, "type", "veth", "peer", "name", f"{name}p")
    daemon = make_flowd(space, base_config(directory, pin_path, interfaces=["aa", "bb"],
                                           attach="tc")).start()
    states = lambda: {one["name"]: one["state"]  # noqa: E731
                      for one in Api(space).status()["interfaces"]}
    assert states() == {"aa": "attached", "bb": "waiting"}
    space.ip("link", "set", "aa", "name", "bb")
    until(lambda: states() == {"aa": "waiting", "bb": "attached"}, "the rename")
    space.run("tc", "qdisc", "add", "dev", "spare", "clsact")
    space.ip("link", "set", "spare", "name", "aa")
    until(lambda: states() == {"aa": "attached", "bb": "attached"}, "the other interface")
    daemon.stop()
    assert "clsact" in space.run("tc", "qdisc", "show", "dev", "aa").stdout
    assert "clsact" not in space.run("tc", "qdisc", "show", "dev", "bb").stdout
