# SPDX-License-Identifier: Apache-2.0
"""
What flowd 1.1.7 sent for each input to its fifo, and where this flowd does something else.

An event is (state, protocol, source, port, destination, port, experiment, activity), as a firefly has
them. Of an input's events the order does not count: datagrams of two families may overtake each other.
"""

import json
import pathlib

DATA = pathlib.Path(__file__).parents[1] / "data"
DIFFERENCES = json.loads((pathlib.Path(__file__).parent / "differences.json").read_text())


def event_of(datagram):
    document = json.loads(datagram[datagram.index(b"{"):])
    flow, context = document["flow-id"], document["context"]
    return (document["flow-lifecycle"]["state"], flow["protocol"], flow["src-ip"], flow["src-port"], flow["dst-ip"],
            flow["dst-port"], context["experiment-id"], context["activity-id"])


def cases():
    """(input, the events that flowd sent) of each."""
    return [(case["input"], sorted((event_of(one.encode()) for one in case["datagrams"]), key=str))
            for case in json.loads((DATA / "flowd_np_firefly.json").read_text())]


def difference(text):
    """The difference that an input shows, and the events here; (None, None): there is none."""
    for one in DIFFERENCES:
        for shown in one["inputs"]:
            if shown["input"] == text:
                return one, sorted((tuple(event) for event in shown["events"]), key=str)
    return None, None


def lines_of(text):
    return [one.split() for one in text.split("\n") if one.strip()]


def starts_of(text):
    """
    The line of a start that an input needs before it, because it ends a flow that an earlier one started
    (with the tag of that start).
    """
    first = next(iter(lines_of(text)), [""])
    if first[0].lower() != "end":
        return ""
    flow = [one.lower() for one in first[1:6]]
    for earlier, _ in cases():
        for line in lines_of(earlier):
            if line[0] == "start" and line[1:6] == flow:
                return " ".join(line) + "\n"
    return ""
