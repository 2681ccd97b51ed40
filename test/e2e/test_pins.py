# SPDX-License-Identifier: Apache-2.0
"""Objects in the places of flowd's pins that can't serve: they are replaced, and the log says why."""

import json
import os
import re

import pytest

from lab.api_client import Api, event
from lab.daemon_config import base_config
from lab.kernel_bpf import Counter, Tally, clsact_filters, plain_udp, tcx_programs
from lab.netns import run
from test_attach import Probe
from test_continuity import Guarded
from test_links import index_of
from lab.waiting import until

BPFTOOL = "/usr/sbin/bpftool"
MAPS = ["flows", "bitmap", "shared", "counters", "fragments"]


def about(path):
    return json.loads(run([BPFTOOL, "-j", "map", "show", "pinned", str(path)]).stdout)


def frozen(path):
    run([BPFTOOL, "map", "freeze", "pinned", str(path)])


def read_only_for_programs(path):
    """A map of the same sizes that the program may not write."""
    shown = about(path)
    path.unlink()
    run([BPFTOOL, "map", "create", str(path), "type", shown["type"], "key", str(shown["bytes_key"]),
         "value", str(shown["bytes_value"]), "entries", str(shown["max_entries"]), "name", shown["name"],
         "flags", str(shown["flags"] | 1 << 7)])


def a_program(path):
    path.unlink()
    counter = Counter()
    try:
        counter.pin(path)
    finally:
        counter.close()


def a_directory(path):
    path.unlink()
    path.mkdir()


WORDS = {frozen: "is frozen or read-only", a_program: "is no BPF map", a_directory: "can't be opened as a map",
         read_only_for_programs: "the pinned maps have another layout"}


@pytest.mark.parametrize("name", MAPS)
def test_a_map_that_cannot_serve(pair, make_flowd, directory, pin_path, flowd_command, name):
    """No packet of what was marked before leaves unmarked, and flows that start then are marked too."""
    daemon = make_flowd(pair.near, base_config(directory, pin_path, onExit="keep")).start()
    with Guarded(pair, pin_path) as guarded:
        for meddle, words in WORDS.items():
            what = f"with {meddle.__name__} for {name}"
            daemon.kill()
            meddle(pin_path / name)
            guarded.go_on()
            mark = daemon.log_size()
            daemon.start()
            log = daemon.log(mark)
            assert words in log and "are replaced" in log and "took over" not in log, log
            if meddle is not read_only_for_programs:
                assert f"{pin_path}/{name} {words}" in log
            guarded.go_on()
            guarded.check(what)
            with Probe(pair) as probe:
                probe.start(pair.near)
                assert probe.marked(), what
                assert Api(pair.near).module("marker")["entriesFailed"] == 0
            assert about(pin_path / name)["frozen"] == 0
        guarded.end()
    daemon.kill()
    a_directory(pin_path / name)
    done = flowd_command("-c", daemon.config_path, "clean", prefix=["nsenter", f"--net={pair.near.path}"])
    assert done.returncode == 0 and not pin_path.exists(), done.stderr


def test_a_map_that_flowd_uses_is_not_frozen(pair, make_flowd, directory, pin_path):
    """The kernel freezes no map that somebody has mapped to write: flows are marked as before."""
    daemon = make_flowd(pair.near, base_config(directory, pin_path)).start()
    api = Api(pair.near)
    for name in ("flows", "bitmap", "shared"):
        refused = run([BPFTOOL, "map", "freeze", "pinned", str(pin_path / name)], check=False)
        assert refused.returncode != 0 and "busy" in refused.stderr, refused
    with Probe(pair) as probe:
        probe.start(pair.near)
        assert probe.marked() and api.get("/readyz").status == 200
        assert api.module("marker")["entriesFailed"] == 0
    assert daemon.running()


def anothers_link(path, tally):
    """On the same interface, and pinned in the place of flowd's."""
    path.unlink()
    tally.pin_link(path)


def a_map(path, _):
    path.unlink()
    run([BPFTOOL, "map", "create", str(path), "type", "hash", "key", "4", "value", "4", "entries", "1",
         "name", "other"])


def a_directory_there(path, _):
    a_directory(path)


@pytest.mark.parametrize("meddle", [anothers_link, a_map, a_directory_there])
def test_a_link_that_is_not_flowds(pair, make_flowd, directory, pin_path, flowd_command, meddle):
    """It stays where it is attached; flowd attaches a link of its own, which then is the one pinned."""
    daemon = make_flowd(pair.near, base_config(directory, pin_path, attach="tcx", onExit="keep")).start()
    path = pin_path / "links" / str(index_of(pair.near, "veth0"))
    prefix = ["nsenter", f"--net={pair.near.path}"]
    with Probe(pair) as probe, Tally(plain_udp(probe.flow[3])) as tally:
        probe.start(pair.near)
        tally.attach_tcx(pair.near, "veth0")
        daemon.kill()
        meddle(path, tally)
        mark = daemon.log_size()
        daemon.start()
        log = daemon.log(mark)
        assert f"warning backends.marker: {path} is no link of flowd's: it is replaced" in log, log
        assert probe.marked()
        daemon.kill()
        assert probe.marked()
        mark = daemon.log_size()
        daemon.start()
        assert "is no link of flowd's" not in daemon.log(mark) and probe.marked()
        assert [name for _, name in tcx_programs(pair.near, "veth0")].count("flowd_marker") == 1
        daemon.kill()
        meddle(path, tally)
        done = flowd_command("-c", daemon.config_path, "clean", prefix=prefix)
        assert done.returncode == 0 and str(path) not in done.stdout and not pin_path.exists(), done
        before = tally.count()
        assert probe.label() == 0
        assert tally.count() == before + 1


def test_clean_in_another_namespace(pair, make_flowd, directory, pin_path, flowd_command):
    """
    A link is said to be of the interface that it is on, not of one that has the same index here. Only
    without --interface a link of another namespace is removed.
    """
    assert index_of(pair.near, "veth0") == index_of(pair.far, "veth1")
    pair.near.ip("link", "add", "short0", "type", "veth", "peer", "name", "short1")
    daemon = make_flowd(pair.near, base_config(directory, pin_path, interfaces=["veth0", "lo", "short0"],
                                               attach="tcx")).start()

    def clean(space, *arguments):
        done = flowd_command("-c", daemon.config_path, "clean", *arguments,
                             prefix=["nsenter", f"--net={space.path}"])
        assert done.returncode == 0, done.stderr
        return done.stdout

    with Probe(pair) as probe:
        probe.start(pair.near)
        index = index_of(pair.near, "short0")
        daemon.kill()
        pair.near.ip("link", "del", "short0")
        assert f"links/{index_of(pair.near, 'lo')} (interface lo)" in clean(pair.near, "--interface", "lo")
        assert "links" not in clean(pair.far, "--interface", "veth1") and probe.marked()
        said = clean(pair.far)
        assert f"links/{index} (interface {index}, which is gone)" in said
        index = index_of(pair.near, "veth0")
        assert f"links/{index} (an interface of another network namespace, index {index})" in said
        assert "veth" not in said and probe.label() == 0


ANOTHER = r"warning backends\.marker: interface (\S+): another flowd's program \(id (\d+)\)"


@pytest.mark.parametrize("second", ["tcx", "tc"])
@pytest.mark.parametrize("first", ["tcx", "tc"])
def test_a_second_daemon_is_warned(pair, make_flowd, directory, bpffs, first, second):
    """Once for each interface that has the first one's program; what its own crash left draws none."""
    daemons = {}
    for number, (name, attach) in enumerate((("first", first), ("second", second))):
        place = directory / name
        place.mkdir()
        config = base_config(place, bpffs / f"{name}-{first}-{second}-{os.getpid()}",
                             ["lo", "veth0", "veth0", "late0"], attach=attach, onExit="keep")
        config["plugins"]["api"]["bindPort"] = 7777 + number
        daemons[name] = make_flowd(pair.near, config, name=f"{name}-daemon")

    def warned(daemon):
        mark = daemon.log_size()
        daemon.start()
        return re.findall(ANOTHER, daemon.log(mark))

    daemon = daemons["first"]
    assert warned(daemon) == []
    for end in (daemon.kill, daemon.stop, daemon.kill):
        end()
        assert warned(daemon) == []
    there = tcx_programs(pair.near, "veth0") + clsact_filters(pair.near, "veth0")
    found = warned(daemons["second"])
    assert [name for name, _ in found] == ["lo", "veth0"]
    assert [int(one) for _, one in found][1:] == [one for one, _ in there]
    daemons["second"].kill()
    daemon.kill()


@pytest.mark.parametrize("attach", ["tcx", "tc"])
def test_what_a_crash_left_is_not_anothers(pair, make_flowd, directory, pin_path, attach):
    """Nor is flowd's second instance, which went before somebody else's program, or a part of the pins."""
    daemon = make_flowd(pair.near, base_config(directory, pin_path, attach=attach)).start()
    if attach == "tcx":
        with Tally(plain_udp(1)) as tally:
            tally.attach_tcx(pair.near, "veth0", first=True)
            until(lambda: tcx_programs(pair.near, "veth0")[0][1] == "flowd_marker", "the head")
    for pin in (None, *MAPS):
        daemon.kill()
        if pin is not None:
            (pin_path / pin).unlink()
        mark = daemon.log_size()
        daemon.start()
        assert "another flowd" not in daemon.log(mark), pin


def test_a_link_that_was_not_yet_pinned_by_its_name(pair, make_flowd, directory, pin_path, flowd_command):
    """What a crash in the midst of pinning leaves goes as every other link of flowd's does."""
    prefix = ["nsenter", f"--net={pair.near.path}"]
    daemon = make_flowd(pair.near, base_config(directory, pin_path, attach="tcx")).start()
    path = pin_path / "links" / str(index_of(pair.near, "veth0"))

    def crash():
        daemon.kill()
        path.rename(f"{path}_fresh")
        assert tcx_programs(pair.near, "veth0")

    crash()
    done = flowd_command("-c", daemon.config_path, "clean", prefix=prefix)
    assert done.returncode == 0 and f"{path} (interface veth0)" in done.stdout, done
    assert not tcx_programs(pair.near, "veth0") and not pin_path.exists()
    daemon.start()
    crash()
    # The interface is no target of the next one.
    daemon.config = base_config(directory, pin_path, ["lo"], attach="tcx")
    daemon.start()
    until(lambda: not tcx_programs(pair.near, "veth0"), "the program to go")


def test_a_moved_link_is_pinned_as_soon_as_it_can_be(pair, make_flowd, directory, pin_path):
    """The pin of the link that it took the place of does not pass for its own."""
    daemon = make_flowd(pair.near, base_config(directory, pin_path, attach="tcx")).start()
    path = pin_path / "links" / str(index_of(pair.near, "veth0"))
    obstacle = path.with_name(f"{path.name}_fresh") / "obstacle"
    obstacle.mkdir(parents=True)
    with Tally(plain_udp(1)) as tally:
        tally.attach_tcx(pair.near, "veth0", first=True)
        until(lambda: tcx_programs(pair.near, "veth0")[0][1] == "flowd_marker", "the head")
        obstacle.rmdir()
        until(lambda: not obstacle.parent.exists() and path.exists(), "a pin")
        daemon.kill()
        assert tcx_programs(pair.near, "veth0")[0][1] == "flowd_marker"
