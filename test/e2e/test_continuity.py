# SPDX-License-Identifier: Apache-2.0
"""Marking goes on: through restarts, crashes and changes of the configuration, up to a full map."""

import contextlib
import json
import os
import socket
import threading

import pytest

from lab.api_client import Api, event, line
from lab.daemon_config import base_config
from lab.flood import Flood, TcpFlood
from lab.flow_map import FlowMap
from lab.kernel_bpf import IS_IPV6, TCX_INGRESS, Tally, extended_udp, label_is, plain_udp
from lab.labels import TAG_MASK, tag_bits
from lab.netns import Pair, run
from lab.traffic import receive_label, udp_socket
from lab.waiting import until

# How a daemon goes, and what the next one is configured with: all that is not named stays.
ROUNDS = [
    ("kill", {}),
    ("keep", {}),
    ("kill", {"attach": "tc"}),
    ("keep", {}),
    ("kill", {"flows.max": 5000}),
    ("keep", {"matchSource": True}),
    ("kill", {}),
    ("keep", {"attach": "tcx", "debugMode": True}),
    ("kill", {"matchSource": False, "debugMode": False}),
    ("keep", {"flows.max": 6000, "attach": "tc"}),
    ("kill", {"attach": "tcx"}),
]
LAYOUT = {"flows.max", "matchSource"}


def change(config, changes):
    for name, value in changes.items():
        if name == "flows.max":
            config["flows"] = {"max": value}
        else:
            config["backends"]["marker"][name] = value


class Churn(threading.Thread):
    """Flows that start and end through the fifo whenever there is a daemon that reads it."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self._path, self._ending = path, threading.Event()
        self.started = 0

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._ending.set()
        self.join()

    def run(self):
        while not self._ending.is_set():
            with contextlib.suppress(OSError):
                pipe = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)
                with os.fdopen(pipe, "wb", buffering=0) as writer:
                    while not self._ending.wait(0.002):
                        self._write(writer)
            self._ending.wait(0.005)

    def _write(self, writer):
        ports = range(self.started % 50000 + 1, self.started % 50000 + 21)
        for state in ("start", "end"):
            writer.write("".join(line(state, Pair.NEAR_OTHER, port, Pair.FAR_OTHER, 9)
                                 for port in ports).encode())
        self.started += len(ports)


class Guarded:
    """A UDP flood and a TCP stream, both confirmed flows, and the count of what lacks its label."""

    def __init__(self, pair, pin_path):
        self._pair, self._pin_path = pair, pin_path
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        with self._stack:
            self._open(self._stack.enter_context)
            self._stack = self._stack.pop_all()
        return self

    def _open(self, enter):
        near, far = self._pair.near, self._pair.far
        receiver, sender = enter(udp_socket(far, Pair.FAR)), enter(udp_socket(near, Pair.NEAR))
        sport, port = sender.getsockname()[1], receiver.getsockname()[1]
        stream = self.stream = enter(TcpFlood(near, far, Pair.NEAR, Pair.FAR))
        api = Api(near)
        api.post(event(Pair.NEAR, sport, Pair.FAR, port)).expect(201)
        api.post(event(Pair.NEAR, stream.sport, Pair.FAR, stream.port, 3, 7, "tcp")).expect(201)
        entries = FlowMap(self._pin_path)
        labels = (entries[Pair.FAR, sport, port, "udp"],
                  entries[Pair.FAR, stream.sport, stream.port, "tcp"])
        assert [one & TAG_MASK for one in labels] == [tag_bits(2, 17), tag_bits(3, 7)]
        tcp = IS_IPV6, (20, 1, 0xFF, socket.IPPROTO_TCP), (56, 2, 0xFFFF, stream.port)
        self._tally = enter(Tally(
            plain_udp(port), plain_udp(port, label_is(labels[0])), plain_udp(port, label_is(0)),
            tcp, (*tcp, label_is(labels[1])), (*tcp, label_is(0))))
        self._tally.attach_tcx(far, "veth1", TCX_INGRESS)
        stream.begin()
        sender.connect((Pair.FAR, port))
        self.flood = enter(Flood(sender))

    def __exit__(self, *exception):
        return self._stack.__exit__(*exception)

    def go_on(self, packets=200):
        """Waits for more of both."""
        sent, received = self.flood.sent, self.stream.received
        until(lambda: self.flood.sent > sent + packets and self.stream.received > received, "packets")

    def check(self, what):
        unmarked = self._tally.count(2), self._tally.count(5)
        assert unmarked == (0, 0), f"unmarked UDP and TCP packets {what}"

    def end(self):
        """All that was sent has arrived, with the one label of its flow."""
        self.flood.end()
        self.stream.end()
        assert self.stream.intact
        udp, udp_marked, _, tcp, tcp_marked, _ = map(self._tally.count, range(6))
        assert udp == udp_marked == self.flood.sent
        assert tcp == tcp_marked > 0


class Late:
    """A flow that is confirmed in the last moment before its daemon goes."""

    def __init__(self, pair):
        self.receiver, self.sender = udp_socket(pair.far, Pair.FAR), udp_socket(pair.near, Pair.NEAR)
        self._target = self.receiver.getsockname()[:2]
        self.flow = Api(pair.near).post(event(
            Pair.NEAR, self.sender.getsockname()[1], *self._target, 4, 4)).expect(201).json

    def marked(self):
        self.sender.sendto(b"", self._target)
        return receive_label(self.receiver)[1] & TAG_MASK == tag_bits(4, 4)

    def close(self):
        self.receiver.close()
        self.sender.close()


def test_flood_through_restarts(pair, make_flowd, directory, pin_path):
    """
    50 times a daemon is killed or stopped with `keep`, and the next one has the same configuration
    or another: meanwhile no packet of a UDP flow or of a TCP flow leaves without its label.
    """
    config = base_config(directory, pin_path, attach="tcx", onExit="keep")
    change(config, {"flows.max": 6000})
    # Whoever makes or removes a clsact makes the kernel drop packets in between: not flowd's doing.
    pair.near.run("tc", "qdisc", "add", "dev", "veth0", "clsact")
    daemon = make_flowd(pair.near, config).start()
    with Guarded(pair, pin_path) as guarded, Churn(daemon.fifo_path) as churn:
        for number in range(50):
            way, changes = ROUNDS[number % len(ROUNDS)]
            what = f"in round {number}: {way}, {changes}"
            with contextlib.closing(Late(pair)) as late:
                if way == "kill":
                    daemon.kill()
                else:
                    daemon.stop()
                assert late.marked(), what
                guarded.go_on()
                change(config, changes)
                mark = daemon.log_size()
                daemon.start()
                assert late.marked(), what
                guarded.go_on()
                Api(pair.near).delete(f"/v1/flows/{late.flow['id']}").expect(200, 204)
            guarded.check(what)
            replaced = "another layout: they are replaced" in daemon.log(mark)
            taken_over = "took over the pinned maps" in daemon.log(mark)
            assert (replaced, taken_over) == ((True, False) if LAYOUT & changes.keys() else
                                              (False, True)), what
        assert churn.started > 1000
        guarded.end()


STRATEGIES = [("hopByHop", "tcx"), ("destination", "tcx"), ("label", "tc"), ("hopByHopDestination", "tc"),
              ("hopByHop", "tcx"), ("label", "tcx")]


def test_change_of_strategy(pair, make_flowd, directory, pin_path):
    """While one strategy takes the other's place every packet bears the mark of one of them."""
    config = base_config(directory, pin_path, attach="tcx", onExit="keep")
    daemon = make_flowd(pair.near, config).start()
    pair.near.run("tc", "qdisc", "add", "dev", "veth0", "clsact")
    with udp_socket(pair.far, Pair.FAR) as receiver, udp_socket(pair.near, Pair.NEAR) as sender:
        port = receiver.getsockname()[1]
        Api(pair.near).post(event(Pair.NEAR, sender.getsockname()[1], Pair.FAR, port)).expect(201)
        sender.connect((Pair.FAR, port))
        looks = {
            "label": plain_udp(port, label_is(tag_bits(2, 17), TAG_MASK)),
            "hopByHop": extended_udp(port, 0),
            "destination": extended_udp(port, 60),
            "hopByHopDestination": extended_udp(port, 0, 60),
        }
        with Tally(plain_udp(port, label_is(0)), *looks.values()) as tally:
            tally.attach_tcx(pair.far, "veth1", TCX_INGRESS)
            counts = lambda: dict(zip(looks, (tally.count(1 + one) for one in range(4))))  # noqa: E731
            with Flood(sender) as flood:
                for number, (strategy, attach) in enumerate(STRATEGIES * 2):
                    change(config, {"markingStrategy": strategy, "attach": attach})
                    if number % 2:
                        daemon.stop()
                    else:
                        daemon.kill()
                    daemon.start()
                    before = counts()[strategy]
                    until(lambda: counts()[strategy] > before + 200, f"packets marked by {strategy}")
                    assert tally.count(0) == 0, f"packets without mark up to {strategy} by {attach}"
            assert sum(counts().values()) == flood.sent


@pytest.mark.parametrize("attach,replaced", [("tcx", False), ("tc", False), ("tcx", True)])
def test_fragments_through_restarts(pair, make_flowd, directory, pin_path, attach, replaced):
    """
    The later fragments of a datagram are marked also where a restart came between them, with the
    pinned maps or with others in their place.
    """
    config = base_config(directory, pin_path, attach=attach, onExit="keep")
    daemon = make_flowd(pair.near, config).start()
    with udp_socket(pair.far, Pair.FAR) as receiver, udp_socket(pair.near, Pair.NEAR) as sender:
        port = receiver.getsockname()[1]
        Api(pair.near).post(event(Pair.NEAR, sender.getsockname()[1], Pair.FAR, port)).expect(201)
        sender.connect((Pair.FAR, port))
        fragment = IS_IPV6, (20, 1, 0xFF, socket.IPPROTO_FRAGMENT)
        with Tally((*fragment, label_is(0)), fragment) as tally:
            tally.attach_tcx(pair.far, "veth1", TCX_INGRESS)
            with Flood(sender, 64000) as flood:
                for number in range(30):
                    if number % 2:
                        daemon.stop()
                    else:
                        daemon.kill()
                    if replaced:
                        change(config, {"flows.max": 5000 + number})
                    daemon.start()
                    sent = flood.sent
                    until(lambda: flood.sent > sent + 50, "datagrams")
            assert tally.count(1) > 40 * flood.sent
            assert tally.count(0) == 0, f"unmarked of {tally.count(1)} fragments"


def put_another(path, kind="array", key=4, value=64, name=None, flags=0x400):
    """Puts a map in the place of a pinned one, which it is like in all that is not said."""
    about = json.loads(run(["/usr/sbin/bpftool", "-j", "map", "show", "pinned", str(path)]).stdout)
    path.unlink()
    run(["/usr/sbin/bpftool", "map", "create", str(path), "type", kind, "key", str(key),
         "value", str(value), "entries", str(about["max_entries"]), "name", name or about["name"],
         "flags", str(flags)])


def without_counters(pins):
    (pins / "counters").unlink()


def of_an_older_layout(pins):
    put_another(pins / "flows", "hash", 24, 8, "flowd_flows_3", 0)


def of_other_sizes(pins):
    put_another(pins / "flows", value=128)


def that_cannot_be_mapped(pins):
    put_another(pins / "flows", flags=0)  # no BPF_F_MMAPABLE


def of_another_kind(pins):
    put_another(pins / "bitmap", "hash", 4, 8, flags=0)


def never_filled(pins):
    """Layout and sizes fit, and nothing is in them: no seeds, no buckets."""
    put_another(pins / "shared", value=json.loads(run(["/usr/sbin/bpftool", "-j", "map", "show", "pinned",
                                                   str(pins / "shared")]).stdout)["bytes_value"])


def that_lead_nowhere(pins):
    """A bucket goes on in a line that there isn't."""
    FlowMap(pins, write=True).lead_nowhere(1)


def test_pins_of_another_layout(pair, make_flowd, directory, pin_path, flowd_command):
    """
    What an older flowd, or half of one, left pinned is replaced and the log says so; the older
    program marks until the one that follows does.
    """
    config = base_config(directory, pin_path, attach="tcx", onExit="keep")
    daemon = make_flowd(pair.near, config).start()
    with Guarded(pair, pin_path) as guarded:
        flows = FlowMap(pin_path)
        for meddle in (without_counters, of_an_older_layout, of_other_sizes, that_cannot_be_mapped,
                       of_another_kind, never_filled, that_lead_nowhere):
            daemon.kill()
            meddle(pin_path)
            guarded.go_on()
            mark = daemon.log_size()
            daemon.start()
            guarded.go_on()
            guarded.check(f"after the pins were {meddle.__name__}")
            assert "another layout: they are replaced" in daemon.log(mark), meddle.__name__
            assert FlowMap(pin_path) == flows
        guarded.end()
    daemon.kill()
    done = flowd_command("-c", daemon.config_path, "clean",
                         prefix=["nsenter", f"--net={pair.near.path}"])
    assert done.returncode == 0 and not pin_path.exists(), done.stderr


def test_fewer_flows_than_are_live(pair, make_flowd, directory, pin_path):
    """A lower flows.max refuses flows that start, it takes no mark from those that are live."""
    config = base_config(directory, pin_path, onExit="keep")
    change(config, {"flows.max": 2000})
    daemon = make_flowd(pair.near, config).start()
    Api(pair.near).post([event(Pair.NEAR, port, Pair.FAR, 2) for port in range(1, 2001)]).expect(200)
    before = FlowMap(pin_path)
    daemon.stop()
    change(config, {"flows.max": 10})
    daemon.start()
    api = Api(pair.near)
    assert api.live() == 2000
    assert FlowMap(pin_path) == before
    assert {one["backends"]["marker"] for one in api.flows()} == {"marked"}
    api.post(event(Pair.NEAR, 2001, Pair.FAR, 2)).problem(503, "flows.max")


def check_on_the_wire(space, flows, tag=lambda number: (number % 512, number % 64)):
    """Both directions of each of these flows are marked."""
    for number, (left, sport, right, dport) in flows:
        with udp_socket(space, left, sport) as one, udp_socket(space, right, dport) as other:
            one.sendto(b"there", (right, dport))
            other.sendto(b"back", (left, sport))
            for receiver in (one, other):
                assert receive_label(receiver)[1] & TAG_MASK == tag_bits(*tag(number)), number


def test_as_many_flows_as_flows_max(single, make_flowd, directory, pin_path):
    """
    All of the default 262,144, each with both ends here: all are in the kernel, one more is refused
    to the client and counted, and nobody pays for it; an end makes room.
    """
    left, right = "fd00:f10::1", "fd00:f10::2"
    for address in (left, right):
        single.add_address("lo", address + "/128")
    daemon = make_flowd(single, base_config(directory, pin_path, interfaces=["lo"])).start()
    api = Api(single)
    flows = [(left, 1000 + number % 4096, right, 9000 + number // 4096) for number in range(262144)]
    for begin in range(0, len(flows), 8192):
        body = [event(*one, number % 512, number % 64)
                for number, one in enumerate(flows[begin:begin + 8192], begin)]
        answer = api.post(body).expect(200).body
        assert answer.count(b'"status":201') == answer.count(b'"marked"') == len(body), answer[:300]
    keys = [(dst, sport, dport, "udp") for _, sport, dst, dport in flows]
    keys += [(src, dport, sport, "udp") for src, sport, _, dport in flows]

    for again in (False, True):
        problem = api.post(event(left, 999, right, 8999)).problem(503, "flows.max")
        assert str(len(flows)) in problem["detail"]
        daemon.write_fifo(line("start", left, 998, right, 8999))
        until(lambda: api.status()["events"]["namedPipe"]["start"].get("refused") == 1, "the count")
        status = api.status()
        assert status["events"]["api"]["start"]["refused"] == 1
        assert (status["flows"]["live"], status["flows"]["max"]) == (len(flows), len(flows))
        until(lambda: api.module("marker")["entries"] == len(keys), "the entries, after a restart too")
        assert api.module("marker")["entriesFailed"] == 0
        entries = FlowMap(pin_path)
        assert len(entries) == len(keys) and all(one in entries for one in keys[::61])
        check_on_the_wire(single, list(enumerate(flows))[::6047])
        if not again:
            daemon.kill()
            daemon.start()
            api = Api(single)

    flow = api.get("/v1/flows?limit=1").json["flows"][0]
    api.delete(f"/v1/flows/{flow['id']}").expect(200, 204)
    api.post(event(left, 999, right, 8999, 5, 6)).expect(201)
    check_on_the_wire(single, [(0, (left, 999, right, 8999))], lambda _: (5, 6))
    assert len(FlowMap(pin_path)) == len(keys)
