# SPDX-License-Identifier: Apache-2.0
"""
Steps of the systemd test: each row of docs/systemd.md, "To loosen it". What the row is for does not work
in the service as it is installed, and works with the drop-in that the row says. The rows are read from the page, so
that one that nobody tries fails. They run after those of systemd_sandbox.py.
"""

import contextlib
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import traceback

from cache import TREE
from systemd_lab import FIFO, Traffic, announce, api, configure, live, overridden, pid, run, shown, step, systemctl, until
from systemd_sandbox import PINS, STATE, everything_belongs_to_flowd, journal_ends, process_status, said_since

REGISTRY = {"experiments": [{"expName": "Some", "expId": 2, "activities": []}], "version": 1, "modified": "2026-01-01T00:00:00Z"}
TRIED = {}


def row(where):
    """The function tries the row that begins so: called with what stands in its second column."""
    def note(function):
        TRIED[where] = function
        return function
    return note


def rows():
    page = (TREE / "docs/systemd.md").read_text(encoding="utf-8")
    table = page.partition("\n## To loosen it\n")[2].partition("\n## ")[0]
    cells = [re.split(r" \| |^\| | \|$", line)[1:3] for line in table.splitlines() if line.startswith("| ")]
    return {where: says for where, says in cells if not where.startswith("---") and where != "where"}


def settings(says):
    """The lines of the drop-in that a row says."""
    return "\n".join(re.findall(r"`([A-Z]\w+=[^`]*)`", says))


def restart(status=0):
    """Returns what it logs."""
    mark = journal_ends()
    systemctl("reset-failed", "flowd", status=None)
    systemctl("restart", "flowd", status=status)
    if status:
        # Before it is tried again.
        systemctl("stop", "flowd")
    return said_since(mark)


def directory_of_flowd(path):
    shutil.rmtree(path, ignore_errors=True)
    run("install", "-d", "-o", "flowd", "-g", "flowd", "-m", "750", path)


def answers_at(path):
    """Whether the API answers at a unix socket."""
    with contextlib.closing(http.client.HTTPConnection("localhost")) as connection, \
            socket.socket(socket.AF_UNIX) as stream:
        try:
            stream.connect(path)
        except OSError:
            return False
        connection.sock = stream
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200


@row("another `pinPath`")
def another_pin_path(says):
    bind, line, place, command, clean = re.findall("`([^`]*)`", says)
    path = pathlib.Path(bind.partition("=")[2])
    configure(lambda config: config["backends"]["marker"].update(pinPath=str(path)))
    assert "is not on a mounted BPF file system" in restart() and not path.exists()
    pathlib.Path(place).write_text(line + "\n", encoding="ascii")
    run(*command.split())
    with overridden(settings(says)):
        assert "without pins" not in restart()
        everything_belongs_to_flowd(path)
        announce(40001)
        until(lambda: live() > 0, "the flow")
        with Traffic(40001) as traffic:
            traffic.more()
            assert "took over the pinned maps" in restart()
            traffic.more()
        systemctl("stop", "flowd")
        run(*clean.split())
        assert not path.exists()
    pathlib.Path(place).unlink()


@row("another `stateDir`, a `pidPath`, a log file elsewhere")
def places_elsewhere(says):
    path = settings(says).partition("=")[2]
    directory_of_flowd(path)
    own = {"stateDir": f"{path}/state", "pidPath": f"{path}/pid"}
    for name, value in own.items():
        configure(lambda config, name=name, value=value: config.update({name: value}))
        # It can do without the second.
        assert "Read-only file system" in restart(1 if name == "stateDir" else 0), name
    configure(lambda config: (config.update(own), config["backends"].update(log={"path": f"{path}/flows.log"})))
    with overridden(settings(says)):
        restart()
        announce(40002)
        until(lambda: live() == 1, "the flow")
        for name in ("state/flows.state", "pid", "flows.log"):
            assert os.stat(f"{path}/{name}").st_size > 0, name
        systemctl("stop", "flowd")
    shutil.rmtree(path)


@row("a configuration or registry below `/home`")
def below_home(says):
    path = pathlib.Path("/home/registry.json")
    path.write_text(json.dumps(REGISTRY), encoding="ascii")
    configure(lambda config: config.update(registry={"path": str(path)}))
    assert str(path) in restart() and "Some" not in api("/v1/registry").decode()
    (STATE / "registry.json").unlink(missing_ok=True)
    with overridden(settings(says)):
        restart()
        assert "Some" in api("/v1/registry").decode()
    (STATE / "registry.json").unlink()
    path.unlink()


@row("`socketPath` of the API in `/run`")
def socket_in_run(says):
    path = re.search(r'"socketPath": "([^"]*)"', says)[1]
    configure(lambda config: config["plugins"]["api"].update(socketPath=path))
    restart()
    assert not answers_at(path)
    with overridden(settings(says)):
        restart()
        assert answers_at(path)


@row("a `tokenFile` or registry that only root may read")
def files_of_root(says):
    token, registry = pathlib.Path("/etc/flowd/tokens"), pathlib.Path("/etc/flowd/registry.json")
    token.write_text("0123456789abcdef\n", encoding="ascii")
    registry.write_text(json.dumps(REGISTRY), encoding="ascii")
    for path in (token, registry):
        path.chmod(0o600)
    configure(lambda config: config["plugins"]["api"].update(tokenFile=str(token)))
    assert f"{token}: Permission denied" in restart(1)
    configure(lambda config: config.update(registry={"path": str(registry)}))
    assert f"{registry}: Permission denied" in restart() and "Some" not in api("/v1/registry").decode()
    assert "Permission denied" in json.loads(api())["registry"]["error"]
    until(lambda: "registry" in shown("StatusText"), lambda: shown("StatusText"))
    for path in (token, registry):
        for command in re.findall("`(ch[a-z]* [^`]*FILE)`", says):
            run(*command.replace("FILE", str(path)).split())
    assert not settings(says) and restart() and "Some" in api("/v1/registry").decode()
    assert "registry" not in shown("StatusText"), shown("StatusText")
    configure(lambda config: config["plugins"]["api"].update(tokenFile=str(token)))
    restart()
    asked = ("curl", "-sSf", "http://127.0.0.1:7777/v1/status")
    assert "401" in run(*asked, status=22) and run(*asked, "-H", f"Authorization: Bearer {token.read_text().strip()}")
    (STATE / "registry.json").unlink()
    for path in (token, registry):
        path.unlink()


@row("`socketGroup` of the API")
def group_of_the_socket(says):
    group, path = settings(says).partition("=")[2], STATE / "api"
    run("groupadd", group)
    configure(lambda config: config["plugins"]["api"].update(socketPath=str(path), socketGroup=group))
    restart()
    assert not answers_at(str(path))
    with overridden(settings(says)):
        restart()
        assert answers_at(str(path)) and path.group() == group
    run("groupdel", group)


@row("a port below 1,024 without a socket unit")
def low_port(says):
    configure(lambda config: config["plugins"]["api"].update(bindPort=443))
    assert "127.0.0.1:443" in restart() and not _answers_at_443()
    with overridden(settings(says)):
        restart()
        assert _answers_at_443()
    configure(lambda config: config["plugins"]["api"].update(bindPort=443))
    # And with one: "a port below 1,024 can be had in the same way".
    drop_in = pathlib.Path("/run/systemd/system/flowd-api.socket.d/test.conf")
    drop_in.parent.mkdir()
    drop_in.write_text("[Socket]\nListenStream=\nListenStream=127.0.0.1:443\n", encoding="ascii")
    systemctl("daemon-reload")
    systemctl("stop", "flowd")
    systemctl("enable", "--now", "flowd-api.socket")
    restart()
    assert _answers_at_443()
    systemctl("disable", "--now", "flowd-api.socket")
    shutil.rmtree(drop_in.parent)
    systemctl("daemon-reload")


def _answers_at_443():
    try:
        return bool(api("/healthz", port=443))
    except OSError:
        return False


@row("warnings of a second flowd on an interface")
def second_flowd(says):
    words = "another flowd's program"
    path = pathlib.Path("/root/second.json")
    path.write_text(json.dumps({
        "stateDir": "/root/second", "plugins": {"api": {"bindPort": 7778}},
        "backends": {"marker": {"targetInterfaces": ["veth0"], "pinPath": "/sys/fs/bpf/second"}}}), encoding="ascii")
    configure()
    systemctl("stop", "flowd")
    run("flowd", "clean")
    with subprocess.Popen(["flowd", "-c", path], stderr=subprocess.DEVNULL) as second:
        try:
            until(lambda: json.loads(_asked(7778))["ready"], "the second flowd")
            assert words not in restart()
            with overridden(settings(says)):
                assert words in restart()
        finally:
            second.send_signal(signal.SIGTERM)
    shutil.rmtree("/root/second")


def _asked(port):
    try:
        return api(port=port)
    except OSError:
        return b'{"ready": false}'


@row("a system call that a library wants and the filter refuses")
def system_call(says):
    refused = "epoll_create1"
    kill, = re.findall("`(SystemCallErrorNumber=[^`]*)`", says)
    line = settings(says).replace(kill, "").replace("NAME", refused)
    configure()
    with overridden(f"SystemCallFilter=~{refused}\n{kill}"):
        mark = journal_ends()
        restart(1)
        seen = run("journalctl", "-o", "cat", "--no-pager", "--after-cursor", mark)
        assert "SIGSYS" in seen or "status=31/SYS" in seen, seen
    with overridden(f"SystemCallFilter=~{refused}\n{line}"):
        restart()


@row("root, for a trial")
def as_root(says):
    configure()
    restart()
    announce(40001)
    until(lambda: live() > 0, "the flow")
    flows = live()
    with Traffic(40001) as traffic:
        with overridden(settings(says)):
            said = restart()
            assert process_status()["Uid"].split()[0] == "0" and live() == flows
            assert "took over the pinned maps" in said and "ermission denied" not in said, said
            assert PINS.stat().st_uid == 0
            traffic.more()
        said = restart()
        traffic.more()
    assert process_status()["Uid"].split()[0] != "0" and live() == flows
    assert "took over the pinned maps" in said, said
    everything_belongs_to_flowd(PINS, STATE, pathlib.Path("/run/flowd.lock"))


@step
def each_row_of_what_loosens_it():
    found = rows()
    assert set(found) == set(TRIED) and len(found) > 5, f"{set(found) ^ set(TRIED)}: rows and what is tried differ"
    assert FIFO.is_fifo() and pid() > 0
    failed = []
    for where, says in found.items():
        try:
            TRIED[where](says)
            print(f"  {where}: {settings(says).splitlines()}", flush=True)
        except Exception:  # pylint: disable=broad-except
            print(f"  {where}: FAILED\n{traceback.format_exc(limit=-2)}", flush=True)
            failed.append(where)
        configure()
        restart()
    assert not failed, failed
