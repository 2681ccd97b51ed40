# SPDX-License-Identifier: Apache-2.0
"""
What the marker takes of packets that are really sent: each packet is another flow's than the one before, and
the kernel makes it, routes it and hands it to a veth device (see real_sends.c).

Programs are told from each other by the kernel's count of their time, less that of an empty program at the same
kind of hook. All of them (the empty one, this build's marker, another build's, another program's) are measured
one after the other in each round, each in namespaces of its own, so that what the machine does meanwhile falls
on all. Where a map's pages come to lie decides about some percent as long as it lives, so there are several passes
with fresh daemons, and a ratio stands beside the lowest and highest of the passes: where these span 100 %,
nothing is shown. The flows come by the fifo, and a packet that arrives says that they are in force: nothing here
knows how a marker keeps them. The kernel's clock is read twice for a packet, which is in all of the figures but
not in the differences.
"""

import contextlib
import itertools
import json
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile

from lab.api_client import Api
from lab.netns import Pair
from lab.waiting import until

PASSES, ROUNDS = 4, 6  # each pass has fresh daemons; half of them are enough where nothing is compared
PACKETS = 20_000  # of each round, behind those that warm the kernel's paths
STEP = PACKETS + 4096
CHECKED = 64
OURS = "this build"
OTHERS = 2_000_000  # the number of the first flow that nobody starts
ETHERNET = 14

# (live flows, flows that packets are sent of, whether those are live, part of a short run); the live ones grow.
CASES = {
    "label": ((1, 1, True, True), (100, 1, False, True), (1_000, 1_000, True, False),
              (10_000, 10_000, True, True), (10_000, 10_000, False, True), (10_000, 200_000, False, False),
              (200_000, 200_000, True, True), (200_000, 200_000, False, False)),
    "hopByHop": ((1, 1, True, True), (10_000, 10_000, True, True)),
    "destination": ((1, 1, True, True), (10_000, 10_000, True, False)),
    "hopByHopDestination": ((1, 1, True, True), (10_000, 10_000, True, False)),
}
# As flowd-go 2.3 and later call them.
GO_STRATEGIES = {"label": "flowLabel", "hopByHop": "hopByHopHeader", "destination": "destinationHeader",
                 "hopByHopDestination": "hopByHopDestHeaders"}
HOP_BY_HOP, DESTINATION, UDP = 0, 60, 17


def headers_of(frame):
    """The types of the headers behind the IPv6 header, and the flow label."""
    packet = frame[ETHERNET:]
    types, at = [packet[6]], 40
    while types[-1] in (HOP_BY_HOP, DESTINATION):
        types.append(packet[at])
        at += 8 * (packet[at + 1] + 1)
    return types, int.from_bytes(packet[1:4], "big") & 0xFFFFF


def bears_mark(frame, strategy):
    types, label = headers_of(frame)
    wanted = {"label": [UDP], "hopByHop": [HOP_BY_HOP, UDP], "destination": [DESTINATION, UDP],
              "hopByHopDestination": [HOP_BY_HOP, DESTINATION, UDP]}[strategy]
    return types == wanted and (label != 0) == (strategy == "label")


def is_bare(frame):
    return headers_of(frame) == ([UDP], 0)


class Subject:
    """A pair of namespaces whose packets pass one program that is measured, or the empty one."""

    def __init__(self, bench):
        self.pair, self.tool, self.live = Pair(), bench.tools / "real_sends", 0
        self.program = 0  # the one at TCX
        self.pair.near.ip("route", "add", "2001:db8::/32", "via", Pair.FAR)

    def close(self):
        self.pair.remove()

    def send(self, first, flows, count, start=0):
        done = self.pair.near.run(self.tool, "send", "veth0", self.program, first, flows, count, start)
        return json.loads(done.stdout)

    def find_program(self):
        """The kind of hook that the measured program is at."""
        if json.loads(self.pair.near.run(self.tool, "programs", "veth0").stdout):
            return "tcx"
        shown = self.pair.near.run("tc", "-j", "filter", "show", "dev", "veth0", "egress").stdout
        ids = [one["options"]["prog"]["id"] for one in json.loads(shown or "[]")
               if "prog" in one.get("options", {})]
        if len(ids) != 1:
            raise SystemExit(f"{len(ids)} programs at the egress of the interface that is measured")
        self.program = ids[0]
        return "tc"

    def arriving(self, first, flows):
        """Frames of some of the flows as they come out at the other end."""
        with self.pair.far.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as tap:
            tap.settimeout(5)
            tap.bind(("veth1", 0x86DD))
            self.send(first, flows, CHECKED)
            frames = []
            while len(frames) < CHECKED:
                frame = tap.recv(4096)
                if frame[ETHERNET + 24:ETHERNET + 28] == b"\x20\x01\x0d\xb8":
                    frames.append(frame)
            return frames

    def check(self, case, strategy):
        """Whether packets come out as the case says: all marked, or none."""
        _, flows, hit, _ = case
        right = [bears_mark(frame, strategy) if hit else is_bare(frame)
                 for frame in self.arriving(0 if hit else OTHERS, flows)]
        if not all(right):
            raise SystemExit(f"{self.name}, {strategy}, {case}: {right.count(False)} of {CHECKED} packets came "
                             "out otherwise than they should")

    def measure(self, case, number):
        _, flows, hit, _ = case
        return self.send(0 if hit else OTHERS, flows, PACKETS, number * STEP % flows)["program_ns"]


class Empty(Subject):
    """The empty program, at the kind of hook that another one was found at."""

    def __init__(self, bench, hook):
        super().__init__(bench)
        self.name = f"empty ({hook})"
        self.holder = None
        if hook == "tcx":
            self.holder = self.pair.near.popen([self.tool, "empty", "veth0", bench.tools / "empty.bpf.o"],
                                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            assert self.holder.stdout.readline() == "attached\n"
        else:
            self.pair.near.run("tc", "qdisc", "add", "dev", "veth0", "clsact")
            self.pair.near.run("tc", "filter", "add", "dev", "veth0", "egress", "bpf", "direct-action",
                               "object-file", bench.tools / "empty.bpf.o", "section", "tc")
        self.find_program()

    def close(self):
        if self.holder:
            self.holder.communicate()
        super().close()


class Marker(Subject):
    """A program that marks flows of which lines of a fifo tell."""

    fifo = None

    def grow(self, live, strategy):
        """Until the last one's packets leave marked."""
        if live == self.live:
            return
        with open(self.fifo, "wb") as fifo:
            subprocess.run([self.tool, "lines", str(self.live), str(live), Pair.NEAR], stdout=fifo, check=True)
        until(lambda: all(bears_mark(frame, strategy) for frame in self.arriving(live - 1, 1)),
              f"flow {live} of {self.name} in force")
        self.live = live


class Flowd(Marker):
    def __init__(self, bench, name, programs, strategy, stack):
        super().__init__(bench)
        self.name = name
        stack.callback(self.close)
        daemon = stack.enter_context(bench.daemon(
            namespace=self.pair.near, interface="veth0", programs=programs,
            backends={"marker": {"markingStrategy": strategy}}))
        self.fifo = daemon.fifo
        self.hook = self.find_program()

    def check(self, case, strategy):
        """By the daemon's own counters, too."""
        live, _, hit, _ = case
        with contextlib.closing(Api(self.pair.near)) as api:
            before = api.status()
            super().check(case, strategy)
            after = api.status()
        marked = [one["interfaces"][0]["packets"]["marked"] for one in (before, after)]
        if marked[1] - marked[0] != (CHECKED if hit else 0) or after["flows"]["live"] != live:
            raise SystemExit(f"{self.name} has marked {marked[1] - marked[0]} of {CHECKED} packets of {case}")


class FlowdGo(Marker):
    """
    flowd-go as it is installed, by its documents: this could not be tried where it was written. There is no
    word from it that it is ready: its fifo and its filter are waited for.
    """

    def __init__(self, bench, program, strategy, stack):
        super().__init__(bench)
        self.name = "flowd-go"
        stack.callback(self.close)
        self.place = pathlib.Path(tempfile.mkdtemp(dir=bench.place))
        self.fifo = self.place / "fifo"
        config = self.place / "conf.json"
        config.write_text(json.dumps({
            "pidPath": str(self.place / "pid"), "workDir": str(self.place),
            "plugins": {"namedPipe": {"pipePath": str(self.fifo)}},
            "backends": {"marker": {"targetInterfaces": ["veth0"], "removeQdisc": True,
                                    "markingStrategy": GO_STRATEGIES[strategy]}},
        }))
        self.process = self.pair.near.popen([program, "--conf", config, "run"], stdout=subprocess.DEVNULL,
                                            stderr=subprocess.DEVNULL)
        stack.callback(self.stop)
        until(self.is_attached, "flowd-go's fifo and filter")
        self.hook = self.find_program()

    def is_attached(self):
        if self.process.poll() is not None:
            raise SystemExit(f"flowd-go ended with status {self.process.returncode}")
        with contextlib.suppress(SystemExit):
            return self.fifo.is_fifo() and self.find_program()
        return False

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def spread(values):
    low, _, high = statistics.quantiles(values, n=4)
    return {"min": round(min(values), 1), "q1": round(low, 1), "q3": round(high, 1)}


def name_of(strategy, case):
    live, flows, hit, _ = case
    if hit:
        return f"sends, {strategy}, {live:,} flow{'s' if live > 1 else ''}"
    return f"sends, no flow, {flows:,} beside {live:,} live"


def measure_rounds(subjects, empties, case, strategy):
    """Of each round, by the subject's name: nanoseconds over the empty program's, and those of the latter."""
    for subject in subjects:
        subject.grow(case[0], strategy)
        subject.check(case, strategy)
    # Each finds the cache as the one before has left it, so who follows whom changes from round to round.
    orders = list(itertools.permutations([*empties.values(), *subjects]))
    rounds = []
    for number in range(ROUNDS):
        order = orders[number * len(orders) // ROUNDS]
        took = {subject: subject.measure(case, number) for subject in order}
        rounds.append({subject.name: (took[subject] - took[empties[subject.hook]], took[empties[subject.hook]])
                       for subject in subjects})
    return rounds


def run_pass(bench, strategy, cases, others, number):
    """The rounds of each case, with daemons of their own; who starts first changes from pass to pass."""
    makes = [lambda stack: Flowd(bench, OURS, None, strategy, stack)]
    if others.get("flowd"):
        makes.append(lambda stack: Flowd(bench, "other build", others["flowd"], strategy, stack))
    if others.get("flowd-go"):
        makes.append(lambda stack: FlowdGo(bench, others["flowd-go"], strategy, stack))
    with contextlib.ExitStack() as stack:
        subjects = [make(stack) for make in (makes if number % 2 == 0 else makes[::-1])]
        empties = {}
        for hook in {subject.hook for subject in subjects}:
            empties[hook] = stack.enter_context(contextlib.closing(Empty(bench, hook)))
        return {case: measure_rounds(subjects, empties, case, strategy) for case in cases}


def report_case(passes, name, report):
    """passes: of each the rounds, as measure_rounds() gives them."""
    over = {subject: [[one[subject][0] for one in rounds] for rounds in passes] for subject in passes[0][0]}
    for subject, values in over.items():
        flat = sum(values, [])
        report(name if subject == OURS else f"{name}, {subject}", statistics.median(flat), "ns", **spread(flat),
               empty=round(statistics.median(one[subject][1] for rounds in passes for one in rounds), 1))
    for subject in over.keys() - {OURS}:
        ratios = [100 * statistics.median(ours) / statistics.median(theirs)
                  for ours, theirs in zip(over[OURS], over[subject])]
        report(f"{name}, to {subject}", statistics.median(ratios), "%", lowest=round(min(ratios), 1),
               highest=round(max(ratios), 1))


def measure(bench, report, against=None, everything=False):
    """against is the directory of another build's programs; everything measures the longer list."""
    flowd_go = shutil.which("flowd-go")
    if not flowd_go:
        print("flowd-go is not installed here: its sends are not measured")
    others = {"flowd": against, "flowd-go": flowd_go}
    count = PASSES if any(others.values()) else PASSES // 2
    for strategy, cases in CASES.items():
        wanted = [case for case in cases if everything or against or case[-1]]
        passes = [run_pass(bench, strategy, wanted, others, number) for number in range(count)]
        for case in wanted:
            report_case([one[case] for one in passes], name_of(strategy, case), report)
