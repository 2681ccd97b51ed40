# SPDX-License-Identifier: Apache-2.0
"""
How long flowd takes to be ready, the kernel's memory that its maps take, and what a restart with very many flows
takes: flowd is killed, and the next one finds the flows in the state file and in the pinned maps. All of it goes
by the fifo, the API and what the kernel tells of a process, so that it measures any build; another one's starts
alternate with those of this one.
"""

import contextlib
import json
import pathlib
import signal
import statistics
import subprocess
import tempfile
import time

from lab.api_client import Api
from lab.netns import Namespace
from lab.waiting import until
import turns

STARTS, RESTARTS = 11, 3
RESTORED = 1_000_000
STRATEGIES = ("label", "hopByHop", None)
READY_MS, MAPS_MIB = 50, 8
OURS = "this build"
SOURCE = "fd00::1"  # on lo
QUIET_S = 1  # on a busy machine a daemon that has work gets some of it done in this time


def named(name, build):
    return name if build == OURS else f"{name}, {build}"


def compared(report, name, values):
    """This build's in percent of the other's: the median of the rounds, in each of which both were measured."""
    for build in values.keys() - {OURS}:
        ratios = sorted(100 * ours / theirs for ours, theirs in zip(values[OURS], values[build]))
        report(f"{name}, to {build}", statistics.median(ratios), "%", lowest=round(ratios[0], 1),
               highest=round(ratios[-1], 1))


def measure_ready(bench, report, builds):
    """Each start's time, and its CPU time, which does not depend on what else the machine does."""
    seen = {strategy: {build: [] for build in builds} for strategy in STRATEGIES}
    for number in range(STARTS):
        for strategy in STRATEGIES:
            backends = {"firefly": {}, "log": {}, **({"marker": {"markingStrategy": strategy}} if strategy else {})}
            for build in (list(builds) if number % 2 == 0 else list(builds)[::-1]):
                with bench.daemon(marker=strategy is not None, backends=backends, programs=builds[build]) as daemon:
                    seen[strategy][build].append((daemon.start_s * 1e3, turns.running_ns(daemon) / 1e6))
    for strategy in STRATEGIES:
        name = f"start to ready, {strategy or 'no marker'}"
        for build, starts in seen[strategy].items():
            times, cpu = zip(*starts)
            low, _, high = statistics.quantiles(times, n=4)
            report(named(name, build), statistics.median(times), "ms", READY_MS, at_least=False,
                   min=round(min(times), 1), q1=round(low, 1), q3=round(high, 1),
                   cpu_ms=round(statistics.median(cpu), 1))
        for column, suffix in enumerate(("", ", CPU")):
            compared(report, name + suffix, {build: [one[column] for one in starts]
                                             for build, starts in seen[strategy].items()})


def map_bytes(pid):
    """What the kernel has set aside for the maps that a process holds or that its programs use, by map's id."""
    held = {"map_id": set(), "prog_id": set()}
    for info in pathlib.Path(f"/proc/{pid}/fdinfo").iterdir():
        fields = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
        for kind in held.keys() & fields.keys():
            held[kind].add(int(fields[kind]))

    def shown(kind, number):
        return json.loads(subprocess.run(["bpftool", "-j", kind, "show", "id", str(number)], check=True,
                                         stdout=subprocess.PIPE).stdout)

    maps = held["map_id"].union(*(shown("prog", one).get("map_ids", ()) for one in held["prog_id"]))
    return {one: shown("map", one)["bytes_memlock"] for one in maps}


def measure_maps(bench, report, builds):
    """With the default of flows.max."""
    totals = {}
    for build, programs in builds.items():
        with bench.daemon(programs=programs) as daemon:
            sizes = map_bytes(daemon.process.pid)
        if not sizes:
            raise SystemExit(f"{build} has no maps")
        totals[build] = [sum(sizes.values())]
        report(named("kernel memory of the maps", build), totals[build][0] / 2**20, "MiB", MAPS_MIB, at_least=False,
               largest_MiB=round(max(sizes.values()) / 2**20, 1), maps=len(sizes))
    compared(report, "kernel memory of the maps", totals)


class Life:
    """A daemon that is killed and started again and again in a namespace of its own, with one state and its pins."""

    def __init__(self, bench, programs, make_daemon, stack):
        self.namespace = Namespace()
        stack.callback(self.namespace.remove)
        self.namespace.add_address("lo", SOURCE + "/128")
        place = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(dir=bench.place)))
        backends = {"marker": {"targetInterfaces": ["lo"], "pinPath": str(bench.bpffs / place.name)}}
        self.clock, self.daemon = turns.Clock(bench), None
        self.start = lambda: make_daemon(programs, self.namespace, place, backends, RESTORED + 100_000)
        with self.running() as daemon:
            with open(daemon.fifo, "wb") as fifo:
                subprocess.run([bench.tools / "real_sends", "lines", "0", str(RESTORED), SOURCE], stdout=fifo,
                               check=True)
            self.wait_live()

    @contextlib.contextmanager
    def running(self):
        with self.clock.preloaded():
            daemon = self.start()
        try:
            yield daemon
        finally:
            daemon.process.send_signal(signal.SIGKILL)
            daemon.process.wait()
            daemon.log.close()

    def wait_live(self):
        with contextlib.closing(Api(self.namespace)) as api:
            until(lambda: api.status()["flows"]["live"] == RESTORED, f"{RESTORED:,} live flows")

    def restart(self):
        """Until all flows are live again, and flowd has done what it goes on with in further turns."""
        self.clock.reset()
        begin = time.monotonic()
        with self.running() as daemon:
            self.wait_live()
            live_s, live_cpu_s = time.monotonic() - begin, daemon.cpu_used()
            turns.rest(daemon, QUIET_S)
            return {"cpu_s": daemon.cpu_used(), "live_cpu_s": live_cpu_s, "live_s": live_s, "ready_s": daemon.start_s,
                    "turn_ms": self.clock.longest_ms(), "before_the_first_ms": self.clock.start_ms()}


def measure_restart(bench, report, builds, make_daemon):
    with contextlib.ExitStack() as stack:
        lives = {build: Life(bench, programs, make_daemon, stack) for build, programs in builds.items()}
        seen = {build: [] for build in builds}
        for number in range(RESTARTS):
            for build in (list(lives) if number % 2 == 0 else list(lives)[::-1]):
                seen[build].append(lives[build].restart())
    name = f"restart with {RESTORED:,}"
    for build, rounds in seen.items():
        middle = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
        report(named(f"{name}: CPU", build), 1e3 * middle["cpu_s"], "ms",
               min=1e3 * min(one["cpu_s"] for one in rounds), until_live_ms=1e3 * middle["live_cpu_s"],
               live_after_s=middle["live_s"], ready_after_s=middle["ready_s"])
        report(named(f"{name}: turn", build), middle["turn_ms"], "ms", turns.TURN_MS, at_least=False,
               before_the_first_ms=middle["before_the_first_ms"])
    for what in ("cpu_s", "turn_ms", "before_the_first_ms"):
        compared(report, f"{name}: {what.rpartition('_')[0].replace('_', ' ')}",
                 {build: [one[what] for one in rounds] for build, rounds in seen.items()})


def measure(bench, report, make_daemon, against=None):
    """make_daemon(programs, namespace, place, backends, flows_max) starts one."""
    builds = {OURS: bench.programs, **({"other build": against} if against else {})}
    measure_ready(bench, report, builds)
    measure_maps(bench, report, builds)
    measure_restart(bench, report, builds, make_daemon)
