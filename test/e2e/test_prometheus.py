# SPDX-License-Identifier: Apache-2.0
"""backends.prometheus: what is exported of whom, how long, and what a reader may ask for."""

import contextlib
import copy
import json
import pathlib
import select
import socket

import pytest

from lab.api_client import Api, connect, event
from lab.daemon_config import base_config
from lab.exposition import OPENMETRICS, TYPES, Metrics, documented, scrape
from lab.netns import Pair
from lab.prometheus_server import Prometheus, check_metrics
from test_sampling import connected
from lab.traffic import Tcp, receive_label, udp_socket
from lab.waiting import until

DATA = pathlib.Path(__file__).parents[1] / "data"
PERIOD_MS = 100


@pytest.fixture
def exporting(make_flowd, pair, directory, pin_path):
    """A daemon on the near side with everything on, its API client, and one for /metrics."""

    def start(registry=None, finders=False, **options):
        config = base_config(directory, pin_path)
        config["backends"]["firefly"] = {}
        config["backends"]["log"] = {"path": str(directory / "flows")}
        config["backends"]["prometheus"] = options
        config["enrichers"] = {"period": PERIOD_MS, "netlink": {}}
        if finders:
            config["enrichers"]["skops"] = {}
            config["plugins"].update({"netlink": {"ignorePrivate": True},
                                      "iperf3": {"minDestinationPort": 9, "maxDestinationPort": 9}})
        if registry is not None:
            config["registry"] = {"path": str(registry)}
        daemon = make_flowd(pair.near, config).start()
        daemon.api = Api(pair.near)
        daemon.exporter = Api(pair.near, port=options.get("port", 9000))
        return daemon

    return start


def announce(daemon, flow, **members):
    return daemon.api.post(event(*flow, **{"protocol": "tcp", **members})).expect(201).json["id"]


def series_ports(metrics):
    """The source ports of the flows that have series."""
    return {int(one["flow"].partition(":")[0]) for one in metrics.labels("flow_tcp_rtt")}


def wait_series(daemon, *ports):
    """Waits until just the flows with these source ports have series."""
    def there():
        metrics = scrape(daemon.exporter)
        return metrics if series_ports(metrics) == set(ports) else None

    return until(there, f"series of {ports}")


@pytest.mark.parametrize("source,target", [(Pair.NEAR, Pair.FAR), (Pair.NEAR4, Pair.FAR4)])
def test_series_of_a_flow(exporting, pair, source, target):
    """Every documented name, the labels, and numbers that are the socket's."""
    daemon = exporting(registry=DATA / "registry.json")
    with Tcp(pair.near, pair.far, source, target) as connection:
        connection.connect()
        flow = (source, connection.sport, target, connection.port)
        announce(daemon, flow)
        connection.exchange(100_000, 2_000)

        def arrived():
            metrics = scrape(daemon.exporter)
            there = (metrics.value("flow_tcp_bytes_sent_total"),
                     metrics.value("flow_tcp_bytes_received_total"))
            return metrics if there == (100_000, 2_000) else None

        metrics = until(arrived, "a sample with all bytes")
    assert metrics.flow(connection.sport).keys() == documented().keys()
    assert {name: metrics.types[name] for name in documented()} == documented()
    expected = {"exp": "atlas", "act": "Analysis Input", "src": source, "dst": target,
                "flow": f"{connection.sport}:{connection.port}"}
    for name in documented():
        (labels,) = metrics.labels(name)
        if name == "flow_tcp_ca_info":
            assert "wscale:" in labels.pop("opts")
        assert labels == expected, name
    assert metrics.value("flow_tcp_ca_info") == 1
    assert metrics.value("flow_tcp_bytes_acked_total") == 100_001  # with the SYN
    assert 0 < metrics.value("flow_tcp_minrtt") <= metrics.value("flow_tcp_rtt") < 10_000
    assert metrics.value("flow_tcp_pmtu") == 1500


def test_series_go_with_their_flow(exporting, pair):
    """By a DELETE, by a close, and by another tag, which begins another flow."""
    daemon = exporting()
    with connected(pair, 2) as (one, other), Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as third:
        third.connect()
        first = announce(daemon, one)
        announce(daemon, other)
        announce(daemon, (Pair.NEAR, third.sport, Pair.FAR, third.port))
        announce(daemon, (Pair.NEAR, 9, Pair.FAR, 9), protocol="udp")
        announce(daemon, (Pair.NEAR, 10, Pair.FAR, 9))  # no such socket
        wait_series(daemon, one[1], other[1], third.sport)
        daemon.api.delete(f"/v1/flows/{first}").expect(200, 204)
        assert series_ports(scrape(daemon.exporter)) == {other[1], third.sport}
        third.client.close()
        third.server.close()
        wait_series(daemon, other[1])
        announce(daemon, other, experiment=3)
        metrics = scrape(daemon.exporter)
        assert [one for one in metrics.labels("flow_tcp_rtt") if one["exp"] == "2"] == []
        metrics = wait_series(daemon, other[1])
        assert [one["exp"] for one in metrics.labels("flow_tcp_rtt")] == ["3"]


def test_what_the_daemon_counts(exporting, pair):
    """Events, marks and fireflies, each under its labels."""
    daemon = exporting()
    before = scrape(daemon.exporter)
    assert before.value("flowd_events_total", plugin="api", state="start", result="started") == 0
    with udp_socket(pair.far, Pair.FAR) as receiver, udp_socket(pair.near, Pair.NEAR) as sender:
        flow = (Pair.NEAR, sender.getsockname()[1], *receiver.getsockname()[:2])
        one = daemon.api.post(event(*flow)).expect(201).json["id"]
        daemon.api.post(event(*flow)).expect(200)
        for _ in range(3):
            sender.sendto(b"", flow[2:])
            assert receive_label(receiver)[1] != 0
        metrics = scrape(daemon.exporter)
    daemon.api.delete(f"/v1/flows/{one}").expect(200, 204)
    daemon.api.post(event(*flow, state="end")).expect(200)
    after = scrape(daemon.exporter)
    assert (metrics.value("flowd_flows"), after.value("flowd_flows")) == (1, 0)
    for name, labels, count in (
            ("flowd_events_total", {"plugin": "api", "state": "start", "result": "started"}, 1),
            ("flowd_events_total", {"plugin": "api", "state": "start", "result": "known"}, 1),
            ("flowd_events_total", {"plugin": "api", "state": "end", "result": "ended"}, 1),
            ("flowd_events_total", {"plugin": "api", "state": "end", "result": "unknown"}, 1),
            ("flowd_flows_started_total", {}, 1), ("flowd_flows_ended_total", {}, 1),
            ("flowd_marker_packets_total", {"interface": "veth0", "result": "marked"}, 3),
            ("flowd_fireflies_total", {"destination": "destination", "result": "sent"}, 2),
            ("flowd_flow_log_lines_total", {"result": "written"}, 2)):
        assert after.value(name, **labels) == count, (name, labels)
    assert after.value("flowd_build_info") == after.value("flowd_ready") == 1
    assert after.value("flowd_module_up", kind="backend", name="prometheus") == 1
    stat = pathlib.Path(f"/proc/{daemon.pid}/fd")
    assert abs(after.value("process_open_fds") - len(list(stat.iterdir()))) <= 3
    assert after.value("process_start_time_seconds") <= daemon.log_path.stat().st_mtime
    assert after.value("process_cpu_seconds_total") >= before.value("process_cpu_seconds_total") > 0
    assert after.value("process_resident_memory_bytes") > 1 << 20


def test_both_formats_have_the_same(exporting, pair):
    daemon = exporting()
    with connected(pair, 2) as flows:
        for flow in flows:
            announce(daemon, flow)
        wait_series(daemon, *(flow[1] for flow in flows))
        text, other = scrape(daemon.exporter), scrape(daemon.exporter, OPENMETRICS)
    assert text.samples.keys() == other.samples.keys()
    assert {name.removesuffix("_total") if kind == "counter" else name: kind
            for name, kind in text.types.items()} == other.types
    assert len(text.samples) > 150


def odd_registry(directory):
    """A registry whose names hold everything that has a meaning in an exposition."""
    path = directory / "registry.json"
    path.write_text(json.dumps({"experiments": [{
        "expName": 'a"b\\c\nd{e}=", é', "expId": 2,
        "activities": [{"activityName": "\\", "activityId": 17}]}]}))
    return path


def test_promtool_has_nothing_to_say(exporting, pair, directory):
    daemon = exporting(registry=odd_registry(directory), finders=True)
    with connected(pair, 2) as flows, connected(pair, 1, Pair.NEAR4, Pair.FAR4) as flows4:
        for flow in flows + flows4:
            announce(daemon, flow)
        wait_series(daemon, *(flow[1] for flow in flows + flows4))
        text = daemon.exporter.get("/metrics").expect(200).body.decode()
    assert check_metrics(text) == ""
    assert check_metrics(text.replace("# HELP flowd_flows Live flows.\n", "")) != ""
    metrics = Metrics(text)
    assert {one["exp"] for one in metrics.labels("flow_tcp_rtt")} == {'a"b\\c\nd{e}=", é'}
    assert {one["act"] for one in metrics.labels("flow_tcp_rtt")} == {"\\"}
    assert {one["enricher"] for one in metrics.labels("flowd_watched_flows")} == {"netlink", "skops"}
    assert {one["module"] for one in metrics.labels("flowd_sockops_records_total")} == {"iperf3", "skops"}
    assert {"flowd_scans_total", "flowd_scan_duration_seconds"} <= set(metrics.types)


def test_prometheus(exporting, pair, directory):
    """Debian's scrapes it, knows a flow's bytes and names, and sees the series end with the flow."""
    daemon = exporting(registry=odd_registry(directory))
    with Prometheus(pair.near, directory, "127.0.0.1:9000") as prometheus, \
            Tcp(pair.near, pair.far, Pair.NEAR, Pair.FAR) as connection:
        connection.connect()
        flow = (Pair.NEAR, connection.sport, Pair.FAR, connection.port)
        one = announce(daemon, flow)
        connection.exchange(54_321, 12_345)
        name = f'{{flow="{connection.sport}:{connection.port}"}}'
        (labels,) = prometheus.wait("flow_tcp_bytes_sent_total" + name,
                                    lambda found: list(found.values()) == [54_321], "a flow's bytes")
        labels = dict(labels)
        assert (labels["exp"], labels["act"]) == ('a"b\\c\nd{e}=", é', "\\")
        assert (labels["src"], labels["dst"]) == (Pair.NEAR, Pair.FAR)
        prometheus.wait("up", lambda found: list(found.values()) == [1], "a scrape that works")
        prometheus.wait(r'flow_tcp_bytes_received_total{act="\\"}',
                        lambda found: list(found.values()) == [12_345], "what was received")
        known = prometheus.query('count by (__name__) ({__name__=~"flow_tcp_.*"})')
        assert {dict(one)["__name__"] for one in known} == documented().keys()
        metadata = prometheus.get("/api/v1/metadata")
        assert metadata["flow_tcp_rtt"][0]["type"] == "gauge"
        assert "flow_tcp_bytes_sent" in metadata  # a counter's name in OpenMetrics, which it chose
        daemon.api.delete(f"/v1/flows/{one}").expect(200, 204)
        prometheus.wait("flow_tcp_bytes_sent_total", lambda found: not found, "the series' end")
        prometheus.wait("up", lambda found: list(found.values()) == [1], "a scrape that works")


def test_limit(exporting, pair, make_flowd):
    """The flows that began first keep their series, the others are counted, and move up."""
    each = len(documented())
    daemon = exporting(maxSeries=3 * each + 1)
    with connected(pair, 5) as flows:
        ids = [announce(daemon, flow) for flow in flows]
        ports = [flow[1] for flow in flows]

        def left_out(metrics):
            return metrics.value("flowd_prometheus_omitted_series")

        until(lambda: left_out(scrape(daemon.exporter)) == 2 * each, "two flows to be left out")
        metrics = scrape(daemon.exporter)
        assert series_ports(metrics) == set(ports[:3])
        assert metrics.value("flowd_prometheus_series") == 3 * each
        counted = metrics.value("flowd_prometheus_series_omitted_total")
        again = scrape(daemon.exporter)
        assert again.value("flowd_prometheus_series_omitted_total") == counted + 2 * each
        daemon.api.delete(f"/v1/flows/{ids[1]}").expect(200, 204)
        assert series_ports(scrape(daemon.exporter)) == {ports[0], ports[2], ports[3]}

        config = copy.deepcopy(daemon.config)
        config["backends"]["prometheus"].update(maxSeries=0, port=9001)
        assert "backends.prometheus.port: can't change" in daemon.reload(config, "reloaded;")
        metrics = scrape(daemon.exporter)
        assert series_ports(metrics) == set() and left_out(metrics) == 0
        assert metrics.value("flowd_flows") == 4
        config["backends"]["prometheus"].update(maxSeries=1000, port=9000)
        daemon.reload(config, expect="reloaded;")
        assert series_ports(scrape(daemon.exporter)) == {ports[0], *ports[2:]}


def test_what_may_be_asked_for(exporting, pair):
    daemon = exporting()
    exporter = daemon.exporter
    for accept, kind in ((None, "text"), ("*/*", "text"), (OPENMETRICS, "openmetrics")):
        headers = {"Accept": accept} if accept else {}
        answer = exporter.call("HEAD", "/metrics", headers=headers).expect(200)
        assert answer.headers["Content-Type"] == TYPES[kind] and answer.body == b""
        assert answer.headers["Vary"] == "Accept"
        answer = exporter.get("/metrics", headers=headers).expect(200)
        assert answer.headers["Content-Type"] == TYPES[kind]
        assert answer.body.endswith(b"# EOF\n") == (kind == "openmetrics")
    exporter.get("/metrics?collect[]=x").expect(200)
    page = exporter.get("/").expect(200)
    assert page.type == "text/html" and b'href="/metrics"' in page.body
    for path in ("/metrics/", "/Metrics", "//metrics", "/v1/flows", "/metric"):
        exporter.get(path).problem(404)
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        answer = exporter.call(method, "/metrics")
        answer.problem(405)
        assert answer.headers["Allow"] == "GET, HEAD"
        exporter.close()


@pytest.mark.parametrize("request_bytes,status", [
    (b"nonsense\r\n\r\n", 400), (b"GET /metrics HTTP/1.1\r\n\r\n", 400),
    (b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept : */*\r\n\r\n", 400),
    (b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: " + b"a/b," * 5000 + b"\r\n\r\n", 431),
    (b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: \xff;q=;;,\"\r\n\r\n", 200),
    (b"GET /metrics HTTP/1.0\r\n\r\n", 200)])
def test_requests_of_all_kinds(exporting, pair, request_bytes, status):
    daemon = exporting()
    with connect(pair.near, port=9000) as stream, stream.makefile("rb") as answer:
        stream.sendall(request_bytes)
        stream.shutdown(socket.SHUT_WR)
        said = answer.read()
    assert said.startswith(b"HTTP/1.1 %d " % status), said[:200]
    assert (b"process_open_fds" in said) == (status == 200)
    assert daemon.exporter.get("/metrics").status == 200


def begin_scrape(pair):
    """A reader that does not read, with as little room as the kernel grants."""
    stream = pair.near.socket(socket.AF_INET, socket.SOCK_STREAM)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    stream.connect(("127.0.0.1", 9000))
    stream.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
    return stream


def test_slow_readers_among_other_work(exporting, pair):
    """
    Four that don't read hold up nobody: flows start and are marked, and the one that would be too
    many is told so. What they read in the end is whole, and of the moment when they asked.
    """
    pair.near.sysctl("net.ipv4.tcp_wmem", "4096 16384 65536")
    daemon = exporting()
    with contextlib.ExitStack() as stack:
        flows = stack.enter_context(connected(pair, 150))
        daemon.api.post([event(*flow, protocol="tcp") for flow in flows]).expect(200)
        wait_series(daemon, *(flow[1] for flow in flows))
        readers = [stack.enter_context(begin_scrape(pair)) for _ in range(4)]

        until(lambda: daemon.api.module("prometheus")["scrapes"]["underWay"] == 4, "all four")
        answer = daemon.exporter.get("/metrics")
        answer.problem(503, "too many")
        assert answer.headers["Retry-After"] == "1"
        daemon.exporter.call("HEAD", "/").expect(200)
        receiver = stack.enter_context(udp_socket(pair.far, Pair.FAR))
        sender = stack.enter_context(udp_socket(pair.near, Pair.NEAR))
        flow = (Pair.NEAR, sender.getsockname()[1], *receiver.getsockname()[:2])
        many = [event(Pair.NEAR_OTHER, 1 + i % 60000, Pair.FAR_OTHER, 1 + i // 60000)
                for i in range(10_000)]
        daemon.api.post(many).expect(200)
        daemon.api.post(event(*flow)).expect(201)
        sender.sendto(b"", flow[2:])
        assert receive_label(receiver)[1] != 0
        daemon.api.delete("/v1/flows/" + daemon.api.flows("&experiment=2")[0]["id"])
        for reader in readers:
            reader.settimeout(30)
            with reader.makefile("rb") as answer:
                head, _, body = answer.read().partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            metrics = Metrics(body.decode())
            assert series_ports(metrics) == {flow[1] for flow in flows}
            assert len(body) > 500_000
        assert scrape(daemon.exporter).value("flowd_flows") == 150 + 10_000
    assert daemon.api.module("prometheus")["scrapes"]["broken"] == 0


def test_many_lists_at_once(exporting, pair):
    """Requests that all come at once for long lists of flows hold nothing else up until all are answered."""
    daemon = exporting()
    daemon.api.post([event("2001:db8::1", port, "2001:db8::2", 2) for port in range(1, 1001)])
    lists = [connect(pair.near, "127.0.0.1", 7777) for _ in range(400)]
    other = connect(pair.near, "127.0.0.1", 9000)
    until(lambda: daemon.api.get("/v1/status").json["modules"] and
          sum(one.get("connections", 0) for one in daemon.api.get("/v1/status").json["modules"]) >= 401,
          "all connections are accepted")
    daemon.freeze()
    try:
        for one in lists:
            one.sendall(b"GET /v1/flows?limit=1000 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        other.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    finally:
        daemon.thaw()
    assert other.recv(12) == b"HTTP/1.1 200"
    answered = len(select.select(lists, [], [], 0)[0])
    assert answered < 300, "the other request waited for most of the lists"
    for one in lists:
        assert one.recv(12) == b"HTTP/1.1 200"
        one.close()
    other.close()


def test_readers_that_leave(exporting, pair):
    """Their scrapes are over, and make no difference to the next one."""
    pair.near.sysctl("net.ipv4.tcp_wmem", "4096 16384 65536")
    daemon = exporting()
    with connected(pair, 100) as flows:
        daemon.api.post([event(*flow, protocol="tcp") for flow in flows]).expect(200)
        wait_series(daemon, *(flow[1] for flow in flows))
        for _ in range(20):
            with begin_scrape(pair) as stream:
                assert stream.recv(100)
        until(lambda: daemon.api.module("prometheus")["scrapes"]["broken"] == 20, "broken scrapes")
        assert len(series_ports(scrape(daemon.exporter))) == 100


def test_while_flows_come_and_go(exporting, pair):
    """Every answer holds together, whatever starts and ends while it is made."""
    daemon = exporting()
    with connected(pair, 300) as flows:
        bodies = [event(*flow, protocol="tcp") for flow in flows]
        daemon.api.post(bodies).expect(200)
        wait_series(daemon, *(flow[1] for flow in flows))
        for turn in range(10):
            part = bodies[turn * 30:turn * 30 + 30]
            stream = connect(pair.near, port=9000)
            with stream, stream.makefile("rb") as answer:
                stream.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
                daemon.api.post([{**one, "state": "end"} for one in part]).expect(200)
                daemon.api.post([{**one, "experiment": 3} for one in part]).expect(200)
                metrics = Metrics(answer.read().partition(b"\r\n\r\n")[2].decode())
            assert series_ports(metrics) <= {flow[1] for flow in flows}
        metrics = wait_series(daemon, *(flow[1] for flow in flows))
        assert {one["exp"] for one in metrics.labels("flow_tcp_rtt")} == {"3"}


def test_port_in_use(exporting, pair, make_flowd):
    """The message says which port it is; the one that has it goes on, and the other has it then."""
    daemon = exporting()
    config = {"backends": {"prometheus": {}}, "stateDir": str(daemon.directory / "other")}
    second = make_flowd(pair.near, config, name="second").start()
    said = second.wait_log(r"ready, but .*").group()
    assert "prometheus" in said and "127.0.0.1:9000" in said and "in use" in said, said
    assert daemon.exporter.get("/metrics").status == 200
    daemon.stop()
    second.wait_log(r"backends\.prometheus: listening on 127\.0\.0\.1:9000")
    assert Api(pair.near, port=9000).get("/metrics").status == 200


def test_other_address_and_old_keys(make_flowd, single, directory):
    config = base_config(directory)
    config["backends"]["prometheus"] = {"netlinkPort": 9123, "log": True, "bindAddress": "::"}
    daemon = make_flowd(single, config).start()
    daemon.wait_log(r"netlinkPort: is the old spelling of .port")
    for address in ("127.0.0.1", "::1"):
        assert scrape(Api(single, address, 9123)).value("flowd_flows") == 0


@pytest.mark.parametrize("options,words", [
    ({"port": 0}, ["backends.prometheus.port", "1-65535"]),
    ({"port": 1, "skopsPort": 1}, ["backends.prometheus.skopsPort", "port"]),
    ({"bindAddress": "localhost"}, ["backends.prometheus.bindAddress", "localhost"]),
    ({"maxSeries": -1}, ["backends.prometheus.maxSeries"]),
    ({"maxseries": 1}, ["backends.prometheus.maxseries", "maxSeries"])])
def test_mistakes(flowd_command, directory, options, words):
    path = directory / "config.json"
    path.write_text(json.dumps({"backends": {"prometheus": options}}))
    done = flowd_command("-c", path, "check")
    assert done.returncode == 2
    for word in words:
        assert word in done.stdout + done.stderr
