# SPDX-License-Identifier: Apache-2.0
"""What concerns all flows is done in parts: with many of them, no turn of the loop goes through all."""

import re
import threading

import pytest

from lab.api_client import Api, connect, event, line
from lab.daemon_config import base_config
from lab.flow_map import FlowMap
from lab.netns import Pair
from lab.waiting import until

PAGE_RECORDS = 65536
MANY = PAGE_RECORDS + 2000
SOURCE = "fd00:f10::77"


def announce(api, count, source=Pair.NEAR, **tag):
    for begin in range(0, count, 10000):
        events = [event(source, number % 60000 + 1, f"2001:db8::{number // 60000 + 1}", 2, **tag)
                  for number in range(begin, min(begin + 10000, count))]
        api.post(events).expect(200)


@pytest.fixture(name="crowded")
def _crowded(plain):
    """A daemon with more flows than a page looks at; two of them, at the ends, have another tag."""
    daemon = plain()
    rare = {"experiment": 7, "activity": 3}
    daemon.rare = [daemon.api.post(event("2001:db8::a", 1, "2001:db8::b", 2, **rare)).expect(201).json["id"]]
    announce(daemon.api, MANY)
    daemon.rare.append(
        daemon.api.post(event("2001:db8::a", 3, "2001:db8::b", 4, **rare)).expect(201).json["id"])
    return daemon


def test_a_page_looks_at_so_many(crowded):
    """A filter that few flows match gives pages that hold fewer than the limit and have a cursor."""
    api = crowded.api
    first = api.get("/v1/flows?experiment=7&limit=10").expect(200).json
    assert [flow["id"] for flow in first["flows"]] == crowded.rare[:1]
    assert int(first["cursor"]) == PAGE_RECORDS, "so many records were looked at"
    second = api.get(f"/v1/flows?experiment=7&limit=10&cursor={first['cursor']}").expect(200).json
    assert [flow["id"] for flow in second["flows"]] == crowded.rare[1:] and "cursor" not in second
    empty = api.get("/v1/flows?address=2001:db8::dead").expect(200).json
    assert empty["flows"] == [] and int(empty["cursor"]) == PAGE_RECORDS
    assert api.flows("&address=2001:db8::dead") == []
    assert len(api.flows(limit=10000)) == MANY + 2, "a page without a filter is full"
    assert len(api.get("/v1/flows?limit=10000").json["flows"]) == 10000


def test_many_lists_at_once(crowded):
    """Lists that wait for each other are all answered, and none is mixed up with another."""
    wanted = {"&experiment=7": 2, "&experiment=2&limit=10000": MANY, "&address=2001:db8::b": 2,
              "&activity=17": MANY, "&address=2001:db8::dead": 0}
    found = {}

    def ask(query):
        found[query] = len(Api(crowded.api.namespace).flows(query.replace("&limit=10000", ""), limit=10000))

    threads = [threading.Thread(target=ask, args=(query,)) for query in wanted]
    # Some who do not wait for their answer.
    for _ in range(8):
        with connect(crowded.api.namespace) as one:
            one.sendall(b"GET /v1/flows?address=2001:db8::dead HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == wanted
    with connect(crowded.api.namespace) as one, one.makefile("rb") as answers:
        one.sendall(b"GET /v1/flows?experiment=7 HTTP/1.1\r\nHost: localhost\r\n\r\n" * 4 +
                    b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert answers.read().count(b"HTTP/1.1 200 ") == 5


def test_addresses_change_in_parts(pair, make_flowd, directory, pin_path):
    """Marks follow the host's addresses, some in each turn, whatever changes meanwhile."""
    count = 20000
    pair.near.add_address("veth0", SOURCE + "/64")
    config = base_config(directory, pin_path)
    config["log"]["level"] = "debug"
    daemon = make_flowd(pair.near, config).start()
    api = Api(pair.near)
    announce(api, count, SOURCE)

    def revised(mark):
        """The numbers of the last revision that the log tells of since."""
        return [tuple(map(int, one)) for one in re.findall(
            r"addresses changed: (\d+) flows looked at, (\d+) marks changed, in (\d+) turns", daemon.log(mark))]

    assert api.module("marker")["entries"] == count
    mark = daemon.log_size()
    pair.near.add_address("veth0", "fd00:f10::78/64")
    until(lambda: revised(mark), "the address that concerns nobody")
    assert {one[1] for one in revised(mark)} == {0}
    assert all(looked <= turns * 4096 for looked, _, turns in revised(mark))

    mark = daemon.log_size()
    pair.near.ip("address", "del", SOURCE + "/64", "dev", "veth0")
    until(lambda: api.module("marker")["flowsForwarded"] == count, "the flows whose address went")
    assert api.module("marker")["entries"] == 2 * count
    until(lambda: revised(mark), "the end of the walk")
    assert sum(changed for _, changed, _ in revised(mark)) == count
    # A change of a mark weighs as much as 24 looks.
    assert sum(turns for *_, turns in revised(mark)) >= count * 25 // 4096

    # Back and forth while the walk is under way: what counts is how it ends.
    for _ in range(3):
        pair.near.add_address("veth0", SOURCE + "/64")
        pair.near.ip("address", "del", SOURCE + "/64", "dev", "veth0")
    pair.near.add_address("veth0", SOURCE + "/64")
    until(lambda: api.module("marker")["flowsForwarded"] == 0, "the flows whose address is back")
    assert api.module("marker")["entries"] == count and api.module("marker")["entriesFailed"] == 0


def test_ends_and_starts_at_once_while_the_table_is_full(pair, make_flowd, directory, pin_path):
    """
    Flows that pass have two entries each, so that there is no more room in the map than they need: what ends
    makes room for what starts in the same turn.
    """
    most = 1000
    daemon = make_flowd(pair.near, {**base_config(directory, pin_path), "flows": {"max": most, "endOnClose": False}}).start()
    api = Api(pair.near)
    flows = [("2001:db8:1::1", port, "2001:db8:2::2", 2) for port in range(1, 10 * most + 1)]
    daemon.write_fifo("".join(line("start", *flow) for flow in flows[:most]))
    for begin in range(most, len(flows), most):
        daemon.write_fifo("".join(line("end", *old) + line("start", *new) for old, new in
                                  zip(flows[begin - most:begin], flows[begin:begin + most])))
    until(lambda: api.status()["flows"]["started"] == len(flows), "all flows")
    assert api.live() == most and len(FlowMap(pin_path)) == 2 * most
    assert "can't be written" not in daemon.log()
