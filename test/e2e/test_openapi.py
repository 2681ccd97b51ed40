# SPDX-License-Identifier: Apache-2.0
"""
The OpenAPI document and the server, held against each other: every status that the document has of
every operation is provoked here, and what comes back is as the document says.

A status without a row in the tables below fails the test, and so does a row without a status.
"""

import contextlib
import http.client
import json
import re
import threading

import jsonschema
import pytest

from lab.api_client import Answer, Api, connect, event
from lab.collector import DATA
from lab.daemon_config import base_config
from lab.waiting import until

FLOW = ("2001:db8::1", 1094, "2001:db8::2", 40000)
GO = {"State": 2, "Protocol": 0, "Family": 10, "Src": "[2001:db8::3]:1", "Dst": "[2001:db8::4]:2",
      "Experiment": 2, "Activity": 17}
METHODS = ("get", "post", "delete", "put", "patch", "head", "options", "trace")
OPEN = ("/healthz", "/readyz")
NO_FLOW = "0123456789abcdef"


class Document:
    """The served document: its operations, and whether an answer is as it says."""

    def __init__(self, document):
        self.document = document
        jsonschema.Draft202012Validator.check_schema(document["components"]["schemas"]["Flow"])

    def operations(self):
        for path, item in self.document["paths"].items():
            for method, operation in item.items():
                if method in METHODS:
                    yield (method, path), operation

    def statuses(self):
        """{(method, path, status)}, all that the document has."""
        return {(*key, int(status)) for key, operation in self.operations()
                for status in operation["responses"]}

    def check(self, method, path, answer):
        """Status, content type and body are in the document."""
        responses = self.document["paths"][path][method]["responses"]
        where = (method, path, answer.status, answer.body[:300])
        assert str(answer.status) in responses, where
        response = responses[str(answer.status)]
        if "$ref" in response:
            response = self.resolve(response["$ref"])
        assert answer.type in response["content"], (*where, answer.type)
        if answer.type == "application/problem+json":
            assert answer.json["status"] == answer.status, where
        resolver = jsonschema.RefResolver("", self.document)
        jsonschema.Draft202012Validator(response["content"][answer.type]["schema"],
                                        resolver=resolver).validate(answer.json)

    def resolve(self, reference):
        node = self.document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
        return node


def raw(namespace, method, path, *lines, version="HTTP/1.1", end=True):
    """A request line and header lines as they are; the answer."""
    head = [f"{method.upper()} {path.replace('{id}', NO_FLOW)} {version}", *lines]
    if not any(line.lower().startswith("host:") for line in lines):
        head.insert(1, "Host: 127.0.0.1:7777")
    with contextlib.closing(connect(namespace)) as stream:
        with contextlib.suppress(ConnectionError):
            stream.sendall(("\r\n".join(head) + ("\r\n\r\n" if end else "\r\n")).encode())
        response = http.client.HTTPResponse(stream, method=method.upper())
        response.begin()
        return Answer(response.status, response.headers, response.read())


JSON = "Content-Type: application/json"
# What any request may get: status -> (header lines, options of raw()).
OF_EVERY_REQUEST = {
    400: ([JSON, "Content-Length: 2", "Transfer-Encoding: chunked"], {}),
    408: ([JSON, "X-Unfinished: yes"], {"end": False}),
    413: ([JSON, "Content-Length: 4194305"], {}),
    415: ([JSON, "Content-Encoding: gzip", "Content-Length: 2"], {}),
    421: ([JSON, "Host: rebound.example.org", "Content-Length: 2"], {}),
    431: ([JSON, "X-Long: " + "x" * 17000], {}),
    505: ([JSON], {"version": "HTTP/3.0"}),
}


def provoke_common(namespace, document):
    """Side by side, for one of them takes 10 s."""
    answers, failures = {}, []

    def one(key, status):
        lines, options = OF_EVERY_REQUEST[status]
        try:
            answers[(*key, status)] = raw(namespace, *key, *lines, **options)
        except Exception as error:  # for the main thread to say
            failures.append((key, status, error))

    threads = [threading.Thread(target=one, args=(key, status))
               for key, _ in document.operations() for status in OF_EVERY_REQUEST]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    return answers


# What the operations answer beside that: method, path, status, and the request's target and body,
# made in this order of one daemon. {id} is a live flow.
END = event(*FLOW, state="end")
OWN = [
    ("get", "/v1/flows", 200, "/v1/flows", None),
    ("post", "/v1/flows", 200, "/v1/flows", END),
    ("post", "/v1/flows", 201, "/v1/flows", event(*FLOW, application="fts")),
    ("post", "/v1/flows", 200, "/v1/flows", event(*FLOW)),
    ("post", "/v1/flows", 200, "/v1/flows", [event(*FLOW), "text", END, END, event(*FLOW)]),
    ("post", "/v1/flows", 400, "/v1/flows", b"{"),
    ("post", "/v1/flows", 413, "/v1/flows", [1] * 10001),
    ("post", "/v1/flows", 415, "/v1/flows", "text/plain"),
    ("post", "/v1/flows", 422, "/v1/flows", event(*FLOW) | {"dstPort": 0}),
    ("get", "/v1/flows", 200, "/v1/flows?experiment=atlas&samples=true", None),
    ("get", "/v1/flows", 200, "/v1/flows?limit=1", None),
    ("get", "/v1/flows", 400, "/v1/flows?limit=0", None),
    ("get", "/v1/flows/{id}", 200, "/v1/flows/{id}", None),
    ("get", "/v1/flows/{id}", 404, "/v1/flows/" + NO_FLOW, None),
    ("get", "/v1/status", 200, "/v1/status", None),
    ("delete", "/v1/flows/{id}", 200, "/v1/flows/{id}", None),
    ("delete", "/v1/flows/{id}", 404, "/v1/flows/" + NO_FLOW, None),
    ("get", "/v1/registry", 200, "/v1/registry", None),
    ("get", "/v1/registry", 200, "/v1/registry?name=ATLAS", None),
    ("get", "/v1/registry", 400, "/v1/registry?nome=atlas", None),
    ("get", "/v1/registry", 404, "/v1/registry?name=nobody", None),
    ("get", "/healthz", 200, "/healthz", None),
    ("get", "/readyz", 200, "/readyz", None),
    ("get", "/openapi.json", 200, "/openapi.json", None),
    ("get", "/", 200, "/", None),
    ("post", "/flow", 200, "/flow", GO),
    ("post", "/flow", 200, "/flow", GO | {"State": 3}),
    ("post", "/flow", 200, "/flow", GO | {"State": 3}),
    ("post", "/flow", 200, "/flow", GO | {"Src": {"IP": "2001:db8::3", "Port": 1}}),
    ("post", "/flow", 400, "/flow", b"{"),
    ("post", "/flow", 415, "/flow", "text/plain"),
    ("post", "/flow", 422, "/flow", GO | {"State": 7}),
    ("get", "/dummy/end", 200, "/dummy/end", None),
    ("get", "/dummy/start", 201, "/dummy/start", None),
    ("get", "/dummy/start", 200, "/dummy/start", None),
    ("get", "/dummy/start", 403, "/dummy/start", "cross-site"),
    ("get", "/dummy/end", 403, "/dummy/end", "cross-site"),
    ("get", "/dummy/end", 200, "/dummy/end", None),
]


def provoke_own(namespace, document):
    seen, api = set(), Api(namespace)
    for method, path, status, target, body in OWN:
        headers = {"text/plain": {"Content-Type": "text/plain"},
                   "cross-site": {"Sec-Fetch-Site": "cross-site"}}.get(body if isinstance(body, str) else None)
        if "{id}" in target:
            target = target.replace("{id}", api.flows()[0]["id"])
        answer = api.call(method.upper(), target, None if body == "cross-site" else body,
                          headers=headers)
        assert answer.status == status, (method, target, body, answer.status, answer.body)
        document.check(method, path, answer)
        seen.add((method, path, status))
    return seen


def refused(namespace, key):
    """The answer to one connection too many; None: there were more at this moment than get one."""
    with contextlib.suppress(http.client.RemoteDisconnected, ConnectionError):
        return raw(namespace, *key, JSON, "Content-Length: 0")
    return None


def crowd(daemon, namespace, document):
    """503 of every operation: as many connections are open as may be."""
    held = []
    try:
        for _ in range(1100):
            held.append(connect(namespace))
            if len(held) % 16 == 0 and "at most" in daemon.log():
                break
        until(lambda: "at most" in daemon.log(), "the limit of connections")
        # Of those beyond the limit only some are held open until they have their answer.
        allowed = int(re.search(r"at most (\d+) may be open", daemon.log())[1])
        for stream in held[allowed:]:
            stream.close()
        for key, _ in document.operations():
            answer = until(lambda: refused(namespace, key), "an answer")
            assert answer.status == 503, (key, answer.status)
            document.check(*key, answer)
            yield (*key, 503)
    finally:
        for stream in held:
            stream.close()


def test_every_status(make_flowd, single, directory):
    """All that the document has is answered, and is as it says; the tables have nothing else."""
    config = base_config(directory)
    config["registry"] = {"path": str(DATA / "registry.json")}
    config["enrichers"] = {"netlink": {}}
    config["backends"] = {"log": {"path": str(directory / "flows.log")}}
    # Few descriptors, so that few connections are as many as may be.
    daemon = make_flowd(single, config, prefix=["prlimit", "--nofile=256:256"]).start()
    document = Document(Api(single).get("/openapi.json").expect(200).json)
    provoked = provoke_own(single, document)
    for (method, path, status), answer in provoke_common(single, document).items():
        assert answer.status == status, (method, path, status, answer.status, answer.body)
        document.check(method, path, answer)
        provoked.add((method, path, status))
    provoked |= set(crowd(daemon, single, document))
    daemon.stop()

    (directory / "tokens").write_text("token\n")
    daemon.config["plugins"]["api"]["tokenFile"] = str(directory / "tokens")
    daemon.start(ready=False)
    until(lambda: answers(single), "the API")
    for (method, path), _ in document.operations():
        answer = raw(single, method, path, JSON, "Content-Length: 0")
        if path in OPEN:
            assert answer.status == 200, (path, answer.status)
            continue
        assert answer.status == 401, (method, path, answer.status)
        document.check(method, path, answer)
        provoked.add((method, path, 401))
    described = document.statuses()
    assert described == provoked, {"not provoked": sorted(described - provoked),
                                   "not described": sorted(provoked - described)}


def answers(namespace):
    try:
        return Api(namespace).get("/healthz").status == 200
    except OSError:
        return False


def test_without_room(plain):
    """503 of those that start a flow, of flows.max; and lists and registries of nothing."""
    daemon = plain(flows={"max": 1})
    document = Document(daemon.api.get("/openapi.json").json)
    for path in ("/v1/flows", "/v1/registry"):
        document.check("get", path, daemon.api.get(path).expect(200))
    daemon.api.post(event(*FLOW)).expect(201)
    for method, path, body in (("post", "/v1/flows", event("2001:db8::1", 7, "2001:db8::2", 2)),
                               ("post", "/flow", GO), ("get", "/dummy/start", None)):
        answer = daemon.api.call(method.upper(), path, body)
        answer.problem(503, "flows.max")
        document.check(method, path, answer)


def test_not_ready(plain, directory):
    """503 of /readyz while the fifo isn't there; /healthz is well."""
    daemon = plain()
    document = Document(daemon.api.get("/openapi.json").json)
    (directory / "other").write_text("")
    (directory / "other").rename(directory / "fifo")
    until(lambda: daemon.api.get("/readyz").status == 503, "/readyz to say so")
    document.check("get", "/readyz", daemon.api.get("/readyz"))
    document.check("get", "/healthz", daemon.api.get("/healthz").expect(200))


def test_methods_and_paths(plain):
    """405 with what the document has at the path, 404 where it has nothing."""
    daemon = plain()
    document = Document(daemon.api.get("/openapi.json").json)
    for path, item in document.document["paths"].items():
        answer = daemon.api.call("PUT", path.replace("{id}", NO_FLOW), b"{}")
        answer.problem(405)
        allowed = {one.strip().lower() for one in answer.headers["Allow"].split(",")}
        assert allowed - {"head"} == {one for one in item if one in METHODS}, (path, allowed)
    daemon.api.get("/v1/nothing").problem(404)


@pytest.mark.parametrize("change", ["status", "schema", "type"])
def test_check_can_fail(plain, change):
    """The check itself: an answer that the document doesn't have is found."""
    daemon = plain()
    text = daemon.api.get("/openapi.json").json
    answer = daemon.api.get("/healthz")
    Document(text).check("get", "/healthz", answer)
    responses = json.loads(json.dumps(text))["paths"]["/healthz"]["get"]["responses"]
    if change == "status":
        del responses["200"]
    elif change == "type":
        responses["200"]["content"] = {"text/plain": {}}
    else:
        responses["200"]["content"]["application/json"]["schema"] = {"required": ["nothing"]}
    text["paths"]["/healthz"]["get"]["responses"] = responses
    with pytest.raises((AssertionError, jsonschema.ValidationError)):
        Document(text).check("get", "/healthz", answer)
