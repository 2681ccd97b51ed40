# SPDX-License-Identifier: Apache-2.0
"""Public addresses of private ones: by hand, by STUN servers, by http services; in fireflies."""

import contextlib
import http.server
import json
import socket
import threading

import pytest

from lab import natted, stun_servers
from lab.api_client import Api, event
from lab.collector import Collector
from lab.daemon_config import base_config
from lab.flowd_process import one_shot
from lab.natted import INSIDE4, INSIDE6, ROUTER4, ROUTER6, SERVER4, SERVER6, Natted
from lab.waiting import until

PEER = "2001:db8:77::99"


@pytest.fixture
def nat():
    space = Natted()
    yield space
    space.remove()


@pytest.fixture
def behind(nat, make_flowd, directory):
    """A daemon behind the router."""

    def start(stun, plugins=None, **firefly):
        config = base_config(directory)
        config["plugins"].update(plugins or {})
        config["backends"] = {"firefly": {"sendToDestination": False, "stun": stun,
                                          "collectors": [f"{SERVER4}:10514"], **firefly}}
        daemon = make_flowd(nat.host, config).start()
        daemon.api = Api(nat.host)
        return daemon

    return start


def known(daemon):
    """Public addresses by address."""
    return {one["address"]: one for one in daemon.api.module("firefly", "backend")["publicAddresses"]}


def wait_public(daemon, address, public):
    until(lambda: known(daemon).get(address, {}).get("public") == public,
          lambda: f"{address} is {public}: {known(daemon)}")
    return known(daemon)[address]


def shown(daemon, collector, src, dst, port):
    """The flow-id of a flow's start."""
    daemon.api.post(event(src, port, dst, 443)).expect(201)
    return until(lambda: [one.flow for one in collector.fireflies() if one.flow["src-port"] == port],
                 "the firefly")[0]


def test_by_hand(nat, behind):
    mapping = {INSIDE4: "192.0.2.77", INSIDE6: "2001:db8::77"}
    daemon = behind({"manualMapping": mapping})
    with Collector(nat.server, SERVER4) as collector:
        flow = shown(daemon, collector, INSIDE6, PEER, 1)
        assert (flow["src-ip"], flow["dst-ip"]) == ("2001:db8::77", PEER)
        flow = shown(daemon, collector, "198.51.100.1", INSIDE4, 2)
        assert (flow["src-ip"], flow["dst-ip"]) == ("198.51.100.1", "192.0.2.77")
    # The flow itself has the addresses that its packets have.
    assert {f["src"] for f in daemon.api.flows()} == {INSIDE6, "198.51.100.1"}
    assert {a: one["by"] for a, one in known(daemon).items()} == dict.fromkeys(mapping, "manualMapping")


@pytest.mark.parametrize("loss", [False, True], ids=["quiet", "every-second-packet-lost"])
def test_coturn(nat, behind, directory, loss):
    if loss:
        nat.lose_every_second()
    with stun_servers.coturn(nat.server, directory):
        daemon = behind({"stunServers": [f"{SERVER4}:3478", f"[{SERVER6}]:3478"]})
        one = wait_public(daemon, INSIDE4, ROUTER4)
        assert (one["by"], one["via"]) == ("stun", f"{SERVER4}:3478")
        one = wait_public(daemon, INSIDE6, ROUTER6)
        assert (one["by"], one["via"]) == ("stun", f"[{SERVER6}]:3478")
    if loss:
        return
    with Collector(nat.server, SERVER4) as collector:
        assert shown(daemon, collector, INSIDE6, PEER, 1)["src-ip"] == ROUTER6


def test_stun_server(nat, behind, directory):
    with stun_servers.stund(nat.server, directory):
        daemon = behind({"stunServers": [f"stun:{SERVER4}"]})
        wait_public(daemon, INSIDE4, ROUTER4)
    assert "public" not in known(daemon)[INSIDE6]


def test_forged_answers(nat, behind):
    """Of another transaction, from another port, from another address: none of them is taken."""

    def reply(server, request, peer):
        forged = stun_servers.answer(request, "192.0.2.66", 66)
        server.socket.sendto(stun_servers.answer(request, "192.0.2.66", 66, b"x" * 12), peer)
        server.socket.sendto(b"", peer)
        server.socket.sendto(request, peer)
        for address, port in ((SERVER4, 3479), (natted.SERVER4_OTHER, 3478)):
            with nat.server.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                with contextlib.suppress(OSError):
                    other.bind((address, port))
                other.sendto(forged, (peer[0].removeprefix("::ffff:"), peer[1]))
        if len(server.requests) >= 3:
            server.socket.sendto(stun_servers.answer(request, ROUTER4, 1), peer)

    with stun_servers.Server(nat.server, reply) as server:
        daemon = behind({"stunServers": [SERVER4]})
        wait_public(daemon, INSIDE4, ROUTER4)
        assert len(server.requests) >= 3
        assert len({request[8:20] for request, _ in server.requests}) == 1
        counts = daemon.api.module("firefly", "backend")["publicAddressQuestions"]
        assert counts["answered"] == 1 and counts["ignored"] >= 6, counts


def test_one_after_another(nat, behind):
    """A closed port (ICMP) and an error lead on to the next; a private answer is none."""

    def error(server, request, peer):
        server.socket.sendto(b"\x01\x11\x00\x08" + request[4:20] + b"\x00\x09\x00\x04\x00\x00\x04\x00", peer)

    def private(server, request, peer):
        server.socket.sendto(stun_servers.answer(request, "192.168.7.7", 1), peer)

    def right(server, request, peer):
        server.socket.sendto(stun_servers.answer(request, ROUTER4, 1), peer)

    with stun_servers.Server(nat.server, error, port=4001), \
            stun_servers.Server(nat.server, private, port=4002), \
            stun_servers.Server(nat.server, right, port=4003):
        daemon = behind({"stunServers": [f"{SERVER4}:{port}" for port in (4000, 4001, 4002, 4003)]})
        assert wait_public(daemon, INSIDE4, ROUTER4)["via"] == f"{SERVER4}:4003"
    assert daemon.api.module("firefly", "backend")["publicAddressQuestions"]["failed"] >= 3


class _Service(http.server.ThreadingHTTPServer):
    """Answers with the address that it is asked from, as such services do."""

    address_family = socket.AF_INET6
    daemon_threads = True

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = (self.client_address[0].removeprefix("::ffff:") + "\n").encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass


@contextlib.contextmanager
def http_service(space):
    with space.entered():
        server = _Service(("::", 8000), _Service.Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_http_after_stun(nat, behind):
    with http_service(nat.server):
        daemon = behind({"stunServers": [f"{SERVER4}:4000", f"[{SERVER6}]:4000"],
                         "httpServices": [f"http://{SERVER4}:8000/", f"http://[{SERVER6}]:8000/"]})
        assert wait_public(daemon, INSIDE4, ROUTER4)["by"] == "http"
        assert wait_public(daemon, INSIDE6, ROUTER6)["via"] == f"http://[{SERVER6}]:8000/"


def test_addresses_that_change(nat, behind, directory):
    with stun_servers.coturn(nat.server, directory):
        daemon = behind({"stunServers": [SERVER4]})
        wait_public(daemon, INSIDE4, ROUTER4)
        nat.host.add_address("veth0", "10.77.0.3/24")
        wait_public(daemon, "10.77.0.3", ROUTER4)
        nat.host.ip("address", "del", "10.77.0.3/24", "dev", "veth0")
        until(lambda: "10.77.0.3" not in known(daemon), "the address is forgotten")
        # The router's own address changes with the host's: who is asked again sees it.
        nat.router.ip("address", "del", f"{ROUTER4}/24", "dev", "outside")
        nat.router.add_address("outside", "203.0.113.9/24")
        nat.host.add_address("veth0", "10.77.0.4/24")
        wait_public(daemon, INSIDE4, "203.0.113.9")


def test_nobody_answers(nat, behind):
    """flowd is ready, sends what it knows, and says once what it does not."""
    daemon = behind({"stunServers": [f"{SERVER4}:4000"]})
    with Collector(nat.server, SERVER4) as collector:
        assert shown(daemon, collector, INSIDE4, "198.51.100.1", 1)["src-ip"] == INSIDE4
    until(lambda: f"nobody says how {INSIDE4} is seen" in daemon.log(), daemon.log)
    assert "refused" in known(daemon)[INSIDE4]["error"]
    assert "no address of that family" in known(daemon)[INSIDE6]["error"]


def test_reload(nat, behind):
    daemon = behind({"manualMapping": {INSIDE4: "192.0.2.77"}})
    daemon.config["backends"]["firefly"]["stun"] = {"manualMapping": {INSIDE4: "192.0.2.78"}}
    daemon.reload(daemon.config)
    assert wait_public(daemon, INSIDE4, "192.0.2.78")


def test_reload_keeps_what_is_known(nat, behind, directory):
    """Nobody answers after it, and fireflies go on with the public address; by hand goes before."""
    with stun_servers.coturn(nat.server, directory):
        daemon = behind({"stunServers": [SERVER4]})
        wait_public(daemon, INSIDE4, ROUTER4)
    daemon.reload(daemon.config)
    with Collector(nat.server, SERVER4) as collector:
        assert shown(daemon, collector, INSIDE4, "198.51.100.1", 1)["src-ip"] == ROUTER4
    assert known(daemon)[INSIDE4]["by"] == "stun"
    daemon.config["backends"]["firefly"]["stun"]["manualMapping"] = {INSIDE4: "192.0.2.78"}
    daemon.reload(daemon.config)
    assert wait_public(daemon, INSIDE4, "192.0.2.78")["by"] == "manualMapping"
    daemon.config["backends"]["firefly"]["stun"] = {}
    daemon.reload(daemon.config)
    with Collector(nat.server, SERVER4) as collector:
        assert shown(daemon, collector, INSIDE4, "198.51.100.1", 2)["src-ip"] == INSIDE4


def test_relayed_fireflies(nat, behind):
    """Only the addresses that are mapped change; every other byte is the sender's."""
    daemon = behind({"manualMapping": {INSIDE6: "2001:db8::77"}}, plugins={"firefly": {}})
    sent = (b'<134>1 2026-01-01T00:00:00.000000+00:00 storage.example.org flowd - firefly-json - '
            b'{ "version":1, "flow-lifecycle":{"state":"start","current-time":"2026-01-01T00:00:00+00:00",'
            b'"start-time":"2026-01-01T00:00:00+00:00"}, "flow-id":{"afi":"ipv6", "src-ip" : "%s",'
            b'"dst-ip":"2001:db8:77::99","protocol":"tcp","src-port":1094,"dst-port":40000},'
            b'"context":{"experiment-id":2,"activity-id":17,"application":"x"},"storage-stats":{"a": [1,  2]}}')
    with Collector(nat.server, SERVER4) as collector, \
            nat.host.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(sent % INSIDE6.encode(), ("127.0.0.1", 10514))
        assert collector.wait(1)[0].datagram == sent % b"2001:db8::77"
    assert daemon.api.flows()[0]["src"] == INSIDE6


def test_no_loop(nat, behind):
    """flowd's own firefly that comes back bears the public address, and starts nothing."""
    daemon = behind({"manualMapping": {INSIDE6: "2001:db8::77"}}, plugins={"firefly": {}},
                    collectors=[f"{SERVER4}:10514", "127.0.0.1:10514"])
    with Collector(nat.server, SERVER4) as collector:
        assert shown(daemon, collector, INSIDE6, PEER, 1)["src-ip"] == "2001:db8::77"
        until(lambda: daemon.api.module("firefly", "plugin")["again"] >= 1, "its own comes back")
        assert [flow["src"] for flow in daemon.api.flows()] == [INSIDE6]


def test_command(nat, directory):
    config = base_config(directory)
    path = directory / "config.json"

    def public_ip(stun):
        config["backends"] = {"firefly": {"stun": stun}}
        path.write_text(json.dumps(config))
        done = one_shot(directory, "-c", path, "public-ip",
                        prefix=["nsenter", f"--net={nat.host.path}", "--"])
        return done, [one.split(None, 2) for one in done.stdout.splitlines()]

    done, lines = public_ip({})
    assert done.returncode == 1 and [INSIDE4, "-"] in [one[:2] for one in lines], done
    nat.host.add_address("veth0", "2001:db8:1::5/64")
    with stun_servers.coturn(nat.server, directory):
        done, lines = public_ip({"stunServers": [SERVER4, SERVER6],
                                 "manualMapping": {"10.9.9.9": "192.0.2.9"}})
    assert done.returncode == 0, done
    assert [INSIDE4, ROUTER4, f"stun {SERVER4}"] in lines
    assert [INSIDE6, ROUTER6, f"stun {SERVER6}"] in lines
    assert ["10.9.9.9", "192.0.2.9", "manualMapping"] in lines
    assert ["2001:db8:1::5", "2001:db8:1::5", "is public itself"] in lines
    (directory / "bad.json").write_text("{")
    assert one_shot(directory, "-c", directory / "bad.json", "public-ip").returncode == 2
