# SPDX-License-Identifier: Apache-2.0
"""The hooks: TCX and clsact, beside other people's programs, and on interfaces that come and go."""

import os
import pathlib
import resource

import pytest

from lab.api_client import Api, event
from lab.daemon_config import base_config
from lab.devices import Tun
from lab.flow_map import FlowMap
from lab.kernel_bpf import Counter, pinned
from lab.labels import TAG_MASK, tag_bits
from lab.netns import Namespace, Pair, run
from lab.traffic import receive_label, udp_socket
from lab.waiting import until


def egress_filters(namespace, interface="veth0"):
    return namespace.run("tc", "filter", "show", "dev", interface, "egress").stdout


def qdiscs(namespace, interface="veth0"):
    return namespace.run("tc", "qdisc", "show", "dev", interface).stdout


class Probe:
    """One flow with both sockets, to ask what label its next packet has."""

    def __init__(self, pair, source=Pair.NEAR):
        self.receiver, self.sender = udp_socket(pair.far, Pair.FAR), udp_socket(pair.near, source)
        self.flow = (source, self.sender.getsockname()[1], *self.receiver.getsockname()[:2])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.receiver.close()
        self.sender.close()

    def start(self, namespace):
        return Api(namespace).post(event(*self.flow)).expect(201).json

    def label(self):
        self.sender.sendto(b"", self.flow[2:])
        return receive_label(self.receiver)[1]

    def marked(self):
        return self.label() & TAG_MASK == tag_bits(2, 17)


@pytest.mark.parametrize("attach", ["tcx", "tc", "auto"])
def test_status_says_how(pair, marking, attach):
    """The status lists the interfaces and the way each is attached."""
    daemon = marking(attach)
    interfaces = daemon.api.status()["interfaces"]
    text = str(interfaces)
    assert "veth0" in text and ("tc'" if attach == "tc" else "tcx") in text, text
    assert ("clsact" in qdiscs(pair.near)) == (attach == "tc")


def test_foreign_tc_filter_is_kept(pair, marking, bpffs):
    """A filter and a clsact of somebody else see every packet and outlive flowd."""
    foreign = Counter()
    path = bpffs / "foreign"
    try:
        foreign.pin(path)
        pair.near.run("tc", "qdisc", "add", "dev", "veth0", "clsact")
        for priority in ("1", "49152"):
            pair.near.run("tc", "filter", "add", "dev", "veth0", "egress", "prio", priority, "bpf",
                          "da", "pinned", str(path))
        before_filters = egress_filters(pair.near)
        daemon = marking("tc")
        with Probe(pair) as probe:
            probe.start(pair.near)
            before = foreign.count()
            for _ in range(20):
                assert probe.marked()
            assert foreign.count() - before == 40
            daemon.stop()
            assert egress_filters(pair.near) == before_filters
            assert "clsact" in qdiscs(pair.near)
            assert probe.label() == 0
            assert foreign.count() - before == 42
    finally:
        path.unlink()
        foreign.close()


def test_foreign_filter_that_comes_later(pair, marking, bpffs):
    """The clsact that flowd made stays when somebody else uses it meanwhile."""
    foreign = Counter()
    path = bpffs / "foreign"
    try:
        foreign.pin(path)
        daemon = marking("tc")
        pair.near.run("tc", "filter", "add", "dev", "veth0", "egress", "prio", "7", "bpf", "da",
                      "pinned", str(path))
        daemon.stop()
        shown = egress_filters(pair.near)
        assert "pref 7" in shown and shown.count("handle") == 1, shown
    finally:
        path.unlink()
        foreign.close()


@pytest.mark.parametrize("first", [True, False])
def test_foreign_tcx_program_goes_on(pair, marking, first):
    """Attached before or after flowd's, it sees every packet, during and after flowd."""
    foreign = Counter()
    try:
        if first:
            foreign.attach_tcx(pair.near, "veth0")
        daemon = marking("tcx")
        if not first:
            foreign.attach_tcx(pair.near, "veth0")
        with Probe(pair) as probe:
            probe.start(pair.near)
            before = foreign.count()
            for _ in range(20):
                assert probe.marked()
            assert foreign.count() - before == 20
            daemon.stop()
            assert probe.label() == 0
            assert foreign.count() - before == 21
    finally:
        foreign.close()


def test_ahead_of_what_is_there(pair, marking):
    """A program whose verdict is the last word, attached first, keeps no packet from its mark."""
    foreign = Counter(verdict=Counter.PASS)
    try:
        foreign.attach_tcx(pair.near, "veth0")
        marking("tcx")
        with Probe(pair) as probe:
            probe.start(pair.near)
            before = foreign.count()
            assert probe.marked()
            assert foreign.count() == before + 1
    finally:
        foreign.close()


@pytest.mark.parametrize("attach", ["tcx", "tc"])
def test_clean(pair, marking, flowd_command, attach):
    """After kill -9 `flowd clean` takes away all that is left; again it does nothing, and says so."""
    foreign = Counter()
    try:
        foreign.attach_tcx(pair.near, "veth0")
        daemon = marking(attach)
        with Probe(pair) as probe:
            probe.start(pair.near)
            daemon.kill()
            assert probe.marked(), "marks go on while nobody cleans"
            prefix = ["nsenter", f"--net={pair.near.path}"]
            for _ in range(2):
                done = flowd_command("-c", daemon.config_path, "clean", prefix=prefix)
                assert done.returncode == 0, done.stderr
                assert probe.label() == 0
                assert pinned(directory_of(daemon)) == []
                assert "clsact" not in qdiscs(pair.near)
            before = foreign.count()
            probe.label()
            assert foreign.count() == before + 1
    finally:
        foreign.close()


def directory_of(daemon):
    return pathlib.Path(daemon.config["backends"]["marker"]["pinPath"])


def test_clean_leaves_other_filters(pair, marking, flowd_command, bpffs):
    foreign = Counter()
    path = bpffs / "foreign"
    try:
        foreign.pin(path)
        daemon = marking("tc")
        pair.near.run("tc", "filter", "add", "dev", "veth0", "egress", "prio", "7", "bpf", "da",
                      "pinned", str(path))
        daemon.kill()
        done = flowd_command("-c", daemon.config_path, "clean", "--interface", "veth0",
                             prefix=["nsenter", f"--net={pair.near.path}"])
        assert done.returncode == 0, done.stderr
        shown = egress_filters(pair.near)
        assert "pref 7" in shown and shown.count("handle") == 1, shown
    finally:
        path.unlink()
        foreign.close()


@pytest.mark.parametrize("attach", ["tcx", "tc"])
def test_an_interface_that_is_not_there(make_flowd, directory, pin_path, request, attach):
    """It is waited for; when it comes, goes and comes again, its packets are marked."""
    near, far = Namespace(), Namespace()
    try:
        daemon = make_flowd(near, base_config(directory, pin_path, ["late0", "lo"], attach=attach))
        daemon.start()
        assert "late0" in daemon.log()
        flow = Api(near).post(event("fd00:f10::1", 4000, "fd00:f10::2", 4001)).expect(201).json
        assert flow["id"]
        for round_number in range(2):
            run(["ip", "link", "add", "late0", "netns", near.name, "type", "veth", "peer", "name",
                 "late1", "netns", far.name])
            for space, interface, address in ((near, "late0", "fd00:f10::1/64"),
                                              (far, "late1", "fd00:f10::2/64")):
                space.ip("link", "set", interface, "up")
                space.add_address(interface, address)
            with udp_socket(far, "fd00:f10::2", 4001) as receiver, \
                    udp_socket(near, "fd00:f10::1", 4000) as sender:

                def marked():
                    sender.sendto(b"", ("fd00:f10::2", 4001))
                    return receive_label(receiver)[1] & TAG_MASK == tag_bits(2, 17)

                until(marked, f"marks on the interface that came, round {round_number}")
            near.ip("link", "del", "late0")
        daemon.stop()
    finally:
        for one in getattr(request.node, "daemons", []):
            one.abandon()
        near.remove()
        far.remove()


def test_discover_interfaces(pair, make_flowd, directory, pin_path):
    """Every interface with a global IPv6 address, as they come; the list is not looked at."""
    config = base_config(directory, pin_path, ["nowhere0"], discoverInterfaces=True)
    make_flowd(pair.near, config).start()
    with Probe(pair) as probe:
        probe.start(pair.near)
        assert probe.marked()
        pair.near.ip("-6", "address", "flush", "dev", "veth0", "scope", "global")
        until(lambda: "veth0" not in attached(Api(pair.near)), "veth0 is let go")
        pair.near.add_address("veth0", Pair.NEAR + "/64")
        until(lambda: "veth0" in attached(Api(pair.near)), "veth0 is found again")
        until(probe.marked, "marks on the interface that came back")


def attached(api):
    """The names of the interfaces that the status shows as attached."""
    interfaces = api.status()["interfaces"]
    return {one["name"] for one in interfaces
            if one.get("attach") in ("tcx", "tc") or one.get("attached") in ("tcx", "tc")}


def test_match_source(pair, make_flowd, directory, pin_path):
    """With matchSource the source address counts, without it it does not."""
    for match, expected in ((True, False), (False, True)):
        config = base_config(directory, pin_path, matchSource=match)
        daemon = make_flowd(pair.near, config, name=f"match-{match}").start()
        with Probe(pair) as probe:
            probe.start(pair.near)
            assert probe.marked()
            with udp_socket(pair.near, Pair.NEAR_OTHER, probe.flow[1]) as other:
                other.sendto(b"", probe.flow[2:])
                label = receive_label(probe.receiver)[1]
            assert (label != 0) == expected
            Api(pair.near).delete(f"/v1/flows/{Api(pair.near).flows()[0]['id']}")
        daemon.stop()


def test_two_daemons(pair, make_flowd, directory, pin_path, bpffs):
    """The same pin path or the same state directory: the second is refused and harms nothing."""
    first = make_flowd(pair.near, base_config(directory, pin_path)).start()
    with Probe(pair) as probe:
        probe.start(pair.near)
        for number, change in enumerate(("stateDir", "pinPath")):
            place = directory / f"second-{number}"
            place.mkdir()
            config = base_config(place, bpffs / f"second-{number}-{os.getpid()}")
            config["plugins"]["api"]["bindPort"] = 7790
            if change == "stateDir":
                config["stateDir"] = first.config["stateDir"]
            else:
                config["backends"]["marker"]["pinPath"] = str(pin_path)
            second = make_flowd(pair.near, config, name=f"refused-{number}").start(ready=False)
            assert second.wait_exit() == 1, second.log()
            refused = config["stateDir"] if change == "stateDir" else str(pin_path)
            assert refused in second.log() and "another" in second.log().lower(), second.log()
            assert probe.marked() and FlowMap(pin_path)
    assert first.running()


def test_two_daemons_in_two_namespaces(pair, make_flowd, directory, bpffs):
    """Each with its own paths: both mark, neither disturbs the other."""
    daemons = []
    for number, namespace in enumerate((pair.near, pair.far)):
        place = directory / str(number)
        place.mkdir()
        config = base_config(place, bpffs / f"both-{number}-{os.getpid()}", [f"veth{number}"])
        daemons.append(make_flowd(namespace, config, name=f"both-{number}").start())
    with Probe(pair) as probe:
        probe.start(pair.near)
        assert probe.marked()
        daemons[1].stop()
        assert probe.marked()
        daemons[1].start()
        daemons[0].stop()
        assert probe.label() == 0


def test_without_bpffs(pair, make_flowd, directory):
    """Where the pin path is on no BPF file system, flowd marks and says what is missing."""
    daemon = make_flowd(pair.near, base_config(directory, directory / "pins")).start()
    assert "bpf" in daemon.log().lower() and str(directory / "pins") in daemon.log(), daemon.log()
    with Probe(pair) as probe:
        probe.start(pair.near)
        assert probe.marked()
        daemon.kill()
        assert isinstance(probe.label(), int)
        daemon.start()
        until(probe.marked, "marks again")


def test_kernel_refuses_a_full_map(pair, make_flowd, directory, pin_path):
    """flows.max bounds the map: what does not fit is refused to the user, never forgotten."""
    config = base_config(directory, pin_path)
    config["flows"] = {"max": 100}
    make_flowd(pair.near, config).start()
    api = Api(pair.near)
    for port in range(1, 101):
        assert api.post(event(Pair.NEAR, port, Pair.FAR, 2)).expect(201).json["backends"] == {
            "marker": "marked"}
    assert api.post(event(Pair.NEAR, 101, Pair.FAR, 2)).status >= 400
    assert len(FlowMap(pin_path)) == 100


def test_a_program_that_is_loaded_later(pair, make_flowd, directory, pin_path):
    """
    The program for devices without a link header is loaded for the first of them. What keeps it from
    that is said of the interface, and flowd tries again.
    """
    daemon = make_flowd(pair.near, base_config(directory, pin_path, interfaces=["veth0", "tun0"])).start()
    api = Api(pair.near)

    def tun0():
        return next(one for one in api.status()["interfaces"] if one["name"] == "tun0")

    assert tun0()["state"] == "waiting"
    usual = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (4, usual[1]))
    with Tun(pair.near, "tun0") as tun, udp_socket(pair.near, tun.NEAR) as sender:
        until(lambda: tun0()["state"] == "failed", "the failure")
        assert "open files" in tun0()["error"] and tun0()["error"] in daemon.log()
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, usual)
        until(lambda: tun0()["state"] == "attached", "another try")
        api.post(event(tun.NEAR, sender.getsockname()[1], tun.FAR, 9)).expect(201)
        sender.sendto(b"marked", (tun.FAR, 9))
        assert tun.receive(b"marked")[1] & TAG_MASK == tag_bits(2, 17)
