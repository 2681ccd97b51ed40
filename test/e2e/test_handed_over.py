# SPDX-License-Identifier: Apache-2.0
"""Sockets and fifos that a service manager hands over, and what becomes of them at a restart."""

import os
import pathlib
import socket
import sys

import pytest

from lab.api_client import Api, line
from lab.daemon_config import base_config
from lab.flowd_process import FLOWD, sanitizer_environment
from lab.programs import program
from lab.waiting import DEADLINE_S, until

HAND_OVER = pathlib.Path(__file__).with_name("lab") / "hand_over.py"


class Manager:
    """Holds descriptors open as a service manager does, and hands them over at each start."""

    def __init__(self, namespace):
        self.namespace = namespace
        self.entries = []  # (descriptor, name)
        self.held = []

    def add(self, descriptor, name=""):
        self.entries.append((descriptor, name))

    def add_fifo(self, path, name=""):
        """As ListenFIFO= does: made if it is not there, open for reading and writing."""
        if not os.path.exists(path):
            os.mkfifo(path)
            os.chmod(path, 0o666)
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self.held.append(descriptor)
        self.add(descriptor, name)

    def add_socket(self, family, kind, address, name=""):
        one = self.namespace.socket(family, kind)
        one.bind(address)
        if kind == socket.SOCK_STREAM:
            one.listen(64)
        self.held.append(one)
        self.add(one.fileno(), name)
        return one

    @property
    def options(self):
        return {
            "prefix": [sys.executable, HAND_OVER, *(f"{fd}:{name}" for fd, name in self.entries), "--"],
            "pass_fds": [fd for fd, _ in self.entries],
        }

    def close(self):
        for one in self.held:
            if isinstance(one, int):
                os.close(one)
            else:
                one.close()


@pytest.fixture
def manager(single):
    one = Manager(single)
    yield one
    one.close()


def configured(directory):
    config = base_config(directory)
    config["backends"]["prometheus"] = {}
    return config


def write(path, text):
    """As a web server does: a blocking open, which must not wait for flowd."""
    with open(path, "w", encoding="ascii") as fifo:
        fifo.write(text)


def get(namespace, target="/v1/status", **options):
    return Api(namespace, **options).get(target, headers={"Host": "localhost"}).expect(200)


@pytest.mark.parametrize("named", [True, False])
def test_all_at_the_configured_places(make_flowd, single, directory, manager, named):
    """By name or, without one, by what they are; used again after a reload and a restart."""
    config = configured(directory)
    config["plugins"]["api"]["socketPath"] = str(directory / "api")
    name = (lambda text: text) if named else (lambda _: "")
    manager.add_fifo(directory / "fifo", name("fifo"))
    manager.add_socket(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 7777), name("api"))
    manager.add_socket(socket.AF_UNIX, socket.SOCK_STREAM, str(directory / "api"), name("api"))
    manager.add_socket(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 9000), name("metrics"))
    inodes = [os.stat(directory / one).st_ino for one in ("fifo", "api")]
    daemon = make_flowd(single, config, **manager.options)
    for round_number in range(2):
        daemon.start()
        assert daemon.log().count("handed over in place of what is configured") == 3 * (round_number + 1)
        daemon.reload()
        write(directory / "fifo", line("start", "2001:db8::1", 1 + round_number, "2001:db8::2", 2))
        until(lambda: Api(single).live() == 1 + round_number, "the flow")
        get(single, path=str(directory / "api"))
        Api(single, port=9000).get("/metrics").expect(200)
        daemon.stop()
        assert inodes == [os.stat(directory / one).st_ino for one in ("fifo", "api")]
    assert " warning " not in daemon.log(), daemon.log()


def test_what_is_sent_while_flowd_is_away(make_flowd, single, directory, manager):
    """Lines and requests wait, through a stop and through a crash; nobody is refused."""
    manager.add_fifo(directory / "fifo", "fifo")
    manager.add_socket(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 7777), "api")
    daemon = make_flowd(single, base_config(directory), **manager.options)
    for number, end in enumerate((daemon.stop, daemon.kill)):
        port = 1000 * number + 1
        daemon.start()
        write(directory / "fifo", line("start", "2001:db8::1", port, "2001:db8::2", 2))
        until(lambda: Api(single).live() == 100 * number + 1, "a flow")
        end()
        for away in range(1, 100):
            write(directory / "fifo", line("start", "2001:db8::1", port + away, "2001:db8::2", 2))
        request = single.socket(socket.AF_INET, socket.SOCK_STREAM)
        with request:
            request.settimeout(DEADLINE_S)
            request.connect(("127.0.0.1", 7777))
            request.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            daemon.start()
            assert request.recv(4096).startswith(b"HTTP/1.1 200 ")
        until(lambda: Api(single).live() == 100 * (number + 1), "the flows that were announced meanwhile")
        daemon.stop()


def test_another_mode_than_the_configured_one(make_flowd, single, directory, manager):
    """Who handed the fifo over decides about its mode; flowd says whose setting counts."""
    config = base_config(directory)
    manager.add_fifo(directory / "fifo", "fifo")
    config["plugins"]["namedPipe"]["mode"] = "0622"
    daemon = make_flowd(single, config, **manager.options).start()
    assert daemon.log().count("its mode 0666 stays, not 0622") == 1 and "SocketMode= in flowd.socket" in daemon.log()
    assert os.stat(directory / "fifo").st_mode & 0o777 == 0o666


def test_places_other_than_the_configured_ones(make_flowd, single, directory, manager):
    """What was handed over is used, what is configured is not, and the log says so."""
    config = configured(directory)
    manager.add_fifo(directory / "other", "namedPipe")
    manager.add_socket(socket.AF_INET6, socket.SOCK_STREAM, ("::1", 8001), "api")
    manager.add_socket(socket.AF_INET6, socket.SOCK_STREAM, ("::1", 8002), "api")
    manager.add_socket(socket.AF_UNIX, socket.SOCK_STREAM, str(directory / "a"), "api")
    manager.add_socket(socket.AF_UNIX, socket.SOCK_STREAM, str(directory / "b"), "api")
    manager.add_socket(socket.AF_INET6, socket.SOCK_STREAM, ("::1", 8003), "prometheus")
    daemon = make_flowd(single, config, **manager.options).start()
    for port in (8001, 8002):
        get(single, address="::1", port=port)
    for path in "ab":
        get(single, path=str(directory / path))
    get(single, "/metrics", address="::1", port=8003)
    for port in (7777, 9000):
        with pytest.raises(ConnectionRefusedError):
            Api(single, port=port).get("/")
    assert not (directory / "fifo").exists()
    assert f"pipePath {directory / 'fifo'}, which is not used" in daemon.log()
    daemon.reload()
    write(directory / "other", line("start", "2001:db8::1", 1, "2001:db8::2", 2))
    until(lambda: get(single, address="::1", port=8001).json["flows"]["live"] == 1, "the flow")
    modules = get(single, address="::1", port=8001).json["modules"]
    assert {"name": "namedPipe", "path": str(directory / "other")}.items() <= \
        next(one for one in modules if one["name"] == "namedPipe").items()
    daemon.stop()
    assert all((directory / one).exists() for one in ("other", "a", "b"))


def test_a_socket_for_others_is_guarded_as_one(make_flowd, single, directory, manager):
    """The configuration says loopback; what counts is where the socket listens."""
    manager.add_socket(socket.AF_INET6, socket.SOCK_STREAM, ("::", 7777))
    daemon = make_flowd(single, base_config(directory), **manager.options).start()
    assert "other hosts can reach the API" in daemon.log()
    assert Api(single).get("/v1/status", headers={"Host": "flowd.example.org"}).status == 200


def test_what_nobody_takes_is_named(make_flowd, single, directory, manager):
    config = base_config(directory)
    manager.add_fifo(directory / "fifo")
    manager.add_fifo(directory / "second", "fifo")
    manager.add_socket(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 9000), "metrics")
    manager.add_socket(socket.AF_INET6, socket.SOCK_STREAM, ("::1", 4444), "flowd-x.socket")
    manager.add_socket(socket.AF_INET6, socket.SOCK_DGRAM, ("::", 10514), "firefly")
    manager.add_socket(socket.AF_INET6, socket.SOCK_DGRAM, ("::1", 10515))
    daemon = make_flowd(single, config, **manager.options).start()
    warnings = [one for one in daemon.log().splitlines() if " warning " in one and "handed over" in one]
    for text, words in zip(warnings, (
            (f"a fifo {directory / 'second'}", "nothing that is configured"),
            ("127.0.0.1:9000", '"metrics"'), ("[::1]:4444", '"flowd-x.socket"'),
            ("[::]:10514", '"firefly"'), ("[::1]:10515", "nothing that is configured")), strict=True):
        assert all(word in text for word in words), text
    assert Api(single).get("/readyz").status == 200


def firefly(port, state="start"):
    """As some sender writes it."""
    return (f'{{"version": 1, "flow-lifecycle": {{"state": "{state}", "start-time": "2026-01-01T00:00:00Z"}}, '
            f'"flow-id": {{"afi": "ipv6", "src-ip": "2001:db8::1", "dst-ip": "2001:db8::2", "protocol": "udp", '
            f'"src-port": {port}, "dst-port": 2}}, "context": {{"experiment-id": 2, "activity-id": 17}}}}').encode()


@pytest.mark.parametrize("name", ["firefly", ""], ids=["by name", "by place"])
def test_fireflies_while_flowd_is_away(make_flowd, single, directory, manager, name):
    """They wait in the socket, through a stop and through a crash; two sockets serve as well as one."""
    config = base_config(directory)
    config["plugins"]["firefly"] = {}
    manager.add_socket(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 10514), name)
    if name:
        manager.add_socket(socket.AF_INET6, socket.SOCK_DGRAM, ("::1", 4000), name)
    daemon = make_flowd(single, config, **manager.options)
    with single.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender, \
            single.socket(socket.AF_INET6, socket.SOCK_DGRAM) as other:
        for number, end in enumerate((daemon.stop, daemon.kill)):
            port = 100 * number + 1
            daemon.start()
            sender.sendto(firefly(port), ("127.0.0.1", 10514))
            until(lambda: Api(single).live() == 100 * number + 1, "a flow")
            end()
            for away in range(1, 100):
                if name and away % 2:
                    other.sendto(firefly(port + away), ("::1", 4000))
                else:
                    sender.sendto(firefly(port + away), ("127.0.0.1", 10514))
            daemon.start()
            until(lambda: Api(single).live() == 100 * (number + 1), "the flows that were announced meanwhile")
            daemon.stop()
    assert " warning " not in daemon.log(), daemon.log()


def test_a_fifo_that_somebody_removed(make_flowd, single, directory, manager):
    """The path has a fifo again within seconds, and at the next start, which is handed the old one."""
    manager.add_fifo(directory / "fifo", "fifo")
    daemon = make_flowd(single, base_config(directory), **manager.options).start()
    os.unlink(directory / "fifo")
    daemon.wait_log("was removed or replaced; opened it again")
    daemon.stop()
    os.unlink(directory / "fifo")
    before = daemon.log_size()
    daemon.start()
    daemon.wait_log("was removed or replaced; opened it again", before)
    write(directory / "fifo", line("start", "2001:db8::1", 1, "2001:db8::2", 2))
    until(lambda: Api(single).live() == 1, "the flow")


def test_descriptors_of_another_process(make_flowd, single, directory):
    """LISTEN_PID of somebody else: inherited by mistake, and not touched."""
    daemon = make_flowd(single, base_config(directory), environment={
        "LISTEN_PID": "1", "LISTEN_FDS": "3", "LISTEN_FDNAMES": "fifo:api:metrics"}).start()
    assert "handed over" not in daemon.log()
    assert Api(single).get("/readyz").status == 200


def test_systemds_own_launcher(single, directory):
    """systemd-socket-activate starts flowd at the first connection, which flowd answers."""
    launcher = program("systemd-socket-activate")
    config = directory / "config.json"
    config.write_text('{"stateDir": "%s", "plugins": {"api": {}}}' % (directory / "state"))
    environment = sanitizer_environment(directory)
    with open(directory / "log", "wb") as log, single.popen(
            [launcher, "--listen=127.0.0.1:7000", f"--listen={directory}/api", "--fdname=api:api",
             *(f"--setenv={name}={value}" for name, value in environment.items()),
             FLOWD, "-c", config], stdout=log, stderr=log) as process:
        try:
            until(lambda: (directory / "api").exists(), "the launcher's socket")
            assert get(single, port=7000).json["version"]
            get(single, path=str(directory / "api"))
        finally:
            process.terminate()
            assert process.wait(DEADLINE_S) == 0, (directory / "log").read_text()
    assert (directory / "log").read_text().count("handed over in place") == 2
