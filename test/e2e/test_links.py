# SPDX-License-Identifier: Apache-2.0
"""The kinds of interfaces, what becomes of them while flowd runs, and which packets they see leave."""

import contextlib
import os
import socket
import struct
import subprocess
import tempfile

import pytest

from lab.api_client import Api, event
from lab.daemon_config import base_config
from lab.devices import Tun
from lab.flood import Flood
from lab.frames import MARKS, Frames, dissect, is_marked
from lab.flow_map import FlowMap
from lab.kernel_bpf import TCX_INGRESS, Tally, clsact_filters, label_is, plain_udp, tcx_programs
from lab.labels import TAG_MASK, tag_bits
from lab.links import BridgePort, Link, Macvlan, Tap, TunLink, Veth, Vxlan, bears, marks_of, wants_options
from lab.netns import Namespace, Pair, run
from lab.traffic import udp_socket
from lab.waiting import until


def interfaces(api):
    """The status of each interface by its name."""
    return {one["name"]: one for one in api.status()["interfaces"]}


def state(api, name):
    return interfaces(api)[name]["state"]


def index_of(space, name):
    with space.entered():
        return socket.if_nametoindex(name)


def checksum_is_right(packet):
    """Whether the checksum over the pseudo header and all behind the extension headers is right."""
    number = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP}[packet.protocol]
    summed = b"".join((socket.inet_pton(socket.AF_INET6, packet.src),
                       socket.inet_pton(socket.AF_INET6, packet.dst),
                       struct.pack("!II", len(packet.payload), number), packet.payload))
    summed += bytes(len(summed) % 2)
    total = sum(struct.unpack(f"!{len(summed) // 2}H", summed))
    return total % 0xFFFF == 0


@pytest.mark.parametrize("attach", ["tcx", "tc"])
@pytest.mark.parametrize("strategy,encoding", MARKS)
def test_without_link_header(single, make_flowd, directory, pin_path, strategy, encoding, attach):
    """Through a tun device each strategy's mark goes where it belongs, and the data stays what it was."""
    with Tun(single) as tun, udp_socket(single, tun.NEAR) as sender, \
            single.socket(socket.AF_INET6, socket.SOCK_STREAM) as client:
        client.bind((tun.NEAR, 0))
        client.setblocking(False)
        make_flowd(single, base_config(
            directory, pin_path, interfaces=["tun0"], attach=attach, markingStrategy=strategy,
            optionEncoding=encoding)).start()
        api = Api(single)
        about = interfaces(api)["tun0"]
        assert (about["state"], about["attach"]) == ("attached", attach)
        for number, payload in enumerate((b"short", b"odd length", bytes(range(256)) * 5)):
            sender.sendto(payload, (tun.FAR, 7 + number))
            packet = dissect(tun.frame(payload))
            assert not is_marked(packet, strategy, encoding) and packet.payload[8:] == payload
            api.post(event(tun.NEAR, sender.getsockname()[1], tun.FAR, 7 + number)).expect(201)
            sender.sendto(payload, (tun.FAR, 7 + number))
            packet = dissect(tun.frame(payload))
            assert is_marked(packet, strategy, encoding) and packet.payload[8:] == payload
            assert checksum_is_right(packet) and packet.length + 40 == packet.size
        port = client.getsockname()[1]
        api.post(event(tun.NEAR, port, tun.FAR, 80, protocol="tcp")).expect(201)
        client.connect_ex((tun.FAR, 80))
        packet = dissect(tun.frame(struct.pack("!HH", port, 80)))
        assert packet.protocol == "tcp" and is_marked(packet, strategy, encoding)
        assert checksum_is_right(packet)
        packets = interfaces(api)["tun0"]["packets"]
        assert packets["marked"] == 4 and not any(
            count for name, count in packets.items() if name not in ("marked", "other-protocol")), packets


def eventually(marked, what):
    """Packets may not get through while a device is being made."""

    def check():
        try:
            return marked()
        except OSError:
            return False

    until(check, what)


@pytest.mark.parametrize("strategy", ["label", "hopByHop"])
@pytest.mark.parametrize("kind", [Veth, Macvlan, Vxlan, BridgePort, Tap, TunLink])
def test_an_interface_comes_and_goes(pair, make_flowd, directory, pin_path, kind, strategy):
    """
    A device that is made after the start, deleted, made again, renamed away and back, and set down
    and up: whenever it is there by its name, packets are marked; the flow is announced before all.
    """
    name = Link.NAME
    daemon = make_flowd(pair.near, base_config(
        directory, pin_path, interfaces=["lo", name], markingStrategy=strategy)).start()
    api, link = Api(pair.near), kind(pair)
    flow = api.post(event(Link.NEAR, 4000, Link.FAR, 4001)).expect(201).json
    assert flow["backends"]["marker"] != "marked" and state(api, name) == "waiting"
    for round_number in range(2):
        link.create()
        until(lambda: state(api, name) == "attached", f"the interface, round {round_number}")
        with link.reach(strategy) as marked:
            eventually(marked, f"marks, round {round_number}")
            assert all(marked() for _ in range(10))
            if round_number == 1:
                break
        link.remove()
        until(lambda: state(api, name) == "waiting", "the loss of the interface")
    with link.reach(strategy) as marked:
        pair.near.ip("link", "set", name, "name", "elsewhere0")
        until(lambda: state(api, name) == "waiting", "the loss of the name")
        assert not marked()
        pair.near.ip("link", "set", "elsewhere0", "name", name)
        until(lambda: state(api, name) == "attached", "the name")
        assert marked()
        pair.near.ip("link", "set", name, "down")
        link.addresses()
        eventually(marked, "marks after it was down")
        assert state(api, name) == "attached"
    link.remove()
    until(lambda: state(api, name) == "waiting", "the end of the interface")
    assert "somebody removed" not in daemon.log(), "it was deleted, nobody touched the program"


@pytest.mark.parametrize("attach", ["tcx", "tc"])
def test_moved_to_another_namespace(pair, make_flowd, directory, pin_path, attach):
    """
    flowd lets go of a device that has been moved away, and nothing of flowd's stays on it, also where
    it was moved while no flowd ran; when it is back it is attached again.
    """
    name, other = Link.NAME, Namespace()
    link = Veth(pair)
    config = base_config(directory, pin_path, interfaces=[name, "veth0"], attach=attach)
    try:
        link.create()
        daemon = make_flowd(pair.near, config).start()
        api = Api(pair.near)
        api.post(event(Link.NEAR, 4000, Link.FAR, 4001)).expect(201)

        def move(source, target):
            source.ip("link", "set", name, "netns", target.name)
            link.near = target
            link.addresses()

        def left_behind():
            return tcx_programs(other, name) + clsact_filters(other, name)

        for running in (True, False):
            with link.reach("label") as marked:
                assert marked()
            if not running:
                daemon.kill()
            move(pair.near, other)
            if not running:
                daemon.start()
                api = Api(pair.near)
            until(lambda: state(api, name) == "waiting", "the loss of the interface")
            assert left_behind() == [] and state(api, "veth0") == "attached"
            assert "clsact" not in other.run("tc", "qdisc", "show", "dev", name).stdout
            with link.reach("label") as marked:
                assert not any(marked() for _ in range(5))
            move(other, pair.near)
            until(lambda: state(api, name) == "attached", "the interface")
            with link.reach("label") as marked:
                until(marked, "marks on the interface that came back")
            assert "somebody removed" not in daemon.log()
    finally:
        other.remove()


@pytest.mark.parametrize("attach", ["tcx", "tc"])
def test_a_daemon_in_each_namespace(pair, make_flowd, directory, bpffs, flowd_command, attach):
    """
    Three daemons, each with a pin path and a namespace of its own, whose interfaces have the same
    numbers: each marks by its own strategy, takes a device over when it is moved there, and is not
    touched when another one is killed, cleaned or started.
    """
    third = Namespace()
    spaces = {"near": pair.near, "far": pair.far, "third": third}
    strategies = {"near": "label", "far": "hopByHop", "third": "destination"}
    daemons = {}
    try:
        assert index_of(pair.near, "veth0") == index_of(pair.far, "veth1")
        for name, space in spaces.items():
            place = directory / name
            place.mkdir()
            config = base_config(place, bpffs / f"each-{attach}-{name}-{os.getpid()}",
                                 ["veth0", "veth1", Link.NAME], attach=attach,
                                 markingStrategy=strategies[name])
            daemons[name] = make_flowd(space, config, name=f"daemon-{name}").start()
        with wants_options(udp_socket(pair.far, Pair.FAR)) as far, \
                wants_options(udp_socket(pair.near, Pair.NEAR)) as near:
            ports = near.getsockname()[1], far.getsockname()[1]
            for space in (pair.near, pair.far):
                Api(space).post(event(Pair.NEAR, ports[0], Pair.FAR, ports[1])).expect(201)

            def marks():
                near.sendto(b"", (Pair.FAR, ports[1]))
                there = bears(marks_of(far), "label")
                far.sendto(b"", (Pair.NEAR, ports[0]))
                return there, bears(marks_of(near), "hopByHop")

            assert marks() == (True, True)
            daemons["near"].kill()
            assert marks() == (True, True)
            done = flowd_command("-c", daemons["near"].config_path, "clean",
                                 prefix=["nsenter", f"--net={pair.near.path}"])
            assert done.returncode == 0, done.stderr
            assert marks() == (False, True)
            daemons["near"].start()
            assert marks() == (True, True)
            daemons["far"].stop()
            assert marks() == (True, False)
            daemons["far"].start()
            assert marks() == (True, True)

        link = Veth(pair)
        link.create()
        for name in ("near", "third"):
            Api(spaces[name]).post(event(Link.NEAR, 4000, Link.FAR, 4001)).expect(201)
        until(lambda: state(Api(pair.near), Link.NAME) == "attached", "the interface")
        with link.reach("label") as marked:
            assert marked()
        pair.near.ip("link", "set", Link.NAME, "netns", third.name)
        link.near = third
        link.addresses()
        until(lambda: state(Api(third), Link.NAME) == "attached", "the interface elsewhere")
        until(lambda: state(Api(pair.near), Link.NAME) == "waiting", "its loss")
        attached = tcx_programs(third, Link.NAME) + clsact_filters(third, Link.NAME)
        assert len(attached) == 1, attached
        with link.reach("destination") as marked:
            until(marked, "marks by the other strategy")
            assert all(marked() for _ in range(5))
        for daemon in daemons.values():
            daemon.stop()
    finally:
        for daemon in daemons.values():
            daemon.abandon()
        third.remove()


ARPHRD_IP6GRE = 823


def test_a_type_that_is_not_known(pair, make_flowd, directory, pin_path):
    """It is reported, nothing is attached to it, and the other interfaces are marked on."""
    with Tun(pair.near, "odd0", link_type=ARPHRD_IP6GRE), Tun(pair.near, "tun0", subnet="fd00:f18") as tun, \
            udp_socket(pair.near, tun.NEAR) as sender:
        daemon = make_flowd(pair.near, base_config(directory, pin_path, interfaces=["odd0", "tun0"])).start()
        daemon.wait_log(r"warning backends\.marker: interface odd0: packets are not marked: .*\(823\)")
        api = Api(pair.near)
        about = interfaces(api)
        assert about["odd0"]["state"] == "unsupported" and "823" in about["odd0"]["error"]
        assert about["tun0"]["state"] == "attached"
        assert tcx_programs(pair.near, "odd0") == []
        api.get("/readyz").problem(503, "odd0")
        assert api.post(event(tun.NEAR, sender.getsockname()[1], tun.FAR, 9)).json["backends"] == {
            "marker": "marked"}
        sender.sendto(b"payload", (tun.FAR, 9))
        assert is_marked(dissect(tun.frame(b"payload")), "label", "scitags")
        # Where interfaces are discovered nobody asked for this one.
        daemon.config["backends"]["marker"]["discoverInterfaces"] = True
        mark = daemon.log_size()
        daemon.reload(daemon.config)
        until(lambda: state(api, "veth0") == "attached", "the interface that is discovered")
        assert interfaces(api)["odd0"]["state"] == "unsupported"
        assert api.get("/readyz").status == 200, daemon.log(mark)


def test_discovered_late(pair, make_flowd, directory, pin_path):
    """A tun device is a target from its first global address on, with the program for its kind."""
    make_flowd(pair.near, base_config(directory, pin_path, interfaces=[], discoverInterfaces=True,
                                      markingStrategy="hopByHop")).start()
    api = Api(pair.near)
    with Tun(pair.near) as tun:
        api.post(event(tun.NEAR, 4000, tun.FAR, 4001)).expect(201)
        until(lambda: state(api, "tun0") == "attached", "the device with its address")
        with udp_socket(pair.near, tun.NEAR, 4000) as sender:
            sender.sendto(b"first", (tun.FAR, 4001))
            assert is_marked(dissect(tun.frame(b"first")), "hopByHop", "scitags")
            pair.near.ip("address", "del", tun.NEAR + "/64", "dev", "tun0")
            until(lambda: "tun0" not in interfaces(api), "tun0 is let go")
            pair.near.ip("address", "add", "fe80::77/64", "dev", "tun0", "scope", "link", "nodad")
            late = "fd00:f10::99"
            flow = api.post(event(late, 4002, Pair.FAR, 4003)).expect(201).json
            assert flow["backends"]["marker"] == "forwarded"
            pair.near.add_address("veth0", late + "/64")
            until(lambda: api.get(f"/v1/flows/{flow['id']}").json["backends"]["marker"] == "marked",
                  "the flow whose address came")
            assert "tun0" not in interfaces(api), "a link-local address makes no target"
            tun.bring_up(pair.near)
            until(lambda: state(api, "tun0") == "attached" if "tun0" in interfaces(api) else False,
                  "the device again")
        with udp_socket(pair.near, tun.NEAR, 4000) as sender:
            sender.sendto(b"again", (tun.FAR, 4001))
            assert is_marked(dissect(tun.frame(b"again")), "hopByHop", "scitags")
    until(lambda: "tun0" not in interfaces(api), "the end of the device")
    assert set(interfaces(api)) == {"veth0"}


@pytest.mark.parametrize("attach", ["tcx", "tc"])
def test_renamed_between_two_targets(pair, make_flowd, directory, pin_path, attach):
    """
    An interface whose old and new names are both targets (and one of them twice) keeps its program:
    no packet of a flood leaves unmarked.
    """
    link = Veth(pair)
    link.create()
    names = [Link.NAME, "wanted1"]
    make_flowd(pair.near, base_config(directory, pin_path, interfaces=[*names, Link.NAME],
                                      attach=attach)).start()
    api = Api(pair.near)
    assert [one["name"] for one in api.status()["interfaces"]] == names
    with udp_socket(pair.far, Link.FAR) as receiver, udp_socket(pair.near, Link.NEAR) as sender:
        port = receiver.getsockname()[1]
        api.post(event(Link.NEAR, sender.getsockname()[1], Link.FAR, port)).expect(201)
        sender.connect((Link.FAR, port))
        with Tally(plain_udp(port), plain_udp(port, label_is(0))) as tally:
            tally.attach_tcx(pair.far, "across0", TCX_INGRESS)
            with Flood(sender) as flood:
                for number in range(4):
                    old, new = names[number % 2], names[1 - number % 2]
                    pair.near.ip("link", "set", old, "name", new)
                    until(lambda: (state(api, old), state(api, new)) == ("waiting", "attached"), "the rename")
                    sent = flood.sent
                    until(lambda: flood.sent > sent + 100, "packets")
            assert tally.count() == flood.sent
            assert tally.count(1) == 0


def test_many_at_once(pair, make_flowd, directory, pin_path):
    """Interfaces of all kinds at once, also while others are made and deleted: each has its own counts."""
    with contextlib.ExitStack() as stack:
        tuns = [stack.enter_context(Tun(pair.near, f"tun{number}", subnet=f"fd00:f3{number}"))
                for number in range(3)]
        names = [one.name for one in tuns] + ["veth0", "lo", "late0"]
        make_flowd(pair.near, base_config(directory, pin_path, interfaces=names,
                                          markingStrategy="hopByHop")).start()
        api = Api(pair.near)
        sockets = [stack.enter_context(udp_socket(pair.near, one.NEAR)) for one in tuns]
        far = stack.enter_context(udp_socket(pair.far, Pair.FAR))
        near = stack.enter_context(udp_socket(pair.near, Pair.NEAR))
        bystander = stack.enter_context(udp_socket(pair.near, Pair.NEAR_OTHER))
        port = far.getsockname()[1]
        for tun, sender in zip(tuns, sockets):
            api.post(event(tun.NEAR, sender.getsockname()[1], tun.FAR, 9)).expect(201)
        api.post(event(Pair.NEAR, near.getsockname()[1], Pair.FAR, port)).expect(201)
        before = {name: one["packets"] for name, one in interfaces(api).items() if "packets" in one}
        assert set(before) == set(names) - {"late0"}
        no_flow = api.module("marker")["packetsOfNoFlow"]
        for number, (tun, sender) in enumerate(zip(tuns, sockets)):
            for _ in range(number + 1):
                sender.sendto(b"fits", (tun.FAR, 9))
        for _ in range(5):
            sockets[1].sendto(bytes(1500 - 48), (tuns[1].FAR, 9))
        for _ in range(7):
            near.sendto(b"", (Pair.FAR, port))
        bystander.sendto(b"", (Pair.FAR, port))
        counted = {name: {result: one["packets"][result] - before[name][result] for result in before[name]}
                   for name, one in interfaces(api).items() if name in before}
        marked = {name: one["marked"] for name, one in counted.items()}
        assert marked == {"tun0": 1, "tun1": 2, "tun2": 3, "veth0": 7, "lo": 0}
        assert {name: one["mtu"] for name, one in counted.items()} == {
            "tun0": 0, "tun1": 5, "tun2": 0, "veth0": 0, "lo": 0}
        for one in counted.values():
            assert not any(one[name] for name in ("options", "vlan", "truncated", "error", "fragment"))
        assert api.module("marker")["packetsOfNoFlow"] == no_flow + 1


TAGS = [b"\x81\x00\x00\x05", b"\x88\xa8\x00\x06", b"\x88\xa8\x00\x06\x81\x00\x00\x05"]


@pytest.mark.parametrize("strategy", ["label", "hopByHop", "destination"])
def test_a_vlan_tag_in_band(pair, make_flowd, directory, pin_path, strategy):
    """
    Frames of a live flow that bring their 802.1Q or 802.1ad tags along: a label is written, an
    extension header is not, and the count says why.
    """
    make_flowd(pair.near, base_config(directory, pin_path, markingStrategy=strategy)).start()
    api = Api(pair.near)
    api.post(event(Pair.NEAR, 4000, Pair.FAR, 4001)).expect(201)
    with pair.near.entered():
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    datagram = struct.pack("!HHHH", 4000, 4001, 16, 0) + b"datagram"
    packet = struct.pack("!IHBB", 6 << 28, 16, socket.IPPROTO_UDP, 64) + socket.inet_pton(
        socket.AF_INET6, Pair.NEAR) + socket.inet_pton(socket.AF_INET6, Pair.FAR) + datagram
    before = interfaces(api)["veth0"]["packets"]
    with raw, Frames(pair.far, "veth1", everything=True) as frames:
        for tags in TAGS:
            position = len(frames)
            sent = b"\x02\0\0\0\0\1\x02\0\0\0\0\2" + tags + b"\x86\xdd" + packet
            raw.sendto(sent, ("veth0", struct.unpack("!H", tags[:2])[0]))
            behind = frames.wait(lambda one: one.endswith(datagram), "the frame", position)
            taken = frames.frames()[behind - 1]
            if strategy == "label":
                at = 14 + len(tags)
                label = struct.unpack_from("!I", taken, at)[0] & 0xFFFFF
                assert label & TAG_MASK == tag_bits(2, 17)
                taken = taken[:at] + sent[at:at + 4] + taken[at + 4:]
            assert taken == sent
    packets = interfaces(api)["veth0"]["packets"]
    marked, left = packets["marked"] - before["marked"], packets["vlan"] - before["vlan"]
    assert (marked, left) == ((3, 0) if strategy == "label" else (0, 3))


@pytest.mark.parametrize("strategy", ["hopByHop", "destination", "hopByHopDestination"])
@pytest.mark.parametrize("match_source", [False, True])
def test_whichever_end_is_here(pair, make_flowd, directory, pin_path, strategy, match_source):
    """
    Options too: what the receiving side sends back, both directions between two addresses of this
    host, a flow whose address comes later; with matchSource nobody else's packets.
    """
    make_flowd(pair.near, base_config(directory, pin_path, interfaces=["veth0", "lo"],
                                      markingStrategy=strategy, matchSource=match_source)).start()
    api = Api(pair.near)
    with contextlib.ExitStack() as stack:

        def opened(space, address, port=0):
            return wants_options(stack.enter_context(udp_socket(space, address, port)))

        def marked(sender, receiver):
            sender.sendto(b"payload", receiver.getsockname()[:2])
            return bears(marks_of(receiver), strategy)

        def announce(source, target):
            return api.post(event(*source.getsockname()[:2], *target.getsockname()[:2])).expect(201).json

        near, far = opened(pair.near, Pair.NEAR), opened(pair.far, Pair.FAR)
        assert announce(far, near)["backends"]["marker"] == "marked"
        assert marked(near, far) and not marked(far, near)
        other = opened(pair.near, Pair.NEAR_OTHER, near.getsockname()[1])
        assert marked(other, far) == (not match_source)

        left, right = opened(pair.near, Pair.NEAR), opened(pair.near, Pair.NEAR_OTHER)
        assert not marked(left, right)
        announce(left, right)
        assert marked(left, right) and marked(right, left)

        late = "fd00:f10::77"
        flow = api.post(event(late, 5000, *far.getsockname()[:2])).expect(201).json
        assert flow["backends"]["marker"] == "forwarded"
        pair.near.add_address("veth0", late + "/64")
        until(lambda: api.get(f"/v1/flows/{flow['id']}").json["backends"]["marker"] == "marked",
              "the flow whose address came")
        assert marked(opened(pair.near, late, 5000), far)
        pair.near.ip("address", "del", late + "/64", "dev", "veth0")
        until(lambda: api.get(f"/v1/flows/{flow['id']}").json["backends"]["marker"] ==
              "forwarded", "the flow whose address went")
        assert len(FlowMap(pin_path)) == 5


@pytest.fixture
def trace_pipe():
    """What BPF programs trace, as far as nobody else reads it: a function that gives the lines so far."""
    path = tempfile.mkdtemp(prefix="flowd-tracefs-")
    mounted = subprocess.run(["mount", "-t", "tracefs", "tracefs", path], capture_output=True, text=True,
                             check=False)
    if mounted.returncode != 0:
        os.rmdir(path)
        pytest.skip(f"no tracefs can be mounted: {mounted.stderr.strip()}")
    pipe = os.open(f"{path}/trace_pipe", os.O_RDONLY | os.O_NONBLOCK)

    def lines():
        text = b""
        with contextlib.suppress(BlockingIOError):
            while True:
                text += os.read(pipe, 1 << 16)
        return [one for one in text.decode(errors="replace").splitlines() if "flowd:" in one]

    try:
        lines()
        yield lines
    finally:
        os.close(pipe)
        run(["umount", path])
        os.rmdir(path)


@pytest.mark.parametrize("strategy", ["label", "hopByHop"])
def test_debug_mode(pair, make_flowd, directory, pin_path, strategy, trace_pipe):
    """One line in trace_pipe for each marked packet, none for others, none without debugMode."""
    config = base_config(directory, pin_path, markingStrategy=strategy, onExit="keep")
    daemon = make_flowd(pair.near, config).start()
    with udp_socket(pair.far, Pair.FAR) as receiver, udp_socket(pair.near, Pair.NEAR) as sender, \
            udp_socket(pair.near, Pair.NEAR_OTHER) as bystander:
        wants_options(receiver)
        target = receiver.getsockname()[:2]
        Api(pair.near).post(event(Pair.NEAR, sender.getsockname()[1], *target)).expect(201)

        def marks(one):
            one.sendto(b"", target)
            return marks_of(receiver)

        assert bears(marks(sender), strategy)
        assert trace_pipe() == []
        daemon.stop()
        config["backends"]["marker"]["debugMode"] = True
        daemon.start()
        found = [marks(sender) for _ in range(5)]
        assert not bears(marks(bystander), strategy)
        lines = []
        until(lambda: lines.extend(trace_pipe()) or len(lines) >= 5, lambda: f"five lines, not {lines}")
    text = f"interface {index_of(pair.near, 'veth0')} " + (
        f"label {found[0][0]:x}" if strategy == "label" else "experiment 2 activity 17")
    assert [one.partition("flowd: ")[2] for one in lines] == [text] * 5
