#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Measures flowd and compares with what is to be reached. Prints a table and one JSON document.

Figures are medians of several rounds, with a baseline of the same run beside them where there is
one; nothing here fails because of a figure. Needs root: it makes namespaces and a BPF file system.
"""

import argparse
import contextlib
import itertools
import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "e2e"))
from lab.api_client import Api, event  # noqa: E402  pylint: disable=wrong-import-position
from connections import Connections  # noqa: E402  pylint: disable=wrong-import-position
from lab.netns import Namespace, Pair  # noqa: E402  pylint: disable=wrong-import-position
import real_sends  # noqa: E402  pylint: disable=wrong-import-position
import relay  # noqa: E402  pylint: disable=wrong-import-position
import starts  # noqa: E402  pylint: disable=wrong-import-position
import turns  # noqa: E402  pylint: disable=wrong-import-position
from lab.waiting import until  # noqa: E402  pylint: disable=wrong-import-position

DEADLINE_S = 60
RESULTS = {}
SOURCE, DESTINATION = "fd00::1", "2001:db8::1"
SINK_PORT = 10600
STRATEGIES = ("label", "hopByHop", "destination", "hopByHopDestination")
ROOM = 16  # bytes that are left free for marks in a segment


def report(name, value, unit, target=None, at_least=True, **more):
    """One row: target None is a figure without a goal."""
    reached = None if target is None else (value >= target if at_least else value <= target)
    RESULTS[name] = {"value": value, "unit": unit, "target": target, "reached": reached, **more}
    mark = {None: "", True: "reached", False: "NOT REACHED"}[reached]
    wanted = "" if target is None else f"{'>=' if at_least else '<='} {target:g}"
    extra = ", ".join(f"{key} {number:g}" for key, number in more.items())
    print(f"{name:<52} {value:>14,.1f} {unit:<10} {wanted:<12} {mark:<12} {extra}", flush=True)


class Daemon:
    """One flowd in a namespace, ready when the constructor returns."""

    def __init__(self, programs, namespace, place, backends, flows_max=262144, enrichers=None,
                 plugins=None):
        self.place = pathlib.Path(place)
        self.fifo = self.place / "fifo"
        config = {
            "stateDir": str(self.place / "state"), "flows": {"max": flows_max},
            "plugins": {"namedPipe": {"pipePath": str(self.fifo)}, "api": {}, **(plugins or {})},
            "backends": backends, "enrichers": enrichers or {},
        }
        path = self.place / "config.json"
        path.write_text(json.dumps(config))
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify.bind(str(self.place / "notify"))
        notify.settimeout(DEADLINE_S)
        self.log = open(self.place / "log", "ab")  # pylint: disable=consider-using-with
        begin = time.monotonic()
        # nsenter replaces itself by flowd: the pid is the daemon's.
        self.process = subprocess.Popen(  # pylint: disable=consider-using-with
            namespace.command([programs / "flowd", "-c", path]), stderr=self.log,
            env={**os.environ, "NOTIFY_SOCKET": str(self.place / "notify")})
        while b"READY=1" not in notify.recv(4096):
            pass
        self.start_s = time.monotonic() - begin
        notify.close()
        (self.place / "notify").unlink()

    def resident_bytes(self):
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in text.splitlines()
                    if line.startswith("VmRSS:")) * 1024

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(DEADLINE_S)
        self.log.close()
        if status != 0:
            raise SystemExit(f"flowd ended with status {status}:\n{(self.place / 'log').read_text()}")

    def cpu_used(self):
        """Seconds of processor time that it has taken."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Bench:
    """The place where measurements run: a directory, a BPF file system, a namespace."""

    def __init__(self, programs, against=None, everything=False):
        self.programs = programs.resolve()
        self.against = against and against.resolve()
        self.everything = everything
        self.tools = self.programs.parent / "bench"
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="flowd-bench-"))
        self.bpffs = self.place / "bpf"
        self.bpffs.mkdir()
        subprocess.run(["mount", "-t", "bpf", "bpf", self.bpffs], check=True)
        self.namespace = Namespace()
        self.namespace.run("ip", "address", "add", f"{SOURCE}/128", "dev", "lo", "nodad")
        self.number = 0

    def close(self):
        self.namespace.remove()
        subprocess.run(["umount", self.bpffs], check=False)
        shutil.rmtree(self.place, ignore_errors=True)

    @contextlib.contextmanager
    def daemon(self, marker=True, backends=None, namespace=None, interface="lo", programs=None, **options):
        """A fresh daemon, of this build or of the programs in another directory; its pins are at .pins."""
        self.number += 1
        place = self.place / str(self.number)
        place.mkdir()
        pins = self.bpffs / f"flowd{self.number}"
        backends = dict(backends or {})
        if marker:
            backends["marker"] = {"targetInterfaces": [interface], "pinPath": str(pins),
                                  **backends.get("marker", {})}
        daemon = Daemon(programs or self.programs, namespace or self.namespace, place, backends, **options)
        daemon.pins = pins
        try:
            yield daemon
        finally:
            daemon.stop()
            shutil.rmtree(place)

    def tool(self, name, *arguments):
        done = subprocess.run(
            self.namespace.command([self.tools / name, *map(str, arguments)]),
            stdout=subprocess.PIPE, text=True, check=True)
        return json.loads(done.stdout)

    def fifo_load(self, daemon, count, *arguments, wait=True):
        waiting = ["-m", daemon.pins] if wait else []
        return self.tool("fifo_load", "-f", daemon.fifo, "-n", count, "-s", SOURCE, "-d", DESTINATION,
                         *waiting, *arguments)


def bench_marker(bench):
    """The same packet again and again, and packets of all flows in turn: see marker_bench.c."""
    measured = bench.tool("marker_bench")
    targets = {"miss": 5, "miss_100k_flows": 5, "hit_100k_flows": 40}
    for kind, prefix in (("same", "marker"), ("in_turn", "marker in turn,")):
        for name, case in measured[kind].items():
            report(f"{prefix} {name.replace('_', ' ')}", case["over_empty_ns"], "ns",
                   targets.get(name) if kind == "same" else None, at_least=False,
                   min=case["min"], q1=case["q1"], q3=case["q3"], empty=case["empty_ns"], ratio=case["ratio"])
    report("marker map updates", measured["map_updates_per_second"], "/s")


def pipe_alone(bench, count):
    """The same lines into a reader that throws them away: what the pipe itself allows."""
    fifo = bench.place / "baseline"
    os.mkfifo(fifo)
    with subprocess.Popen([bench.tools / "fifo_load", "-f", fifo, "-r"]) as reader:
        done = bench.tool("fifo_load", "-f", fifo, "-n", count)
        reader.wait(DEADLINE_S)
    fifo.unlink()
    return count / done["seconds"]


def bench_fifo(bench):
    count = 200_000
    starts, ends = [], []
    baseline = statistics.median(pipe_alone(bench, count) for _ in range(3))
    with bench.daemon() as daemon:
        for _ in range(5):
            starts.append(count / bench.fifo_load(daemon, count)["seconds"])
            ends.append(count / bench.fifo_load(daemon, count, "-e")["seconds"])
    rate = statistics.median(starts)
    report("fifo start lines to map entries", rate, "/s", 400_000, ratio_to_pipe=rate / baseline)
    report("fifo end lines to no map entries", statistics.median(ends), "/s", 400_000)


def bench_http(bench):
    singles, arrays = [], []
    for _ in range(3):
        with bench.daemon():
            singles.append(bench.tool("http_load", "--requests", 150_000))
        with bench.daemon():
            arrays.append(bench.tool("http_load", "--requests", 200, "--array", 1000,
                                     "--connections", 4))
    for one in singles + arrays:
        if one["non_2xx"] or one["refused"]:
            raise SystemExit(f"not every request was answered with success: {one}")
    middle = statistics.median
    report("http POST, 64 connections", middle(one["requests_per_s"] for one in singles), "/s", 40_000)
    report("http POST, 64 connections, p99", middle(one["p99_ms"] for one in singles), "ms", 5,
           at_least=False, p50=middle(one["p50_ms"] for one in singles))
    report("http arrays of 1,000 events", middle(one["events_per_s"] for one in arrays), "/s", 300_000)


def bench_fireflies(bench):
    """Of UDP flows; and of TCP flows, at whose end the kernel is asked for the final counts (there is no socket)."""
    for case, arguments, target in (("", (), 150_000), (" of TCP flows", ("-t",), None)):
        measure_fireflies(bench, case, arguments, target)


def measure_fireflies(bench, case, arguments, target):
    count, rates, lost = 100_000, [], 0
    backends = {"firefly": {"sendToDestination": False, "collectors": [f"[::1]:{SINK_PORT}"]}}
    with bench.daemon(marker=False, backends=backends) as daemon:
        for _ in range(3):
            for ending in ((), ("-e",)):
                with subprocess.Popen(
                        bench.namespace.command([bench.tools / "firefly_sink", str(SINK_PORT),
                                                 str(count)]),
                        stdout=subprocess.PIPE, text=True) as sink:
                    assert sink.stdout.readline() == "ready\n"
                    bench.fifo_load(daemon, count, *arguments, *ending, wait=False)
                    seen = json.loads(sink.stdout.readline())
                    lost += count - seen["received"]
                    rates.append(seen["received"] / seen["seconds"])
    report(f"fireflies{case}, from fifo line to collector", statistics.median(rates), "/s", target, lost=lost)


def bench_relay(bench):
    relay.measure(bench, report)


def bench_memory(bench):
    backends = {"firefly": {"sendToDestination": False}}
    with bench.daemon(backends=backends, flows_max=1_100_000) as daemon:
        idle = daemon.resident_bytes()
        report("memory idle", idle / 2**20, "MiB", 8, at_least=False)
        for count in (10_000, 200_000, 1_000_000):
            bench.fifo_load(daemon, count)
            used = daemon.resident_bytes()
            report(f"memory a flow, {count:,} flows", (used - idle) / count, "B", 256, at_least=False,
                   resident_MiB=used / 2**20)


def cpu_share(daemon, seconds):
    """Which part of one core the daemon takes."""
    begin, before = time.monotonic(), daemon.cpu_used()
    time.sleep(seconds)
    return (daemon.cpu_used() - before) / (time.monotonic() - begin)


def watch(bench, pair, watched, sampled=True):
    """The CPU that goes into watching flows, and how often each of them was sampled a second."""
    enrichers = {"enrichers": {"netlink": {}}} if sampled else {}
    with bench.daemon(marker=False, namespace=pair.near, **enrichers) as daemon:
        api = Api(pair.near)
        with open(daemon.fifo, "w", encoding="ascii") as fifo:
            fifo.write(Connections.lines("start", watched))
        until(lambda: api.status()["flows"]["live"] == watched, "all flows")

        def samples():
            return sum(one.get("samples", 0) for one in api.status()["modules"])

        if sampled:
            until(lambda: samples() >= watched, "a sample of each flow")
        shares, rates = [], []
        for _ in range(3):
            before, begin = samples(), time.monotonic()
            shares.append(cpu_share(daemon, 2) * 100)
            rates.append((samples() - before) / (time.monotonic() - begin) / watched)
        api.close()
    return statistics.median(shares), statistics.median(rates)


def bench_sampling(bench):
    """CPU for sampling each second, among many other sockets and among few."""
    shares = {}
    for others, cases in ((50_000, ((10_000, True), (1_000, True), (10_000, False))),
                          (1_000, ((10_000, True),))):
        pair = Pair()
        try:
            held = Connections(bench.tools, pair, others + 10_000)
            for watched, sampled in cases:
                share, rate = watch(bench, pair, watched, sampled)
                shares[others, watched, sampled] = share
                what = f"sampling {watched:,} flows" if sampled else f"{watched:,} flows not sampled"
                goal = 10 if sampled and watched == 10_000 else None
                report(f"{what}, {others:,} others", share, "% of a core", goal, at_least=False,
                       samples_a_flow_and_second=rate)
            held.close()
        finally:
            pair.remove()
    report("sampling: 50,000 others over 1,000 others",
           shares[50_000, 10_000, True] / max(shares[1_000, 10_000, True], 0.1), "ratio")


def scan(bench, pair, ignored):
    """The CPU that goes into a scan, and how long one takes, of connections that stay."""
    networks = ["127.0.0.0/8", *(["fd00:f10::2/128"] if ignored else [])]
    options = {"period": 1000, "ignorePrivate": False, "internalNetworks": networks}
    with bench.daemon(marker=False, namespace=pair.near, plugins={"netlink": options}) as daemon:
        api = Api(pair.near)

        def said():
            return next(one for one in api.status()["modules"] if one["name"] == "netlink")

        shares, times = [], []
        for _ in range(3):
            shares.append(cpu_share(daemon, 2) * 100)
            times.append(said()["lastScanMs"])
        api.close()
    return statistics.median(shares), statistics.median(times)


def bench_scanning(bench):
    """CPU for looking for new connections each second, where nothing changes."""
    for count in (1_000, 50_000):
        pair = Pair()
        try:
            held = Connections(bench.tools, pair, count)
            for ignored in (False, True):
                share, took = scan(bench, pair, ignored)
                what = "ignored by the kernel's filter" if ignored else "known"
                report(f"scan each second, {count:,} connections {what}", share, "% of a core", scan_ms=took)
            held.close()
        finally:
            pair.remove()


def bench_start(bench):
    starts.measure(bench, report, lambda programs, namespace, place, backends, flows_max: Daemon(
        programs, namespace, place, backends, flows_max=flows_max), bench.against)


class Wire:
    """A veth pair with an iperf3 server at the far end, for transfers whose flow may be marked."""

    def __init__(self, bench):
        self.bench, self.pair, self.ports = bench, Pair(), itertools.count(21000)
        # As the manual advises for extension headers: room for two of them, marked or not.
        self.pair.far.ip("route", "add", "fd00:f10::/64", "dev", "veth1", "metric", 10, "advmss", 1440 - ROOM)
        # Bound, or the answers over UDP come from another address than they were asked for.
        self.server = self.pair.far.popen(["iperf3", "-s", "-6", "-B", Pair.FAR], stdout=subprocess.DEVNULL,
                                          stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + DEADLINE_S
        while not self.pair.far.run("ss", "-Hltn", "sport", "=", ":5201").stdout:
            if time.monotonic() > deadline:
                raise SystemExit("iperf3 does not listen")
            time.sleep(0.05)

    def transfer(self, port, *arguments):
        """What iperf3 says at the end of one stream."""
        done = self.pair.near.run("iperf3", "-6", "-c", Pair.FAR, "--cport", str(port), "-J", *arguments)
        said = json.loads(done.stdout)
        if "error" in said:
            raise SystemExit(f"iperf3: {said['error']}")
        return said["end"]

    @contextlib.contextmanager
    def marker(self, strategy, port, protocol="tcp", **options):
        """A daemon that marks the flow from this port, or none; gives a function for its counters."""
        if strategy is None:
            yield None
            return
        backends = {"marker": {"markingStrategy": strategy, "mssReduction": ROOM, **options}}
        with self.bench.daemon(namespace=self.pair.near, interface="veth0", backends=backends):
            api = Api(self.pair.near)
            api.post(event(Pair.NEAR, port, Pair.FAR, 5201, protocol=protocol)).expect(201)
            yield lambda: api.status()["interfaces"][0]["packets"]
            api.close()

    def close(self):
        self.server.terminate()
        self.server.wait(DEADLINE_S)
        self.pair.remove()


def left_unmarked(counted):
    """Percent of the flow's packets that an extension header was not added to."""
    missed = sum(counted[reason] for reason in ("mtu", "options", "vlan", "error"))
    return 100 * missed / max(missed + counted["marked"], 1)


def transfers(wire, strategy, number, *arguments):
    """
    What iperf3 said of an unmarked transfer and of a marked one right before or after it, and how
    many percent of the latter's packets the marker left alone.
    """
    ends, missed = {}, 0
    for one in (None, strategy) if number % 2 == 0 else (strategy, None):
        port = next(wire.ports)
        with wire.marker(one, port) as counted:
            ends[one] = wire.transfer(port, *arguments)
            if counted:
                missed = left_unmarked(counted())
    return ends[None], ends[strategy], missed


def bench_throughput(bench):
    """As fast as it goes, and at a rate at which nothing is lost unless the marker loses it."""
    fast, slow = {one: [] for one in STRATEGIES}, {one: [] for one in STRATEGIES}
    with contextlib.closing(Wire(bench)) as wire:
        for number, strategy in itertools.product(range(5), STRATEGIES):
            fast[strategy].append(transfers(wire, strategy, number, "-n", "1G"))
        for number, strategy in itertools.product(range(2), STRATEGIES):
            slow[strategy].append(transfers(wire, strategy, number, "-n", "60M", "-b", "1G"))
    for one in STRATEGIES:
        rates = [[end["sum_received"]["bits_per_second"] / 1e9 for end in (plain, marked)]
                 for plain, marked, _ in fast[one]]
        ratio = statistics.median(marked / plain for plain, marked in rates)
        report(f"TCP throughput, {one} to unmarked", 100 * ratio, "%", 97 if one == "label" else 90,
               unmarked_Gbps=statistics.median(plain for plain, _ in rates),
               marked_Gbps=statistics.median(marked for _, marked in rates),
               packets_left_unmarked_percent=statistics.median(missed for _, _, missed in fast[one]))
    for one in STRATEGIES:
        plain, marked = (sum(ends[which]["sum_sent"]["retransmits"] for ends in slow[one])
                         for which in (0, 1))
        report(f"TCP retransmissions at 1 Gb/s, {one}", marked, "segments", plain, at_least=False)


@contextlib.contextmanager
def run_times():
    """The kernel counts and times the runs of all programs, which costs them time."""
    switch = pathlib.Path("/proc/sys/kernel/bpf_stats_enabled")
    before = switch.read_text()
    switch.write_text("1")
    try:
        yield
    finally:
        switch.write_text(before)


def filters_run(wire):
    """Runs and nanoseconds of the filters on the wire's near end: the marker's and the empty one."""
    found = {}
    for one in json.loads(wire.pair.near.run("tc", "-j", "filter", "show", "dev", "veth0", "egress").stdout):
        program = one.get("options", {}).get("prog")
        if program:
            shown = subprocess.run(["bpftool", "-j", "prog", "show", "id", str(program["id"])],
                                   stdout=subprocess.PIPE, check=True)
            about = json.loads(shown.stdout)
            # The marker's programs are of several kinds (flowd_marker, flowd_marker_full, ...).
            name = "marker" if about["name"].startswith("flowd_marker") else about["name"]
            found[name] = (about.get("run_cnt", 0), about.get("run_time_ns", 0))
    return found["marker"], found["empty"]


def nanoseconds_over_empty(wire, case, protocol, *arguments):
    """
    The marker's and the empty program's mean on the packets of one transfer, whose flow is announced
    unless the case is "miss".
    """
    port = next(wire.ports)
    announced, strategy = (next(wire.ports), "label") if case == "miss" else (port, case)
    with wire.marker(strategy, announced, protocol, attach="tc") as counted:
        empty = ("dev", "veth0", "egress", "pref", "50000")
        wire.pair.near.run("tc", "filter", "add", *empty, "bpf", "direct-action", "object-file",
                           wire.bench.tools / "empty.bpf.o", "section", "tc")
        before = filters_run(wire)
        wire.transfer(port, *arguments)
        after = filters_run(wire)
        missed = left_unmarked(counted())
        wire.pair.near.run("tc", "filter", "del", *empty)
    marker, nothing = ((late[1] - early[1]) / (late[0] - early[0])
                       for early, late in zip(before, after))
    return marker - nothing, nothing, missed


def bench_interface(bench):
    """
    The programs on an interface, where packets have a route and TCP's are clones of those that the
    socket keeps. The marker and an empty program see the same packets, one behind the other.
    """
    loads = {"TCP": ("-n", "1G"), "UDP": ("-u", "-b", "0", "-l", "1372", "-n", "100M")}
    seen = {one: [] for one in itertools.product(loads, ("miss", *STRATEGIES))}
    with contextlib.closing(Wire(bench)) as wire, run_times():
        for _ in range(3):
            for (load, case), rounds in seen.items():
                rounds.append(nanoseconds_over_empty(wire, case, load.lower(), *loads[load]))
    for (load, case), rounds in seen.items():
        over, empty, missed = (statistics.median(column) for column in zip(*rounds))
        report(f"marker on an interface, {load}, {case}", over, "ns", empty=empty,
               packets_left_unmarked_percent=missed)


def short_connections(pair, number, port):
    """Makes and closes connections from near to far; returns microseconds for each."""
    with pair.far.socket(socket.AF_INET6, socket.SOCK_STREAM) as listener, pair.near.entered():
        listener.bind((Pair.FAR, port))
        listener.listen(16)
        begin = time.monotonic()
        for _ in range(number):
            with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as client:
                client.connect((Pair.FAR, port))
                listener.accept()[0].close()
        return (time.monotonic() - begin) * 1e6 / number


def exchanges(pair, number, port):
    """Small messages there and back over one connection; returns microseconds for each."""
    with pair.far.socket(socket.AF_INET6, socket.SOCK_STREAM) as listener, \
            pair.near.socket(socket.AF_INET6, socket.SOCK_STREAM) as client:
        listener.bind((Pair.FAR, port))
        listener.listen(1)
        client.connect((Pair.FAR, port))
        with listener.accept()[0] as server:
            begin = time.monotonic()
            for _ in range(number):
                client.sendall(b"a")
                server.recv(1)
                server.sendall(b"b")
                client.recv(1)
            return (time.monotonic() - begin) * 1e6 / number


def program_runs(name):
    """Runs and nanoseconds of the programs of this name, where the kernel counts them."""
    shown = subprocess.run(["bpftool", "-j", "prog", "show"], stdout=subprocess.PIPE, check=True)
    mine = [one for one in json.loads(shown.stdout) if one.get("name") == name]
    return sum(one.get("run_cnt", 0) for one in mine), sum(one.get("run_time_ns", 0) for one in mine)


def bench_sockops(bench):
    """What connections and messages cost more where an sk_ops program sees them, beside none."""
    cases = {
        "connection, plugins.iperf3": (short_connections, 4000, "flowd_connections", {
            "plugins": {"iperf3": {"minDestinationPort": 8000, "maxDestinationPort": 9000}}}),
        "message, enrichers.skops, one of its flows": (exchanges, 20000, "flowd_samples", {
            "plugins": {"iperf3": {"minDestinationPort": 8000, "maxDestinationPort": 9000}},
            "enrichers": {"period": 10, "skops": {}}}),
        "message, enrichers.skops, no flow": (exchanges, 20000, "flowd_samples", {
            "enrichers": {"period": 10, "skops": {}}}),
    }
    for case, (load, number, program, settings) in cases.items():
        rounds = []
        for turn in range(3):
            pair = Pair()
            try:
                alone = load(pair, number, 8000 + turn)
                with tempfile.TemporaryDirectory(dir=bench.place) as place:
                    daemon = Daemon(bench.programs, pair.near, place, {}, **settings)
                    seen = load(pair, number, 8100 + turn)
                    with run_times():
                        load(pair, number, 8200 + turn)
                        runs, nanoseconds = program_runs(program)
                    daemon.stop()
                rounds.append((seen, alone, nanoseconds / runs))
            finally:
                pair.remove()
        seen, alone, run = (statistics.median(column) for column in zip(*rounds))
        report(f"sk_ops: {case}", seen, "us", None, without=alone, ratio=seen / alone, program_ns=run)


def bench_turns(bench):
    turns.measure(bench, report, lambda place, backends, flows_max: Daemon(
        bench.programs, bench.namespace, place, backends, flows_max=flows_max))


def bench_sends(bench):
    real_sends.measure(bench, report, bench.against, bench.everything)


PARTS = {
    "marker": bench_marker, "sends": bench_sends, "fifo": bench_fifo, "http": bench_http, "fireflies": bench_fireflies,
    "relay": bench_relay, "memory": bench_memory, "sampling": bench_sampling, "scanning": bench_scanning,
    "sockops": bench_sockops, "start": bench_start, "throughput": bench_throughput,
    "interface": bench_interface, "turns": bench_turns,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=pathlib.Path, default=pathlib.Path("build/bin"))
    parser.add_argument("--only", choices=PARTS, action="append", help="may be given several times")
    parser.add_argument("--against", type=pathlib.Path, metavar="DIR", help="also measure the flowd of another "
                        "build, in the same rounds, in what is about any build (sends, start)")
    parser.add_argument("--all", action="store_true", help="measure the longer list of cases")
    parser.add_argument("--json", type=pathlib.Path, help="also write the JSON document here")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("run.py needs root: it makes network namespaces and loads BPF programs")
    bench = Bench(arguments.bin, arguments.against, arguments.all)
    try:
        for name in arguments.only or PARTS:
            begin = time.monotonic()
            PARTS[name](bench)
            print(f"({name}: {time.monotonic() - begin:.0f} s)", flush=True)
    finally:
        bench.close()
    document = json.dumps(RESULTS, indent=2)
    print(document)
    if arguments.json:
        arguments.json.write_text(document + "\n")


if __name__ == "__main__":
    main()
