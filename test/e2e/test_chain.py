# SPDX-License-Identifier: Apache-2.0
"""
Where flowd stands among other programs at an interface's egress. Whatever others do to the chain,
packets are marked or flowd says "shadowed": never neither.
"""

import contextlib
import itertools

import pytest

from lab.api_client import Api, event
from lab.daemon_config import base_config
from lab.kernel_bpf import (TCX_EGRESS, TCX_INGRESS, Tally, clsact_filters, label_is, plain_udp,
                        tcx_programs)
from lab.labels import TAG_MASK, tag_bits
from lab.netns import Pair, run
from lab.traffic import udp_socket
from lab.waiting import until

PACKETS = 10
ENDS, GOES_ON = 0, -1  # TC_ACT_OK, which is TCX_PASS, and TC_ACT_UNSPEC, which is TCX_NEXT


class Chain:
    """One UDP flow of the near end, and programs of others at the same egress."""

    def __init__(self, pair, bpffs, sender, receiver):
        self.near, self.api = pair.near, Api(pair.near)
        self._bpffs, self._stack = bpffs, contextlib.ExitStack()
        self._sender, self._port = sender, receiver.getsockname()[1]
        self._watch = self._stack.enter_context(Tally(
            plain_udp(self._port, label_is(tag_bits(2, 17), TAG_MASK)), plain_udp(self._port)))
        self._watch.attach_tcx(pair.far, "veth1", TCX_INGRESS)
        self._numbers = itertools.count()
        self._undo = {}

    def announce(self):
        return self.api.post(event(Pair.NEAR, self._sender.getsockname()[1], Pair.FAR, self._port)).expect(
            200, 201).json["backends"]["marker"]

    def marked(self):
        """How many of PACKETS arrive with the mark; all have to arrive."""
        before = [self._watch.count(number) for number in (0, 1)]
        for _ in range(PACKETS):
            self._sender.send(b"a packet")
        until(lambda: self._watch.count(1) == before[1] + PACKETS, "every packet")
        return self._watch.count(0) - before[0]

    def add(self, name, kind, verdict, first):
        """A TCX link or a clsact filter of somebody else, before everything or behind."""
        stack = contextlib.ExitStack()
        tally = stack.enter_context(Tally(plain_udp(self._port), verdict=verdict))
        if kind == "tcx":
            tally.attach_tcx(self.near, "veth0", TCX_EGRESS, first=first)
        else:
            path = self._bpffs / f"chain-{next(self._numbers)}"
            tally.pin(path)
            stack.callback(path.unlink)
            priority = "1" if first else "9"
            self.near.run("tc", "filter", "add", "dev", "veth0", "egress", "prio", priority, "handle", "7",
                          "bpf", "da", "pinned", str(path))
            stack.callback(lambda: self.near.run("tc", "filter", "del", "dev", "veth0", "egress", "prio", priority,
                                                 "handle", "7", "bpf", check=False))
        self._undo[name] = self._stack.push(stack)
        return tally

    def remove(self, name):
        self._undo.pop(name).close()

    def interface(self):
        return self.api.status()["interfaces"][0]

    def settled(self):
        """
        Waits until flowd has seen the chain as it is, and returns whether packets are marked or
        flowd says that it is shadowed, one of which has to hold.
        """
        found = {}

        def told():
            found["marked"] = self.marked()
            found["state"] = self.interface()["state"]
            return found["marked"] == PACKETS if found["state"] == "attached" else found["state"] == "shadowed"

        until(told, lambda: f"marks or a word about them: {found}")
        return "marked" if found["marked"] == PACKETS else "shadowed"

    def close(self):
        self._stack.close()


@pytest.fixture
def chain(pair, bpffs):
    with udp_socket(pair.far, Pair.FAR) as receiver, udp_socket(pair.near, Pair.NEAR) as sender:
        sender.connect((Pair.FAR, receiver.getsockname()[1]))
        # Until the neighbour is known packets wait in the kernel, ahead of the hooks.
        sender.send(b"first")
        receiver.recv(64)
        pair.near.run("tc", "qdisc", "add", "dev", "veth0", "clsact")
        one = Chain(pair, bpffs, sender, receiver)
        yield one
        one.close()


@pytest.mark.parametrize("attach", ["tcx", "tc"])
def test_a_neighbour_that_ends_the_chain(chain, make_flowd, directory, pin_path, attach):
    """Somebody puts a program that ends the chain before flowd's: flowd goes before it again."""
    daemon = make_flowd(chain.near, base_config(directory, pin_path, attach=attach)).start()
    assert chain.announce() == "marked" and chain.marked() == PACKETS
    since = daemon.log_size()
    foreign = chain.add("foreign", "tcx" if attach == "tcx" else "tc", ENDS, first=True)
    until(lambda: chain.marked() == PACKETS, "flowd before it again", 5)
    daemon.wait_log(r"veth0: (TCX|tc) program \d+ .*stood before flowd's program, which is first again", since)
    assert chain.interface()["state"] == "attached" and "behind" not in chain.interface()
    seen = foreign.count()
    chain.marked()
    assert foreign.count() == seen + PACKETS, "it sees the packets as before"


def test_shadowed_by_a_link_before_filters(chain, make_flowd, directory, pin_path):
    """No filter gets before a TCX program: flowd says so everywhere, and when it is over."""
    daemon = make_flowd(chain.near, base_config(directory, pin_path, attach="tc")).start()
    assert chain.announce() == "marked"
    assert chain.api.get("/readyz").status == 200
    since = daemon.log_size()
    chain.add("foreign", "tcx", ENDS, first=True)
    daemon.wait_log(r"warning.*veth0: shadowed by TCX program \d+", since)
    assert chain.marked() == 0 and chain.settled() == "shadowed"
    assert chain.interface()["behind"].startswith("TCX program")
    assert chain.announce() == "shadowed"
    answer = chain.api.get("/readyz")
    assert answer.status == 503 and b"veth0" in answer.body and b"shadowed" in answer.body
    daemon.send_signal(1)
    daemon.wait_log(r"(?i)reload", since)
    assert chain.settled() == "shadowed"
    assert daemon.log(since).count("shadowed by") == 1, "one warning"
    chain.remove("foreign")
    daemon.wait_log("nothing stands before flowd's program", since)
    assert chain.settled() == "marked" and chain.api.get("/readyz").status == 200


def test_behind_a_link_that_goes_on(chain, make_flowd, directory, pin_path):
    """A TCX program that lets packets go on hides nothing from a filter: judged by what is marked."""
    daemon = make_flowd(chain.near, base_config(directory, pin_path, attach="tc")).start()
    assert chain.announce() == "marked"
    chain.add("foreign", "tcx", GOES_ON, first=True)
    daemon.wait_log("shadowed by TCX program")

    def attached():
        assert chain.marked() == PACKETS
        return chain.interface()["state"] == "attached"

    until(attached, "flowd to see that its packets are marked")
    assert chain.interface()["behind"].startswith("TCX program") and chain.announce() == "marked"


def test_a_neighbour_that_never_gives_in(chain, make_flowd, directory, pin_path):
    """Somebody takes the head again and again: flowd gives in after some times, and says so."""
    daemon = make_flowd(chain.near, base_config(directory, pin_path, attach="tcx")).start()
    chain.announce()
    for number in itertools.count():
        chain.add(number, "tcx", ENDS, first=True)
        if chain.settled() == "shadowed":
            break
        assert number < 15, "flowd fights for ever"
    assert number >= 2
    daemon.wait_log("warning.*shadowed by TCX program")
    for one in range(number + 1):
        chain.remove(one)
    assert chain.settled() == "marked"


@pytest.mark.parametrize("step", ["start", "reload", "kill", "keep"])
@pytest.mark.parametrize("attach,kind,verdict", [
    ("tcx", "tcx", ENDS), ("tcx", "tc", ENDS), ("tc", "tcx", ENDS), ("tc", "tc", ENDS), ("tc", "tcx", GOES_ON),
], ids=["tcx-tcx-ends", "tcx-tc-ends", "tc-tcx-ends", "tc-tc-ends", "tc-tcx-goes-on"])
def test_whatever_happens(chain, make_flowd, directory, pin_path, attach, kind, verdict, step):
    """
    Programs of others before and behind flowd's are there when flowd starts, reloads, is killed or
    restarts, and come and go while it runs. Only a TCX program that ends the chain, before a filter
    of flowd's, keeps packets from it, and then flowd says so.
    """
    daemon = make_flowd(chain.near, base_config(directory, pin_path, attach=attach, onExit="keep"))
    behind_them = "marked" if attach == "tcx" or kind == "tc" or verdict == GOES_ON else "shadowed"
    if step != "start":
        daemon.start()
        chain.announce()
        assert chain.marked() == PACKETS
    chain.add("behind", kind, verdict, first=False)
    chain.add("before", kind, verdict, first=True)
    if step == "reload":
        daemon.reload()
    else:
        if step == "kill":
            daemon.kill()
        elif step == "keep":
            daemon.stop()
        daemon.start()
    chain.api.close()
    chain.announce()
    until(lambda: chain.settled() == behind_them, f"{behind_them} behind the others")
    chain.remove("before")
    # What is added behind a filter of flowd's at a hook that comes before is no less before it.
    expected = behind_them if attach == "tc" and kind == "tcx" else "marked"
    until(lambda: chain.settled() == expected, f"{expected} before one other")
    chain.remove("behind")
    until(lambda: chain.settled() == "marked", "marks with the chain to itself")
    chain.add("late", kind, verdict, first=True)
    until(lambda: chain.settled() == behind_them, f"{behind_them} when it came while flowd ran")


@pytest.mark.parametrize("what", ["filter", "qdisc"])
def test_a_neighbour_that_removes(chain, make_flowd, directory, pin_path, what):
    """The kernel tells when flowd's filter or its qdisc goes: no wait for the next look."""
    daemon = make_flowd(chain.near, base_config(directory, pin_path, attach="tc")).start()
    chain.announce()
    since = daemon.log_size()
    if what == "filter":
        chain.near.run("tc", "filter", "del", "dev", "veth0", "egress")
    else:
        chain.near.run("tc", "qdisc", "del", "dev", "veth0", "clsact")
    daemon.wait_log("somebody removed flowd's program; attaching again", since)
    # The kernel may lose a packet while a qdisc is made.
    daemon.wait_log("veth0: attached by tc", since)
    assert chain.settled() == "marked"
    assert not [one for one in tcx_programs(chain.near, "veth0") if "flowd" in one[1]]


@pytest.mark.parametrize("attach", ["tcx", "tc"])
def test_no_packet_meets_neither(chain, make_flowd, directory, pin_path, attach):
    """While flowd goes to the head, before programs that let packets go on, each packet is marked."""
    daemon = make_flowd(chain.near, base_config(directory, pin_path, attach=attach)).start()
    chain.announce()

    def all_marked_and_first():
        assert chain.marked() == PACKETS
        return "first again" in daemon.log(since)

    for number in range(6):
        since = daemon.log_size()
        chain.add(number, attach, GOES_ON, first=True)
        until(all_marked_and_first, "the head", interval=0)
        assert chain.marked() == PACKETS
        chain.remove(number)


def test_a_move_that_a_crash_cut_short(pair, make_flowd, directory, pin_path, bpffs):
    """The filter that was to go is gone after the next start, which may be for another strategy."""
    daemon = make_flowd(pair.near, base_config(directory, pin_path, attach="tc")).start()
    daemon.kill()
    (program, _), = clsact_filters(pair.near, "veth0")
    path = bpffs / "flowd_marker"
    run(["/usr/sbin/bpftool", "prog", "pin", "id", str(program), str(path)])
    try:
        pair.near.run("tc", "filter", "add", "dev", "veth0", "egress", "protocol", "all", "prio", "2",
                      "handle", "0xf10e", "bpf", "da", "pinned", str(path))
    finally:
        path.unlink()
    assert [one for one, _ in clsact_filters(pair.near, "veth0")] == [program, program]
    daemon.config = base_config(directory, pin_path, attach="tc", markingStrategy="hopByHop")
    daemon.start()
    (now, _), = clsact_filters(pair.near, "veth0")
    assert now != program


def test_a_filter_of_another_kind(chain, make_flowd, directory, pin_path):
    """A filter that is no BPF stands where flowd's can't get before it, until it is taken away."""
    chain.near.run("tc", "filter", "add", "dev", "veth0", "egress", "prio", "1", "protocol", "ipv6",
                   "u32", "match", "u32", "0", "0", "classid", "1:1")
    daemon = make_flowd(chain.near, base_config(directory, pin_path, attach="tc")).start()
    daemon.wait_log("warning.*shadowed by u32 filter of priority 1")
    chain.announce()
    assert chain.settled() == "shadowed" and chain.marked() == 0
    chain.near.run("tc", "filter", "del", "dev", "veth0", "egress", "prio", "1")
    until(lambda: chain.settled() == "marked", "marks without it")


def test_nothing_to_attach_to(single, make_flowd, directory, pin_path):
    """Flows are accepted where the interface is still to come, and everybody hears that none is marked."""
    daemon = make_flowd(single, base_config(directory, pin_path, interfaces=["nosuch0"])).start()
    assert daemon.log().count("nosuch0 is not there") >= 1 and "warning" in daemon.log()
    answer = Api(single).get("/readyz")
    assert answer.status == 503 and b"nosuch0" in answer.body and b"not there" in answer.body
    single.ip("link", "add", "nosuch0", "type", "veth", "peer", "name", "other0")
    until(lambda: Api(single).get("/readyz").status == 200, "the interface")
