# SPDX-License-Identifier: Apache-2.0
"""
Steps of the systemd test about what the units keep flowd from: whom it runs as, what it sees, that all of it
works so, and the way there from a flowd that ran as root. They run after those of systemd_inside.py.
"""

import datetime
import http.server
import json
import os
import pathlib
import pwd
import re
import signal
import socket
import subprocess
import sys
import threading

from cache import TREE
from systemd_lab import (ACTIVITY, EXPERIMENT, FAR, FIFO, NEAR, PORT, Traffic, announce, api, configure, journal,
                         live, overridden, pid, run, shown, stays, step, systemctl, until)

PINS = pathlib.Path("/sys/fs/bpf/flowd")
STATE = pathlib.Path("/var/lib/flowd")
SENT = 100000
FOUND = 5  # the experiment of connections that nobody announced
CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_PERFMON": 38, "CAP_BPF": 39}
# flowd.service as it was when flowd ran as root.
FORMER_UNIT = """
[Unit]
StartLimitIntervalSec=0
[Service]
Type=notify
ExecStart=/usr/sbin/flowd -c /etc/flowd/config.json --log-format journal
Restart=on-failure
RestartSec=2
Sockets=flowd.socket
LimitMEMLOCK=infinity
StateDirectory=flowd
CapabilityBoundingSet=CAP_BPF CAP_PERFMON CAP_NET_ADMIN CAP_SYS_ADMIN CAP_CHOWN CAP_FOWNER CAP_SETGID
NoNewPrivileges=yes
ProtectSystem=full
"""


def process_status():
    lines = pathlib.Path(f"/proc/{pid()}/status").read_text(encoding="ascii").splitlines()
    return dict(line.split(":\t", 1) for line in lines)


def inside(*argv):
    """Runs a program as flowd's user, and where flowd runs."""
    return subprocess.run(["nsenter", "--mount", "--target", str(pid()), "setpriv", "--reuid=flowd", "--regid=flowd",
                           "--clear-groups", *argv], capture_output=True, text=True, check=False)


def journal_ends():
    """A mark for said_since(), which is quicker than to read all of it again."""
    run("journalctl", "--sync")
    return run("journalctl", "-n", "0", "--show-cursor").split("cursor: ")[1].strip()


def said_since(mark):
    run("journalctl", "--sync")
    return run("journalctl", "-u", "flowd.service", "-o", "cat", "--no-pager", "--after-cursor", mark)


def everything_belongs_to_flowd(*places):
    uid = pwd.getpwnam("flowd").pw_uid
    for place in places:
        for one in (place, *place.rglob("*")):
            assert one.lstat().st_uid == uid, f"{one} belongs to user {one.lstat().st_uid}"


@step
def it_runs_as_flowd_with_three_capabilities():
    status = process_status()
    wanted = f"{sum(1 << number for number in CAPABILITIES.values()):016x}"
    uid = str(pwd.getpwnam("flowd").pw_uid)
    assert uid != "0" and status["Uid"].split() == [uid] * 4, status["Uid"]
    for which in ("CapEff", "CapPrm", "CapBnd"):
        assert status[which] == wanted, (which, status[which])
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2"), status
    for unit in ("flowd.service", "flowd@any.service"):
        print("  " + run("systemd-analyze", "security", "--no-pager", "--threshold=20", unit).splitlines()[-1], flush=True)


@step
def it_sees_and_writes_its_own_only():
    for place in ("/etc/flowd/x", "/usr/x", "/run/x", "/var/x", "/sys/fs/bpf/x", "/home/x"):
        assert inside("touch", place).returncode != 0, place
    for place in ("/var/lib/flowd/x", "/var/log/flowd/x"):
        assert inside("touch", place).returncode == 0, place
        pathlib.Path(place).unlink()
    # Of the bpffs, which others can't even enter, its own pins.
    assert inside("ls", "/sys/fs/bpf").stdout.split() == ["flowd"]
    assert "flows" in " ".join(inside("ls", "/sys/fs/bpf/flowd").stdout.split())
    assert os.stat("/sys/fs/bpf").st_mode & 0o777 == 0o700
    # Nor other users' processes, nor devices.
    assert "1" not in inside("ls", "/proc").stdout.split()
    assert inside("test", "-e", "/dev/vda").returncode != 0
    everything_belongs_to_flowd(PINS, STATE)


@step
def any_user_may_write_lines():
    """As StoRM WebDAV does: opened to read and write, by a user of its own."""
    flows = live()
    code = ("import os,sys;fd=os.open(sys.argv[1],os.O_RDWR);"
            f"os.write(fd,b'start udp {NEAR} 47000 {FAR} {PORT} {EXPERIMENT} {ACTIVITY}\\n')")
    run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-c", code, "/var/run/flowd")
    until(lambda: live() == flows + 1, lambda: f"the flow: {live()}")


@step
def each_capability_is_needed():
    for missing, sign in (("CAP_NET_ADMIN", "missing: CAP_NET_ADMIN"), ("CAP_PERFMON", "without CAP_PERFMON")):
        left = " ".join(one for one in CAPABILITIES if one != missing)
        with overridden(f"AmbientCapabilities=\nAmbientCapabilities={left}\nCapabilityBoundingSet=\nCapabilityBoundingSet={left}"):
            mark = journal_ends()
            systemctl("restart", "flowd")
            until(lambda mark=mark, sign=sign: sign in said_since(mark), lambda mark=mark: said_since(mark))
    systemctl("restart", "flowd")
    until(lambda: shown("StatusText").startswith("ready; "), lambda: shown("StatusText"))


class _Registry(http.server.BaseHTTPRequestHandler):
    asked = threading.Event()

    def do_GET(self):  # pylint: disable=invalid-name
        body = json.dumps({"experiments": [{"expName": "Some", "expId": EXPERIMENT, "activities": []}],
                           "version": 1, "modified": "2026-01-01T00:00:00Z"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.asked.set()

    def log_message(self, *_):  # pylint: disable=arguments-differ
        pass


def _everything(config, registry, collector):
    config["registry"] = {"url": f"http://localhost:{registry}/"}
    config["plugins"].update(netlink={"experiment": FOUND, "activity": 17}, firefly={},
                             iperf3={"minDestinationPort": 5201, "maxDestinationPort": 5201, "experimentIDs": [FOUND]})
    config["backends"].update(firefly={"collectors": [f"localhost:{collector}"], "enrich": True},
                              log={"path": "/var/log/flowd/flows.log"})
    config["enrichers"] = {"netlink": {}, "skops": {}}


def _connection_lives_and_ends():
    """By another user's program, which flowd is told of by the kernel alone."""
    code = ("import socket\ns=socket.create_server(('::',5201),family=socket.AF_INET6)\n"
            f"print('ready',flush=True)\nc,_=s.accept()\nc.sendall(b'x'*{SENT})\nwhile c.recv(9999): pass\n")
    with subprocess.Popen(["ip", "netns", "exec", "peer", sys.executable, "-c", code], stdout=subprocess.PIPE) as server:
        assert server.stdout.readline() == b"ready\n"
        with socket.create_connection((FAR, 5201)) as client:
            port = client.getsockname()[1]
            client.recv(SENT, socket.MSG_WAITALL)
            found = until(lambda: _flow(port), "the connection")
            until(lambda: "sample" in json.loads(api(f"/v1/flows/{found['id']}")), "a sample of it")
    until(lambda: not _flow(port), "the end of it")


def _flow(port):
    flows = json.loads(api(f"/v1/flows?experiment={FOUND}"))["flows"]
    return next((one for one in flows if port in (one["srcPort"], one["dstPort"])), None)


@step
def every_module_works_so():
    """Also what is loaded when it is needed: libcurl, and its threads."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Registry) as registry, \
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as collector:
        threading.Thread(target=registry.serve_forever, daemon=True).start()
        collector.bind(("127.0.0.1", 0))
        collector.settimeout(60)
        configure(lambda config: _everything(config, registry.server_port, collector.getsockname()[1]))
        mark = journal_ends()
        systemctl("restart", "flowd")
        assert shown("StatusText").startswith("ready; "), shown("StatusText") + said_since(mark)
        until(lambda: "Some" in api("/v1/registry").decode(), "the registry's names")
        assert _Registry.asked.is_set()
        _connection_lives_and_ends()
        assert b"firefly-json" in collector.recv(2000)
        assert pathlib.Path("/var/log/flowd/flows.log").stat().st_size > 0
        said = said_since(mark).lower()
        for word in ("cap_", "not permitted", "permission denied", "read-only", "can't"):
            assert word not in said, said
        registry.shutdown()
    configure()
    systemctl("restart", "flowd")


@step
def a_fifo_that_systemd_made_keeps_its_mode():
    mark = journal_ends()
    configure(lambda config: config["plugins"]["namedPipe"].update(mode="0622"))
    systemctl("restart", "flowd")
    assert "its mode 0666 stays, not 0622" in said_since(mark) and "SocketMode=" in said_since(mark), said_since(mark)
    configure()
    systemctl("reload", "flowd")


@step
def fireflies_that_come_while_it_is_away():
    """They wait in systemd's socket."""
    flows, mark = live(), journal_ends()
    now = datetime.datetime.now(datetime.timezone.utc).isoformat()
    firefly = {"version": 1, "flow-lifecycle": {"state": "start", "current-time": now, "start-time": now},
               "flow-id": {"afi": "ipv6", "src-ip": NEAR, "dst-ip": FAR, "protocol": "udp", "src-port": 49000,
                           "dst-port": PORT},
               "context": {"experiment-id": EXPERIMENT, "activity-id": ACTIVITY, "application": "test"}}
    configure(lambda config: config["plugins"].update(firefly={}))
    systemctl("stop", "flowd")
    systemctl("enable", "--now", "flowd-firefly.socket")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(json.dumps(firefly).encode(), ("127.0.0.1", 10514))
    systemctl("start", "flowd")
    until(lambda: live() == flows + 1, lambda: f"the flow: {live()} of {flows + 1}")
    assert "127.0.0.1:10514 was handed over" in said_since(mark), said_since(mark)
    configure()
    systemctl("disable", "--now", "flowd-firefly.socket")
    systemctl("restart", "flowd")


@step
def a_daemon_that_crashes_again_and_again():
    """systemd gives up at a limit and says so; packets stay marked, and one start later all is there."""
    flows = live()
    with overridden("RestartSec=100ms\n[Unit]\nStartLimitBurst=3"), Traffic(40001):
        systemctl("reset-failed", "flowd", status=None)
        systemctl("restart", "flowd")
        deaths = 0
        while shown("ActiveState") != "failed":
            victim = pid()
            if victim:
                os.kill(victim, signal.SIGSEGV)
                deaths += 1
                until(lambda victim=victim: pid() != victim, "its death")
        assert 1 < deaths < 10, deaths
        stays(lambda: shown("ActiveState") == "failed", "it was started", 2)
        systemctl("reset-failed", "flowd")
        systemctl("start", "flowd")
    assert live() == flows, (live(), flows)


@step
def state_on_a_read_only_disk():
    """The start fails, says why, and is tried again until the disk can be written."""
    flows, mark = live(), journal_ends()
    systemctl("stop", "flowd")
    run("cp", "-a", str(STATE), "/mnt/state")
    run("mount", "-t", "tmpfs", "tmpfs", str(STATE))
    run("cp", "-a", "/mnt/state/.", str(STATE))
    try:
        run("mount", "-o", "remount,ro", str(STATE))
        systemctl("start", "flowd", status=1)
        until(lambda: "Read-only file system" in said_since(mark), lambda: said_since(mark))
        run("mount", "-o", "remount,rw", str(STATE))
        until(lambda: shown("ActiveState") == "active", lambda: said_since(mark))
        assert live() == flows, (live(), flows)
    finally:
        systemctl("stop", "flowd")
        run("umount", str(STATE))
    systemctl("start", "flowd")


@step
def instance_in_a_network_namespace():
    """Beside the host's flowd, with a configuration, a state, pins and a fifo of its own."""
    config = pathlib.Path("/etc/flowd/peer.json")
    config.write_text(json.dumps({
        "stateDir": "/var/lib/flowd@peer",
        "plugins": {"namedPipe": {"pipePath": "/run/flowd@peer/fifo"}, "api": {"socketPath": "/run/flowd@peer/api"}},
        "backends": {"marker": {"discoverInterfaces": True, "onExit": "keep", "pinPath": "/sys/fs/bpf/flowd-netns/peer"}}}),
        encoding="ascii")
    unit, fifo = "flowd@peer.service", pathlib.Path("/run/flowd@peer/fifo")
    systemctl("start", unit)
    assert os.readlink(f"/proc/{shown('MainPID', unit)}/ns/net") != os.readlink(f"/proc/{pid()}/ns/net")
    assert fifo.is_fifo() and "fifo /run/flowd@peer/fifo was handed over" in journal(unit), journal(unit)
    here, packets = live(), 20
    fifo.write_text(f"start udp {FAR} 48000 {NEAR} {PORT} {EXPERIMENT} {ACTIVITY}\n", encoding="ascii")

    def status():
        return json.loads(run("curl", "-sS", "--unix-socket", "/run/flowd@peer/api", "http://localhost/v1/status"))

    until(lambda: status()["flows"]["live"] == 1, status)
    systemctl("restart", unit)
    until(lambda: status()["flows"]["live"] == 1, status)
    run("ip", "netns", "exec", "peer", sys.executable, "-c",
        "import socket\ns=socket.socket(socket.AF_INET6,socket.SOCK_DGRAM)\n"
        f"s.bind(('{FAR}',48000))\nfor _ in range({packets}): s.sendto(b'x',('{NEAR}',{PORT}))")
    until(lambda: f'"marked": {packets}' in json.dumps(status()), lambda: json.dumps(status()))
    assert live() == here
    everything_belongs_to_flowd(pathlib.Path("/sys/fs/bpf/flowd-netns"), pathlib.Path("/var/lib/flowd@peer"))
    # What removes it, by the page.
    command, = re.findall(r"`(nsenter [^`]* clean)`", (TREE / "docs/systemd.md").read_text(encoding="utf-8"))
    systemctl("stop", unit)
    run(*command.replace("NAME", "peer").split())
    assert not pathlib.Path("/sys/fs/bpf/flowd-netns/peer").exists()
    assert "flowd" not in run("tc", "-n", "peer", "filter", "show", "dev", "veth1", "egress")
    systemctl("start", unit)
    # A mistake in its configuration, and a namespace that is not there.
    config.write_text("{", encoding="ascii")
    systemctl("reload", unit, status=1)
    config.unlink()
    systemctl("restart", unit, status=1)
    until(lambda: shown("ActiveState", unit) == "failed", lambda: shown("ActiveState", unit))
    assert shown("ExecMainStatus", unit) == "2" and shown("NRestarts", unit) == "0"
    systemctl("start", "flowd@nosuch.service", status=1)
    systemctl("stop", "flowd@nosuch.service", "flowd@nosuch.socket", "flowd@peer.socket")
    assert "/run/netns/nosuch" in journal("flowd@nosuch.service"), journal("flowd@nosuch.service")


@step
def root_cleans_up():
    systemctl("stop", "flowd")
    assert any(PINS.iterdir()), "nothing is kept"
    run("flowd", "clean")
    assert not PINS.exists() and "flowd_marker" not in run("tc", "filter", "show", "dev", "veth0", "egress")
    # And without onExit: keep nothing is left to clean up but the empty directory.
    configure(lambda config: config["backends"]["marker"].update(onExit="detach"))
    systemctl("start", "flowd")
    assert any(PINS.iterdir())
    systemctl("stop", "flowd")
    assert not any(PINS.iterdir())
    configure()


@step
def upgrade_from_a_flowd_that_ran_as_root():
    """What it pinned, wrote and locked becomes user flowd's; no packet and no flow is lost on the way."""
    unit = pathlib.Path("/etc/systemd/system/flowd.service")
    # As where only that flowd has been.
    run("rm", "-rf", str(STATE), "/run/flowd.lock")
    PINS.rmdir()
    unit.write_text(FORMER_UNIT, encoding="ascii")
    systemctl("daemon-reload")
    systemctl("start", "flowd")
    assert process_status()["Uid"].split()[0] == "0" and PINS.stat().st_uid == 0
    announce(*range(40001, 40101))
    until(lambda: live() == 100, lambda: f"the flows: {live()}")
    began = json.loads(api("/v1/flows?limit=1"))["flows"][0]
    # Until the site does so, nothing of it is given away, also where an instance has the places made.
    systemctl("start", "flowd-places.service")
    assert PINS.stat().st_uid == 0 and pathlib.Path("/run/flowd.lock").stat().st_uid == 0
    assert pathlib.Path("/sys/fs/bpf/flowd-netns").stat().st_uid != 0
    with Traffic(40001) as traffic:
        traffic.more()
        mark = journal_ends()
        unit.unlink()
        systemctl("daemon-reload")
        systemctl("restart", "flowd")
        traffic.more()
    assert process_status()["Uid"].split()[0] != "0"
    assert live() == 100 and json.loads(api("/v1/flows?limit=1"))["flows"][0]["startTime"] == began["startTime"]
    everything_belongs_to_flowd(PINS, STATE, pathlib.Path("/run/flowd.lock"))
    assert FIFO.stat().st_uid == 0 and FIFO.stat().st_mode & 0o777 == 0o666
    said = said_since(mark)
    assert "took over the pinned maps" in said and "belongs to another user" not in said, said


@step
def back_to_a_flowd_that_runs_as_root():
    """By what the page says."""
    unit = pathlib.Path("/etc/systemd/system/flowd.service")
    command, = re.findall(r"`(chown -R root: [^`]*)`", (TREE / "docs/systemd.md").read_text(encoding="utf-8"))
    systemctl("stop", "flowd")
    run(*command.split())
    unit.write_text(FORMER_UNIT, encoding="ascii")
    systemctl("daemon-reload")
    mark = journal_ends()
    systemctl("start", "flowd")
    assert process_status()["Uid"].split()[0] == "0" and live() == 100
    said = said_since(mark)
    assert "took over the pinned maps" in said and "ermission denied" not in said, said
    unit.unlink()
    systemctl("daemon-reload")
    systemctl("restart", "flowd")
    everything_belongs_to_flowd(PINS, STATE, pathlib.Path("/run/flowd.lock"))
