# SPDX-License-Identifier: Apache-2.0
"""The HTTP API: what it takes, what it refuses and why. test_openapi.py has the document."""

import json
import os
import stat

import pytest

from lab.api_client import Api, event
from lab.collector import DATA, parse_time
from test_fifo import flow_set
from lab.daemon_config import base_config
from lab.waiting import until

FLOW = ("2001:db8::1", 1094, "2001:db8::2", 40000)
SHOWN = {"id", "state", "protocol", "src", "srcPort", "dst", "dstPort", "experiment", "activity",
         "scitag", "application", "startTime", "plugin", "backends"}


def without(name):
    body = event(*FLOW)
    del body[name]
    return body


def test_start_show_end(plain):
    """One flow's life, and what it looks like."""
    daemon = plain()
    created = daemon.api.post(event(*FLOW, application="fts 3.12"))
    created.expect(201)
    flow = created.json
    assert SHOWN <= set(flow), SHOWN - set(flow)
    assert created.headers["Location"] == f"/v1/flows/{flow['id']}"
    assert {name: flow[name] for name in ("protocol", "src", "srcPort", "dst", "dstPort")} == {
        "protocol": "udp", "src": FLOW[0], "srcPort": FLOW[1], "dst": FLOW[2], "dstPort": FLOW[3]}
    assert (flow["experiment"], flow["activity"], flow["scitag"]) == (2, 17, 145)
    assert (flow["application"], flow["plugin"]) == ("fts 3.12", "api")
    parse_time(flow["startTime"].replace("Z", "+00:00"))

    shown = daemon.api.get(f"/v1/flows/{flow['id']}").expect(200).json
    assert shown == {name: value for name, value in flow.items() if name != "result"}
    assert daemon.api.post(event(*FLOW)).expect(200).json["id"] == flow["id"]

    daemon.api.delete(f"/v1/flows/{flow['id']}").expect(200, 204)
    daemon.api.get(f"/v1/flows/{flow['id']}").problem(404)
    for path in ("/v1/statusfoo", "/v1/status/", "/healthz/", "/v1/flows/", "/nothing"):
        assert daemon.api.get(path).status == 404, path
    daemon.api.delete(f"/v1/flows/{flow['id']}").problem(404)
    assert daemon.api.live() == 0


def test_states(plain):
    """`end` ends, `ongoing` starts what is unknown, an end of nothing is no error."""
    daemon = plain()
    daemon.api.post(event(*FLOW, state="end")).expect(200)
    flow = daemon.api.post(event(*FLOW, state="ongoing")).expect(201).json
    assert daemon.api.post(event(*FLOW, state="ongoing")).expect(200).json["id"] == flow["id"]
    daemon.api.post(event(*FLOW, state="end")).expect(200)
    assert daemon.api.live() == 0


def test_tags(plain):
    """Numbers, registry names, or one scitag."""
    daemon = plain(registry={"path": str(DATA / "registry.json")})
    base = without("experiment")
    del base["activity"]
    for number, (tag, expected) in enumerate((
            ({"scitag": 145}, (2, 17)), ({"scitag": 65}, (1, 1)), ({"scitag": 65535}, (1023, 63)),
            ({"experiment": "atlas", "activity": "production_output"}, (2, 16)),
            ({"experiment": "ATLAS", "activity": 17}, (2, 17)),
            ({"experiment": 2, "activity": "Data Brokering"}, (2, 3)),
            ({"experiment": 0, "activity": 0}, (0, 0)),
            ({"experiment": 2, "activity": 17, "scitag": 145}, (2, 17)))):
        flow = daemon.api.post({**base, **tag, "srcPort": number + 1}).expect(201).json
        assert (flow["experiment"], flow["activity"]) == expected
    for tag, word in (({"scitag": 64}, "scitag"), ({"scitag": 65536}, "scitag"),
                      ({"scitag": 147456}, "scitag"), ({"scitag": "145"}, "scitag"),
                      ({}, "experiment"), ({"experiment": 2}, "activity"),
                      ({"experiment": "nobody", "activity": 1}, "experiment"),
                      ({"experiment": "atlas", "activity": "nothing"}, "activity"),
                      ({"experiment": 3, "activity": 17, "scitag": 145}, "scitag")):
        answer = daemon.api.post({**base, **tag})
        assert answer.status in (400, 422), (tag, answer.body)
        answer.problem(answer.status, word)


def test_start_time(plain):
    daemon = plain()
    for number, (text, expected) in enumerate((
            ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00+00:00"),
            ("2026-01-01T02:30:00.123456+02:30", "2026-01-01T00:00:00.123456+00:00"))):
        flow = daemon.api.post(event(FLOW[0], number + 1, *FLOW[2:], startTime=text)).json
        assert parse_time(flow["startTime"].replace("Z", "+00:00")) == parse_time(expected)


WRONG = {
    # what is sent: the field that the answer must name
    "string port": (event(*FLOW) | {"srcPort": "1094"}, "srcPort"),
    "port 0": (event(*FLOW) | {"srcPort": 0}, "srcPort"),
    "port 65536": (event(*FLOW) | {"dstPort": 65536}, "dstPort"),
    "negative port": (event(*FLOW) | {"dstPort": -1}, "dstPort"),
    "fractional port": (event(*FLOW) | {"dstPort": 443.5}, "dstPort"),
    "port past 64 bits": (event(*FLOW) | {"dstPort": 2**64 + 443}, ""),
    "null port": (event(*FLOW) | {"dstPort": None}, "dstPort"),
    "list port": (event(*FLOW) | {"dstPort": [443]}, "dstPort"),
    "boolean port": (event(*FLOW) | {"dstPort": True}, "dstPort"),
    "number as address": (event(*FLOW) | {"src": 1}, "src"),
    "host name": (event(*FLOW) | {"src": "localhost"}, "src"),
    "empty address": (event(*FLOW) | {"dst": ""}, "dst"),
    "address with NUL": (event(*FLOW) | {"dst": "2001:db8::2\0"}, ""),
    "two families": (event(*FLOW) | {"dst": "192.0.2.1"}, "dst"),
    "protocol": (event(*FLOW) | {"protocol": "sctp"}, "protocol"),
    "protocol number": (event(*FLOW) | {"protocol": 6}, "protocol"),
    "state": (event(*FLOW) | {"state": "begin"}, "state"),
    "state number": (event(*FLOW) | {"state": 2}, "state"),
    "experiment 1024": (event(*FLOW) | {"experiment": 1024}, "experiment"),
    "experiment -1": (event(*FLOW) | {"experiment": -1}, "experiment"),
    "experiment list": (event(*FLOW) | {"experiment": [2]}, "experiment"),
    "experiment fraction": (event(*FLOW) | {"experiment": 2.5}, "experiment"),
    "activity 64": (event(*FLOW) | {"activity": 64}, "activity"),
    "activity boolean": (event(*FLOW) | {"activity": False}, "activity"),
    "application number": (event(*FLOW) | {"application": 1}, "application"),
    "application too long": (event(*FLOW) | {"application": "x" * 64}, "application"),
    "application with a line end": (event(*FLOW) | {"application": "a\nb"}, "application"),
    "start time": (event(*FLOW) | {"startTime": "yesterday"}, "startTime"),
    "start time number": (event(*FLOW) | {"startTime": 1767225600}, "startTime"),
    "start time without zone": (event(*FLOW) | {"startTime": "2026-01-01T00:00:00"}, "startTime"),
    "31 November": (event(*FLOW) | {"startTime": "2026-11-31T00:00:00Z"}, "startTime"),
    "unknown field": (event(*FLOW) | {"colour": "red"}, "colour"),
    "field in another case": (event(*FLOW) | {"Src": "2001:db8::1"}, "Src"),
    "no source": (without("src"), "src"),
    "no port": (without("dstPort"), "dstPort"),
    "no protocol": (without("protocol"), "protocol"),
    "string": ("text", ""),
    "number": (1, ""),
    "null": (None, ""),
    "list in a list": ([[event(*FLOW)]], None),
}


def test_wrong_values(plain):
    """4xx with the field's name; nothing is started, nothing else is harmed."""
    daemon = plain()
    for name, (body, field) in WRONG.items():
        answer = daemon.api.call("POST", "/v1/flows", json.dumps(body))
        if field is None:
            assert answer.status in (200, 400, 422), name
            continue
        assert answer.status in (400, 422), (name, answer.status, answer.body)
        document = answer.problem(answer.status)
        assert field in json.dumps(document), (name, document)
    assert daemon.api.live() == 0
    daemon.api.post(event(*FLOW)).expect(201)


NOT_JSON = {
    "nothing": b"", "blank": b"  ", "open": b'{"state":', "words": b"hello", "two": b"{}{}",
    "trailing": json.dumps(event(*FLOW)).encode() + b" x", "comma": b'{"a":1,}',
    "single quotes": b"{'state':'start'}", "NaN": b'{"srcPort":NaN}', "not UTF-8": b'{"src":"\xff"}',
    "lone surrogate": b'{"application":"\\ud800"}', "BOM": b"\xef\xbb\xbf{}", "NUL": b"{}\0",
    "deep": b"[" * 100_000, "deep objects": b'{"a":' * 100_000,
    "duplicate key": b'{"srcPort":1,' + json.dumps(event(*FLOW)).encode()[1:],
    "duplicate key behind": json.dumps(event(*FLOW)).encode()[:-1] + b',"experiment":3}',
}


def test_not_json(plain):
    daemon = plain()
    for name, body in NOT_JSON.items():
        answer = daemon.api.call("POST", "/v1/flows", body)
        assert answer.status in (400, 422), (name, answer.status, answer.body)
        answer.problem(answer.status)
    assert daemon.api.live() == 0


def test_array(plain):
    """One result for each item, in order; a bad item harms no other."""
    daemon = plain()
    bodies = [event("2001:db8::1", port, "2001:db8::2", 2) for port in range(1, 6)]
    bodies[1]["dstPort"] = 70000
    bodies[3] = "text"
    bodies.append(event("2001:db8::1", 1, "2001:db8::2", 2))
    bodies.append(event("2001:db8::1", 3, "2001:db8::2", 2, state="end"))
    results = daemon.api.post(bodies).expect(200).json
    assert [one.get("status") for one in results] == [201, 400, 201, 400, 201, 200, 200] or \
        [one.get("status") for one in results] == [201, 422, 201, 422, 201, 200, 200], results
    assert "dstPort" in json.dumps(results[1])
    assert {one["srcPort"] for one in daemon.api.flows()} == {1, 5}
    assert daemon.api.post([]).expect(200).json == []


def test_array_of_ten_thousand(plain):
    daemon = plain()
    bodies = [event("2001:db8::1", port, "2001:db8::2", 2) for port in range(1, 10_002)]
    answer = daemon.api.post(bodies)
    assert answer.status in (400, 413, 422)
    answer.problem(answer.status, "10000")
    assert daemon.api.live() == 0
    assert len(daemon.api.post(bodies[:10_000]).expect(200).json) == 10_000
    assert daemon.api.live() == 10_000


def test_list(plain):
    """Filters, and pages that show each flow once."""
    daemon = plain()
    bodies = [event(f"2001:db8::{1 + number % 5:x}", 1 + number, "2001:db8::ff", 443,
                    number % 7, number % 3) for number in range(500)]
    daemon.api.post(bodies).expect(200)
    everything = daemon.api.flows()
    assert len(everything) == 500
    for limit in (1, 7, 499, 500):
        pages = daemon.api.flows(limit=limit)
        assert [one["id"] for one in pages] == [one["id"] for one in everything]
    assert {one["experiment"] for one in daemon.api.flows("&experiment=3")} == {3}
    assert len(daemon.api.flows("&experiment=3")) == sum(one["experiment"] == 3 for one in bodies)
    both = daemon.api.flows("&experiment=3&activity=1", limit=2)
    assert both and {(one["experiment"], one["activity"]) for one in both} == {(3, 1)}
    assert {one["src"] for one in daemon.api.flows("&address=2001:db8::2")} == {"2001:db8::2"}
    assert len(daemon.api.flows("&address=2001:DB8::FF", limit=100)) == 500
    assert len(daemon.api.flows("&address=2001%3adb8%3A%3A2", limit=100)) == 100
    assert daemon.api.flows("&address=2001:db8::77") == []
    for query in ("limit=0", "limit=-1", "limit=x", "limit=99999999", "cursor=%00", "cursor=nonsense",
                  "experiment=nobody", "experiment=1024", "activity=64", "address=localhost",
                  "colour=red", "limit=1&limit=2"):
        answer = daemon.api.get(f"/v1/flows?{query}")
        assert answer.status in (400, 422), (query, answer.status)
        answer.problem(answer.status, query.partition("=")[0])


def test_pages_while_flows_come_and_go(plain):
    """Flows that live all along are each shown once, whatever happens between two pages."""
    daemon = plain()
    stay = {daemon.api.post(event("2001:db8::1", port, "2001:db8::2", 2)).json["id"]
            for port in range(1, 101)}
    seen, cursor, number = [], "", 0
    while cursor is not None:
        page = daemon.api.get(f"/v1/flows?limit=7{cursor}").expect(200).json
        seen += [one["id"] for one in page["flows"]]
        cursor = f"&cursor={page['cursor']}" if "cursor" in page else None
        for _ in range(5):
            number += 1
            flow = daemon.api.post(event("2001:db8::3", number, "2001:db8::2", 2)).json
            if number % 2:
                daemon.api.delete(f"/v1/flows/{flow['id']}").expect(200, 204)
        assert number < 2000, "the list does not end"
    assert stay <= set(seen) and sum(one in stay for one in seen) == len(stay)


def test_ids_are_not_used_again(plain):
    """The id of a flow that ended is nobody else's."""
    daemon = plain()
    first = daemon.api.post(event(*FLOW)).json["id"]
    daemon.api.delete(f"/v1/flows/{first}").expect(200, 204)
    second = daemon.api.post(event(*FLOW)).expect(201).json["id"]
    assert first != second
    daemon.api.get(f"/v1/flows/{first}").problem(404)
    for bad in ("0", "x", "f" * 17, "0" * 16, "F" * 16, "-1"):
        assert daemon.api.get(f"/v1/flows/{bad}").status in (400, 404)


def test_status(plain):
    daemon = plain()
    daemon.api.post(event(*FLOW)).expect(201)
    status = daemon.api.status()
    assert status["flows"]["live"] == 1 and status["flows"]["max"] == 262144
    assert status["version"] and status["uptime"] >= 0
    assert status["events"]["api"]["start"]["started"] == 1
    later = until(lambda: daemon.api.status()["uptime"] > status["uptime"] or None, "uptime grows")
    assert later


def test_flows_max(plain):
    """Past the limit a start is refused and counted; an end makes room."""
    daemon = plain(flows={"max": 10})
    ids = [daemon.api.post(event("2001:db8::1", port, "2001:db8::2", 2)).expect(201).json["id"]
           for port in range(1, 11)]
    answer = daemon.api.post(event("2001:db8::1", 11, "2001:db8::2", 2))
    assert answer.status in (422, 429, 503, 507), answer.status
    answer.problem(answer.status, "flows.max")
    daemon.api.post(event("2001:db8::1", 1, "2001:db8::2", 2)).expect(200)
    status = daemon.api.status()
    assert status["flows"]["live"] == 10 == status["flows"]["max"]
    assert status["events"]["api"]["start"]["refused"] == 1
    assert (status["flows"]["refusedFull"], status["flows"]["refusedUnstored"]) == (1, 0)
    daemon.api.delete(f"/v1/flows/{ids[0]}").expect(200, 204)
    daemon.api.post(event("2001:db8::1", 11, "2001:db8::2", 2)).expect(201)


def test_flows_timeout(plain):
    """A flow ends so long after its last event; an event keeps it alive."""
    daemon = plain(flows={"timeout": 2})
    daemon.api.post(event("2001:db8::1", 1, "2001:db8::2", 2)).expect(201)
    kept = daemon.api.post(event("2001:db8::1", 2, "2001:db8::2", 2)).expect(201).json

    def only_kept():
        daemon.api.post(event("2001:db8::1", 2, "2001:db8::2", 2, state="ongoing"))
        return [one["id"] for one in daemon.api.flows()] == [kept["id"]]

    until(only_kept, "end of the silent flow", interval=0.1)
    until(lambda: daemon.api.live() == 0, "end of the other flow, silent too")


def test_health(plain):
    daemon = plain()
    assert daemon.api.get("/healthz").status == 200
    assert daemon.api.get("/readyz").status == 200


# -- as flowd-go ---------------------------------------------------------------------------------


def test_flowd_go_body(plain):
    """`POST /flow` takes flowd-go's numbers and both ways to write an end point."""
    daemon = plain()
    body = {"State": 2, "Protocol": 0, "Family": 10, "Src": {"IP": "2001:db8::1", "Port": 1},
            "Dst": {"IP": "2001:db8::2", "Port": 2}, "Experiment": 2, "Activity": 17}
    assert daemon.api.post(body, "/flow").status in (200, 201)
    assert flow_set(daemon.api.flows()) == {("tcp", "2001:db8::1", 1, "2001:db8::2", 2, 2, 17)}
    assert daemon.api.post(body | {"State": 3}, "/flow").status == 200
    assert daemon.api.live() == 0
    text = {"State": 2, "Protocol": 1, "Family": 2, "Src": "192.0.2.1:1", "Dst": "192.0.2.2:2",
            "Experiment": 1, "Activity": 1}
    assert daemon.api.post(text, "/flow").status in (200, 201)
    assert flow_set(daemon.api.flows()) == {("udp", "192.0.2.1", 1, "192.0.2.2", 2, 1, 1)}
    for change in ({"State": 9}, {"Protocol": 7}, {"Family": 3}, {"Src": "192.0.2.1"}, {"Src": 5},
                   {"Src": {"IP": "192.0.2.1"}}, {"Dst": "192.0.2.2:70000"}, {"Experiment": "x"}):
        answer = daemon.api.post(text | change, "/flow")
        assert answer.status in (400, 422), (change, answer.status)
        answer.problem(answer.status, next(iter(change)))


@pytest.mark.parametrize("src", ["[2001:db8::1]:1", {"IP": "2001:db8::1", "Port": 1}])
@pytest.mark.parametrize("dst", ["[2001:db8::2]:2", {"IP": "2001:db8::2", "Port": 2}])
def test_flowd_go_answer(plain, src, dst):
    """The flow's tag and times, also at its end, whose request need not know them, and its form."""
    daemon = plain()
    ends = {"Src": src, "Dst": dst}
    start = {"State": 2, "Protocol": 1, "Family": 10, **ends, "Experiment": 2, "Activity": 17,
             "StartTs": "2026-01-02T03:04:05Z"}
    begun = daemon.api.post(start, "/flow").expect(200).json
    flow = daemon.api.flows()[0]
    assert {name: begun[name] for name in ends} == ends
    assert (begun["State"], begun["Experiment"], begun["Activity"]) == (2, 2, 17)
    assert begun["StartTs"] == flow["startTime"] and begun["StartTs"].startswith("2026-01-02T03:04:05")
    again = daemon.api.post({**start, "State": 4, "StartTs": "2026-02-02T03:04:05Z"}, "/flow").json
    assert again["StartTs"] == begun["StartTs"] and again["State"] == 4
    end = daemon.api.post({"State": 3, "Protocol": 1, **ends}, "/flow").expect(200).json
    assert {name: end[name] for name in ends} == ends
    assert (end["State"], end["Experiment"], end["Activity"]) == (3, 2, 17)
    assert end["StartTs"] == begun["StartTs"] < end["EndTs"]
    unknown = daemon.api.post({"State": 3, "Protocol": 1, **ends, "Experiment": 65535,
                               "Activity": 65535}, "/flow").expect(200).json
    assert {name: unknown[name] for name in ends} == ends
    assert (unknown["Experiment"], unknown["Activity"]) == (65535, 65535)
    assert unknown["StartTs"] == unknown["EndTs"] == "0001-01-01T00:00:00Z"


def test_flowd_go_answer_of_ipv4(plain):
    daemon = plain()
    body = {"State": 2, "Protocol": 0, "Family": 2, "Src": "192.0.2.1:1",
            "Dst": {"IP": "192.0.2.2", "Port": 2}, "Experiment": 2, "Activity": 17}
    answer = daemon.api.post(body, "/flow").expect(200).json
    assert {name: answer[name] for name in body} == body


def test_flowd_go_paths(plain):
    daemon = plain()
    assert daemon.api.get("/").status == 200
    assert daemon.api.get("/dummy/start").status in (200, 201)
    assert {key[:5] for key in flow_set(daemon.api.flows())} == {("tcp", "::1", 2345, "::1", 5777)}
    assert daemon.api.get("/dummy/end").status == 200
    assert daemon.api.live() == 0


@pytest.mark.parametrize("path", ["/dummy/start", "/dummy/end"])
@pytest.mark.parametrize("headers,status", [
    ({"Sec-Fetch-Site": "cross-site"}, 403), ({"Sec-Fetch-Site": "same-site"}, 403),
    ({"sec-fetch-site": "Cross-Site"}, 403), ({"Origin": "https://example.org"}, 403),
    ({"Origin": "null"}, 403), ({"Origin": "http://127.0.0.1:8080"}, 403),
    ({"Origin": "http://127.0.0.1"}, 403), ({"Origin": "http://localhost:7777"}, 403),
    ({"Sec-Fetch-Site": "none", "Origin": "https://example.org"}, 403),
    ({"Sec-Fetch-Site": "none"}, 200), ({"Sec-Fetch-Site": "same-origin"}, 200),
    ({"Origin": "http://127.0.0.1:7777"}, 200), ({}, 200),
])
def test_a_page_from_elsewhere(plain, path, headers, status):
    """An image or a link of any page must not start and end flows."""
    daemon = plain()
    if path == "/dummy/end":
        daemon.api.get("/dummy/start").expect(201)
    before = daemon.api.live()
    answer = daemon.api.get(path, headers=headers)
    assert answer.status == (201 if (status, path) == (200, "/dummy/start") else status), answer.body
    assert (daemon.api.live() == before) == (status == 403)


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site", "Origin": "https://example.org"}])
def test_what_a_browser_asks_leave_for(plain, headers):
    """
    Everything else that changes something is no request that a page may send unasked: a POST needs
    application/json, and nobody answers the question before it or before a DELETE.
    """
    daemon = plain()
    flow = daemon.api.post(event(*FLOW)).expect(201).json["id"]
    for target in ("/v1/flows", "/flow", f"/v1/flows/{flow}"):
        answer = daemon.api.call("OPTIONS", target, headers={
            **headers, "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type"})
        assert answer.status == 405
        assert not any(name.lower().startswith("access-control") for name in answer.headers)
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        for target in ("/v1/flows", "/flow"):
            daemon.api.post(b"{}", target, headers={**headers, "Content-Type": kind}).expect(415)
    assert daemon.api.live() == 1


# -- who may ask ---------------------------------------------------------------------------------


def test_token(plain, single, directory):
    """Any line of the file opens; nothing, another one and half of one do not."""
    (directory / "tokens").write_text("first-token\nsecond-token\n")
    plain(api={"tokenFile": str(directory / "tokens")})
    for token in ("first-token", "second-token"):
        Api(single, token=token).get("/v1/status").expect(200)
    for token in (None, "", "first-toke", "first-token2", "first-token\tsecond-token", "x" * 5000):
        answer = Api(single, token=token).get("/v1/status")
        answer.problem(401)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    api = Api(single)
    for header in ("Basic first-token", "first-token", "Bearer"):
        api.get("/v1/status", headers={"Authorization": header}).problem(401)
    api.get("/v1/status", headers={"Authorization": "bearer first-token"}).expect(200)
    api.post(event(*FLOW)).problem(401)


def test_unix_socket(make_flowd, single, directory):
    """A unix socket beside or instead of the TCP socket, with its mode."""
    config = base_config(directory)
    path = directory / "api.sock"
    config["plugins"]["api"] = {"bindPort": 0, "socketPath": str(path), "socketMode": "0600"}
    daemon = make_flowd(single, config).start()
    mode = os.stat(path).st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600
    api = Api(path=path)
    api.post(event(*FLOW)).expect(201)
    assert api.get("/v1/status", headers={"Host": "anything"}).status in (200, 400, 421)
    with pytest.raises(ConnectionRefusedError):
        Api(single).get("/healthz")
    daemon.kill()
    daemon.start()
    assert [one["src"] for one in Api(path=path).flows()] == [FLOW[0]], "over a left-over socket"
    daemon.stop()
    assert not path.exists()


def test_pages_with_samples(plain):
    """They are smaller than was asked for, and say how to go on."""
    daemon = plain()
    daemon.api.post([event("2001:db8::1", port, "2001:db8::2", 2) for port in range(1, 1502)])
    assert len(daemon.api.get("/v1/flows?limit=10000").json["flows"]) == 1501
    first = daemon.api.get("/v1/flows?limit=10000&samples=true").json
    second = daemon.api.get(f"/v1/flows?limit=10000&samples=true&cursor={first['cursor']}").json
    assert (len(first["flows"]), len(second["flows"])) == (1000, 501) and "cursor" not in second
    assert len({one["id"] for one in first["flows"] + second["flows"]}) == 1501
