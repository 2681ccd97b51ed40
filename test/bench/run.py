#!/usr/bin/python3
"""
Measures flowd and compares with what is to be reached. Prints a table and one JSON document.

Figures are medians of several rounds, with a baseline of the same run beside them where there is
one; nothing here fails because of a figure. Needs root: it makes namespaces and a BPF file system.
"""

import argparse
import contextlib
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
from netns import Namespace, Pair  # noqa: E402  pylint: disable=wrong-import-position

DEADLINE_S = 60
RESULTS = {}
SOURCE, DESTINATION = "fd00::1", "2001:db8::1"
SINK_PORT = 10600


def report(name, value, unit, target=None, at_least=True, **more):
    """One row: target None is a figure without a goal."""
    reached = None if target is None else (value >= target if at_least else value <= target)
    RESULTS[name] = {"value": value, "unit": unit, "target": target, "reached": reached, **more}
    mark = {None: "", True: "reached", False: "NOT REACHED"}[reached]
    wanted = "" if target is None else f"{'>=' if at_least else '<='} {target:g}"
    extra = ", ".join(f"{key} {number:g}" for key, number in more.items())
    print(f"{name:<44} {value:>14,.1f} {unit:<10} {wanted:<12} {mark:<12} {extra}", flush=True)


class Daemon:
    """One flowd in a namespace, ready when the constructor returns."""

    def __init__(self, programs, namespace, place, backends, flows_max=262144):
        self.place = pathlib.Path(place)
        self.fifo = self.place / "fifo"
        config = {
            "stateDir": str(self.place / "state"), "flows": {"max": flows_max},
            "plugins": {"namedPipe": {"pipePath": str(self.fifo)}, "api": {}},
            "backends": backends,
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


class Bench:
    """The place where measurements run: a directory, a BPF file system, a namespace."""

    def __init__(self, programs):
        self.programs = programs.resolve()
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
    def daemon(self, marker=True, backends=None, namespace=None, interface="lo", **options):
        """A fresh daemon; its pins are at .pins."""
        self.number += 1
        place = self.place / str(self.number)
        place.mkdir()
        pins = self.bpffs / f"flowd{self.number}"
        backends = dict(backends or {})
        if marker:
            backends["marker"] = {"targetInterfaces": [interface], "pinPath": str(pins)}
        daemon = Daemon(self.programs, namespace or self.namespace, place, backends, **options)
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
        waiting = ["-m", daemon.pins / "flows"] if wait else []
        return self.tool("fifo_load", "-f", daemon.fifo, "-n", count, "-s", SOURCE, "-d", DESTINATION,
                         *waiting, *arguments)


def bench_marker(bench):
    measured = bench.tool("marker_bench")
    targets = {"miss": 5, "miss_100k_flows": 5, "hit_100k_flows": 40}
    for name, case in measured["cases"].items():
        report(f"marker {name.replace('_', ' ')}", case["over_empty_ns"], "ns", targets.get(name),
               at_least=False, empty=case["empty_ns"], ratio=case["ratio"])
    report("marker map batch updates", measured["map_batch_updates_per_second"], "/s")


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
                    bench.fifo_load(daemon, count, *ending, wait=False)
                    seen = json.loads(sink.stdout.readline())
                    lost += count - seen["received"]
                    rates.append(seen["received"] / seen["seconds"])
    report("fireflies, from fifo line to collector", statistics.median(rates), "/s", 150_000, lost=lost)


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


def bench_start(bench):
    times = []
    for _ in range(15):
        with bench.daemon(backends={"firefly": {}, "log": {}}) as daemon:
            times.append(daemon.start_s * 1000)
    report("start to ready", statistics.median(times), "ms", 50, at_least=False)


def transfer(pair, port):
    """Gb/s of one TCP stream for two seconds."""
    done = pair.near.run("iperf3", "-6", "-c", Pair.FAR, "-t", "2", "-O", "0.5", "--cport", str(port),
                         "-J")
    return json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"] / 1e9


def bench_throughput(bench):
    """Unmarked and marked transfers in turn."""
    pair = Pair()
    plain, marked = [], []
    try:
        with subprocess.Popen(pair.far.command(["iperf3", "-s", "-6"]),
                              stdout=subprocess.DEVNULL) as server:
            deadline = time.monotonic() + DEADLINE_S
            while b":1451" not in pathlib.Path(f"/proc/{server.pid}/net/tcp6").read_bytes():
                if time.monotonic() > deadline:
                    raise SystemExit("iperf3 does not listen")
                time.sleep(0.05)
            for number in range(5):
                plain.append(transfer(pair, 41000 + number))
                with bench.daemon(namespace=pair.near, interface="veth0") as daemon:
                    line = f"start tcp {Pair.NEAR} {42000 + number} {Pair.FAR} 5201 2 17\n"
                    daemon.fifo.write_text(line)
                    marked.append(transfer(pair, 42000 + number))
            server.terminate()
    finally:
        pair.remove()
    ratio = statistics.median(after / before for before, after in zip(plain, marked))
    report("TCP throughput, marked to unmarked", 100 * ratio, "%", 97,
           unmarked_Gbps=statistics.median(plain), marked_Gbps=statistics.median(marked))


PARTS = {
    "marker": bench_marker, "fifo": bench_fifo, "http": bench_http, "fireflies": bench_fireflies,
    "memory": bench_memory, "start": bench_start, "throughput": bench_throughput,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=pathlib.Path, default=pathlib.Path("build/bin"))
    parser.add_argument("--only", choices=PARTS, action="append", help="may be given several times")
    parser.add_argument("--json", type=pathlib.Path, help="also write the JSON document here")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("run.py needs root: it makes network namespaces and loads BPF programs")
    bench = Bench(arguments.bin)
    try:
        for name in arguments.only or PARTS:
            PARTS[name](bench)
    finally:
        bench.close()
    document = json.dumps(RESULTS, indent=2)
    print(document)
    if arguments.json:
        arguments.json.write_text(document + "\n")


if __name__ == "__main__":
    main()
