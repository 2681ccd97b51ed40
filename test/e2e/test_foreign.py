# SPDX-License-Identifier: Apache-2.0
"""Other people's programs on the same hooks: they stay, they run, and they see what flowd wrote."""

import contextlib

import pytest

from lab.api_client import Api, event
from lab.daemon_config import base_config
from lab.devices import Tun
from lab.kernel_bpf import Tally, clsact_filters, extended_udp, label_is, plain_udp, tcx_programs
from lab.labels import TAG_MASK, tag_bits
from lab.netns import Pair
from lab.traffic import udp_socket

PACKETS = 20


class Foreign:
    """
    Three programs of somebody else: a TCX link and a clsact filter, and one more of the kind that
    flowd attaches, which is put ahead of flowd's. Each counts the packets of one flow, by whether
    they bear a mark.
    """

    def __init__(self, space, bpffs, port, strategy):
        marked = plain_udp(port, label_is(tag_bits(2, 17), TAG_MASK)) if strategy == "label" \
            else extended_udp(port, 0)
        self._space, self._bpffs, self._stack = space, bpffs, contextlib.ExitStack()
        self._make = lambda: Tally(marked, plain_udp(port, label_is(0)))
        self._tallies = {}

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        return self._stack.__exit__(*exception)

    def add_link(self, name, first=False):
        tally = self._stack.enter_context(self._make())
        self._tallies[name] = tally.attach_tcx(self._space, "veth0", first=first)

    def add_filter(self, name, priority):
        tally = self._stack.enter_context(self._make())
        path = self._bpffs / f"foreign-{name}"
        tally.pin(path)
        self._stack.callback(path.unlink)
        self._space.run("tc", "filter", "add", "dev", "veth0", "egress", "prio", priority, "bpf", "da",
                        "pinned", str(path))
        self._tallies[name] = tally

    def counts(self):
        return {name: (one.count(0), one.count(1)) for name, one in self._tallies.items()}


def foreign_programs(space):
    """What is attached to the interface, without flowd's."""
    return [[one for one in programs if "flowd" not in one[1]]
            for programs in (tcx_programs(space, "veth0"), clsact_filters(space, "veth0"))]


@pytest.mark.parametrize("strategy", ["label", "hopByHop"])
@pytest.mark.parametrize("attach", ["tcx", "tc"])
def test_before_and_behind(pair, make_flowd, directory, pin_path, bpffs, flowd_command, attach, strategy):
    """
    A clsact filter and TCX links, ahead of flowd's program (until it goes before them) and behind it,
    are there and count every packet from before flowd's first start until it has been cleaned away.
    Those behind it see the mark as long as there is one.
    """
    near = pair.near
    config = base_config(directory, pin_path, attach=attach, markingStrategy=strategy, onExit="detach")
    daemon = make_flowd(near, config)
    near.run("tc", "qdisc", "add", "dev", "veth0", "clsact")
    with udp_socket(pair.far, Pair.FAR) as receiver, udp_socket(near, Pair.NEAR) as sender:
        port = receiver.getsockname()[1]
        sender.connect((Pair.FAR, port))
        # Until the neighbour is known packets wait in the kernel, ahead of the hooks.
        sender.send(b"first")
        receiver.recv(64)
        with Foreign(near, bpffs, port, strategy) as foreign:
            foreign.add_link("link")
            foreign.add_filter("filter", 1)

            def check(what, marked):
                """Sends packets and expects each program to count them, as marked or not."""
                before = foreign.counts()
                for _ in range(PACKETS):
                    sender.send(b"a packet")
                for name, counts in foreign.counts().items():
                    seen = tuple(now - then for now, then in zip(counts, before[name]))
                    assert seen == ((PACKETS, 0) if name in marked else (0, PACKETS)), (what, name)
                assert foreign_programs(near) == there, what

            there = foreign_programs(near)
            check("before flowd", ())
            # Where flowd has a filter, every TCX link comes first whatever its place.
            behind = {"link", "filter"} if attach == "tcx" else {"filter"}
            daemon.start()
            Api(near).post(event(Pair.NEAR, sender.getsockname()[1], Pair.FAR, port)).expect(201)
            check("started", behind)
            since = daemon.log_size()
            if attach == "tcx":
                foreign.add_link("ahead", first=True)
            else:
                foreign.add_filter("ahead", 1)
            there = foreign_programs(near)
            assert list(map(len, there)) == ([2, 1] if attach == "tcx" else [1, 2])
            daemon.wait_log("first (again|among its like)", since)
            behind = behind | {"ahead"}
            check("one more ahead", behind)
            daemon.kill()
            check("killed", behind)
            daemon.start()
            check("restarted", behind)
            config["backends"]["marker"]["onExit"] = "keep"
            daemon.reload(config)
            daemon.stop()
            check("stopped with keep", behind)
            config["backends"]["marker"]["onExit"] = "detach"
            daemon.start()
            check("started again", behind)
            daemon.stop()
            check("stopped with detach", ())
            daemon.start()
            check("ahead of all again", behind)
            daemon.kill()
            done = flowd_command("-c", daemon.config_path, "clean",
                                 prefix=["nsenter", f"--net={near.path}"])
            assert done.returncode == 0 and not pin_path.exists(), done.stderr
            check("cleaned", ())
    assert "clsact" in near.run("tc", "qdisc", "show", "dev", "veth0").stdout


@pytest.mark.parametrize("attach", ["tcx", "tc"])
def test_clean_takes_flowds_only(pair, make_flowd, directory, pin_path, bpffs, flowd_command, attach):
    """
    After kill -9: programs, links, filters and pins of flowd go from devices with and without a link
    header, and the qdisc that flowd made; what others attached or pinned stays.
    """
    near = pair.near
    neighbour = pin_path / "somebody"
    with Tun(near, "tun0") as tun, udp_socket(near, tun.NEAR) as sender, \
            Foreign(near, bpffs, 9, "label") as foreign:
        near.run("tc", "qdisc", "add", "dev", "veth0", "clsact")
        foreign.add_filter("filter", 1)
        foreign.add_link("link")
        there = foreign_programs(near)
        daemon = make_flowd(near, base_config(directory, pin_path, interfaces=["veth0", "tun0", "lo"],
                                              attach=attach)).start()
        Api(near).post(event(tun.NEAR, sender.getsockname()[1], tun.FAR, 9)).expect(201)
        daemon.kill()
        neighbour.mkdir()
        sender.sendto(b"marked", (tun.FAR, 9))
        assert tun.receive(b"marked")[1] & TAG_MASK == tag_bits(2, 17)
        prefix = ["nsenter", f"--net={near.path}"]
        done = flowd_command("-c", daemon.config_path, "clean", prefix=prefix)
        assert done.returncode == 0, done.stderr
        sender.sendto(b"unmarked", (tun.FAR, 9))
        assert tun.receive(b"unmarked")[1] == 0
        assert foreign_programs(near) == there and list(map(len, there)) == [1, 1]
        for interface in ("veth0", "tun0", "lo"):
            assert "flowd" not in str(tcx_programs(near, interface) + clsact_filters(near, interface))
        assert "clsact" in near.run("tc", "qdisc", "show", "dev", "veth0").stdout
        for interface in ("tun0", "lo"):
            assert "clsact" not in near.run("tc", "qdisc", "show", "dev", interface).stdout
        assert [one.name for one in pin_path.iterdir()] == ["somebody"]
        neighbour.rmdir()
        done = flowd_command("-c", daemon.config_path, "clean", prefix=prefix)
        assert done.returncode == 0 and not pin_path.exists(), done.stderr


@pytest.mark.parametrize("way", ["clean", "start", "start by tcx"])
def test_a_qdisc_with_a_number_that_was_flowds(single, make_flowd, directory, pin_path, flowd_command, way):
    """
    A device that came by the number of one whose qdisc flowd had made, after a crash: its qdisc is
    somebody else's and stays.
    """
    single.ip("link", "add", "first0", "index", "77", "type", "veth", "peer", "name", "first1")
    daemon = make_flowd(single, base_config(directory, pin_path, interfaces=["first0"], attach="tc")).start()
    assert "clsact" in single.run("tc", "qdisc", "show", "dev", "first0").stdout
    daemon.kill()
    single.ip("link", "del", "first0")
    single.ip("link", "add", "second0", "index", "77", "type", "veth", "peer", "name", "second1")
    single.run("tc", "qdisc", "add", "dev", "second0", "clsact")
    if way == "clean":
        done = flowd_command("-c", daemon.config_path, "clean", prefix=["nsenter", f"--net={single.path}"])
        assert done.returncode == 0, done.stderr
    else:
        daemon.config["backends"]["marker"].update(
            {"targetInterfaces": ["second0"], "attach": "tcx" if way.endswith("tcx") else "tc"})
        daemon.start()
        assert Api(single).status()["interfaces"][0]["state"] == "attached"
        daemon.stop()
    assert "clsact" in single.run("tc", "qdisc", "show", "dev", "second0").stdout
    assert not pin_path.exists()
