# SPDX-License-Identifier: Apache-2.0
"""Fireflies in and, each to two collectors, out: how fast, and what was lost at which place."""

import itertools
import json
import statistics
import subprocess

from lab.api_client import Api

PORT = 10514
SINK_PORTS = (10600, 10601)
DEADLINE_S = 60


def measure(bench, report):
    count, rate, rounds = 200_000, 100_000, []
    backends = {"firefly": {"sendToDestination": False, "collectors": [f"[::1]:{port}" for port in SINK_PORTS]}}
    plugins = {"firefly": {"bindAddress": "::1", "bindPort": PORT}}
    with bench.daemon(marker=False, backends=backends, plugins=plugins) as daemon:
        api = Api(bench.namespace)
        for turn, state in itertools.product(range(3), ("start", "end")):
            rounds.append(send_round(bench, api, count, rate, state, turn))
        report("a firefly in and out, twice", daemon.cpu_used() / numbers_of(api)[0] * 1e6, "us of CPU")
        api.close()
    for name in ("load_rate", "out_rate"):
        figure = {"load_rate": "sent", "out_rate": "passed on, each to two collectors"}[name]
        report(f"fireflies {figure}", statistics.median(one[name] for one in rounds), "/s", rate * 0.99)
    for name, copies, where in (("not_received", 1, "before flowd: its socket's buffer was full"),
                                ("within", 2, "within flowd"),
                                ("on_the_way", 2, "behind flowd: the collectors' buffers")):
        report(f"fireflies lost {where}", sum(one[name] for one in rounds), f"of {6 * count * copies}",
               0 if name == "within" else None, at_least=False)


def numbers_of(api):
    """Fireflies that came in, and copies that went out."""
    modules = {one["kind"]: one for one in api.status()["modules"] if one["name"] == "firefly"}
    return modules["plugin"]["received"], sum(one["sent"] for one in modules["backend"]["collectors"])


def send_round(bench, api, count, rate, state, turn):
    sinks = [subprocess.Popen(bench.namespace.command([bench.tools / "firefly_sink", str(port), str(count)]),
                              stdout=subprocess.PIPE, text=True) for port in SINK_PORTS]
    for sink in sinks:
        assert sink.stdout.readline() == "ready\n"
    before = numbers_of(api)
    load = json.loads(bench.namespace.run(bench.tools / "firefly_load", PORT, count, rate, state, turn).stdout)
    seen = [json.loads(sink.communicate(timeout=DEADLINE_S)[0]) for sink in sinks]
    taken, sent = (late - early for late, early in zip(numbers_of(api), before))
    return {"load_rate": load["sent"] / load["seconds"],
            "out_rate": min(one["received"] / one["seconds"] for one in seen),
            "not_received": load["sent"] - taken, "within": 2 * taken - sent,
            "on_the_way": sent - sum(one["received"] for one in seen)}
