# SPDX-License-Identifier: Apache-2.0
"""Life under a service manager: readiness, watchdog, signals, pid file, logs, the log backend."""

import json
import os
import re
import signal
import socket

import pytest

from lab.api_client import Api, connect, event, line
from lab.collector import Collector, parse_time
from lab.daemon_config import base_config
from lab.netns import Pair, run
from lab.waiting import DEADLINE_S, until


@pytest.fixture
def notify(directory):
    """A service manager's socket: (its address, a function that returns the next message)."""
    path = directory / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.bind(str(path))
        path.chmod(0o777)
        one.settimeout(DEADLINE_S)
        yield path, lambda: one.recv(4096).decode()


def wait_message(receive, wanted):
    seen = []
    while wanted not in "\n".join(seen).split("\n"):
        seen.append(receive())
    return seen


def test_ready_and_stopping(make_flowd, single, directory, notify):
    path, receive = notify
    daemon = make_flowd(single, base_config(directory), environment={"NOTIFY_SOCKET": str(path)})
    daemon.start(ready=False)
    wait_message(receive, "READY=1")
    assert Api(single).get("/readyz").status == 200, "ready means ready"
    daemon.wait_ready()
    daemon.send_signal(signal.SIGTERM)
    wait_message(receive, "STOPPING=1")
    assert daemon.wait_exit() == 0
    assert daemon.log().count(": ready\n") == 1


def test_watchdog(make_flowd, single, directory, notify):
    """As many pings as asked for, while requests are served."""
    path, receive = notify
    daemon = make_flowd(single, base_config(directory), environment={
        "NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "200000"}).start()
    for _ in range(5):
        wait_message(receive, "WATCHDOG=1")
    assert Api(single).get("/healthz").status == 200
    assert daemon.running()


def test_abstract_notify_socket(make_flowd, single, directory):
    """systemd may give an address that begins with @; such addresses belong to the namespace."""
    name = f"flowd-test-{os.getpid()}"
    with single.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.bind(f"\0{name}")
        one.settimeout(DEADLINE_S)
        make_flowd(single, base_config(directory),
                   environment={"NOTIFY_SOCKET": f"@{name}"}).start()
        wait_message(lambda: one.recv(4096).decode(), "READY=1")


def wait_status(receive, pattern):
    """The first STATUS= text that matches."""
    while True:
        for text in receive().split("\n"):
            if text.startswith("STATUS=") and re.search(pattern, text):
                return text


def test_status_text(make_flowd, single, directory, notify):
    """How many flows, through a reload; the text of a refused one stays until the next good one."""
    path, receive = notify
    config = base_config(directory)
    daemon = make_flowd(single, config, environment={"NOTIFY_SOCKET": str(path)}).start()
    assert "READY=1\nSTATUS=ready; 0 flows live" in receive()
    Api(single).post(event("2001:db8::1", 1, "2001:db8::2", 2)).expect(201)
    wait_status(receive, "=ready; 1 flow live$")
    daemon.reload({**config, "flows": {"timeout": "soon"}}, expect="reload refused")
    assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", receive())
    assert receive().startswith("READY=1\nSTATUS=ready; 1 flow live; the configuration was changed and has mistakes")
    daemon.reload({**config, "flows": {"max": 1000}}, expect="reloaded;")
    wait_message(receive, "RELOADING=1")
    assert receive().endswith("; 1 flow live; some changed settings wait for a restart")
    daemon.reload(config, expect="reloaded;")
    wait_message(receive, "RELOADING=1")
    assert receive() == "READY=1\nSTATUS=ready; 1 flow live"
    daemon.stop()
    wait_message(receive, "STOPPING=1")


def test_status_text_says_what_does_not_work(make_flowd, single, directory, notify):
    """The reason is the one that /readyz gives."""
    path, receive = notify
    config = base_config(directory)
    del config["plugins"]["namedPipe"]
    with single.socket(socket.AF_INET, socket.SOCK_STREAM) as other:
        other.bind(("127.0.0.1", 9000))
        other.listen()
        config["backends"]["prometheus"] = {}
        make_flowd(single, config, environment={"NOTIFY_SOCKET": str(path)}).start()
        text = receive()
        assert text.startswith("READY=1\nSTATUS=NOT READY: "), text
        reason = text.removeprefix("READY=1\nSTATUS=NOT READY: ").rpartition(";")[0]
        assert reason in json.dumps(Api(single).get("/readyz").expect(503).json), reason
    wait_status(receive, "=ready; 0 flows live$")


@pytest.mark.parametrize("what", ["configuration", "run"])
def test_status_text_of_a_start_that_fails(make_flowd, single, directory, notify, what):
    path, receive = notify
    config = base_config(directory)
    if what == "configuration":
        config["plugins"]["api"]["bindPort"] = "seven"
    else:
        (directory / "fifo").write_text("a file")
    daemon = make_flowd(single, config, environment={"NOTIFY_SOCKET": str(path)})
    daemon.start(ready=False)
    assert daemon.wait_exit() == (2 if what == "configuration" else 1)
    text = receive()
    assert text.startswith("STATUS=NOT RUNNING: ") and "\n" not in text, text
    assert ("has mistakes" if what == "configuration" else "not a fifo") in text


def test_status_text_says_that_names_are_missing(make_flowd, single, directory, notify):
    """Flows go by number: flowd is ready without a registry."""
    path, receive = notify
    registry = directory / "registry.json"
    config = base_config(directory) | {"registry": {"path": str(registry)}}
    daemon = make_flowd(single, config, environment={"NOTIFY_SOCKET": str(path)}).start()
    said = [one for message in wait_message(receive, "READY=1") for one in message.split("\n")]
    text = next(one for one in said if one.startswith("STATUS=ready"))
    assert text.startswith("STATUS=ready; 0 flows live; names may be missing or old: ") and str(registry) in text, text
    assert str(registry) in Api(single).status()["registry"]["error"]
    registry.write_text('{"experiments": [{"expName": "Some", "expId": 2}]}')
    daemon.reload()
    wait_message(receive, "STATUS=ready; 0 flows live")
    assert "error" not in Api(single).status()["registry"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_clean_stop(plain, directory, number):
    daemon = plain()
    daemon.write_fifo(line("start", "2001:db8::1", 1, "2001:db8::2", 2))
    until(lambda: daemon.api.live() == 1, "a flow")
    daemon.stop(number)
    assert (directory / "state").is_dir()
    assert not re.search(r" (error|warning) ", daemon.log()), daemon.log()


def test_requests_that_come_with_the_stop(plain, single):
    """They are answered, whatever is asked for behind one that waits for its commit."""
    daemon = plain()
    body = json.dumps(event("2001:db8::1", 1, "2001:db8::2", 2))
    get = "GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n"
    post = ("POST /v1/flows HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}")
    with connect(single) as client:
        client.sendall(get.encode())
        first = b""
        while not first.endswith(b"}"):
            first += client.recv(65536)
        daemon.freeze()
        client.sendall((post + get).encode())
        daemon.send_signal(signal.SIGTERM)
        daemon.thaw()
        answers = b"".join(iter(lambda: client.recv(65536), b""))
    assert daemon.wait_exit() == 0, daemon.log()
    assert b"HTTP/1.1 201" in answers and b"HTTP/1.1 200" in answers, answers


def test_signals_before_ready(make_flowd, single, directory):
    """A stop that comes at any time while it starts is a clean stop."""
    for round_number in range(8):
        daemon = make_flowd(single, base_config(directory), name=f"start-{round_number}")
        daemon.start(ready=False)
        until(lambda: os.path.basename(os.readlink(f"/proc/{daemon.pid}/exe")) == "flowd",
              "nsenter has become flowd")
        for _ in range(round_number):
            os.sched_yield()
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait_exit() in (0, -signal.SIGTERM)


def test_usr1(plain):
    """SIGUSR1 logs a summary with the number of live flows."""
    daemon = plain()
    daemon.api.post([event("2001:db8::1", port, "2001:db8::2", 2) for port in range(1, 4322)])
    mark = daemon.log_size()
    daemon.send_signal(signal.SIGUSR1)
    assert "4321" in daemon.wait_log(r"(?m)^.*4321.*$", mark)[0]


def test_other_signals_do_no_harm(plain):
    daemon = plain()
    for number in (signal.SIGPIPE, signal.SIGHUP, signal.SIGUSR1, signal.SIGWINCH, signal.SIGCHLD):
        daemon.send_signal(number)
    daemon.api.post(event("2001:db8::1", 1, "2001:db8::2", 2)).expect(201)


def test_pid_file(make_flowd, single, directory):
    config = base_config(directory)
    config["pidPath"] = str(directory / "pid")
    daemon = make_flowd(single, config).start()
    assert int((directory / "pid").read_text()) == daemon.pid
    daemon.kill()
    daemon.start()
    assert int((directory / "pid").read_text()) == daemon.pid
    daemon.stop()
    assert not (directory / "pid").exists()


def test_log_as_json(make_flowd, single, directory):
    """Each line is an object, also those that carry a peer's bytes."""
    config = base_config(directory)
    config["log"]["format"] = "json"
    daemon = make_flowd(single, config).start()
    daemon.write_fifo(b'bad "line"\x1b[31m \xff\xfe \\ \x01\n')
    daemon.wait_log("namedPipe|fifo")
    daemon.stop()
    for text in daemon.log().splitlines():
        entry = json.loads(text)
        assert {"time", "level", "module", "message"} <= set(entry)
        parse_time(entry["time"].replace("Z", "+00:00"))


def test_log_level_of_the_command_line(make_flowd, single, directory):
    """It goes before the file's."""
    daemon = make_flowd(single, base_config(directory))
    daemon.start(arguments=["-d"])
    daemon.wait_log(" debug ")
    daemon.stop()
    config = base_config(directory)
    quiet = make_flowd(single, config, name="quiet")
    quiet.start(ready=False, arguments=["--log-level", "error"])

    def served():
        try:
            return Api(single).get("/readyz").status == 200
        except OSError:
            return False

    until(served, "the API")
    quiet.stop()
    assert quiet.log() == ""


def test_a_peer_can_not_forge_log_lines(plain):
    daemon = plain()
    mark = daemon.log_size()
    daemon.write_fifo(b"forged\x0b\x0c\x1b[2Kline\rready\x85\n")
    daemon.wait_log("namedPipe|fifo", mark)
    logged = daemon.log(mark)
    assert logged.count("\n") == 1 and "\x1b" not in logged and "\r" not in logged, logged


@pytest.mark.parametrize("form", ["text", "json"])
def test_log_backend(plain, directory, form):
    """One line for each start and each end."""
    path = directory / "events"
    daemon = plain(backends={"log": {"path": str(path), "format": form}})
    flow = daemon.api.post(event("2001:db8::1", 1094, "2001:db8::2", 443, 2, 17, "tcp",
                                 application="fts")).expect(201).json
    daemon.api.delete(f"/v1/flows/{flow['id']}").expect(200, 204)
    until(lambda: len(path.read_text().splitlines()) >= 2, "both lines")
    lines = path.read_text().splitlines()
    assert len(lines) == 2
    for text, state in zip(lines, ("start", "end")):
        if form == "json":
            entry = json.loads(text)
            assert (entry["state"], entry["src"], entry["srcPort"], entry["experiment"]) == \
                (state, "2001:db8::1", 1094, 2), entry
        else:
            for word in (state, "tcp", "2001:db8::1", "1094", "2001:db8::2", "443"):
                assert word in text, text


def test_log_backend_into_the_daemons_log(plain):
    daemon = plain(backends={"log": {}})
    daemon.api.post(event("2001:db8::1", 1094, "2001:db8::2", 443)).expect(201)
    daemon.wait_log(r"start.*2001:db8::1.*1094")


def test_fireflies_without_syslog_header(pair, marking):
    daemon = marking(firefly={"prependSyslog": False, "sendToDestination": False,
                              "collectors": [f"{Pair.FAR4}:10515"]})
    with pair.far.socket(socket.AF_INET, socket.SOCK_DGRAM) as collector:
        collector.bind((Pair.FAR4, 10515))
        collector.settimeout(DEADLINE_S)
        daemon.api.post(event(Pair.NEAR, 1, Pair.FAR, 2)).expect(201)
        assert json.loads(collector.recv(65536))["flow-lifecycle"]["state"] == "start"


def test_a_collector_that_is_not_there(pair, marking):
    """Nobody listens, no route, an interface that is down: counted, and everybody else is served."""
    daemon = marking(firefly={"sendToDestination": True, "collectors": [
        f"{Pair.FAR4}:10999", "198.51.100.1:10514", "[2001:db8:ffff::1]:10514",
        f"{Pair.FAR4}:10515"]})
    with Collector(pair.far, Pair.FAR4, 10515) as collector:
        for port in range(1, 201):
            daemon.api.post(event(Pair.NEAR, port, Pair.FAR, 2)).expect(201)
        assert len(collector.wait(200)) == 200
    assert daemon.api.get("/readyz").status == 200


def test_firefly_of_an_unusual_application(pair, marking):
    """Text that JSON must escape arrives as it was sent; a header never breaks."""
    daemon = marking(firefly={"sendToDestination": False, "collectors": [f"{Pair.FAR4}:10515"]})
    with Collector(pair.far, Pair.FAR4, 10515) as collector:
        for number, text in enumerate(('"quoted" \\ / {}', "höchst ünüblich 🛰", "x" * 55)):
            daemon.api.post(event(Pair.NEAR, 1 + number, Pair.FAR, 2, application=text)).expect(201)
            assert collector.wait(number + 1)[-1].context["application"] == text
        daemon.api.post(event(Pair.NEAR, 9, Pair.FAR, 2)).expect(201)
        assert re.fullmatch(r"flowd v\d+\.\d+\.\d+\S*",
                            collector.wait(4)[-1].context["application"])


def test_firefly_start_time_of_the_request(pair, marking):
    daemon = marking(firefly={"sendToDestination": False, "collectors": [f"{Pair.FAR4}:10515"]})
    with Collector(pair.far, Pair.FAR4, 10515) as collector:
        daemon.api.post(event(Pair.NEAR, 1, Pair.FAR, 2, startTime="2026-01-01T00:00:00.25Z"))
        started = collector.wait(1)[0]
        assert started.start_time == parse_time("2026-01-01T00:00:00.250000+00:00")
        daemon.api.post(event(Pair.NEAR, 1, Pair.FAR, 2, state="end"))
        assert collector.wait(1, "end")[0].start_time == started.start_time


def test_every_flow_has_its_fireflies(pair, marking):
    """5,000 starts and ends in a few turns: each flow's two fireflies arrive at the collector."""
    daemon = marking(firefly={"sendToDestination": False, "collectors": [f"{Pair.FAR4}:10515"]})
    with Collector(pair.far, Pair.FAR4, 10515) as collector:
        for state in ("start", "end"):
            daemon.api.post([event(Pair.NEAR, port, Pair.FAR, 2, state=state)
                             for port in range(1, 5001)]).expect(200)
        fireflies = collector.wait(10000)
        assert len(fireflies) == 10000
        assert len({(one.key, one.state) for one in fireflies}) == 10000


def test_journal_format(single, make_flowd, directory):
    """Entries reach journald's socket with the fields that journalctl filters by."""
    journal = directory / "journal"
    journal.mkdir(mode=0o755)
    # journald's place, seen by this daemon alone.
    private = ["unshare", "--mount", "--", "sh", "-c",
               f"mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && "
               f"mount --bind {journal} /run/systemd/journal && exec \"$@\"", "sh"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(journal / "socket"))
        receiver.settimeout(DEADLINE_S)

        def entries_up_to(last):
            """The entries that come, up to the first one that last() says true of."""
            entries = []
            while not entries or not last(entries[-1]):
                text = receiver.recv(65536).decode()
                assert text.endswith("\n")
                entries.append(dict(one.split("=", 1) for one in text.splitlines()))
            return entries

        daemon = make_flowd(single, base_config(directory), prefix=private)
        daemon.start(ready=False, arguments=["--log-format", "journal"])
        entries = entries_up_to(lambda one: one["MESSAGE"] == "ready")
        assert all(one["SYSLOG_IDENTIFIER"] == "flowd" and one["PRIORITY"] == "6" for one in entries)
        assert {one["FLOWD_MODULE"] for one in entries} >= {"daemon", "plugins.namedPipe", "plugins.api"}
        daemon.write_fifo("bad\n")
        # The walk at the start has an entry of its own, before or after "ready".
        warning = entries_up_to(lambda one: one["PRIORITY"] != "6")[-1]
        assert warning["PRIORITY"] == "4" and warning["FLOWD_MODULE"] == "plugins.namedPipe"


def test_log_on_a_full_disk(plain, directory):
    """Lines wait for room: none is torn, none is lost, and the answers do not claim them."""
    disk = directory / "disk"
    disk.mkdir()
    run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)])
    try:
        daemon = plain(backends={"log": {"path": str(disk / "flows"), "format": "json"}})
        (disk / "pad").write_bytes(bytes(50000))
        results = daemon.api.post(
            [event("2001:db8::1", port, "2001:db8::2", 2) for port in range(1, 501)]).json
        assert {one["backends"]["log"] for one in results} == {"failed"}
        status = daemon.api.module("log")
        assert status["waiting"] > 0 and status["lost"] == 0
        (disk / "pad").unlink()
        run(["mount", "-o", "remount,size=4m", str(disk)])
        until(lambda: daemon.api.module("log")["waiting"] == 0, "the waiting lines")
        answer = daemon.api.post(event("2001:db8::1", 501, "2001:db8::2", 2)).json
        assert answer["backends"]["log"] == "logged"
        ports = [json.loads(one)["srcPort"] for one in (disk / "flows").read_text().splitlines()]
        assert ports == list(range(1, 502))
        daemon.stop()
    finally:
        run(["umount", "-l", str(disk)])
