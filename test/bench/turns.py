# SPDX-License-Identifier: Apache-2.0
"""
How long a turn of the loop becomes with very many flows, and what others notice of it: lists, address
changes, a scrape. starts.py has the turns of a restart.

A turn is measured in CPU time, which does not depend on what else the machine does. What others
notice is the time of single POSTs, beside the same when nothing else is asked of flowd.

That time is flowd's only where the scheduler has no part in it. Clients that read lists keep a CPU
busy with their own work, and who shares it waits for the end of their time slice, some milliseconds:
on two CPUs the p99 of POSTs is 10 to 20 times that of quiet beside one process that only counts and
asks flowd for nothing. So the goal is for POSTs where flowd has a CPU, all clients have the others,
and flowd and who sends the POSTs go before all else on theirs, in quiet too. What it is without any
of that stands in the same row (as_scheduled).
"""

import contextlib
import http.client
import multiprocessing
import os
import pathlib
import statistics
import struct
import tempfile
import threading
import time

from lab.api_client import Api, connect, event
from lab.waiting import until

FLOWS = (262_144, 1_000_000)
ROUNDS = 3
POSTS = 1000
LIST_CLIENTS = 16
TURN_MS, RATIO = 20, 3
REST_S = 0.1
SOURCE = "fd00::1"  # of all flows, on lo
PAGE = struct.Struct("QQQ")
# Children are scheduled as usual.
FIRST = (os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(10))
AS_USUAL = (os.SCHED_OTHER, os.sched_param(0))


class Clock:
    """What turn_clock.c has found."""

    def __init__(self, bench):
        self.path = bench.place / "turn_clock"
        self.library = bench.tools / "libturn_clock.so"
        self.reset()

    @contextlib.contextmanager
    def preloaded(self):
        """Programs that are started inside the block are measured."""
        os.environ.update(LD_PRELOAD=str(self.library), TURN_CLOCK=str(self.path))
        try:
            yield
        finally:
            del os.environ["LD_PRELOAD"], os.environ["TURN_CLOCK"]

    def reset(self):
        with open(self.path, "r+b" if self.path.exists() else "xb") as file:
            file.write(bytes(PAGE.size))

    def longest_ms(self):
        return PAGE.unpack(self.path.read_bytes())[0] / 1e6

    def start_ms(self):
        return PAGE.unpack(self.path.read_bytes())[2] / 1e6


def may_be_undisturbed():
    try:
        os.sched_setscheduler(0, *FIRST)
    except PermissionError:
        return False
    os.sched_setscheduler(0, *AS_USUAL)
    return len(os.sched_getaffinity(0)) > 1


@contextlib.contextmanager
def undisturbed(daemon):
    """flowd has one CPU, its clients have the others; flowd and this thread wait for nobody there."""
    cpus = os.sched_getaffinity(0)
    own = {max(cpus)}
    places = ((daemon.process.pid, own), (0, cpus - own))
    try:
        for pid, place in places:
            os.sched_setaffinity(pid, place)
            os.sched_setscheduler(pid, *FIRST)
        yield
    finally:
        for pid, _ in places:
            os.sched_setscheduler(pid, *AS_USUAL)
            os.sched_setaffinity(pid, cpus)


def post_p99_ms(api):
    """The 99th percentile of the times of so many single POSTs."""
    times = []
    for number in range(POSTS):
        body = event("2001:db8::f", number + 1, "2001:db8::e", 2)
        begin = time.monotonic()
        api.post(body).expect(200, 201)
        times.append((time.monotonic() - begin) * 1e3)
    return statistics.quantiles(times, n=100)[98]


def follow_lists(namespace, query, stop):
    """A client that asks for all pages again and again."""
    api = Api(namespace)
    while not stop.is_set():
        cursor = ""
        while cursor is not None and not stop.is_set():
            page = api.get(f"/v1/flows?{query}{cursor}").expect(200).json
            cursor = f"&cursor={page['cursor']}" if "cursor" in page else None


def list_clients(namespace, query, stop):
    """All in one process, so that they take one CPU at most and leave the other one to flowd."""
    threads = [threading.Thread(target=follow_lists, args=(namespace, query, stop)) for _ in range(LIST_CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@contextlib.contextmanager
def lists(bench, query):
    stop = multiprocessing.Event()
    client = multiprocessing.Process(target=list_clients, args=(bench.namespace, query, stop), daemon=True)
    client.start()
    try:
        yield
    finally:
        stop.set()
        client.join()


def forwarded(api):
    return api.module("marker")["flowsForwarded"]


def change_address(bench, verb, address):
    extra = ("nodad",) if verb == "add" else ()
    bench.namespace.run("ip", "address", verb, f"{address}/128", "dev", "lo", *extra)


@contextlib.contextmanager
def unrelated_address(bench, _count, _api):
    change_address(bench, "add", "fd00::77")
    yield
    change_address(bench, "del", "fd00::77")


@contextlib.contextmanager
def own_address(bench, count, api):
    change_address(bench, "del", SOURCE)
    yield
    until(lambda: forwarded(api) >= count, "the flows whose address went")
    change_address(bench, "add", SOURCE)
    until(lambda: forwarded(api) < count, "the flows whose address is back")


@contextlib.contextmanager
def scrape(bench, _count, _api):
    client = http.client.HTTPConnection("127.0.0.1", 9000, timeout=60)
    client.sock = connect(bench.namespace, "127.0.0.1", 9000)
    client.request("GET", "/metrics")
    yield
    assert client.getresponse().read()
    client.close()


@contextlib.contextmanager
def listing(query, bench, _count, _api):
    with lists(bench, query):
        yield


CASES = {
    "16 clients, lists that few match": lambda *place: listing("experiment=511&limit=1", *place),
    "16 clients, lists that nobody matches": lambda *place: listing("address=2001:db8::dead", *place),
    "16 clients, lists of all": lambda *place: listing("limit=1000", *place),
    "an unrelated address comes and goes": unrelated_address,
    "the flows' address goes and comes back": own_address,
    "a scrape": scrape,
}


def running_ns(daemon):
    return int(pathlib.Path(f"/proc/{daemon.process.pid}/schedstat").read_text().split()[0])


def rest(daemon, seconds=REST_S):
    """Waits until flowd has done what it goes on with in further turns, and sleeps for so long."""
    def sleeps():
        before = running_ns(daemon)
        time.sleep(seconds)
        return running_ns(daemon) - before < seconds * 1e9 / 50
    until(sleeps, "flowd at rest")


def measure_posts(bench, clock, count, case, daemon, around):
    """Of each round: the p99 in quiet and during the case, and the longest turn of the latter, in ms."""
    api, watching = Api(bench.namespace), Api(bench.namespace)
    rounds = []
    for _ in range(ROUNDS):
        rest(daemon)
        with around():
            quiet = post_p99_ms(api)
            clock.reset()
            with CASES[case](bench, count, watching):
                during = post_p99_ms(api)
            rounds.append((quiet, during, clock.longest_ms()))
    api.close()
    watching.close()
    return (statistics.median(column) for column in zip(*rounds))


def measure_case(bench, clock, count, case, daemon, report):
    quiet, during, turn = measure_posts(bench, clock, count, case, daemon, contextlib.nullcontext)
    more = {"as_scheduled": during / quiet, "as_scheduled_ms": during, "as_scheduled_quiet_ms": quiet}
    if may_be_undisturbed():
        quiet, during, turn = measure_posts(bench, clock, count, case, daemon, lambda: undisturbed(daemon))
    else:
        print("the next line's POSTs are as scheduled: flowd can't have a CPU and go first on it")
    goal = TURN_MS if count == max(FLOWS) else None
    report(f"{case}, {count:,}: turn", turn, "ms", goal, at_least=False)
    report(f"{case}, {count:,}: POST p99", during / quiet, "x quiet", RATIO, at_least=False, ms=during,
           quiet_ms=quiet, **more)


def measure(bench, report, make_daemon):
    """make_daemon(place, backends, flows_max) starts one in the bench's namespace."""
    clock = Clock(bench)
    for count in FLOWS if bench.everything else FLOWS[-1:]:
        with tempfile.TemporaryDirectory(dir=bench.place) as place:
            backends = {"marker": {"targetInterfaces": ["lo"], "pinPath": str(bench.bpffs / f"turns-{count}")},
                        "prometheus": {}}

            running = []

            def make(place=pathlib.Path(place), backends=backends, room=count + 100_000, running=running):
                with clock.preloaded():
                    running[:] = [make_daemon(place, backends, room)]
                running[0].pins = pathlib.Path(backends["marker"]["pinPath"])
                return running[0]

            try:
                bench.fifo_load(make(), count)
                report(f"starts of {count:,} by fifo: turn", clock.longest_ms(), "ms")
                for case in CASES:
                    measure_case(bench, clock, count, case, running[0], report)
            finally:
                for daemon in running:
                    daemon.stop()
