# SPDX-License-Identifier: Apache-2.0
"""`flowctl top` where there is no terminal: as JSON, into a pipe, and its errors."""

import json
import subprocess

from lab.api_client import event, line
from lab.enriching import announce
from lab.flowd_process import FLOWCTL, one_shot
from lab.netns import Pair
from lab.traffic import Tcp
from lab.waiting import until

# Where the source and the destination are, and who sends; a name of this host or of the other one.
NEAR, FAR, OTHER = Pair.NEAR, Pair.FAR, Pair.NEAR_OTHER


def top(pair, *arguments):
    return pair.near.run(FLOWCTL, *arguments)


def test_top_as_json(enriching, pair):
    """Two refreshes of two flows, one that sends and one that is of no socket."""
    daemon = enriching()
    with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as connection:
        busy = announce(daemon, connection.connect())
        idle = daemon.api.post(event(Pair.NEAR, 9, Pair.FAR, 9)).expect(201).json["id"]
        process = pair.near.popen([FLOWCTL, "--json", "top", "--interval", "0.5", "--count", "4"],
                                  stdout=subprocess.PIPE, text=True)
        until(lambda: connection.exchange() or process.poll() is not None, "its end")
        done = process.communicate()[0]
    documents = [json.loads(line) for line in done.splitlines()]
    assert len(documents) == 4 and process.returncode == 0
    assert all(one["live"] == 2 and {flow["id"] for flow in one["flows"]} == {busy, idle}
               for one in documents)
    first, last = documents[-1]["flows"]
    assert first["id"] == busy, "the fastest first"
    assert first["sentRate"] > 0 and first["receivedRate"] > 0 and first["rtt"] > 0
    assert (first["experiment"], first["activity"]) == (2, 17)
    assert documents[-1]["sentRate"] == first["sentRate"]
    assert last["id"] == idle and "rtt" not in last and "sentRate" not in last
    sent = [one["sent"] for document in documents for one in document["flows"] if "sent" in one]
    assert sent == sorted(sent) and sent[-1] <= connection.sent_by_client


def test_top_piped(enriching, pair):
    """One table after the other, without orders to a terminal."""
    daemon = enriching()
    with Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as connection:
        announce(daemon, connection.connect())
        done = top(pair, "top", "--count", "2", "--interval", "0.2")
    assert "\033" not in done.stdout
    assert done.stdout.count(f"[{Pair.NEAR}]:{connection.sport}") == 2
    assert done.stdout.count("RTT") == 2


def test_top_errors(directory):
    for arguments in (["--interval", "0"], ["--interval", "x"], ["--count", "0"], ["--sort", "name"]):
        done = one_shot(directory, "top", *arguments, program=FLOWCTL)
        assert done.returncode == 2 and arguments[0] in done.stderr, done
    done = one_shot(directory, "list", "--count", "1", program=FLOWCTL)
    assert done.returncode == 2 and "top" in done.stderr
