# SPDX-License-Identifier: Apache-2.0
"""
The inside of the systemd test: runs as root in a machine that systemd booted, with flowd installed.

Each step is a function; they run in order and share one system, as an administrator's days do. A
line "ok NAME" or "FAILED NAME" for each goes to standard output.
"""

import contextlib
import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback
import urllib.request

CONFIG = pathlib.Path("/etc/flowd/config.json")
FIFO = pathlib.Path("/run/flowd")
DEADLINE_S = 60
NEAR, FAR, PORT = "fd00:f10::1", "fd00:f10::2", 40000
EXPERIMENT, ACTIVITY = 2, 17
_STEPS = []


def step(function):
    _STEPS.append(function)
    return function


def until(condition, what, timeout=DEADLINE_S):
    end = time.monotonic() + timeout
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"waited in vain for {what() if callable(what) else what}")
        time.sleep(0.2)


def stays(condition, what, seconds=5):
    """It is so at each look; what would change it takes 2 s at most (RestartSec=)."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert condition(), what() if callable(what) else what
        time.sleep(0.2)


def run(*argv, status=0):
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if status is not None and done.returncode != status:
        raise AssertionError(f"{' '.join(argv)}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def systemctl(*argv, status=0):
    return run("systemctl", *argv, status=status)


def shown(name, unit="flowd.service"):
    return systemctl("show", "--value", "-p", name, unit).strip()


def pid():
    return int(shown("MainPID"))


def journal(unit="flowd.service"):
    run("journalctl", "--sync")
    return run("journalctl", "-u", unit, "-o", "cat", "--no-pager", "-b")


def api(path="/v1/status", timeout=DEADLINE_S, port=7777):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=timeout) as answer:
        return answer.read()


def live():
    return json.loads(api())["flows"]["live"]


def configure(change=None):
    """Writes the configuration; change may alter it."""
    config = {
        "plugins": {"namedPipe": {}, "api": {}},
        "backends": {"marker": {"targetInterfaces": ["veth0"], "onExit": "keep"}, "prometheus": {}},
    }
    if change is not None:
        change(config)
    CONFIG.parent.mkdir(exist_ok=True)
    CONFIG.write_text(json.dumps(config), encoding="ascii")


def spoil(config):
    config["plugins"]["api"]["bindPort"] = "seven"


def announce(*ports):
    """As a web server does it: a blocking open, which must not wait."""
    lines = "".join(f"start udp {NEAR} {port} {FAR} {PORT} {EXPERIMENT} {ACTIVITY}\n" for port in ports)
    writer = subprocess.run(["timeout", "10", "dd", f"of={FIFO}", "conv=nocreat,notrunc", "status=none"], input=lines, text=True, check=False)
    assert writer.returncode == 0, f"writing to the fifo: status {writer.returncode}"


def fails_at_once(number=1):
    """The unit has failed and stays so: nothing tries again, whatever is written to the fifo."""
    until(lambda: shown("ActiveState") == "failed", lambda: f"failed: {systemctl('status', 'flowd', status=None)}")
    starts = journal().count("Starting flowd.service")
    announce(50000 + number)
    stays(lambda: shown("ActiveState") == "failed", lambda: shown("ActiveState"))
    assert journal().count("Starting flowd.service") == starts > 0
    assert shown("ActiveState", "flowd.socket") == "active"


class Traffic:
    """
    Sends a packet of the flow each 10 ms, and has each that arrives in the peer's namespace looked at.
    """

    def __init__(self, port):
        self.port, self.sent, self.labels = port, 0, []
        self.stopped = threading.Event()

    def __enter__(self):
        self.capture = socket.socket(fileno=_capture_socket())
        self.capture.settimeout(1)
        self.sender = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.sender.bind((NEAR, self.port))
        self.threads = [threading.Thread(target=one, daemon=True) for one in (self._send, self._receive)]
        for thread in self.threads:
            thread.start()
        return self

    def _send(self):
        while not self.stopped.is_set():
            self.sender.sendto(b"x" * 100, (FAR, PORT))
            self.sent += 1
            time.sleep(0.01)

    def _receive(self):
        quiet = 0
        while not self.stopped.is_set() or (len(self.labels) < self.sent and quiet < 5):
            try:
                frame = self.capture.recv(2048)
            except TimeoutError:
                quiet += 1
                continue
            if frame[12:14] == b"\x86\xdd" and frame[20] == 17 and frame[54:56] == struct.pack("!H", self.port):
                self.labels.append(int.from_bytes(frame[14:18], "big") & 0xFFFFF)

    def __exit__(self, *failure):
        self.stopped.set()
        for thread in self.threads:
            thread.join(DEADLINE_S)
        self.sender.close()
        self.capture.close()
        if failure[0] is None:
            self.check()

    def more(self):
        """Returns when some more packets have been sent."""
        before = self.sent
        until(lambda: self.sent > before + 30, "packets")

    def check(self):
        """Each packet arrived, and bears the mark: one label, with the tag's bits where they belong."""
        assert len(self.labels) == self.sent > 50, f"{self.sent} sent, {len(self.labels)} arrived"
        wrong = [n for n, label in enumerate(self.labels) if _tag(label) != (EXPERIMENT, ACTIVITY)]
        assert not wrong, f"{len(wrong)} of {self.sent} packets bear no mark, the first is number {wrong[0]}"
        assert len(set(self.labels)) == 1, set(self.labels)
        print(f"  {self.sent} packets, each marked", flush=True)


def _tag(label):
    """The experiment, whose nine bits are reversed, and the activity."""
    return int(f"{(label >> 9) & 0x1FF:09b}"[::-1], 2), (label >> 2) & 0x3F


def _capture_socket():
    """A packet socket on veth1, which is in the peer's namespace."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    code = ("import socket,sys;s=socket.socket(socket.AF_PACKET,socket.SOCK_RAW,socket.htons(3));"
            "s.setsockopt(socket.SOL_SOCKET,33,1<<24);s.bind(('veth1',0));"
            f"socket.send_fds(socket.socket(fileno={theirs.fileno()}),[b'x'],[s.fileno()])")
    with ours, theirs:
        subprocess.run(["ip", "netns", "exec", "peer", sys.executable, "-c", code], check=True,
                       pass_fds=[theirs.fileno()])
        ours.settimeout(DEADLINE_S)
        return socket.recv_fds(ours, 1, 1)[1][0]


def _make_link():
    run("ip", "netns", "add", "peer")
    run("ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth1", "netns", "peer")
    for prefix, interface, address in (((), "veth0", NEAR), (("-n", "peer"), "veth1", FAR)):
        run("ip", *prefix, "address", "add", f"{address}/64", "dev", interface, "nodad")
        run("ip", *prefix, "link", "set", interface, "up")
    run("ip", "netns", "exec", "peer", "ip", "link", "set", "lo", "up")
    # So that the first packets do not wait for neighbour discovery.
    until(lambda: subprocess.run(["ping", "-6", "-c", "1", "-W", "1", FAR], capture_output=True,
                                 check=False).returncode == 0, "the link")


# -- the steps, in the order in which they run --------------------------------------------------------


@step
def units_are_well_formed():
    units = ["flowd.service", "flowd.socket", "flowd-api.socket", "flowd-metrics.socket", "flowd-firefly.socket"]
    said = run("systemd-analyze", "verify", *units)
    assert "flowd" not in said, said


@step
def enable_and_start():
    """The fifo comes with the service, made and held by systemd, and flowd is handed it."""
    configure()
    systemctl("enable", "flowd")
    assert systemctl("is-enabled", "flowd.socket").strip() == "enabled"
    systemctl("start", "flowd")
    assert shown("ActiveState") == "active"
    assert "fifo /run/flowd was handed over" in journal(), journal()
    assert FIFO.is_fifo() and FIFO.stat().st_mode & 0o777 == 0o666
    until(lambda: shown("StatusText").startswith("ready; 0 flows live"), lambda: shown("StatusText"))


@step
def status_text_counts_flows():
    announce(40001)
    until(lambda: shown("StatusText").startswith("ready; 1 flow live"), lambda: shown("StatusText"))


@step
def restart_under_traffic():
    announce(40001)
    until(lambda: live() >= 1, "the flow")
    with Traffic(40001) as traffic:
        traffic.more()
        for _ in range(2):
            before = pid()
            systemctl("restart", "flowd")
            assert pid() not in (0, before)
            traffic.more()
    assert live() >= 1


@step
def a_stopped_flowd_stays_stopped():
    """What is written meanwhile waits for the start."""
    known = live()
    systemctl("stop", "flowd")
    announce(*range(41000, 41050))
    stays(lambda: shown("ActiveState") == "inactive", "it was started", 2)
    announce(*range(41050, 41100))
    assert shown("ActiveState") == "inactive"
    systemctl("start", "flowd")
    until(lambda: live() == known + 100, lambda: f"the flows: {live()}")


@step
def lines_written_through_restarts():
    """By a program that keeps the fifo open and writes each line in two parts: none is lost or torn."""
    flows, ports = live(), range(45000, 46000)
    code = ("import os,sys,time\n"
            "fd = os.open(sys.argv[1], os.O_WRONLY)\n"
            "for port in range(int(sys.argv[2]), int(sys.argv[3])):\n"
            f"    line = f'start udp {NEAR} {{port}} {FAR} {PORT} {EXPERIMENT} {ACTIVITY}\\n'.encode()\n"
            "    os.write(fd, line[:port % 10 + 28])\n"
            "    time.sleep(0.002)\n"
            "    os.write(fd, line[port % 10 + 28:])\n")
    with subprocess.Popen([sys.executable, "-c", code, FIFO, str(ports.start), str(ports.stop)]) as writer:
        restarts = 0
        while writer.poll() is None:
            systemctl("restart", "flowd")
            restarts += 1
        assert writer.returncode == 0 and restarts > 1, (writer.returncode, restarts)
    until(lambda: live() == flows + len(ports), lambda: f"the flows: {live()} of {flows + len(ports)}")
    assert "namedPipe: " not in journal() and "; line: " not in journal(), journal()
    print(f"  {len(ports)} lines, {restarts} restarts", flush=True)


@step
def watchdog():
    """A flowd that stands still is replaced; its flows are there, and their packets never lost the mark."""
    with overridden("WatchdogSec=4"):
        systemctl("restart", "flowd")
        before, flows = pid(), live()
        with Traffic(40001):
            os.kill(before, signal.SIGSTOP)
            announce(42000)
            until(lambda: pid() not in (0, before) and shown("ActiveState") == "active", "another flowd")
        assert "watchdog" in journal().lower()
        until(lambda: live() == flows + 1, lambda: f"the flows: {live()}")


@step
def crash():
    before, flows = pid(), live()
    os.kill(before, signal.SIGKILL)
    announce(42001)
    until(lambda: pid() not in (0, before) and shown("ActiveState") == "active", "another flowd")
    until(lambda: live() == flows + 1, lambda: f"the flows: {live()}")


@step
def reload():
    before = pid()
    configure(lambda config: config.update(log={"level": "debug"}))
    systemctl("reload", "flowd")
    until(lambda: "reloaded;" in journal(), "the reload")
    assert pid() == before and shown("ActiveState") == "active"


@step
def reload_of_a_bad_configuration():
    """The reload fails and says why; the flowd that runs goes on."""
    before, reloads = pid(), journal().count("reload: reading")
    configure(spoil)
    assert "failed" in systemctl("reload", "flowd", status=1)
    assert "plugins.api.bindPort" in journal()
    assert pid() == before and shown("ActiveState") == "active" and live() > 0
    assert journal().count("reload: reading") == reloads
    # Also for those who send the signal themselves.
    os.kill(before, signal.SIGHUP)
    until(lambda: "the former one goes on" in shown("StatusText"), lambda: shown("StatusText"))
    assert pid() == before and shown("ActiveState") == "active"
    configure()
    systemctl("reload", "flowd")
    until(lambda: "former" not in shown("StatusText"), lambda: shown("StatusText"))


@step
def restart_with_a_bad_configuration():
    """It fails once, says why and does not loop; marks go on, and lines wait for the repair."""
    flows = live()
    configure(spoil)
    with Traffic(40001):
        systemctl("restart", "flowd", status=1)
        fails_at_once()
    assert shown("ExecMainStatus") == "2" and shown("NRestarts") == "0"
    assert "NOT RUNNING" in shown("StatusText") and "mistakes" in shown("StatusText"), shown("StatusText")
    configure()
    systemctl("start", "flowd")
    until(lambda: live() == flows + 1, lambda: f"the flows: {live()}")


@step
def sockets_of_the_api_and_the_metrics():
    """Requests of the time in which flowd is away are answered when it is back."""
    systemctl("stop", "flowd")
    systemctl("enable", "flowd-api.socket", "flowd-metrics.socket")
    systemctl("start", "flowd-api.socket", "flowd-metrics.socket")
    waiting = [background(api, "/healthz"), background(api, "/metrics", port=9000)]
    stays(lambda: shown("ActiveState") == "inactive", "it was started", 2)
    systemctl("start", "flowd")
    assert all(one() for one in waiting)
    for text in ("127.0.0.1:7777 was handed over", "127.0.0.1:9000 was handed over"):
        assert text in journal(), journal()


@step
def nobody_is_refused_during_a_restart():
    stopped, failures, served = threading.Event(), [], []

    def ask():
        while not stopped.is_set():
            try:
                served.append(api("/healthz"))
            except OSError as problem:
                # A connection that flowd had taken may end with it; a new one is never refused.
                if "refused" in str(problem).lower():
                    failures.append(problem)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    before = live()
    systemctl("restart", "flowd")
    announce(43000)
    systemctl("restart", "flowd")
    stopped.set()
    thread.join(DEADLINE_S)
    assert served and not failures, failures
    until(lambda: live() == before + 1, lambda: f"the flows: {live()}")


@step
def a_bad_configuration_with_sockets_does_not_loop():
    """Neither lines nor requests start it again and again, and no socket gives up."""
    configure(spoil)
    systemctl("restart", "flowd", status=1)
    waiting = background(api, "/healthz")
    fails_at_once(2)
    assert shown("ActiveState", "flowd-api.socket") == "active"
    configure()
    systemctl("start", "flowd")
    assert waiting()


@step
def sockets_can_be_restarted():
    """Each is held by a unit of its own that goes with it."""
    systemctl("restart", "flowd.socket")
    systemctl("restart", "flowd")
    announce(44000)
    until(lambda: live() > 0, "the flows")
    systemctl("disable", "--now", "flowd-api.socket")
    systemctl("restart", "flowd")
    assert live() > 0, "the configured listener"


@step
def a_web_server_that_starts_first():
    """It finds the fifo, does not wait for flowd, and its line is read."""
    flows = live()
    systemctl("stop", "flowd", "flowd.socket")
    FIFO.unlink()
    unit = pathlib.Path("/run/systemd/system/nginx.service")
    line = f"start udp {NEAR} 46000 {FAR} {PORT} {EXPERIMENT} {ACTIVITY}"
    unit.write_text("[Unit]\nBefore=flowd.service\n[Service]\nType=oneshot\nTimeoutStartSec=20\n"
                    f"ExecStart=/bin/sh -c 'echo {line} >{FIFO}'\n", encoding="ascii")
    systemctl("daemon-reload")
    systemctl("start", "flowd.socket", "nginx", "flowd")
    assert FIFO.is_fifo()
    until(lambda: live() == flows + 1, lambda: f"the web server's flow: {live()} of {flows + 1}")


@step
def what_does_not_mark_is_said():
    with overridden("CapabilityBoundingSet=\nCapabilityBoundingSet=CAP_CHOWN"):
        systemctl("restart", "flowd")
        assert shown("StatusText").startswith("NOT READY: "), shown("StatusText")
        assert "marker" in shown("StatusText"), shown("StatusText")
    configure(lambda config: config["backends"]["marker"].update(targetInterfaces=["nosuch0"]))
    systemctl("restart", "flowd")
    assert "NOT READY" in shown("StatusText") and "nosuch0" in shown("StatusText"), shown("StatusText")
    run("ip", "link", "add", "nosuch0", "type", "dummy")
    run("ip", "link", "set", "nosuch0", "up")
    until(lambda: shown("StatusText").startswith("ready; "), lambda: shown("StatusText"))
    configure()
    systemctl("restart", "flowd")
    until(lambda: shown("StatusText").startswith("ready; "), lambda: shown("StatusText"))


# -- ------------------------------------------------------------------------------------------------


def background(function, *arguments, **options):
    """Calls it in a thread; the returned function waits for what it returned."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function(*arguments, **options)), daemon=True)
    thread.start()

    def wait():
        thread.join(DEADLINE_S)
        assert results, "no answer"
        return results[0]

    return wait


@contextlib.contextmanager
def overridden(line):
    directory = pathlib.Path("/run/systemd/system/flowd.service.d")
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "test.conf").write_text(f"[Service]\n{line}\n", encoding="ascii")
    systemctl("daemon-reload")
    try:
        yield
    finally:
        (directory / "test.conf").unlink()
        systemctl("daemon-reload")


def main():
    _make_link()
    for one in _STEPS:
        began = time.monotonic()
        try:
            one()
            print(f"ok {one.__name__} ({time.monotonic() - began:.1f} s)", flush=True)
        except Exception:  # pylint: disable=broad-except
            print(traceback.format_exc(limit=-2))
            print(systemctl("status", "--no-pager", "-l", "-n", "0", "flowd.service", "flowd.socket", status=None))
            print("\n".join(journal().splitlines()[-20:]))
            # What follows stands on it.
            print(f"FAILED {one.__name__}", flush=True)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
