# SPDX-License-Identifier: Apache-2.0
"""
The registry by URL: what is taken from it, what is not, what stands in for it, and that flowd never
waits for it.
"""

import json
import shutil
import socket
import subprocess

import pytest

from lab.api_client import Api, event, line
from lab.daemon_config import base_config
from lab.exposition import scrape
from lab.registry_server import HUGE, RegistryServer, certificate, registry
from lab.waiting import DEADLINE_S, until

BODY = registry(atlas=(2, {"default": 1, "Analysis Input": 17}), Belle_II=(6, {"Data Challenge": 4}))
RENAMED = registry(atlas=(2, {"default": 1, "Analysis Input": 18}), newcomer=(20, {"first": 1}))
COPY = ("state", "registry.json")


@pytest.fixture
def server(single):
    with RegistryServer(single, BODY) as server:
        yield server


@pytest.fixture
def following(make_flowd, single, directory, server):
    """A daemon that follows the server, or whatever is given instead."""

    def start(environment=None, prefix=(), **places):
        config = base_config(directory)
        config["registry"] = {"url": server.url, **places}
        config["backends"]["prometheus"] = {}
        daemon = make_flowd(single, config, environment=environment, prefix=prefix).start()
        daemon.api = Api(single)
        return daemon

    return start


def counts(daemon):
    return daemon.api.status()["registry"]


def taken(daemon, number=1):
    until(lambda: counts(daemon)["taken"] == number, lambda: f"a registry: {counts(daemon)}")


def failed(daemon, number=1, timeout=DEADLINE_S):
    until(lambda: counts(daemon)["failed"] == number, lambda: f"a failure: {counts(daemon)}", timeout)
    return counts(daemon)["error"]


def knows(daemon, name, number, port=1):
    flow = daemon.api.post({**event("2001:db8::1", port, "2001:db8::2", 9), "experiment": name}).expect(201, 200).json
    daemon.api.post({**event("2001:db8::1", port, "2001:db8::2", 9), "experiment": name, "state": "end"})
    assert flow["experiment"] == number


def serves_events(daemon):
    """Both ways in work, one after the other, whatever the registry does meanwhile."""
    before = daemon.api.status()["flows"]["started"]
    daemon.write_fifo(line("start", "2001:db8::1", 1000, "2001:db8::2", 9))
    until(lambda: daemon.api.status()["flows"]["started"] == before + 1, "the flow of the fifo")
    for port in range(1001, 1021):
        daemon.api.post(event("2001:db8::1", port, "2001:db8::2", 9)).expect(201)
    assert daemon.api.live() == 21


def test_names_come_by_url(following, server, single):
    """Numbers are stored and names shown, so a flow lives through a registry that changes."""
    server.etag = '"one"'
    daemon = following()
    taken(daemon)
    flow = daemon.api.post({**event("2001:db8::1", 1, "2001:db8::2", 2), "experiment": "belle-ii",
                            "activity": "data_challenge"}).expect(201).json
    assert (flow["experiment"], flow["activity"]) == (6, 4)
    daemon.write_fifo("start udp 2001:db8::1 3 2001:db8::2 4 ATLAS Analysis_Input\n")
    until(lambda: daemon.api.live() == 2, "the flow of the fifo")
    assert daemon.api.get("/readyz").status == 200
    status = counts(daemon)
    assert status["origin"] == server.url and status["experiments"] == 2 and "error" not in status
    samples = scrape(Api(single, port=9000)).samples
    assert samples["flowd_registry_fetches_total", frozenset({("result", "taken")})] == 1

    server.body, server.etag = RENAMED, '"two"'
    assert "reloaded" in daemon.reload(expect="reloaded")
    taken(daemon, 2)
    flows = {flow["srcPort"]: (flow["experiment"], flow["activity"]) for flow in daemon.api.flows()}
    assert flows == {1: (6, 4), 3: (2, 17)}
    knows(daemon, "newcomer", 20)
    daemon.api.post({**event("2001:db8::1", 5, "2001:db8::2", 2), "experiment": "Belle_II"}).problem(422, "experiment")


@pytest.mark.parametrize("header,value", [("If-None-Match", '"one"'),
                                          ("If-Modified-Since", "Sat, 01 Jan 2022 00:00:00 GMT")])
def test_what_has_not_changed_is_not_sent_again(following, server, directory, header, value):
    """By ETag or date, also after a restart, which has the names before anybody answers."""
    server.etag, server.modified = (value, None) if header == "If-None-Match" else (None, value)
    daemon = following()
    taken(daemon)
    daemon.reload(expect="reloaded")
    until(lambda: counts(daemon)["unchanged"] == 1, "the 304")
    assert header not in server.requests[0] and server.requests[1][header] == value
    assert directory.joinpath(*COPY).read_text() == BODY
    daemon.stop()
    server.mode = "never"
    daemon.start()
    daemon.api = Api(daemon.namespace)
    knows(daemon, "atlas", 2)
    until(lambda: len(server.requests) == 3, "the request")
    assert server.requests[2][header] == value


def test_it_is_asked_for_once_in_a_while(following, server):
    daemon = following(refresh=1)
    taken(daemon)
    server.body = RENAMED
    until(lambda: counts(daemon)["taken"] >= 2, "the next one")
    knows(daemon, "newcomer", 20)
    server.mode = 500
    assert "500" in failed(daemon)
    until(lambda: counts(daemon)["failed"] >= 2, "another failure")
    server.mode = "ok"
    daemon.wait_log("answers again")
    assert "error" not in counts(daemon)
    assert daemon.log().count("answers with status 500") == 1


BAD = {
    "not found": (404, BODY, "404"),
    "broken": (500, BODY, "500"),
    "not modified": (304, BODY, "304"),
    "no JSON": ("ok", "<html>", "line 1"),
    "cut JSON": ("ok", BODY[:-10], "line 1"),
    "cut": ("cut", BODY, ""),
    "other JSON": ("ok", '{"error": "none"}', "experiments"),
    "a list": ("ok", "[1, 2]", "experiments"),
    "wrong types": ("ok", '{"experiments": [{"expName": 1, "expId": "2"}]}', "name and a number"),
    "empty": ("ok", "", "empty"),
    "no experiments": ("ok", '{"experiments": []}', "no experiments"),
    "huge": ("ok", BODY + " " * HUGE, "bytes"),
    "a loop": ("loop", BODY, "redirect"),
}


@pytest.mark.parametrize("bad", BAD, ids=lambda name: name.replace(" ", "-"))
def test_what_is_no_good_changes_nothing(following, server, directory, bad):
    daemon = following()
    taken(daemon)
    copy = directory.joinpath(*COPY)
    kept = copy.read_bytes()
    server.mode, server.body, why = BAD[bad]
    mark = daemon.log_size()
    daemon.reload(expect="reloaded")
    error = failed(daemon)
    assert why in error, error
    assert counts(daemon)["experiments"] == 2 and copy.read_bytes() == kept
    knows(daemon, "belle_ii", 6)
    assert daemon.log(mark).count("keep their names") == 1
    assert daemon.api.get("/readyz").status == 200


@pytest.mark.parametrize("mode", ["never", "drip"])
def test_nobody_waits_for_a_slow_one(following, server, mode):
    """Events are taken and answered meanwhile; after its time the request has failed."""
    server.mode = mode
    daemon = following()
    until(lambda: server.requests, "the request")
    serves_events(daemon)
    assert counts(daemon)["failed"] == 0
    assert "within" in failed(daemon, timeout=2 * DEADLINE_S)
    server.mode = "ok"
    daemon.reload(expect="reloaded")
    taken(daemon)


def test_nobody_waits_for_a_name(following, server, single, directory):
    """A name server that never answers holds up neither events, nor the next request, nor the end."""
    resolv = directory / "resolv.conf"
    resolv.write_text("nameserver 127.0.0.1\n")
    with single.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 53))
        silent.settimeout(DEADLINE_S)
        daemon = following(
            url="http://registry.example.org/api.json",
            prefix=["unshare", "-m", "sh", "-c", f'mount --bind {resolv} /etc/resolv.conf && exec "$@"', "sh"])
        assert b"registry" in silent.recv(1000)
        serves_events(daemon)
        daemon.config["registry"]["url"] = server.url
        daemon.reload(daemon.config, expect="reloaded")
        taken(daemon)
        knows(daemon, "atlas", 2)
        daemon.stop()


@pytest.mark.parametrize("copy", ["good", "damaged", "of another URL", "edited", "none"])
def test_down_at_the_start(following, server, directory, single, copy):
    """The copy stands in. One that is not what came from this URL does not, and the log says why."""
    daemon = following()
    taken(daemon)
    daemon.stop()
    server.close()
    path = directory.joinpath(*COPY)
    if copy == "damaged":
        path.write_bytes(path.read_bytes()[:-20])
    elif copy == "edited":
        path.write_text(BODY.replace('"atlas"', '"atlantis"'))
    elif copy == "of another URL":
        daemon.config["registry"]["url"] += "?other"
    elif copy == "none":
        path.unlink()
    mark = daemon.log_size()
    daemon.start()
    daemon.api = Api(single)
    failed(daemon)
    named = event("2001:db8::1", 1, "2001:db8::2", 2, experiment="atlas", activity=1)
    if copy == "good":
        assert counts(daemon)["age"] > 0
        daemon.api.post(named).expect(201)
    else:
        daemon.api.post(named).problem(422, "experiment")
        daemon.api.post({**named, "experiment": 2}).expect(201)
    assert ("the copy is not used" in daemon.log(mark)) == (copy in ("damaged", "edited"))
    with RegistryServer(single, BODY, port=server.port):
        daemon.reload(expect="reloaded")
        taken(daemon)
        knows(daemon, "atlas", 2, port=7)


def test_a_file_until_the_url_answers(following, server, directory):
    """With both the file counts at once, and what the URL has said goes before it, from then on."""
    path = directory / "local.json"
    path.write_text(registry(local=(30, {"x": 1}), atlas=(31, {})))
    server.mode = 500
    daemon = following(path=str(path), refresh=1)
    knows(daemon, "local", 30)
    failed(daemon)
    knows(daemon, "atlas", 31)
    server.mode = "ok"
    taken(daemon)
    knows(daemon, "atlas", 2)
    server.mode = "never"
    daemon.reload(expect="reloaded")
    knows(daemon, "atlas", 2)
    daemon.stop()
    daemon.start()
    daemon.api = Api(daemon.namespace)
    knows(daemon, "atlas", 2)
    daemon.config["registry"] = {"path": str(path)}
    daemon.reload(daemon.config, expect="reloaded")
    knows(daemon, "atlas", 31)


@pytest.mark.parametrize("trusted,name", [("file", None), ("directory", None), (None, None),
                                          ("file", "DNS:other.example.org")],
                         ids=["by-file", "by-directory", "unknown", "of-another-host"])
def test_certificates_are_verified(following, single, directory, trusted, name):
    path = certificate(directory, *([name] if name else []))
    hashed = directory / "trusted"
    hashed.mkdir()
    shutil.copy(path, hashed)
    subprocess.run(["openssl", "rehash", str(hashed)], check=True)
    environment = {"file": {"SSL_CERT_FILE": str(path)}, "directory": {"SSL_CERT_DIR": str(hashed)}}.get(trusted)
    with RegistryServer(single, BODY, certificate=path) as secure:
        daemon = following(url=secure.url, environment=environment)
        if trusted and name is None:
            taken(daemon)
            knows(daemon, "atlas", 2)
        else:
            error = failed(daemon)
            assert "SSL" in error or "certificate" in error, error
            assert secure.requests == []


def test_redirects_keep_their_security(following, single, directory, server):
    """From http to https, but not back."""
    path = certificate(directory)
    environment = {"SSL_CERT_FILE": str(path)}
    with RegistryServer(single, RENAMED, certificate=path) as secure:
        server.mode = secure.url
        daemon = following(environment=environment)
        taken(daemon)
        knows(daemon, "newcomer", 20)
        server.mode, secure.mode = "ok", server.url
        daemon.config["registry"]["url"] = secure.url
        daemon.reload(daemon.config, expect="reloaded")
        assert "http" in failed(daemon) and len(server.requests) == 1
        knows(daemon, "newcomer", 20)


def test_a_proxy_of_the_environment(following, server):
    daemon = following(url="http://registry.example.org/api.json",
                       environment={"http_proxy": f"http://127.0.0.1:{server.port}"})
    taken(daemon)
    assert server.requests[0]["path"] == "http://registry.example.org/api.json"


@pytest.mark.parametrize("url", ["ftp://example.org/api.json", "file:///etc/hostname", "example.org", "https://"])
def test_other_urls_are_mistakes(flowd_command, directory, url):
    path = directory / "config.json"
    path.write_text(json.dumps({"registry": {"url": url}}))
    done = flowd_command("-c", path, "check")
    assert done.returncode == 2 and "registry.url" in done.stderr, done


def test_without_libcurl(following, server, directory):
    """It is loaded when it is needed, so flowd goes on where it can't be."""
    empty = directory / "libcurl.so.4"
    empty.write_text("no library")
    daemon = following(environment={"LD_LIBRARY_PATH": str(directory)})
    assert "install libcurl" in failed(daemon)
    serves_events(daemon)


# -- names in the API ----------------------------------------------------------------------------

# What is written for the experiment 6 "Belle II", and for what nobody knows.
GOOD_NAMES = ["Belle_II", "belle_ii", "BELLEII", "Belle II", "belle-ii", "6"]
UNKNOWN_NAMES = ["belle", "belle_iii", "", "1024", "-6", "n" * 200]


def test_the_registry_is_shown(following, server):
    daemon = following()
    taken(daemon)
    shown = daemon.api.get("/v1/registry").expect(200).json
    assert shown.pop("age") >= 0
    belle = {"experiment": 6, "experimentName": "Belle II",
             "activities": [{"activity": 4, "activityName": "Data Challenge"}]}
    assert shown == {"origin": server.url, "experiments": [
        {"experiment": 2, "experimentName": "atlas", "activities": [
            {"activity": 1, "activityName": "default"}, {"activity": 17, "activityName": "Analysis Input"}]}, belle]}
    for name in GOOD_NAMES:
        found = daemon.api.get("/v1/registry?name=" + name.replace(" ", "%20")).expect(200).json
        assert found["experiments"] == [belle], name
    for name in [*UNKNOWN_NAMES, "7"]:
        daemon.api.get(f"/v1/registry?name={name}").problem(404, "experiment")
    for query in ("nam=atlas", "name=atlas&name=atlas", "name=%zz", "name=" + "n" * 300):
        daemon.api.get(f"/v1/registry?{query}").problem(400)
    daemon.api.call("POST", "/v1/registry", {}).problem(405)


def test_without_a_registry(plain):
    daemon = plain()
    assert daemon.api.get("/v1/registry").expect(200).json == {"experiments": []}
    daemon.api.get("/v1/registry?name=atlas").problem(404, "no registry is loaded")
    flow = daemon.api.post(event("2001:db8::1", 1, "2001:db8::2", 2)).expect(201).json
    assert "experimentName" not in flow and "activityName" not in flow


def test_names_are_taken_and_shown_everywhere(following):
    """By fifo, API and flowd-go's API, in any case; an unknown one is refused by each."""
    daemon = following()
    taken(daemon)
    shown = {"experiment": 6, "activity": 4, "experimentName": "Belle II", "activityName": "Data Challenge"}
    number = 0
    for name in GOOD_NAMES:
        number += 1
        flow = daemon.api.post(event("2001:db8::1", number, "2001:db8::2", 1, name, "data_CHALLENGE")).expect(201).json
        assert {key: flow[key] for key in shown} == shown
        assert daemon.api.get(f"/v1/flows/{flow['id']}").json["experimentName"] == "Belle II"
        if " " in name:
            continue
        daemon.write_fifo(f"start tcp 2001:db8::1 {number} 2001:db8::2 2 {name} DATA_challenge\n")
        until(lambda: len(daemon.api.flows(f"&experiment={name}&activity=datachallenge")) == daemon.api.live(), name)
    number = daemon.api.live()
    assert all({key: flow[key] for key in shown} == shown for flow in daemon.api.flows())
    refused = daemon.api.status()["events"]["namedPipe"]["malformed"]
    for count, name in enumerate(UNKNOWN_NAMES, 1):
        daemon.api.post(event("2001:db8::1", 999, "2001:db8::2", 1, name, 4)).problem(422, "experiment")
        daemon.api.post(event("2001:db8::1", 999, "2001:db8::2", 1, 6, name)).problem(422, "activity")
        daemon.write_fifo(f"start tcp 2001:db8::1 999 2001:db8::2 2 {name or '_'} 4\n")
        until(lambda: daemon.api.status()["events"]["namedPipe"]["malformed"] == refused + count, name)
        daemon.api.get(f"/v1/flows?experiment={name}").problem(400)
    assert daemon.api.live() == number
    # A number without a name is as good as one with.
    flow = daemon.api.post(event("2001:db8::1", 998, "2001:db8::2", 1, 6, 5)).expect(201).json
    assert flow["experimentName"] == "Belle II" and "activityName" not in flow
