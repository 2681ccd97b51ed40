# SPDX-License-Identifier: Apache-2.0
"""
What the steps of the systemd test have in common: asking systemd and flowd, waiting, traffic of which each
packet is looked at.
"""

import contextlib
import json
import pathlib
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request

CONFIG = pathlib.Path("/etc/flowd/config.json")
FIFO = pathlib.Path("/run/flowd")
DEADLINE_S = 60
NEAR, FAR, PORT = "fd00:f10::1", "fd00:f10::2", 40000
EXPERIMENT, ACTIVITY = 2, 17
WRITTEN_AT_BOOT = 46001
LINE = f"start udp {NEAR} {WRITTEN_AT_BOOT} {FAR} {PORT} {EXPERIMENT} {ACTIVITY}"
STEPS = []


def step(function):
    STEPS.append(function)
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


def make_link():
    run("ip", "netns", "add", "peer")
    run("ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth1", "netns", "peer")
    for prefix, interface, address in (((), "veth0", NEAR), (("-n", "peer"), "veth1", FAR)):
        run("ip", *prefix, "address", "add", f"{address}/64", "dev", interface, "nodad")
        run("ip", *prefix, "link", "set", interface, "up")
    run("ip", "netns", "exec", "peer", "ip", "link", "set", "lo", "up")
    # So that the first packets do not wait for neighbour discovery.
    until(lambda: subprocess.run(["ping", "-6", "-c", "1", "-W", "1", FAR], capture_output=True,
                                 check=False).returncode == 0, "the link")


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
